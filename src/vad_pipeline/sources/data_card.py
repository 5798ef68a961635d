"""The data card: what a data set holds, counted from what was stored."""

from typing import Any

import numpy as np
import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.fingerprint import fingerprint


def clip_table(frames: Clips, labels: pd.DataFrame, masks: Clips) -> pd.DataFrame:
    """One row per clip: what ``Clips.table`` tells, and

    - abnormal: abnormal frames, missing where the clip is unlabelled,
    - kinds: kinds of anomaly, comma-separated,
    - masked: frames with a pixel mask that is not empty, missing where the clip has no masks,
    - disagreeing: frames whose label says one thing and whose mask another.
    """
    table = frames.table().set_index("clip")
    by_clip = dict(tuple(labels.groupby("clip")))
    for column in ("abnormal", "masked", "disagreeing"):
        table[column] = pd.array([pd.NA] * len(table), dtype="Int64")
    table["kinds"] = ""
    for clip in frames:
        label = None
        if clip in by_clip:
            label = by_clip[clip].sort_values("frame")["label"].to_numpy()
            table.loc[clip, "abnormal"] = int(label.sum())
            table.loc[clip, "kinds"] = ", ".join(sorted(set(by_clip[clip]["kind"]) - {""}))
        if clip in masks:
            masked = np.fromiter((mask.any() for mask in masks[clip].array()), dtype=bool)
            table.loc[clip, "masked"] = int(masked.sum())
            if label is not None:
                table.loc[clip, "disagreeing"] = int((masked != label.astype(bool)).sum())
    return table.reset_index()


def data_card(dataset: str, table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, Any]:
    """The clip table summed up, ready for JSON.

    Args:
        dataset: name of the data set.
        table: of ``clip_table``.
        labels: columns clip, frame, label, kind.
    """
    splits = {
        str(split): {"clips": len(part), "frames": int(part["frames"].sum())}
        for split, part in table.groupby("split", sort=False)
    }
    sizes = table.apply(lambda c: f"{c['width']}x{c['height']}x{c['channels']}", axis=1).value_counts()
    kinds = labels.loc[labels["label"] == 1, "kind"].value_counts()
    return {
        "dataset": dataset,
        "splits": splits,
        "sizes": {str(size): int(count) for size, count in sizes.items()},
        "fps": sorted({float(fps) for fps in table["fps"].dropna()}),
        "labelled_frames": len(labels),
        "abnormal_frames": int(labels["label"].sum()),
        "abnormal_frames_by_kind": {str(kind): int(count) for kind, count in kinds.items() if kind},
        "frames_with_mask": int(table["masked"].sum()),
        "frames_where_mask_and_label_disagree": int(table["disagreeing"].sum()),
        "fingerprint": fingerprint(*table["fingerprint"]),
    }

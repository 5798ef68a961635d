"""Hand-made score and label tables for the tests of evaluation."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term

PED2_LENGTHS = dict(
    zip(
        [f"test/{number:02}" for number in range(1, 13)],
        (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180),
        strict=True,
    )
)
# UCSDped2.m: abnormal frames, 1-based and inclusive
PED2_SPANS = (
    (61, 180), (95, 180), (1, 146), (31, 180), (1, 129), (1, 159),
    (46, 180), (1, 180), (1, 120), (1, 150), (1, 180), (88, 180),
)  # fmt: skip

HIGH = Term(higher_is_anomalous=True, meaning="of a test")
LOW = Term(higher_is_anomalous=False, meaning="of a test")


def labels_of(clips: Mapping[str, list[int]], kinds: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Labels of whole clips; a clip's abnormal frames have its kind."""
    parts = [
        pd.DataFrame(
            {
                "clip": clip,
                "frame": np.arange(len(label)),
                "label": np.asarray(label, np.int8),
                "kind": [(kinds or {}).get(clip, "") if one else "" for one in label],
            }
        )
        for clip, label in clips.items()
    ]
    return pd.concat(parts, ignore_index=True)


def ped2_labels() -> pd.DataFrame:
    clips = {}
    for (clip, length), (first, last) in zip(PED2_LENGTHS.items(), PED2_SPANS, strict=True):
        clips[clip] = [int(first - 1 <= t < last) for t in range(length)]
    return labels_of(clips, dict.fromkeys(clips, "both/cyclist"))


def scores_of(labels: pd.DataFrame, window: Window | None = None, seed: int = 0, **shifts: float) -> pd.DataFrame:
    """Scores of the labelled frames that a window scores: per term, normal noise plus its shift on abnormal frames."""
    window = window or Window(1, 0)
    random = np.random.default_rng(seed)
    lengths = labels.groupby("clip", sort=False)["frame"].max() + 1
    kept = [frame in window.scored(lengths[clip]) for clip, frame in zip(labels["clip"], labels["frame"], strict=True)]
    rows = labels[kept].reset_index(drop=True)
    table = rows[["clip", "frame"]].copy()
    for term, shift in shifts.items():
        table[term] = random.normal(size=len(rows)) + shift * rows["label"]
    return table

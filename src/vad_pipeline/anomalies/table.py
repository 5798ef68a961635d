"""What was made: one row per pseudo-anomalous frame, and what masks cover."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vad_pipeline.anomalies.masks import Masks, components, masked_after
from vad_pipeline.anomalies.pool import Run
from vad_pipeline.clips.clip import Clips

COLUMNS = ["clip", "frame", "run", "row", "kind", "mask", "parts", "mask_area", "mask_share", "seed"]


def pseudo_anomaly_table(
    objects: Clips, holes: Clips, spatial: Clips, temporal: Clips, runs: Sequence[Run], masks: Masks, seed: int
) -> pd.DataFrame:
    """One row per frame and kind.

    Args:
        objects: bool (T, H, W), normal clips.
        holes: bool (T, H, W), runs; ``spatial`` and ``temporal`` are runs of the same names, either may be empty.
        runs: which frames they are.
        masks: how the holes were chosen.
        seed: of everything.

    Returns:
        clip, frame (0-based), run and row (where it is stored), kind (spatial, temporal), mask (objects, random), parts
        (connected), mask_area (pixels of the native frame), mask_share (of the picture), seed.

    Warns:
        where frames without any object got a random mask.
    """
    rows = []
    for run in runs:
        found, hole = objects[run.clip].array(), holes[run.name].array()
        for row in range(len(hole)):
            chosen = found[masked_after(run, row, masks)]
            kind = "objects" if masks.kind == "objects" and bool(chosen.any()) else "random"
            mask = np.asarray(hole[row])
            about = (kind, len(components(mask)), int(mask.sum()), float(mask.mean()), seed)
            for stored, name in ((spatial, "spatial"), (temporal, "temporal")):
                if run.name in stored and row < len(stored[run.name]):
                    rows.append((run.clip, run.start + row, run.name, row, name, *about))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if masks.kind == "objects":
        frames = table.drop_duplicates(["clip", "frame"])
        without = int((frames["mask"] == "random").sum())
        if without:
            warnings.warn(
                f"{without} of {len(frames)} frames show no moving object and got a random mask; lower masks.threshold "
                "or masks.min_area if there are objects to be seen",
                stacklevel=2,
            )
    return table


def mask_metrics(table: pd.DataFrame) -> dict[str, float]:
    """Flat figures for tracking: frames of each kind, share of the picture that masks take, frames without objects."""
    frames = table.drop_duplicates(["clip", "frame"])
    metrics = {f"{kind}_frames": float((table["kind"] == kind).sum()) for kind in ("spatial", "temporal")}
    metrics["random_mask_share"] = float((frames["mask"] == "random").mean()) if len(frames) else 0.0
    for name, value in (("mean", frames["mask_share"].mean()), ("median", frames["mask_share"].median())):
        metrics[f"mask_share_{name}"] = float(value) if len(frames) else 0.0
    return metrics

"""What normal footage that was held out in training says of a system: its scores, and the threshold they support."""

from collections.abc import Mapping
from functools import reduce

import numpy as np
import pandas as pd

from vad_pipeline.detection.thresholds import Threshold, choose_threshold
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError
from vad_pipeline.models.build import configuration
from vad_pipeline.models.system import System
from vad_pipeline.models.systems import rows_of, terms_of

Checkpoints = Mapping[str, Checkpoint]  # part of a system -> its trained model


def weights_of(system: System, checkpoints: Checkpoints) -> Mapping[str, float]:
    """Weights of the terms in the system's headline."""
    first = configuration(checkpoints[next(iter(system.parts))])
    return next(row.weights for row in rows_of(system, first) if row.key == "")


def normaliser_of(checkpoints: Checkpoints) -> dict[str, list[float]]:
    """Quantiles of the terms of all parts."""
    return {term: values for each in checkpoints.values() for term, values in each.normaliser.items()}


def fps_of(system: System, checkpoints: Checkpoints) -> float | None:
    """Frames a second that the system was trained on, None where that is not known."""
    return checkpoints[next(iter(system.parts))].about.get("fps")


def held_out_anomalies(system: System, checkpoints: Checkpoints) -> list[np.ndarray]:
    """Anomaly scores of the held-out frames that all parts score, an array (n,) for each clip; none of no clips.

    Raises:
        CheckpointError: a part was trained by a version that kept no held-out scores.
    """
    table = _held_out(system.name, checkpoints)
    if not len(table):
        return []
    weights, normaliser = weights_of(system, checkpoints), normaliser_of(checkpoints)
    anomalies = anomaly_score(table, terms_of(system), weights, "held_out", normaliser).to_numpy()
    return [anomalies[rows] for rows in table.groupby("clip", sort=False).indices.values()]


def held_out_threshold(
    system: System, checkpoints: Checkpoints, false_alarms_per_hour: float | None = None, hold: int = 1
) -> Threshold:
    """The threshold that held-out footage supports; see ``choose_threshold`` for arguments and errors."""
    clips = held_out_anomalies(system, checkpoints)
    return choose_threshold(clips, fps_of(system, checkpoints), false_alarms_per_hour, hold)


def threshold_metrics(system: System, checkpoints: Checkpoints) -> dict[str, float]:
    """``threshold_level``, ``false_alarms_per_hour_lowest`` and ``held_out_seconds`` of the lowest rate of false alarms
    that held-out footage supports; all NaN where none was held out, or its scores were not kept."""
    names = ("threshold_level", "false_alarms_per_hour_lowest", "held_out_seconds")
    if not all(checkpoint.held_out_scores for checkpoint in checkpoints.values()):
        return dict.fromkeys(names, float("nan"))
    found = held_out_threshold(system, checkpoints)
    return dict(zip(names, (found.level, found.lowest_per_hour, found.seconds), strict=True))


def _held_out(system: str, checkpoints: Checkpoints) -> pd.DataFrame:
    """Raw terms of the held-out normal frames that all parts score: columns clip, frame and the terms."""
    tables = []
    for part, checkpoint in checkpoints.items():
        if not checkpoint.held_out_scores:
            if checkpoint.about.get("held_out"):
                raise CheckpointError(
                    f"{f'{system}.{part}'.rstrip('.')}: trained by a version that kept no scores of held-out footage; "
                    "run its pipeline once more, which trains nothing again"
                )
            return pd.DataFrame({"clip": [], "frame": []})
        table = pd.DataFrame({name: values.numpy() for name, values in checkpoint.held_out_scores.items()})
        tables.append(table.assign(clip=[checkpoint.about["held_out"][number] for number in table["clip"]]))
    return reduce(lambda one, other: one.merge(other, on=["clip", "frame"], how="inner"), tables)

"""Alarms on labelled test footage: how many events they find, how often they are false."""

import numpy as np
import pandas as pd

from vad_pipeline.detection.events import Event, Score, find_events
from vad_pipeline.detection.held_out import Checkpoints, held_out_threshold, normaliser_of, weights_of
from vad_pipeline.detection.thresholds import Threshold, ThresholdError
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.models.system import System
from vad_pipeline.models.systems import terms_of

NAMES = ("events_labelled", "events_found", "false_alarms", "normal_seconds")


def alarm_metrics(
    system: System, checkpoints: Checkpoints, scores: pd.DataFrame, labels: pd.DataFrame
) -> dict[str, float]:
    """What the lowest threshold that held-out footage supports finds; nothing is chosen by the labels.

    Args:
        system: whose terms are fused.
        checkpoints: part -> its trained model, with held-out scores.
        scores: raw terms, columns clip and frame.
        labels: columns clip, frame and label.

    Returns:
        ``events_labelled``, runs of abnormal frames with a scored one in them; ``events_found``, those that an alarm
        overlaps; ``false_alarms``, alarms that overlap none; ``normal_seconds``, of scored normal frames. All NaN
        without held-out scores or labels.
    """
    scored = scores.merge(labels[["clip", "frame", "label"]], on=["clip", "frame"]) if len(labels) else labels
    if not len(scored) or not all(checkpoint.held_out_scores for checkpoint in checkpoints.values()):
        return dict.fromkeys(NAMES, float("nan"))
    try:
        threshold = held_out_threshold(system, checkpoints)
    except ThresholdError:
        return dict.fromkeys(NAMES, float("nan"))
    weights, normaliser = weights_of(system, checkpoints), normaliser_of(checkpoints)
    scored = scored.assign(anomaly=anomaly_score(scored, terms_of(system), weights, "held_out", normaliser).to_numpy())
    counts = np.zeros(len(NAMES))
    for _, clip in scored.sort_values("frame").groupby("clip", sort=False):
        counts += _of_clip(clip, threshold)
    return dict(zip(NAMES, counts.tolist(), strict=True))


def _of_clip(clip: pd.DataFrame, threshold: Threshold) -> np.ndarray:
    abnormal = clip["label"].to_numpy().astype(bool)
    frames, anomalies = clip["frame"].to_numpy(), clip["anomaly"].to_numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], abnormal.astype(int), [0]])))
    spans = [(int(frames[start]), int(frames[end - 1])) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    alarms = find_events(
        (
            Score(int(frame), frame / threshold.fps, float(anomaly), 1.0, {})
            for frame, anomaly in zip(frames, anomalies, strict=True)
        ),
        threshold,
    )
    found = sum(any(_overlaps(alarm, span) for alarm in alarms) for span in spans)
    false = sum(not any(_overlaps(alarm, span) for span in spans) for alarm in alarms)
    return np.array([len(spans), found, false, (~abnormal).sum() / threshold.fps])


def _overlaps(alarm: Event, span: tuple[int, int]) -> bool:
    return alarm.start_frame <= span[1] and alarm.end_frame >= span[0]

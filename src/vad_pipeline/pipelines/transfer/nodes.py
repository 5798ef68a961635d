"""Nodes that score with models of another data set; nothing is fitted, calibrated or chosen here."""

from pathlib import Path
from typing import Any

import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.evaluation.fusion import join_scores
from vad_pipeline.evaluation.table import baseline_rows, row_of_table
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.build import build, configuration
from vad_pipeline.models.systems import SYSTEMS, rows_of, terms_of
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.scoring.trivial_baselines import trivial_metrics
from vad_pipeline.training.streams import described_jobs, flow_jobs


def check_source(checkpoint: Checkpoint, source: str, dataset: str) -> None:
    """Make sure that a model comes from another data set, the one that the table will name.

    Raises:
        ValueError: it does not.
    """
    remedy = "name the data set that trained the models with --params=source=<dataset>"
    if source == dataset:
        raise ValueError(f"transfer.source: {source} is this environment's own data set; {remedy}")
    trained_on = checkpoint.about.get("dataset", "an unnamed data set")
    if source != trained_on:
        raise ValueError(
            f"transfer.source: {source}, but a model of {trained_on} was loaded ({checkpoint.about['file']}); {remedy}"
        )


def resize_frames(
    native_frames: Clips, checkpoint: Checkpoint, split: str, source: str, dataset: str
) -> dict[str, ClipJob]:
    """The frames to evaluate, as the model was trained to read them."""
    check_source(checkpoint, source, dataset)
    return resize_jobs(native_frames.split(split), FrameSize(**checkpoint.frames))


def estimate_flow(frames: Clips, checkpoint: Checkpoint) -> dict[str, ClipJob]:
    """Their flow, as the model was trained to read it; no clips where it reads none."""
    recipe = checkpoint.streams.get("flow")
    return {} if recipe is None else flow_jobs(frames, recipe)


def describe_frames(
    native_frames: Clips, checkpoint: Checkpoint, split: str, source: str, dataset: str, scoring: Scoring
) -> dict[str, ClipJob]:
    """Features by the network that the model was trained with; no clips where it reads none."""
    check_source(checkpoint, source, dataset)
    recipe = checkpoint.streams.get("features")
    return {} if recipe is None else described_jobs(native_frames.split(split), recipe, scoring.options().device)


def score_transferred(
    checkpoint: Checkpoint, scoring: Scoring, working_directory: Path, **streams: Clips
) -> pd.DataFrame:
    """Raw terms per frame."""
    clips = list(next(iter(streams.values())))
    return score_clips(build(checkpoint), streams, scoring, [clips], working_directory, maps=False)[0]


def evaluate_transferred(
    system: str, labels: pd.DataFrame, native_frames: Clips, seed: int, split: str, *inputs: Any
) -> dict[str, float]:
    """Metrics under the headline protocol.

    Args:
        system: whose.
        labels, native_frames, seed, split: as for ``evaluate``.
        inputs: the parts' scores, then their checkpoints.
    """
    declared = SYSTEMS[system]
    scores, checkpoints = inputs[: len(inputs) // 2], inputs[len(inputs) // 2 :]
    weights = next(row.weights for row in rows_of(declared, configuration(checkpoints[0])) if row.key == "")
    normaliser = {term: values for checkpoint in checkpoints for term, values in checkpoint.normaliser.items()}
    lengths = {clip: len(stored) for clip, stored in native_frames.items()}
    fps = {clip: stored.fps for clip, stored in native_frames.items()}
    return evaluate(join_scores(scores), labels, terms_of(declared), weights, seed, split, lengths, normaliser, fps=fps)


def tabulate_transfer(
    systems: tuple[str, ...],
    source: str,
    dataset: str,
    split: str,
    labels: pd.DataFrame,
    trivial: pd.DataFrame,
    *inputs: Any,
) -> pd.DataFrame:
    """Systems trained elsewhere, trivial baselines and published figures; ``source`` says where and which.

    Args:
        systems: names.
        source, dataset: where they were trained, where they are measured.
        split, labels, trivial: as for ``trivial_metrics``.
        inputs: metrics of each system, then the checkpoints of all parts of each.
    """
    checkpoints = iter(inputs[len(systems) :])
    rows = []
    for system, measured in zip(systems, inputs, strict=False):
        versions = dict.fromkeys(str(next(checkpoints).about["version"]) for _ in SYSTEMS[system].parts)
        row = row_of_table(system, measured, dataset, system, trained_on=source.removesuffix("_small"))
        rows.append(row | {"source": source, "version": ", ".join(versions)})
    rows += baseline_rows(trivial_metrics(trivial, labels, split=split), dataset)
    return pd.DataFrame(rows).astype({"published": "float64"})

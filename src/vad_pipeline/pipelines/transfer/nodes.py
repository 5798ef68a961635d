"""Nodes that score with a model of another data set; nothing is fitted, calibrated or chosen here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.evaluation.fusion import join_scores
from vad_pipeline.evaluation.table import baseline_rows, row_of_table
from vad_pipeline.features.stored_features import feature_jobs
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.fitting.windows import leading
from vad_pipeline.flow.tvl1 import TVL1, tvl1_jobs
from vad_pipeline.models import MODELS
from vad_pipeline.models.build import build
from vad_pipeline.models.pseudo_anomaly_detector import ROWS, TERMS, equal_weights
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.scoring.trivial_baselines import trivial_metrics


def check_source(checkpoint: Checkpoint, source: str, dataset: str) -> None:
    """Make sure that a model comes from another data set, the one that the table will name.

    Raises:
        ValueError: it does not.
    """
    remedy = "name the data set that trained the models with --params=source=<dataset>"
    if source == dataset:
        raise ValueError(f"transfer.source: {source} is this environment's own data set; {remedy}")
    if source not in Path(checkpoint.about["file"]).parts:
        raise ValueError(f"transfer.source: {source}, but {checkpoint.about['file']} was loaded; {remedy}")


def resize_frames(
    native_frames: Clips, checkpoint: Checkpoint, split: str, source: str, dataset: str
) -> dict[str, ClipJob]:
    """The frames to evaluate, as the model was trained to read them."""
    check_source(checkpoint, source, dataset)
    return resize_jobs(native_frames.split(split), FrameSize(**checkpoint.frames))


def estimate_flow(frames: Clips, config: TVL1) -> dict[str, ClipJob]:
    """TV-L1 flow at the size that the model was trained at."""
    return tvl1_jobs(frames, config)


def describe_frames(
    native_frames: Clips, checkpoint: Checkpoint, split: str, source: str, dataset: str, scoring: Scoring
) -> dict[str, ClipJob]:
    """Features by the network that the model was trained with."""
    check_source(checkpoint, source, dataset)
    config = build(checkpoint).config
    return feature_jobs(native_frames.split(split), config.features, scoring.options().device)


def score_transferred(checkpoint: Checkpoint, scoring: Scoring, working_directory: Path, **streams: Clips) -> Any:
    """Raw terms per frame."""
    clips = list(streams[leading(streams)])
    scores, maps = score_clips(build(checkpoint), streams, scoring, [clips], working_directory)
    for job in maps.values():  # the table shows no maps
        Path(str(job.file)).unlink()
    return scores


def evaluate_node(model: str) -> Callable[..., dict[str, float]]:
    """The node function that evaluates a single detector."""

    def evaluate_transferred(
        scores: pd.DataFrame, labels: pd.DataFrame, native_frames: Clips, checkpoint: Checkpoint, seed: int, split: str
    ) -> dict[str, float]:
        """Metrics under the headline protocol."""
        weights = MODELS[model].fusion(build(checkpoint).config)
        lengths = {clip: len(stored) for clip, stored in native_frames.items()}
        return evaluate(scores, labels, MODELS[model].terms, weights, seed, split, lengths)

    return evaluate_transferred


def evaluate_fused(
    spatial: pd.DataFrame,
    temporal: pd.DataFrame,
    discriminator: pd.DataFrame,
    labels: pd.DataFrame,
    native_frames: Clips,
    seed: int,
    split: str,
) -> dict[str, float]:
    """Metrics of the pseudo-anomaly detector with equal weights."""
    scores = join_scores([spatial, temporal, discriminator])
    lengths = {clip: len(stored) for clip, stored in native_frames.items()}
    return evaluate(scores, labels, TERMS, equal_weights(ROWS["fused"][0]), seed, split, lengths)


def tabulate_node(systems: Mapping[str, int]) -> Callable[..., pd.DataFrame]:
    """The node function that puts the systems' rows together.

    Args:
        systems: name -> number of models that it consists of.
    """

    def tabulate_transfer(
        source: str, dataset: str, split: str, labels: pd.DataFrame, trivial: pd.DataFrame, *inputs: Any
    ) -> pd.DataFrame:
        """Systems trained elsewhere, trivial baselines and published figures; ``source`` says where and which."""
        checkpoints = iter(inputs[len(systems) :])
        rows = []
        for (system, parts), measured in zip(systems.items(), inputs, strict=False):
            models = [next(checkpoints) for _ in range(parts)]
            versions = dict.fromkeys(str(model.about["version"]) for model in models)
            row = row_of_table(system, measured, dataset, system, trained_on=source.removesuffix("_small"))
            rows.append(row | {"source": source, "version": ", ".join(versions)})
        rows += baseline_rows(trivial_metrics(trivial, labels, split=split), dataset)
        return pd.DataFrame(rows).astype({"published": "float64"})

    return tabulate_transfer

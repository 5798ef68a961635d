"""Nodes that every detector's pipeline has; each is made for one model, whose typed configuration Kedro then checks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.evaluation.evaluate import evaluate, oracle_metrics, oracle_wanted, scored_frames
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.fitting.windows import leading
from vad_pipeline.models import MODELS
from vad_pipeline.models.build import build
from vad_pipeline.report.detector_report import Findings, draw_report
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.scoring.trivial_baselines import trivial_scores
from vad_pipeline.tracking import live_curves
from vad_pipeline.training.train import Training, train


def resize_frames(native_frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
    """Frames of the size and colour that the model reads, uint8 (T, height, width, channels)."""
    return resize_jobs(native_frames, size)


def train_node(model: str, namespace: str) -> Callable[..., Any]:
    """The node function that trains ``model`` in a namespace."""

    def train_detector(
        config: Any,
        size: FrameSize,
        training: Training,
        seed: int,
        working_directory: Path,
        pseudo: Clips | None = None,
        **streams: Clips,
    ) -> tuple[Checkpoint, pd.DataFrame]:
        """Train on normal clips, or take the result where that was done before; checkpoint and history."""
        curves = live_curves(namespace)
        callbacks = [curves] if curves else []
        trained = train(model, config, size, training, seed, streams, working_directory, callbacks, pseudo)
        return trained.checkpoint, trained.history

    # Kedro builds the typed configuration from this annotation; functools.partial would lose it
    train_detector.__annotations__["config"] = MODELS[model].config_class
    return train_detector


def score_node(model: str) -> Callable[..., Any]:
    """The node function that scores with ``model``."""

    def score_frames(
        checkpoint: Checkpoint,
        config: Any,
        size: FrameSize,
        scoring: Scoring,
        split: str,
        working_directory: Path,
        **streams: Clips,
    ) -> Any:
        """Raw terms per frame of the clips to evaluate and of the held-out normal ones, and error maps, if any."""
        checkpoint.check_against(config, size)
        clips = streams[leading(streams)]
        held_out = [clip for clip in checkpoint.about["held_out"] if clip in clips]
        groups = [group for group in (list(clips.split(split)), held_out) if group]
        scores, maps = score_clips(build(checkpoint), streams, scoring, groups, working_directory)
        return (scores, maps) if MODELS[model].has_maps else scores

    score_frames.__annotations__["config"] = MODELS[model].config_class
    return score_frames


def evaluate_node(model: str) -> Callable[..., Any]:
    """The node function that evaluates ``model``."""

    def evaluate_scores(
        scores: pd.DataFrame, labels: pd.DataFrame, frames: Clips, config: Any, seed: int, protocol: str, split: str
    ) -> tuple[dict[str, float], pd.DataFrame]:
        """Metrics under the headline protocol and beside it; and the regularity of every scored frame."""
        kind = MODELS[model]
        weights = kind.fusion(config)
        lengths = {clip: len(stored) for clip, stored in frames.items()}
        metrics = evaluate(scores, labels, kind.terms, weights, seed, split, lengths)
        if oracle_wanted(protocol):
            metrics |= oracle_metrics(scores, labels, kind.terms, weights, split)
        return metrics, scored_frames(scores, labels, kind.terms, weights, split)

    evaluate_scores.__annotations__["config"] = MODELS[model].config_class
    return evaluate_scores


def score_trivial_baselines(native_frames: Clips, split: str) -> pd.DataFrame:
    """Frame difference, foreground area and brightness of the frames to evaluate: what takes no learning.

    Raises:
        ValueError: another split than ``test`` is to be evaluated, and the data have no such clips.
    """
    if split != "test" and not native_frames.split(split):
        present = ", ".join(dict.fromkeys(clip.split("/", 1)[0] for clip in native_frames))
        raise ValueError(f"eval_split: the data have no clips of {split!r}, only of {present}; set it to one of these")
    return trivial_scores(native_frames, split)


def report_node(name: str, terms: Mapping[str, Term]) -> Callable[..., Any]:
    """The node function that draws what a detector found, whose scores have ``terms``."""

    def report_findings(
        metrics: dict[str, float],
        scored: pd.DataFrame,
        trivial: pd.DataFrame,
        labels: pd.DataFrame,
        checkpoint: Checkpoint,
        history: pd.DataFrame,
        frames: Clips,
        maps: Clips,
        scoring: Scoring,
        dataset: str,
        split: str,
        parts: dict[str, dict[str, float]] | None = None,
    ) -> tuple[Figure, Figure, Figure, Figure, Figure, str]:
        """Figures (regularity, peaks, ROC, kinds, learning curves) and the HTML report that holds them.

        Of a fused detector, ``parts`` are the metrics of its parts and of other weights; pictures are of one part.
        """
        found = (metrics, scored, trivial, labels, checkpoint, history, frames, maps, scoring, terms, split)
        return draw_report(Findings(name, dataset, *found, parts or {}))

    return report_findings

"""Nodes of a table of experiments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.experiments.experiments import Budget, Experiment, Row, run_row, table_of
from vad_pipeline.models import MODELS
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import trivial_metrics
from vad_pipeline.tracking import live_curves


def resize_node(row: Row) -> Callable[..., Any]:
    """The node function that makes clips as a row reads them."""

    def resize_frames(native_frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
        """Frames of the model's size and the row's colour, uint8 (T, height, width, channels)."""
        return resize_jobs(native_frames, row.size(size))

    return resize_frames


def row_node(experiment: Experiment, row: Row) -> Callable[..., Any]:
    """The node function that runs one row."""

    def run_experiment_row(
        frames: Clips,
        labels: pd.DataFrame,
        config: Any,
        size: FrameSize,
        scoring: Scoring,
        budget: Budget,
        working_directory: Path,
        split: str,
        pseudo: Clips | None = None,
    ) -> tuple[pd.DataFrame, dict[str, float]]:
        """Raw terms per frame and seed, and metrics averaged over seeds."""
        curves = live_curves(experiment.namespace(row))
        return run_row(
            row,
            config,
            row.size(size),
            budget,
            scoring,
            {"frames": frames},
            labels,
            working_directory,
            [curves] if curves else [],
            pseudo,
            split,
        )

    # Kedro builds the typed configuration from this annotation; functools.partial would lose it
    run_experiment_row.__annotations__["config"] = MODELS[row.model].config_class
    return run_experiment_row


def table_node(experiment: Experiment) -> Callable[..., Any]:
    """The node function that puts the rows together."""

    def tabulate_rows(
        dataset: str, split: str, labels: pd.DataFrame, trivial: pd.DataFrame, *metrics: Any
    ) -> pd.DataFrame:
        """The experiment's table, trivial baselines and published figures beside it."""
        named = {row.name: measured for row, measured in zip(experiment.rows, metrics, strict=True)}
        return table_of(experiment, named, trivial_metrics(trivial, labels, split=split), dataset)

    return tabulate_rows

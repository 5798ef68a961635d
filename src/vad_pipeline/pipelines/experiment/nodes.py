"""Nodes of a table of experiments."""

from pathlib import Path
from typing import Any

import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.experiments.experiments import EXPERIMENTS, Budget, run_row, table_of, with_overrides
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.pipelines.detector import nodes as detector
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import trivial_metrics
from vad_pipeline.tracking import live_curves


def resize_frames(experiment: str, row: str, native_frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
    """Frames of the model's size and the row's colour, uint8 (T, height, width, channels)."""
    return resize_jobs(native_frames, EXPERIMENTS[experiment].row(row).size(size))


def estimate_flow(
    experiment: str, row: str, frames: Clips, config: Any, tvl1: TVL1, flownet: FlowNetFlow
) -> dict[str, ClipJob]:
    """Flow as the row reads it, float16 (T-1, H, W, 2); no clips where it reads none."""
    declared = EXPERIMENTS[experiment].row(row)
    model = SYSTEMS[declared.system].parts[ONLY].model
    return detector.estimate_flow(model, frames, with_overrides(config, declared.overrides), tvl1, flownet)


def run_experiment_row(
    experiment: str,
    row: str,
    labels: pd.DataFrame,
    config: Any,
    size: FrameSize,
    scoring: Scoring,
    budget: Budget,
    working_directory: Path,
    split: str,
    dataset: str,
    images: bool,
    tvl1: TVL1 | None = None,
    flownet: FlowNetFlow | None = None,
    stored: Clips | None = None,
    **streams: Clips,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Raw terms per frame and seed, and metrics averaged over seeds."""
    table = EXPERIMENTS[experiment]
    declared = table.row(row)
    curves = live_curves(table.namespace(declared))
    return run_row(
        declared,
        config,
        declared.size(size),
        budget,
        scoring,
        streams,
        labels,
        working_directory,
        callbacks=lambda _: [curves] if curves else [],
        stored=stored,
        split=split,
        dataset=dataset,
        images=images,
        estimators=(tvl1, flownet),
    )


def tabulate_rows(
    experiment: str, dataset: str, split: str, labels: pd.DataFrame, trivial: pd.DataFrame, *metrics: Any
) -> pd.DataFrame:
    """The experiment's table, trivial baselines and published figures beside it."""
    table = EXPERIMENTS[experiment]
    named = {row.name: measured for row, measured in zip(table.rows, metrics, strict=True)}
    return table_of(table, named, trivial_metrics(trivial, labels, split=split), dataset)

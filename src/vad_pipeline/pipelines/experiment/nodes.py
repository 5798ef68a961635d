"""Nodes of a table of experiments."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.evaluation.evaluate import headline_normalisation, scored_frames
from vad_pipeline.experiments.experiments import EXPERIMENTS, Budget, run_row, table_of, with_overrides
from vad_pipeline.flow.dis import DIS
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.pipelines.detector import nodes as detector
from vad_pipeline.report.model_comparison import compared, gap_figure, models_roc_figure
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import trivial_metrics
from vad_pipeline.tracking import live_curves


def resize_frames(experiment: str, row: str, native_frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
    """Frames of the model's size and the row's colour, uint8 (T, height, width, channels)."""
    return resize_jobs(native_frames, EXPERIMENTS[experiment].row(row).size(size))


def estimate_flow(
    experiment: str, row: str, frames: Clips, config: Any, tvl1: TVL1, flownet: FlowNetFlow, dis: DIS
) -> dict[str, ClipJob]:
    """Flow as the row reads it, float16 (T-1, H, W, 2); no clips where it reads none."""
    declared = EXPERIMENTS[experiment].row(row)
    model = SYSTEMS[declared.system].parts[ONLY].model
    return detector.estimate_flow(model, frames, with_overrides(config, declared.overrides), tvl1, flownet, dis)


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
    dis: DIS | None = None,
    stored: Clips | None = None,
    **streams: Clips,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Raw terms per frame and seed, and metrics averaged over seeds."""
    table = EXPERIMENTS[experiment]
    declared = table.row(row)
    curves = live_curves(table.namespace(declared))
    found = run_row(
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
        estimators=(tvl1, flownet, dis),
    )
    return found.scores, found.metrics


def tabulate_rows(
    experiment: str, dataset: str, split: str, labels: pd.DataFrame, trivial: pd.DataFrame, *metrics: Any
) -> pd.DataFrame:
    """The experiment's table, trivial baselines and published figures beside it."""
    table = EXPERIMENTS[experiment]
    named = {row.name: measured for row, measured in zip(table.rows, metrics, strict=True)}
    return table_of(table, named, trivial_metrics(trivial, labels, split=split), dataset)


def draw_rows(experiment: str, split: str, images: bool, labels: pd.DataFrame, *inputs: Any) -> tuple[Figure, Figure]:
    """ROC curves of the rows, of their first seed, and gap scores with their spread over seeds (LGN-Net Figs. 8, 7).

    Args:
        experiment: its name.
        split: whose clips count.
        images: the data are single images.
        labels: columns clip, frame, label, kind.
        inputs: metrics of each row, then scores of each, then the parameters of each row's model.
    """
    rows = EXPERIMENTS[experiment].rows
    metrics, scores, configs = (inputs[n * len(rows) : (n + 1) * len(rows)] for n in range(3))
    how = headline_normalisation(images)
    found = {}
    for row, measured, of_seeds, base in zip(rows, metrics, scores, configs, strict=True):
        model = model_class(SYSTEMS[row.system].parts[ONLY].model)
        config = with_overrides(TypeAdapter(model.config_class).validate_python(base), row.overrides)
        first = of_seeds[of_seeds["seed"] == of_seeds["seed"].iloc[0]].drop(columns="seed")
        drawn = compared(scored_frames(first, labels, model.terms, model.fusion(config), split, how))
        found[row.title] = replace(drawn, gap=measured["gap"], gap_spread=measured["gap_std"])
    return models_roc_figure(found, "micro AUC of the first seed, %"), gap_figure(found)

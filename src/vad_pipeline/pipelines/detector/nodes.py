"""Nodes that every system's pipeline has; what depends on the system is bound to them (``pipelines/bound.py``)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.held_out import with_parts
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.detection.alarms import alarm_metrics
from vad_pipeline.detection.held_out import threshold_metrics
from vad_pipeline.evaluation.fusion import join_scores
from vad_pipeline.evaluation.measure import Protocol, measure
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.flow.dis import DIS
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.models.build import build, configuration
from vad_pipeline.models.systems import SYSTEMS, model_class, rows_of, terms_of
from vad_pipeline.report.detector_report import Findings, draw_report
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.scoring.trivial_baselines import trivial_metrics, trivial_scores
from vad_pipeline.tracking import live_curves
from vad_pipeline.training.streams import described_jobs, flow_jobs, recipes_of
from vad_pipeline.training.train import Origin, Training, train


def resize_frames(native_frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
    """Frames of the size and colour that the model reads, uint8 (T, height, width, channels)."""
    return resize_jobs(native_frames, size)


def estimate_flow(
    model: str, frames: Clips, config: Any, tvl1: TVL1, flownet: FlowNetFlow, dis: DIS
) -> dict[str, ClipJob]:
    """Flow of the model's frames, float16 (T-1, H, W, 2); no clips where its configuration reads none."""
    recipe = recipes_of(model_class(model).streams(config), tvl1, flownet, dis).get("flow")
    return {} if recipe is None else flow_jobs(frames, recipe)


def describe_frames(model: str, frames: Clips, config: Any, scoring: Scoring) -> dict[str, ClipJob]:
    """Features of native frames, float16 (T, dimension); no clips where its configuration reads none."""
    stream = model_class(model).streams(config).get("features")
    return {} if stream is None else described_jobs(frames, stream.recipe, scoring.options().device)


def train_model(
    model: str,
    namespace: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    working_directory: Path,
    dataset: str,
    native_frames: Clips,
    tvl1: TVL1 | None = None,
    flownet: FlowNetFlow | None = None,
    dis: DIS | None = None,
    stored: Clips | None = None,
    **streams: Clips,
) -> tuple[Checkpoint, pd.DataFrame]:
    """Train on normal clips, or take the result where that was done before; checkpoint and history."""
    curves = live_curves(namespace)
    native = next((clip.shape[1:] for clip in native_frames.split("train").values()), None)
    origin = Origin(dataset, recipes_of(model_class(model).streams(config), tvl1, flownet, dis), native)
    callbacks = [curves] if curves else []
    trained = train(model, config, size, training, seed, streams, working_directory, callbacks, stored, origin)
    return trained.checkpoint, trained.history


def score_frames(
    model: str,
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
    held_out = checkpoint.about["held_out"]
    clips = with_parts({name: streams[name] for name in model_class(model).streams(config)}, held_out)
    present = next(iter(clips.values()))
    groups = [group for group in (list(present.split(split)), [c for c in held_out if c in present]) if group]
    scores, maps = score_clips(build(checkpoint), clips, scoring, groups, working_directory)
    return (scores, maps) if model_class(model).has_maps else scores


def fuse_scores(*scores: pd.DataFrame) -> pd.DataFrame:
    """Raw terms of the frames that all parts score."""
    return join_scores(scores)


def evaluate_system(
    system: str,
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    trivial: pd.DataFrame,
    native_frames: Clips,
    seed: int,
    protocol: str,
    split: str,
    dataset: str,
    images: bool,
    *checkpoints: Checkpoint,
) -> tuple[dict[str, float], pd.DataFrame, pd.DataFrame, dict[str, dict[str, float]]]:
    """Metrics under the headline protocol and beside it, of the threshold that held-out footage supports and of its
    alarms; the table, every frame's regularity, further rows' metrics."""
    declared = SYSTEMS[system]
    normaliser = {term: values for checkpoint in checkpoints for term, values in checkpoint.normaliser.items()}
    fps = {clip: stored.fps for clip, stored in native_frames.items()}
    measured = measure(
        scores,
        labels,
        terms_of(declared),
        rows_of(declared, configuration(checkpoints[0])),
        Protocol(protocol, split, seed, images),
        dataset,
        {clip: len(stored) for clip, stored in native_frames.items()},
        trivial_metrics(trivial, labels, split=split, fps=fps) if len(labels) else {},
        checkpoints[0].about["held_out"],
        normaliser,
        fps,
    )
    metrics, parts = measured.metrics, dict(zip(declared.parts, checkpoints, strict=True))
    if not images:
        metrics = metrics | threshold_metrics(declared, parts) | alarm_metrics(declared, parts, scores, labels)
    scored = _with_seconds(measured.scored, native_frames)
    return metrics, measured.table, scored, measured.others


def _with_seconds(scored: pd.DataFrame, native_frames: Clips) -> pd.DataFrame:
    """The table with a column second, when each frame is shown; nan where that is not known."""
    seconds = pd.Series(np.nan, scored.index)
    for clip, rows in scored.groupby("clip", sort=False).groups.items():
        times = native_frames[str(clip)].times()
        if times is not None:
            seconds[rows] = times[scored.loc[rows, "frame"]]
    return scored.assign(second=seconds)


def score_trivial_baselines(native_frames: Clips, split: str) -> pd.DataFrame:
    """Frame difference, foreground area and brightness of the frames to evaluate: what takes no learning.

    Raises:
        ValueError: another split than ``test`` is to be evaluated, and the data have no such clips.
    """
    if split != "test" and not native_frames.split(split):
        present = ", ".join(dict.fromkeys(clip.split("/", 1)[0] for clip in native_frames))
        raise ValueError(f"eval_split: the data have no clips of {split!r}, only of {present}; set it to one of these")
    return trivial_scores(native_frames, split)


def report_findings(
    system: str,
    metrics: dict[str, float],
    rows: dict[str, dict[str, float]],
    scored: pd.DataFrame,
    trivial: pd.DataFrame,
    labels: pd.DataFrame,
    checkpoint: Checkpoint,
    history: pd.DataFrame,
    shown_frames: Clips,
    scoring: Scoring,
    dataset: str,
    split: str,
    images: bool,
    maps: Clips | None = None,
    **streams: Clips,
) -> tuple[Figure, Figure, Figure, Figure, Figure, Figure, str]:
    """Figures (regularity, peaks, reconstructions, ROC, kinds, learning curves) and the HTML report that holds them.

    Of a fused system, ``rows`` are the metrics of its parts and of other weights; pictures are of one part.
    """
    return draw_report(
        Findings(
            system=system,
            dataset=dataset,
            metrics=metrics,
            rows=rows,
            scored=scored,
            trivial=trivial,
            labels=labels,
            terms=terms_of(SYSTEMS[system]),
            checkpoint=checkpoint,
            history=history,
            frames=shown_frames,
            streams=streams,
            maps=maps if maps is not None else Clips({}),
            scoring=scoring,
            split=split,
            images=images,
        )
    )

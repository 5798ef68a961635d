"""Nodes of the pseudo_anomalies pipeline. Clips of the training split are normal; only they get twins."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.anomalies.flow_mixup import FlowMixup
from vad_pipeline.anomalies.masks import Masks, hole_jobs, object_jobs
from vad_pipeline.anomalies.pool import Pool, Run, run_of, runs_of
from vad_pipeline.anomalies.table import mask_metrics, pseudo_anomaly_table
from vad_pipeline.anomalies.temporal import temporal_jobs
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.inpainting.filled_clips import Inpainting, inpainter_of, spatial_jobs
from vad_pipeline.inpainting.fit_inpainter import CROP, InpainterFit, fit_inpainter, held_out_errors, not_fitted
from vad_pipeline.inpainting.latent_inpainter import Config
from vad_pipeline.report.figures import learning_curves_figure
from vad_pipeline.report.gallery import draw_gallery
from vad_pipeline.tracking import live_curves


def find_objects(frames: Clips, masks: Masks) -> dict[str, ClipJob]:
    """Moving objects of every training frame, bool (T, H, W)."""
    train = frames.split("train")
    if not train:
        raise ValueError("pseudo_anomalies: no training clips; the raw data need normal footage in the train split")
    return object_jobs(train, masks)


def choose_holes(objects: Clips, masks: Masks, pool: Pool, seed: int) -> dict[str, ClipJob]:
    """What is replaced in each frame of the pool, bool (T, H, W), one clip per run of frames."""
    runs = runs_of({clip: len(stored) for clip, stored in objects.items()}, pool, seed)
    return hole_jobs(objects, runs, masks, seed)


def fit_node(namespace: str) -> Callable[..., tuple[Checkpoint, pd.DataFrame]]:
    """The node function that fits the inpainter of a namespace."""

    def fit(
        frames: Clips,
        objects: Clips,
        config: Config,
        masks: Masks,
        inpainting: Inpainting,
        training: InpainterFit,
        seed: int,
        working_directory: Path,
    ) -> tuple[Checkpoint, pd.DataFrame]:
        """Fit a latent inpainter to the training clips, or take it where that was done; nothing for another source."""
        if inpainting.source != "fit":
            return not_fitted(inpainting.source)
        train, crop = frames.split("train"), inpainting.crop or CROP
        callbacks = [curves] if (curves := live_curves(namespace)) else []
        fitted = fit_inpainter(train, objects, config, masks, crop, training, seed, working_directory, callbacks)
        return fitted.checkpoint, fitted.history

    return fit


def inpaint(
    frames: Clips, holes: Clips, checkpoint: Checkpoint, inpainting: Inpainting, seed: int
) -> dict[str, ClipJob]:
    """Spatial pseudo-anomalies, uint8 (T, H, W, C), named like the holes."""
    inpainter = inpainter_of(inpainting, checkpoint)
    return spatial_jobs(frames, holes, _runs(holes), inpainter, inpainting, seed)


def mix_flow(flow: Clips, holes: Clips, mixup: FlowMixup, seed: int) -> dict[str, ClipJob]:
    """Temporal pseudo-anomalies, float16 (T, H, W, 2), named like the holes."""
    missing = [run.clip for run in _runs(holes) if run.clip not in flow]
    if missing:
        raise ValueError(
            f"flow_tvl1 lacks {missing[0]} and {len(set(missing)) - 1} other clips; put tvl1 among "
            "optical_flow.estimators"
        )
    return temporal_jobs(flow, holes, _runs(holes), mixup, seed)


def tabulate(
    frames: Clips,
    objects: Clips,
    holes: Clips,
    spatial: Clips,
    temporal: Clips,
    checkpoint: Checkpoint,
    masks: Masks,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """One row per pseudo-anomalous frame; figures on masks and on the inpainter's held-out errors."""
    table = pseudo_anomaly_table(objects, holes, spatial, temporal, _runs(holes), masks, seed)
    return table, mask_metrics(table) | held_out_errors(checkpoint, frames, objects)


def report(
    dataset: str,
    frames: Clips,
    holes: Clips,
    spatial: Clips,
    flow: Clips,
    temporal: Clips,
    table: pd.DataFrame,
    metrics: dict[str, float],
    checkpoint: Checkpoint,
    history: pd.DataFrame,
    inpainting: Inpainting,
) -> tuple[Figure, Figure, str]:
    """Gallery, learning curves of the fit, and the HTML page."""
    gallery, html = draw_gallery(
        dataset, frames, holes, spatial, flow, temporal, table, metrics, checkpoint, inpainting.source
    )
    return gallery, learning_curves_figure(history), html


def _runs(holes: Clips) -> list[Run]:
    return [run_of(name, len(stored)) for name, stored in holes.items()]

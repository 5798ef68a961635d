"""Nodes of the flownet_training pipeline."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.flow.flownet import Config
from vad_pipeline.flow.rendered_pairs import RenderedPairs
from vad_pipeline.flow.train_flownet import FlowNetFit, train_flownet
from vad_pipeline.report.figures import learning_curves_figure
from vad_pipeline.report.flow_report import rendered_pairs_figure
from vad_pipeline.tracking import live_curves

Textures = Literal["procedural", "frames"]
FRAMES_PER_CLIP = 2


def choose_textures(native_frames: Clips, textures: Textures) -> list[np.ndarray]:
    """Frames of the training clips that surfaces are cut from, uint8 (H, W, C); none for procedural textures."""
    if textures not in ("procedural", "frames"):
        raise ValueError(f"flownet_training.textures: {textures!r}; choose procedural or frames")
    if textures == "procedural":
        return []
    chosen = []
    for clip in native_frames.split("train").values():
        array = clip.array()
        chosen += [np.array(array[i]) for i in np.linspace(0, len(array) - 1, FRAMES_PER_CLIP).astype(int)]
    return chosen


def train(
    textures: list[np.ndarray],
    network: Config,
    rendered: RenderedPairs,
    training: FlowNetFit,
    seed: int,
    working_directory: Path,
) -> tuple[Checkpoint, pd.DataFrame, dict[str, float]]:
    """Train FlowNet, or take the result where that was done before; weights, history and errors in pixels."""
    curves = live_curves("flownet_training")
    trained = train_flownet(
        network, rendered, training, seed, working_directory, textures or None, [curves] if curves else []
    )
    return trained.checkpoint, trained.history, dict(trained.checkpoint.about["errors"])


def report(
    textures: list[np.ndarray], rendered: RenderedPairs, seed: int, checkpoint: Checkpoint, history: pd.DataFrame
) -> tuple[Figure, Figure]:
    """Held-out pairs with true and estimated flow, and learning curves."""
    return rendered_pairs_figure(rendered, seed, checkpoint, textures or None), learning_curves_figure(history)

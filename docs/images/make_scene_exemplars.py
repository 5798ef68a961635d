"""Draws scene_exemplars.png and scene_exemplars_places.png, after `kedro run --pipeline=scene_exemplars`.

    python docs/images/make_scene_exemplars.py [environment]

Of the built-in scenes, or of another environment's clips: what the trained model sees of an abnormal and of a normal
frame, and what it has learnt of each place.
"""

import sys
from collections import deque
from pathlib import Path

import numpy as np
import pandas as pd
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clip
from vad_pipeline.clips.resize import to_gray
from vad_pipeline.models.build import build
from vad_pipeline.models.layers.foreground import CELL, Background
from vad_pipeline.models.layers.moving_cells import cells_in_motion
from vad_pipeline.models.scene_exemplars import SceneExemplars

FOLDER = Path(__file__).parent
PROJECT = FOLDER.parents[1]
HIGHEST = 15.0  # surprise that is drawn in the brightest colour


def main(environment: str | None) -> None:
    """Draw both pictures."""
    bootstrap_project(PROJECT)
    with KedroSession.create(project_path=PROJECT, env=environment) as session:
        catalog = session.load_context().catalog
        model = build(catalog.load("scene_exemplars.checkpoint"))
        assert isinstance(model, SceneExemplars)
        save(frames_figure(model, catalog), "scene_exemplars.png")
        save(places_figure(model), "scene_exemplars_places.png")


def save(figure: Figure, name: str) -> None:
    """Write a picture; the two of the built-in scenes have under 300 KB together."""
    figure.savefig(FOLDER / name, dpi=64, pil_kwargs={"optimize": True})


def frames_figure(model: SceneExemplars, catalog: DataCatalog) -> Figure:
    """Frame, foreground, motion and surprise of the most surprising frame and of a usual one of the same clip."""
    scored: pd.DataFrame = catalog.load("scene_exemplars.scored_frames")
    abnormal = scored[scored["kind"].str.contains("against")]
    top = (abnormal if len(abnormal) else scored).sort_values("surprise").iloc[-1]
    others = scored[(scored["clip"] == top["clip"]) & (scored["label"].fillna(0) == 0)].sort_values("surprise")
    usual = others.iloc[len(others) // 2]
    frames, maps = (catalog.load(f"scene_exemplars.{name}")[top["clip"]] for name in ("frames", "maps"))
    figure = Figure(figsize=(14.4, 5.2), layout="constrained")
    for axes, row, title in zip(figure.subplots(2, 4), (top, usual), ("abnormal", "normal"), strict=True):
        number = int(row["frame"])
        mapped = model.window(model.config).scored(len(frames)).index(number)
        draw(axes, model, frames, number, np.asarray(maps.array()[mapped], np.float32))
        axes[0].set_title(f"{row['clip']}, frame {number}, {title}", fontsize=10, loc="left")
        axes[3].set_title(f"surprise; the frame's: {row['surprise']:.1f}", fontsize=10, loc="left")
    return figure


def draw(axes: list[Axes], model: SceneExemplars, frames: Clip, number: int, surprise: np.ndarray) -> None:
    """One line of the figure."""
    pixels, gap = frames.array(), model.config.gap
    background = Background(model.background.numpy().astype(np.float32), gap, model.config.threshold)
    grays: deque[np.ndarray] = deque(maxlen=2 * gap + 1)
    masks: deque[np.ndarray] = deque(maxlen=2 * gap + 1)
    for t in range(number + gap + 1):
        grays.append(to_gray(np.asarray(pixels[t])))
        masks.append(background.foreground(grays[-1]))
    places, velocity = cells_in_motion(list(grays), masks[gap], gap, model.config.border)
    frame = np.squeeze(np.asarray(pixels[number]))
    gray = grays[gap]
    axes[0].imshow(frame, cmap="gray")
    axes[1].imshow(masks[gap], cmap="gray")
    axes[1].set_title("foreground", fontsize=10, loc="left")
    axes[2].imshow(gray, cmap="gray", alpha=0.45, vmin=0, vmax=255)
    shown = (places % 2 == 0).all(axis=1)
    y, x = CELL * (places[shown].T + 0.5)
    axes[2].quiver(x, y, *velocity[shown].T, angles="xy", scale_units="xy", scale=0.4, color="tab:red", width=0.004)
    axes[2].set_title("motion of cells", fontsize=10, loc="left")
    axes[3].imshow(gray, cmap="gray", vmin=0, vmax=255)
    height, width = gray.shape
    shade = np.ma.masked_equal(surprise, 0)
    drawn = axes[3].imshow(
        shade, cmap="inferno", vmin=0, vmax=HIGHEST, extent=(-0.5, width - 0.5, height - 0.5, -0.5), alpha=0.9
    )
    axes[3].figure.colorbar(drawn, ax=axes[3], shrink=0.8, pad=0.01)
    for axis in axes:
        axis.set_axis_off()


def places_figure(model: SceneExemplars) -> Figure:
    """The empty scene, how often something was where, and the speeds that are usual in each row."""
    figure = Figure(figsize=(13.5, 2.7), layout="constrained")
    scene, places, speeds = figure.subplots(1, 3, width_ratios=(1.5, 1.65, 1.5))
    scene.imshow(model.background.numpy(), cmap="gray", vmin=0, vmax=255)
    scene.set_title("background", fontsize=10, loc="left")
    share = model.occupied[0].sum(dim=0).numpy() / max(1, int(model.frames_seen[0].sum()))
    drawn = places.imshow(100 * share, cmap="viridis")
    figure.colorbar(drawn, ax=places, shrink=0.8, pad=0.01)
    places.set_title("training frames with something there, %", fontsize=10, loc="left")
    usual, fast = model.row_speeds.numpy()
    rows = np.arange(len(usual))
    speeds.plot(usual, rows, label="median")
    speeds.plot(fast, rows, label="95th percentile")
    speeds.invert_yaxis()
    speeds.set(xlabel="speed, pixels a gap", ylabel="row of cells")
    speeds.legend(fontsize=8)
    for axis in (scene, places):
        axis.set_axis_off()
    return figure


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)

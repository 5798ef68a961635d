"""What pseudo-anomalies look like: figure and HTML page of the pseudo_anomalies pipeline (paper Fig. 2)."""

from collections.abc import Mapping

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vad_pipeline.anomalies.crops import Square, cut, placed_inside, square_around
from vad_pipeline.anomalies.masks import components
from vad_pipeline.anomalies.pool import run_of
from vad_pipeline.clips.clip import Clips
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.report.contact_sheet import FLOW_SCALE, displayable
from vad_pipeline.report.html import render_report
from vad_pipeline.report.names import shown

matplotlib.use("Agg")

EXAMPLES = 8
CLOSE_UP = 48  # pixels, the smallest close-up
CLOSE_UPS = ("close up: before", "after", "difference")
TITLES = ("original", "hole", "result", *CLOSE_UPS, "flow", "mixed up")


def draw_gallery(
    dataset: str,
    frames: Clips,
    holes: Clips,
    spatial: Clips,
    flow: Clips,
    temporal: Clips,
    table: pd.DataFrame,
    metrics: Mapping[str, float],
    checkpoint: Checkpoint,
    source: str,
) -> tuple[Figure, str]:
    """The gallery as a figure, and the page that holds it."""
    figure = gallery_figure(frames, holes, spatial, flow, temporal)
    facts = {
        "clips": f"{table['clip'].nunique()} normal training clips",
        "spatial": f"{metrics['spatial_frames']:.0f} frames, inpainted by {_inpainter(source)}",
        "temporal": f"{metrics['temporal_frames']:.0f} flow fields, mixed up",
    }
    if "object_psnr" in metrics:
        facts["autoencoder"] = (
            f"{metrics['object_psnr']:.1f} dB inside moving objects of held-out frames; the scene without them: "
            f"{metrics['object_median_psnr']:.1f} dB"
        )
    if "seconds" in checkpoint.about:
        facts["fitted in"] = f"{checkpoint.about['seconds'] / 60:.1f} min, seed {checkpoint.about['seed']}"
    html = render_report(
        title=f"pseudo-anomalies of {dataset}",
        facts=facts,
        caption="What the masks take of the picture, in per cent, and how many parts a mask has.",
        table=_mask_table(table),
        figures={
            "Gallery": (
                "One frame of each clip: the original, the hole, the frame with its hole filled, both again close up, "
                "the absolute difference (black: 40 gray levels or more); and the flow before and after a rectangle of "
                f"it was mixed with another one (full colour: {FLOW_SCALE:g} pixels a frame).",
                figure,
            )
        },
    )
    return figure, html


def gallery_figure(frames: Clips, holes: Clips, spatial: Clips, flow: Clips, temporal: Clips) -> Figure:
    """A line per example, spread over the runs: original, hole, result, difference; flow before and after."""
    names = list(spatial)
    chosen = [names[i * len(names) // min(EXAMPLES, len(names))] for i in range(min(EXAMPLES, len(names)))]
    height, width = spatial[chosen[0]].shape[1:3] if chosen else (2, 3)
    widths = [1.0 if title in CLOSE_UPS else width / height for title in TITLES]
    figure = Figure(figsize=(1.5 * sum(widths), 1.62 * max(1, len(chosen))), layout="constrained")
    axes = figure.subplots(max(1, len(chosen)), len(TITLES), squeeze=False, width_ratios=widths)
    for axis in axes.flat:
        axis.axis("off")
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=9, loc="left")
    for line, name in zip(axes, chosen, strict=False):
        run = run_of(name, len(spatial[name]))
        mixed = temporal[name].array()
        row = _most_telling(holes[name].array(), len(mixed))
        _spatial(line[:6], frames[run.clip].array()[run.start + row], *(c[name].array()[row] for c in (holes, spatial)))
        if len(mixed):
            line[6].imshow(displayable(flow[run.clip].array()[run.start + row]))
            line[7].imshow(displayable(mixed[row]))
        line[0].text(
            0, -0.04, shown(f"{run.clip}, frame {run.start + row}"), fontsize=7, va="top", transform=line[0].transAxes
        )
    return figure


def _spatial(axes: list[Axes], original: np.ndarray, hole: np.ndarray, result: np.ndarray) -> None:
    """The six pictures of a spatial pseudo-anomaly."""
    shaded = displayable(original).copy()
    shaded[hole] = (255, 80, 60)
    for axis, picture in zip(axes, (displayable(original), shaded, displayable(result)), strict=False):
        axis.imshow(picture)
    part = max(components(hole), key=lambda found: int(found.mask.sum()))
    around = square_around(part.box, CLOSE_UP, *hole.shape)
    less = max(0, around.side - min(hole.shape))  # no wider than the frame, which would be mirrored
    inner = Square(around.top + less // 2, around.left + less // 2, around.side - less)
    square = placed_inside(inner, *hole.shape)
    for axis, picture in zip(axes[3:], (original, result), strict=False):
        axis.imshow(cut(displayable(picture), square, square.side))
    difference = np.abs(original.astype(np.int16) - result).max(axis=-1).astype(np.uint8)
    axes[5].imshow(cut(difference, square, square.side), cmap="gray_r", vmin=0, vmax=40)


def _most_telling(holes: np.ndarray, flows: int) -> int:
    """The row, of a few over a clip, with the largest hole."""
    last = max(0, (flows or len(holes)) - 1)
    rows = np.unique(np.linspace(0, min(last, len(holes) - 1), 12).astype(int))
    return int(max(rows, key=lambda row: int(np.asarray(holes[row]).sum())))


def _mask_table(table: pd.DataFrame) -> pd.DataFrame:
    frames = table.drop_duplicates(["clip", "frame"])
    rows = {}
    for kind, part in frames.groupby("mask"):
        share = 100 * part["mask_share"]
        rows["masks of moving objects" if kind == "objects" else "random masks"] = [
            str(len(part)),
            *(f"{value:.1f}" for value in (share.mean(), share.quantile(0.1), share.median(), share.quantile(0.9))),
            f"{part['parts'].mean():.1f}",
        ]
    columns = ["frames", "mean", "10%", "median", "90%", "parts"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _inpainter(source: str) -> str:
    return {"fit": "a latent diffusion model fitted to these clips", "telea": "OpenCV (Telea)"}.get(source, source)

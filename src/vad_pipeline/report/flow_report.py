"""What optical flow looks like and how far to trust it: figures and HTML report of the optical_flow pipeline."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.flow.comparison import BINS, FlowComparison, Pair, sampled_pairs
from vad_pipeline.flow.flownet import estimate
from vad_pipeline.flow.flownet_checkpoint import flownet_of
from vad_pipeline.flow.rendered_pairs import HELD_OUT, RenderedPairs, render_pair
from vad_pipeline.flow.representation import colour_wheel
from vad_pipeline.flow.warp import warp
from vad_pipeline.report.contact_sheet import FLOW_SCALE, displayable
from vad_pipeline.report.html import render_report
from vad_pipeline.report.names import shown

matplotlib.use("Agg")

TITLES = {"tvl1": "TV-L1", "flownet": "FlowNet", "dis": "DIS", "no_motion": "no motion"}
COLOURS = {"tvl1": "#1f77b4", "flownet": "#ff7f0e", "dis": "#2ca02c", "no_motion": "#9e9e9e"}
EXAMPLES = 5  # clips with a picture


def draw_flow_report(
    dataset: str, frames: Clips, flows: Mapping[str, Clips], found: FlowComparison
) -> tuple[Figure, Figure, Figure, str]:
    """Figures of examples, magnitudes and disagreement, and the report that holds them."""
    examples = examples_figure(frames, flows)
    magnitudes = magnitudes_figure(found)
    disagreement = disagreement_figure(found)
    figures = {
        "Examples": (
            "The pair of each clip with the most change; flow by the colour wheel; what is left of the difference "
            "after the later frame is warped to the earlier one (white: nothing).",
            examples,
        ),
        "Magnitudes": ("Share of all pixels of the sampled pairs, by length of the motion.", magnitudes),
    }
    if found.disagreement is not None:
        caption = (
            "Mean endpoint difference of two estimators at each place of the picture, averaged over all pairs of them."
        )
        figures["Where the estimators disagree"] = (caption, disagreement)
    sizes = {f"{clip.shape[2]}x{clip.shape[1]}" for clip in frames.values()}
    html = render_report(
        title=f"optical flow on {dataset}",
        facts={
            "frames": f"{sum(map(len, frames.values()))} of {len(frames)} clips, {', '.join(sorted(sizes))}",
            "measured on": f"{found.metrics['pairs']:.0f} pairs, spread evenly over the clips",
        },
        caption=(
            "Warp error: mean absolute difference in gray levels between the earlier frame and the later one warped to "
            "it. Moving pixels are those whose gray value changes by more than 10 levels, whatever an estimator says. "
            "Ground that motion uncovers has no counterpart, so even true flow leaves an error. Low error does not "
            "prove right vectors: flow may bend to fit noise."
        ),
        table=_table(found.metrics, flows),
        figures=figures,
    )
    return examples, magnitudes, disagreement, html


def examples_figure(frames: Clips, flows: Mapping[str, Clips], examples: int = EXAMPLES) -> Figure:
    """A line per clip: the earlier frame, and for each estimator its flow in colours and the error after warping."""
    pairs: dict[str, tuple[float, Pair]] = {}
    for pair in sampled_pairs(frames, flows):
        change = float(np.abs(pair.earlier.astype(np.int16) - pair.later).mean())
        if change >= pairs.get(pair.clip, (-1.0, pair))[0]:
            pairs[pair.clip] = (change, pair)
    names = list(pairs)
    chosen = [pairs[names[i * len(names) // min(examples, len(names))]][1] for i in range(min(examples, len(names)))]
    columns = 2 + 2 * len(flows)
    figure = Figure(figsize=(2.3 * columns, 1.75 * len(chosen) + 1.2), layout="constrained")
    axes = figure.subplots(len(chosen) + 1, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for row, pair in zip(axes, chosen, strict=False):
        row[0].imshow(displayable(pair.earlier))
        row[0].set_title(shown(f"{pair.clip}, frame {pair.frame}"), fontsize=8, loc="left")
        _error(row[1], pair, np.zeros((*pair.earlier.shape[:2], 2), np.float32), "frame difference")
        for i, (name, flow) in enumerate(pair.flows.items()):
            row[2 + 2 * i].imshow(displayable(flow))
            row[2 + 2 * i].set_title(TITLES[name], fontsize=8, loc="left")
            _error(row[3 + 2 * i], pair, flow, "after warping")
    axes[-1, 0].imshow(colour_wheel(128))
    axes[-1, 0].set_title(f"full colour: {FLOW_SCALE:g} px a frame", fontsize=8, loc="left")
    return figure


def magnitudes_figure(found: FlowComparison) -> Figure:
    """Histogram of the lengths of motion, logarithmic in both directions."""
    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    axis = figure.subplots()
    edges = np.concatenate([[0.04], BINS[1:-1], [BINS[-2] * 1.2]])
    for name, shares in found.magnitudes.items():
        axis.stairs(shares, edges, color=COLOURS[name], lw=1.4, label=TITLES[name])
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("length of the motion, pixels a frame (the first bin holds all below 0.05)")
    axis.set_ylabel("share of pixels")
    if found.magnitudes:
        axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def disagreement_figure(found: FlowComparison) -> Figure:
    """Map of the mean endpoint difference of the estimators."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.axis("off")
    if found.disagreement is None:
        axis.text(0.5, 0.5, "one estimator: nothing to compare", ha="center", transform=axis.transAxes)
        return figure
    image = axis.imshow(found.disagreement, cmap="magma", vmin=0)
    figure.colorbar(image, ax=axis, label="mean endpoint difference, pixels")
    return figure


def _error(axis: matplotlib.axes.Axes, pair: Pair, flow: np.ndarray, title: str) -> None:
    warped = warp(np.ascontiguousarray(pair.later), flow)
    error = np.abs(warped.astype(np.float32) - pair.earlier).mean(axis=-1)
    axis.imshow(error, cmap="gray_r", vmin=0, vmax=60)
    axis.set_title(f"{title}: {error.mean():.2f}", fontsize=8, loc="left")


def _table(metrics: Mapping[str, float], flows: Mapping[str, Clips]) -> pd.DataFrame:
    columns = {"_warp_error": "warp error", "_warp_error_moving": "on moving pixels", "_mean_motion": "mean motion, px"}
    rows = {}
    for name in (*flows, "no_motion"):
        rows[TITLES[name]] = [
            f"{metrics[name + key]:.2f}" if name + key in metrics else "0" if key == "_mean_motion" else "–"
            for key in columns
        ]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(columns.values()))


def rendered_pairs_figure(
    rendered: RenderedPairs, seed: int, checkpoint: Checkpoint, textures: Sequence[np.ndarray] | None, pairs: int = 5
) -> Figure:
    """Held-out rendered pairs: both frames, true flow, FlowNet's flow, and its endpoint error."""
    network = flownet_of(checkpoint)
    figure = Figure(figsize=(9.5, 2.0 * pairs), layout="constrained")
    titles = ("earlier", "later", "true flow", "FlowNet", "endpoint error, px")
    axes = figure.subplots(pairs, len(titles), squeeze=False)
    for i, row in enumerate(axes):
        pair = render_pair(rendered, seed, HELD_OUT + i, textures)
        flow = estimate(network, pair.earlier[None], pair.later[None])[0]
        error = np.linalg.norm(flow - pair.flow, axis=-1)
        images = (pair.earlier, pair.later, displayable(pair.flow), displayable(flow))
        for axis, image in zip(row, images, strict=False):
            axis.imshow(image)
        row[-1].imshow(error, cmap="magma", vmin=0, vmax=2)
        row[-1].text(0.03, 0.9, f"mean {error.mean():.2f}", color="white", fontsize=8, transform=row[-1].transAxes)
        for axis, title in zip(row, titles, strict=True):
            axis.axis("off")
            if i == 0:
                axis.set_title(title, fontsize=9)
    return figure

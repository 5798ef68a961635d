"""Figures of a detector's results. Every function returns a matplotlib figure and shows nothing."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vad_pipeline.report.names import shown
from vad_pipeline.report.peaks import Peak
from vad_pipeline.sources.raw_clip import spans_of

matplotlib.use("Agg")

ABNORMAL = "#d62728"
NORMAL = "#1f77b4"
OWN = "#1f77b4"
TRIVIAL = "#9e9e9e"
TAIL = 0.995  # quantile of scores at which the axis of distributions ends


def regularity_figure(
    scored: pd.DataFrame, columns: int = 3, others: Mapping[str, pd.DataFrame] | None = None, name: str = ""
) -> Figure:
    """A curve of regularity per test clip, abnormal spans shaded red (LGN-Net Fig. 5).

    Args:
        scored: columns clip, frame, regularity, label, kind.
        columns: curves side by side.
        others: further models of the same clips, title -> columns clip, frame, regularity, a colour each.
        name: of the first model, in the legend that others bring.
    """
    others = others or {}
    clips = list(scored["clip"].unique())
    rows = max(1, -(-len(clips) // columns))
    figure = Figure(figsize=(4.6 * columns, 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axis in axes.flat[len(clips) :]:
        axis.set_visible(False)
    for axis, clip in zip(axes.flat, clips, strict=False):
        part = scored[scored["clip"] == clip]
        frames = part["frame"].to_numpy()
        labelled = bool(part["label"].notna().all())
        if labelled:
            for start, stop in spans_of(part["label"].astype(int)):
                axis.axvspan(frames[start], frames[stop - 1] + 1, color=ABNORMAL, alpha=0.18, lw=0)
        axis.plot(frames, part["regularity"], color=NORMAL, lw=1.1, label=shown(name))
        for number, (title, other) in enumerate(others.items(), start=1):
            of_clip = other[other["clip"] == clip]
            colour = colormaps["tab10"](number % 10)
            axis.plot(of_clip["frame"], of_clip["regularity"], color=colour, lw=0.9, label=shown(title))
        kinds = ", ".join(sorted(set(part["kind"]) - {""}))
        title = f"{clip}{'  ' + kinds if kinds else '' if labelled else '  (unlabelled)'}"
        axis.set_title(shown(title), fontsize=9, loc="left")
        axis.set_ylim(-0.03, 1.03)
        axis.margins(x=0)
        axis.tick_params(labelsize=7)
    if others and clips:
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    figure.supylabel("regularity (1 = normal)", fontsize=9)
    figure.supxlabel("frame; abnormal frames shaded" if scored["label"].notna().any() else "frame", fontsize=9)
    return figure


def distributions_figure(parts: Mapping[str, pd.DataFrame], term: str, columns: int = 1) -> Figure:
    """How a score of normal and of abnormal images is spread, a panel for each part.

    Args:
        parts: title -> columns ``term``, label.
        term: the score.
        columns: panels side by side.
    """
    rows = max(1, -(-len(parts) // columns))
    figure = Figure(figsize=(max(7, 2.3 * columns), max(3.2, 1.7 * rows)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(parts) :]:
        axis.set_visible(False)
    for axis, (title, part) in zip(axes.flat, parts.items(), strict=False):
        lowest, highest = part[term].min(), part[term].quantile(TAIL)
        bins = np.linspace(lowest, highest, 60).tolist()
        for label, name, colour in ((0, "normal", NORMAL), (1, "abnormal", ABNORMAL)):
            values = part.loc[part["label"] == label, term]
            axis.hist(values, bins=bins, color=colour, alpha=0.5, label=name, density=len(values) > 0)
        axis.set_title(shown(title), fontsize=8, loc="left")
        axis.tick_params(labelsize=7)
        axis.set_yticks([])
    axes.flat[0].legend(fontsize=8)
    figure.supxlabel(f"{term.replace('_', ' ')}; the highest {1 - TAIL:.1%} not shown", fontsize=8)
    return figure


def peaks_figure(peaks: Sequence[Peak]) -> Figure:
    """The most anomalous frame of each clip: frame with a red box on the strongest region, prediction, error map."""
    rows = max(1, len(peaks))
    figure = Figure(figsize=(9.5, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    for row, peak in zip(axes, peaks, strict=False):
        pictures = ((peak.frame, ""), (peak.prediction, "expected by the model"), (peak.error, "error map"))
        for axis, (image, title) in zip(row, pictures, strict=True):
            axis.set_axis_off()
            if image is None:
                continue
            gray = image.ndim == 2 or image.shape[-1] == 1
            axis.imshow(np.squeeze(image), cmap="inferno" if title == "error map" else "gray" if gray else None)
            axis.set_title(title, fontsize=9, loc="left")
        if peak.box is not None:
            x, y, width, height = peak.box
            row[0].add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, ec="red", lw=1.8))
        truth = {None: "", True: ", abnormal", False: ", normal"}[peak.abnormal]
        kind = f" ({peak.kind})" if peak.kind else ""
        row[0].set_title(shown(f"{peak.clip}, frame {peak.number}{truth}{kind}"), fontsize=7.5, loc="left")
    return figure


def roc_figure(curves: Mapping[str, tuple[pd.DataFrame, float]]) -> Figure:
    """Frame-level ROC curves.

    Args:
        curves: name -> (table fpr, tpr; micro AUC); the first one is drawn in colour, baselines in gray. Without any,
            the figure says so.
    """
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axis = figure.subplots()
    styles = ("--", ":", "-.")
    for number, (name, (table, auc)) in enumerate(curves.items()):
        colour, width, line = (OWN, 2.0, "-") if number == 0 else (TRIVIAL, 1.3, styles[number % 3])
        axis.plot(table["fpr"], table["tpr"], label=f"{name}  {100 * auc:.1f}", color=colour, lw=width, ls=line)
    if not curves:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no labels of both kinds of frames", ha="center", va="center")
        return figure
    axis.plot([0, 1], [0, 1], color="black", lw=0.6, alpha=0.4)
    axis.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.005))
    axis.legend(title="micro AUC, %", fontsize=8, title_fontsize=8, loc="lower right")
    return figure


def kinds_figure(areas: Mapping[str, float]) -> Figure:
    """How well each kind of anomaly is told from all normal frames.

    Args:
        areas: kind -> micro AUC of its frames against all normal ones.
    """
    names = sorted(areas, key=lambda kind: areas[kind])
    figure = Figure(figsize=(6.5, 0.8 + 0.32 * max(1, len(names))), layout="constrained")
    axis = figure.subplots()
    values = [100 * areas[name] for name in names]
    bars = axis.barh([shown(name) for name in names], values, color=NORMAL)
    axis.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8)
    axis.axvline(50, color="black", lw=0.8, ls="--")
    axis.set(xlim=(0, 108), xlabel="micro AUC against all normal frames, % (50 = chance)")
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def learning_curves_figure(history: pd.DataFrame) -> Figure:
    """Losses and PSNR per epoch, training and held-out normal clips.

    Args:
        history: columns epoch, name, value; names start with ``train_`` or ``val_``.
    """
    curves = history[history["name"].str.match("train_|val_")]
    quantities = list(dict.fromkeys(curves["name"].str.replace("^(train|val)_", "", regex=True)))
    columns = max(1, min(3, len(quantities)))
    rows = max(1, -(-len(quantities) // columns))
    figure = Figure(figsize=(4 * columns, 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(quantities) :]:
        axis.set_visible(False)
    for axis, quantity in zip(axes.flat, quantities, strict=False):
        for split, label, colour in (("train", "training", NORMAL), ("val", "held out", "#ff7f0e")):
            part = curves[curves["name"] == f"{split}_{quantity}"]
            if len(part):
                axis.plot(part["epoch"], part["value"], color=colour, label=label, marker=".", ms=4, lw=1.2)
        axis.set_title("PSNR, dB" if quantity == "psnr" else quantity.replace("_", " "), fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if quantities:
        axes.flat[0].legend(fontsize=7)
    figure.supxlabel("epoch", fontsize=9)
    return figure

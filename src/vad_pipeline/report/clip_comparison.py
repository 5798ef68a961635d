"""Several models on one clip: their curves, and the error each sees in one frame (pseudo-anomalies, Figs. 3, 4)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clip
from vad_pipeline.report.figures import ABNORMAL
from vad_pipeline.report.names import shown as shown_name
from vad_pipeline.scoring.regions import enlarged
from vad_pipeline.sources.raw_clip import spans_of


class OnClip(NamedTuple):
    """What a model says of a clip.

    Attributes:
        scored: columns frame, anomaly, label: its scored frames in order.
        maps: error maps (n, h, w).
        mapped: frame numbers (n,) of the maps; a fused detector's are those of one part, which may score more frames.
    """

    scored: pd.DataFrame
    maps: Clip
    mapped: np.ndarray


def most_abnormal_clip(scored: pd.DataFrame) -> str:
    """The clip with the most abnormal frames, of several the first; without labels the one with the highest score.

    Args:
        scored: columns clip, label, anomaly.
    """
    labels = scored.assign(label=scored["label"].fillna(0).astype(int)).groupby("clip", sort=False)["label"].sum()
    if labels.max() > 0:
        return str(labels.idxmax())
    return str(scored["clip"].iloc[int(scored["anomaly"].argmax())])


def clip_comparison_figure(clip: str, frames: Clip, models: Mapping[str, OnClip]) -> Figure:
    """Curves above, error maps of one frame below.

    The frame is the abnormal one (any, where none is labelled so) on which the models' scores are highest on average,
    among those that all of them score.

    Args:
        clip: its id, for the title.
        frames: uint8 (T, H, W, C).
        models: name -> what it says.
    """
    anomaly = pd.concat({name: model.scored.set_index("frame")["anomaly"] for name, model in models.items()}, axis=1)
    anomaly = anomaly.sort_index()
    first = next(iter(models.values())).scored
    abnormal = first.loc[first["label"].fillna(0).astype(int) == 1, "frame"]
    shared = anomaly.dropna()
    of_interest = shared[shared.index.isin(abnormal)]
    candidates = of_interest if len(of_interest) else shared
    shown = int(candidates.index[int(candidates.mean(axis=1).argmax())])

    figure = Figure(figsize=(2.4 * (len(models) + 1), 4.8), layout="constrained")
    grid = figure.add_gridspec(2, len(models) + 1, height_ratios=(1.3, 1))
    curves = figure.add_subplot(grid[0, :])
    numbers = first["frame"].to_numpy()
    for start, stop in spans_of(first["label"].fillna(0).to_numpy(int)):
        curves.axvspan(numbers[start], numbers[stop - 1] + 1, color=ABNORMAL, alpha=0.18, lw=0)
    for name in models:
        curves.plot(anomaly.index, anomaly[name], lw=1.2, label=name)
    curves.axvline(shown, color="black", lw=0.8, ls=":")
    curves.set(
        xlabel=f"frame of {shown_name(clip)}; abnormal frames shaded", ylabel="anomaly score", ylim=(-0.03, 1.03)
    )
    curves.margins(x=0)
    curves.legend(fontsize=7, loc="upper right")
    image = np.squeeze(np.asarray(frames.array()[shown]))
    axis = figure.add_subplot(grid[1, 0])
    axis.imshow(image, cmap="gray" if image.ndim == 2 else None)
    axis.set_title(f"frame {shown}", fontsize=8)
    axis.set_axis_off()
    for column, (name, model) in enumerate(models.items(), start=1):
        row = int(np.flatnonzero(model.mapped == shown)[0])
        axis = figure.add_subplot(grid[1, column])
        axis.imshow(enlarged(model.maps.array()[row].astype(np.float32), image.shape[:2]), cmap="inferno")
        axis.set_title(name, fontsize=8)
        axis.set_axis_off()
    return figure

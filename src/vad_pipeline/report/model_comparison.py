"""Several models on one data set: ROC curves in one figure (LGN-Net Figs. 4, 8), gap scores as bars (Fig. 7)."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vad_pipeline.evaluation.metrics import gap_score, micro_auc, roc_table
from vad_pipeline.report.figures import NORMAL


@dataclass(frozen=True)
class Compared:
    """What of a model is compared.

    Attributes:
        roc: columns fpr, tpr.
        micro_auc, gap: fractions; nan where the labels are of one class.
        gap_spread: standard deviation of the gap over seeds, nan of one seed.
    """

    roc: pd.DataFrame
    micro_auc: float
    gap: float
    gap_spread: float = float("nan")


def compared(scored: pd.DataFrame) -> Compared:
    """A model's figures from its scored frames.

    Args:
        scored: columns label (missing where unlabelled), anomaly, regularity.
    """
    labelled = scored.dropna(subset=["label"])
    label = labelled["label"].astype(int)
    anomaly = labelled["anomaly"]
    return Compared(roc_table(label, anomaly), micro_auc(label, anomaly), gap_score(label, labelled["regularity"]))


def models_roc_figure(models: Mapping[str, Compared], legend: str = "micro AUC, %") -> Figure:
    """Frame-level ROC curves, a colour each; the legend has the areas, the highest first.

    Args:
        models: title -> what is compared of it.
        legend: its title.
    """
    figure = Figure(figsize=(5.6, 5.0), layout="constrained")
    axis = figure.subplots()
    colours = dict(zip(models, colormaps["tab10"].colors * (1 + len(models) // 10), strict=False))  # type: ignore[attr-defined]
    for name in sorted(models, key=lambda name: -models[name].micro_auc):
        model = models[name]
        label = f"{name}  {100 * model.micro_auc:.1f}"
        axis.plot(model.roc["fpr"], model.roc["tpr"], label=label, color=colours[name], lw=1.5)
    axis.plot([0, 1], [0, 1], color="black", lw=0.6, alpha=0.4)
    axis.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.005))
    axis.legend(title=legend, fontsize=8, title_fontsize=8, loc="lower right")
    return figure


def gap_figure(models: Mapping[str, Compared]) -> Figure:
    """Gap scores as bars, in the given order: mean regularity of normal frames minus that of abnormal ones.

    Args:
        models: title -> what is compared of it; where several seeds were run, bars show their standard deviation.
    """
    figure = Figure(figsize=(6.5, 0.9 + 0.36 * max(1, len(models))), layout="constrained")
    axis = figure.subplots()
    gaps = [model.gap for model in models.values()]
    spreads = [model.gap_spread for model in models.values()]
    bars = axis.barh(list(models), gaps, xerr=spreads, color=NORMAL, error_kw={"lw": 1})
    axis.bar_label(bars, [f"{gap:.3f}" for gap in gaps], padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.axvline(0, color="black", lw=0.8)
    axis.margins(x=0.15)
    axis.set(xlabel="gap score (larger: normal and abnormal frames are further apart)")
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return figure

"""Several models on one data set as one page: which is best and how sure that is, what each finds, and when."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vad_pipeline.evaluation.metrics import bootstrap_difference
from vad_pipeline.report.detector_report import COLUMNS
from vad_pipeline.report.figures import regularity_figure
from vad_pipeline.report.html import render_report
from vad_pipeline.report.model_comparison import Compared, models_roc_figure
from vad_pipeline.report.names import shown

KIND = "micro_auc_global_kind_"
CLIPS = 24  # with curves on the page, the first ones with labelled frames
CAPTION = (
    "Frame level, per cent, the best first. Headline: micro AUC, every term min-max normalised per clip, no smoothing. "
    "The interval is a 95% bootstrap over test clips. Global scales all clips at once, held-out by normal footage "
    "alone. The last column smooths over 0.3 s, which looks ahead. What says 'no learning' has learnt nothing."
)


@dataclass(frozen=True)
class Evaluated:
    """One system that was evaluated.

    Attributes:
        scored: columns clip, frame, label (missing where unlabelled), kind, anomaly, regularity.
        compared: its ROC curve, headline and gap.
        metrics: flat fractions, as ``evaluate`` gives them; empty where none were kept.
        report: its own page, as a link from this one; empty where there is none.
    """

    scored: pd.DataFrame
    compared: Compared
    metrics: Mapping[str, float]
    report: str = ""


def draw_comparison(
    dataset: str, models: Mapping[str, Evaluated], baselines: pd.DataFrame, seed: int, images: bool = False
) -> str:
    """The page.

    Args:
        dataset: its name.
        models: system -> what was measured of it.
        baselines: rows of a system's table that take no learning, per cent; columns row, micro_auc and others.
        seed: of the bootstrap.
        images: the data are single images, so there are no curves over time.
    """
    measured = {name: model for name, model in models.items() if not np.isnan(model.compared.micro_auc)}
    figures: dict[str, tuple[str, Figure]] = {}
    if measured:
        curves = models_roc_figure({name: model.compared for name, model in measured.items()})
        figures["ROC"] = ("Frame level, headline protocol.", curves)
    kinds = kinds_of(measured)
    if len(kinds):
        figures["Kinds of anomaly"] = (
            "Each kind's frames against all normal frames, micro AUC, every term scaled once over all clips: what one "
            "threshold for all clips can find.",
            models_kinds_figure(kinds),
        )
    if not images:
        clips = [clip for model in models.values() for clip in model.scored["clip"]]
        chosen = list(dict.fromkeys(clips))[:CLIPS]
        parts = {name: model.scored[model.scored["clip"].isin(chosen)] for name, model in models.items()}
        figures["Regularity of the test clips"] = (
            "Abnormal frames shaded; each clip's score is scaled to its own range, as the headline is.",
            regularity_figure(next(iter(parts.values())), others=dict(list(parts.items())[1:]), name=next(iter(parts))),
        )
    return render_report(
        title=f"{' and '.join(models) if len(models) < 4 else f'{len(models)} models'} on {dataset}",
        facts={"in short": verdict(measured, seed) if measured else "without labels nothing is measured"},
        caption=CAPTION,
        table=_table(models, baselines),
        figures=figures,
        unmeasured="Nothing is measured: that takes labels of both normal and abnormal frames.",
        links={f"report of {name}": model.report for name, model in models.items() if model.report},
    )


def ranked(models: Mapping[str, Evaluated]) -> list[str]:
    """Systems, the highest headline first, without one last."""
    return sorted(models, key=lambda name: -np.nan_to_num(models[name].compared.micro_auc, nan=-1.0))


def verdict(models: Mapping[str, Evaluated], seed: int = 0) -> str:
    """Which model is best, in words, and whether the test clips are enough to say so.

    Args:
        models: with a headline each.
        seed: of the bootstrap.
    """
    best, *others = ranked(models)
    said = f"{best} is best, micro AUC {_percent(models[best].compared.micro_auc)}{_between(models[best].metrics)}."
    if not others:
        return f"{best} alone is evaluated, micro AUC {said.partition('micro AUC ')[2]}"
    second = others[0]
    said += f" {second} has {_percent(models[second].compared.micro_auc)}{_between(models[second].metrics)}."
    both = models[best].scored.merge(models[second].scored, on=["clip", "frame"], suffixes=("", "_second"))
    both = both.dropna(subset=["label"]).astype({"label": int})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a single clip has no interval; that is said below
        apart = bootstrap_difference(both, both["anomaly"], both["anomaly_second"], seed=seed)
    clips = both["clip"].nunique()
    if np.isnan(apart.low):
        return f"{said} How sure that is cannot be said with {clips} clip{'s' if clips != 1 else ''}."
    sure = "beyond chance" if apart.low > 0 else "within chance: more test clips could turn it"
    return (
        f"{said} On the frames of both the difference is {100 * apart.low:+.1f} to {100 * apart.high:+.1f} points (95% "
        f"bootstrap over {clips} clips), {sure}."
    )


def kinds_of(models: Mapping[str, Evaluated]) -> pd.DataFrame:
    """Micro AUC of each kind under one normalisation over all clips: a row per kind, a column per model that has it."""
    table = pd.DataFrame(
        {
            name: {key.removeprefix(KIND): value for key, value in model.metrics.items() if key.startswith(KIND)}
            for name, model in models.items()
        }
    )
    return table.dropna(axis="columns", how="all")


def models_kinds_figure(kinds: pd.DataFrame) -> Figure:
    """A group of bars per kind, a bar per model.

    Args:
        kinds: fractions, a row per kind and a column per model.
    """
    groups, bars = kinds.shape
    figure = Figure(figsize=(6.8, 0.9 + 0.18 * (bars + 0.6) * groups), layout="constrained")
    axis = figure.subplots()
    height = 0.8 / bars
    for number, name in enumerate(kinds):
        places = np.arange(groups) + (number - (bars - 1) / 2) * height
        colour = colormaps["tab10"](number % 10)
        drawn = axis.barh(places, 100 * kinds[name], height, label=shown(str(name)), color=colour)
        axis.bar_label(drawn, [f"{100 * value:.1f}" for value in kinds[name]], padding=2, fontsize=7)
    axis.set_yticks(np.arange(groups), [shown(kind.replace("_", " ", 1)) for kind in kinds.index])
    axis.invert_yaxis()
    axis.axvline(50, color="black", lw=0.8, ls="--")
    axis.set(xlim=(0, 108), xlabel="micro AUC against all normal frames, % (50 = chance)")
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12 - 0.2 / groups), ncols=4, frameon=False)
    return figure


def _table(models: Mapping[str, Evaluated], baselines: pd.DataFrame) -> pd.DataFrame:
    """Rows of models, then of baselines; fractions, and the interval as text."""
    rows = {}
    for name in ranked(models):
        metrics = {"micro_auc": models[name].compared.micro_auc, "gap": models[name].compared.gap}
        metrics |= models[name].metrics
        interval = _between(metrics).strip(" ()").removeprefix("95% interval ") or float("nan")
        rows[name] = [interval if key == "interval" else float(metrics.get(key, np.nan)) for key in COLUMNS]
    for row in baselines.to_dict("records"):
        rows[str(row["row"])] = [float(row.get(key, np.nan)) / 100 for key in COLUMNS]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS.values()))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _between(metrics: Mapping[str, float]) -> str:
    low, high = metrics.get("micro_auc_low", np.nan), metrics.get("micro_auc_high", np.nan)
    return "" if np.isnan(low) or np.isnan(high) else f" (95% interval {100 * low:.1f} to {100 * high:.1f})"

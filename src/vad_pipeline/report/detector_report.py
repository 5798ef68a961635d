"""What one detector found: its figures and its HTML report."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.evaluation.evaluate import scored_frames
from vad_pipeline.evaluation.metrics import roc_table
from vad_pipeline.evaluation.published import published_results
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.build import build
from vad_pipeline.report import figures
from vad_pipeline.report.html import render_report
from vad_pipeline.report.peaks import find_peaks
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import TRIVIAL_TERMS, trivial_metrics

COLUMNS = {
    "micro_auc": "micro AUC",
    "interval": "95% interval",
    "micro_auc_global": "global norm.",
    "macro_auc": "macro AUC",
    "micro_auc_common": "common frames",
    "average_precision": "AP",
    "eer": "EER",
    "gap": "gap",
}
TABLE_CAPTION = (
    "Frame level, per cent. Headline: micro AUC, every term min-max normalised per clip, no smoothing, last epoch. The "
    "interval is a 95% bootstrap over test clips. Below the model stand scores that take no learning: a detector that "
    "does not beat them has learnt nothing of use."
)
PEAKS = 12  # clips with a picture in the report, the most anomalous ones


@dataclass(frozen=True)
class Findings:
    """Everything a report shows; tables as docs/data_contracts.md has them.

    ``split`` is whose clips are evaluated; ``rows`` are metrics of parts or variants of the model, shown below its own;
    ``terms`` those of its scores.
    """

    model: str
    dataset: str
    metrics: Mapping[str, float]
    scored: pd.DataFrame
    trivial: pd.DataFrame
    labels: pd.DataFrame
    checkpoint: Checkpoint
    history: pd.DataFrame
    frames: Clips
    maps: Clips
    scoring: Scoring
    terms: Mapping[str, Term]
    split: str = "test"
    rows: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def draw_report(found: Findings) -> tuple[Figure, Figure, Figure, Figure, Figure, str]:
    """Figures of regularity, peaks, ROC, kinds of anomaly and learning curves, and the report that holds them."""
    model = build(found.checkpoint)
    scorer = model.scorer(found.scoring.options())
    strongest = found.scored.groupby("clip")["anomaly"].max().nlargest(PEAKS).index
    chosen = found.scored[found.scored["clip"].isin(strongest)]
    peaks = find_peaks(chosen, found.frames, found.maps, scorer, model.window(model.config))
    baselines = trivial_metrics(found.trivial, found.labels, split=found.split) if len(found.labels) else {}
    kinds = {
        name.removeprefix("micro_auc_kind_").replace("_", " ", 1): value
        for name, value in found.metrics.items()
        if name.startswith("micro_auc_kind_")
    }
    drawn = {
        "regularity": figures.regularity_figure(found.scored),
        "peaks": figures.peaks_figure(peaks),
        "roc": figures.roc_figure(_roc_curves(found, baselines)),
        "kinds": figures.kinds_figure(kinds),
        "learning": figures.learning_curves_figure(found.history),
    }
    captions = {
        "Regularity of the test clips": (
            "Each clip's score is scaled to its own range, as the headline is: a clip without any anomaly still has a "
            "lowest point.",
            drawn["regularity"],
        ),
        "Most anomalous frames": (
            "The frame with the highest anomaly score of a clip, boxed where the error is strongest; what the model "
            "expected instead; and its error.",
            drawn["peaks"],
        ),
        "ROC": ("Frame level, headline protocol.", drawn["roc"]),
    }
    if kinds:
        captions["Kinds of anomaly"] = ("Each kind's frames against all normal frames.", drawn["kinds"])
    captions["Learning curves"] = ("Mean over an epoch; held-out clips take no part in training.", drawn["learning"])
    published = published_results(dataset=found.dataset.removesuffix("_small"))
    html = render_report(
        title=f"{found.model} on {found.dataset}",
        facts=_facts(found),
        caption=TABLE_CAPTION,
        table=_table(found, baselines),
        figures=captions,
        published=_own_rows(published, found.model),
    )
    return (drawn["regularity"], drawn["peaks"], drawn["roc"], drawn["kinds"], drawn["learning"], html)


def _roc_curves(found: Findings, baselines: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[pd.DataFrame, float]]:
    curves = {}
    labelled = found.scored[found.scored["label"].notna()]
    if labelled["label"].nunique() == 2:
        table = roc_table(labelled["label"].astype(int), labelled["anomaly"])
        curves[found.model] = (table, found.metrics["micro_auc"])
        for name, metrics in baselines.items():
            terms = {name: TRIVIAL_TERMS[name]}
            part = scored_frames(found.trivial, found.labels, terms, {name: 1.0}, found.split)
            part = part[part["label"].notna()]
            curves[name.replace("_", " ")] = (
                roc_table(part["label"].astype(int), part["anomaly"]),
                metrics["micro_auc"],
            )
    return curves


def _table(found: Findings, baselines: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    rows = {found.model: found.metrics, **found.rows}
    rows |= {name.replace("_", " "): metrics for name, metrics in baselines.items()}
    table = {}
    for name, metrics in rows.items():
        low, high = metrics.get("micro_auc_low", float("nan")), metrics.get("micro_auc_high", float("nan"))
        interval = "–" if pd.isna(low) else f"{100 * low:.1f} to {100 * high:.1f}"
        table[name] = [interval if key == "interval" else float(metrics.get(key, float("nan"))) for key in COLUMNS]
    return pd.DataFrame.from_dict(table, orient="index", columns=list(COLUMNS.values()))


def _facts(found: Findings) -> dict[str, str]:
    about, frames = found.checkpoint.about, found.checkpoint.frames
    config = ", ".join(f"{key} {value}" for key, value in found.checkpoint.config.items())
    training = about["training"]
    part = "" if found.checkpoint.model == found.model else f" of the part {found.checkpoint.model}"
    return {
        f"frames{part}": f"{frames['width']}x{frames['height']} {frames['colour']}",
        f"configuration{part}": config,
        f"training{part}": (
            f"{training['epochs']} epochs, batch {training['batch_size']}, learning rate "
            f"{training['learning_rate']}, {training['precision']}, seed {about['seed']}, "
            f"{about['seconds'] / 60:.1f} minutes, torch {about['torch']}"
        ),
        "held-out normal clips": ", ".join(about["held_out"]) or "none",
        "scored": f"{len(found.scored)} frames of {found.scored['clip'].nunique()} clips",
        "terms": "; ".join(f"{name}: {term.meaning}" for name, term in found.terms.items()),
    }


def _own_rows(published: pd.DataFrame, model: str) -> pd.DataFrame:
    """The rows of the papers' tables that show this model, its variants and those it was compared with."""
    papers = published.loc[published["ours"].str.split("/").str[0] == model, "paper"].unique()
    rows = published[published["paper"].isin(papers) & (published["metric"] == "micro_auc")]
    return rows.sort_values(["paper", "table", "value"])

"""What one detector found: its figures and its HTML report."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.detection.thresholds import said_of_alarms, said_of_threshold
from vad_pipeline.evaluation.evaluate import scored_frames
from vad_pipeline.evaluation.metrics import roc_table
from vad_pipeline.evaluation.published import published_results
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.build import build
from vad_pipeline.models.contract import Model
from vad_pipeline.report import figures
from vad_pipeline.report.html import render_report
from vad_pipeline.report.peaks import find_peaks
from vad_pipeline.report.reconstructions import LARGE, SHOWN, SHOWN_LARGE, draw_examples, reconstructions_figure
from vad_pipeline.scoring.score import Scoring
from vad_pipeline.scoring.trivial_baselines import TRIVIAL_TERMS, trivial_metrics

COLUMNS = {
    "micro_auc": "micro AUC",
    "interval": "95% interval",
    "micro_auc_global": "global norm.",
    "micro_auc_held_out": "held-out norm.",
    "macro_auc": "macro AUC",
    "micro_auc_common": "common frames",
    "average_precision": "AP",
    "eer": "EER",
    "gap": "gap",
    "micro_auc_smoothed": "smoothed (not causal)",
}
TABLE_CAPTION = (
    "Frame level, per cent. Headline: micro AUC, every term min-max normalised per clip, no smoothing, last epoch. The "
    "interval is a 95% bootstrap over test clips. The last column smooths that score over 0.3 s, which looks ahead. "
    "Below the model stand scores that take no learning: a detector that does not beat them has learnt nothing of use."
)
UNMEASURED = (
    "Nothing is measured: that takes labels of both normal and abnormal frames. What the model finds most anomalous is "
    "below."
)
PEAKS = 12  # clips with a picture in the report, the most anomalous ones


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything a report shows; tables as docs/data_contracts.md has them.

    Attributes:
        system, dataset: names.
        metrics: of the headline.
        rows: metrics of parts or other weights, shown below it.
        scored, trivial, labels, history: tables.
        terms: of the scores.
        checkpoint: of the model that pictures are of.
        frames: those that are shown.
        streams: what the model reads.
        maps: error maps; clips may be missing.
        scoring: how the model is run.
        split: whose clips are evaluated.
        images: the data are single images, so there are no curves.
    """

    system: str
    dataset: str
    metrics: Mapping[str, float]
    rows: Mapping[str, Mapping[str, float]]
    scored: pd.DataFrame
    trivial: pd.DataFrame
    labels: pd.DataFrame
    terms: Mapping[str, Term]
    checkpoint: Checkpoint
    history: pd.DataFrame
    frames: Clips
    streams: Mapping[str, Clips]
    maps: Clips
    scoring: Scoring
    split: str = "test"
    images: bool = False


def draw_report(found: Findings) -> tuple[Figure, Figure, Figure, Figure, Figure, Figure, str]:
    """Figures of regularity, peaks, reconstructions, ROC, kinds of anomaly and learning curves; and the report."""
    model = build(found.checkpoint)
    scorer = model.scorer(found.scoring.options()) if model.has_maps else None
    window, seen = model.window(model.config), model.streams(model.config)
    strongest = found.scored.groupby("clip")["anomaly"].max().nlargest(PEAKS).index
    chosen = found.scored[found.scored["clip"].isin(strongest)]
    peaks = find_peaks(chosen, found.frames, found.streams, found.maps, scorer, window, seen)
    side = model.shown_side(model.config)
    each = SHOWN if (side or found.checkpoint.frames["width"]) <= LARGE else SHOWN_LARGE
    examples = (
        draw_examples(found.scored, found.streams, found.maps, scorer, window, seen, side, each) if scorer else []
    )
    fps = {clip: stored.fps for clip, stored in found.frames.items()}
    baselines = trivial_metrics(found.trivial, found.labels, split=found.split, fps=fps) if len(found.labels) else {}
    kinds = {
        name.removeprefix("micro_auc_kind_").replace("_", " ", 1): value
        for name, value in found.metrics.items()
        if name.startswith("micro_auc_kind_")
    }
    curves = _roc_curves(found, baselines)
    drawn = {
        "regularity": figures.distributions_figure({"": found.scored}, "anomaly")
        if found.images
        else figures.regularity_figure(found.scored),
        "peaks": figures.peaks_figure(peaks),
        "reconstructions": reconstructions_figure({"": examples}),
        "roc": figures.roc_figure(curves),
        "kinds": figures.kinds_figure(kinds),
        "learning": figures.learning_curves_figure(found.history),
    }
    captions = {
        **_course(found, drawn["regularity"]),
        "Most anomalous frames": (
            "The frame with the highest anomaly score of a clip, boxed where the error is strongest; what the model "
            "expected instead; and its error.",
            drawn["peaks"],
        ),
    }
    if curves:
        captions["ROC"] = ("Frame level, headline protocol.", drawn["roc"])
    if examples:
        captions["What the model makes of normal and abnormal frames"] = (
            f"Test frames drawn at random{'' if side is None else ', where they scored highest'}: as they are above, "
            "as the model expects them below.",
            drawn["reconstructions"],
        )
    if kinds:
        captions["Kinds of anomaly"] = ("Each kind's frames against all normal frames.", drawn["kinds"])
    if not model.learns_in_one_pass:
        captions["Learning curves"] = (
            "Mean over an epoch; held-out clips take no part in training.",
            drawn["learning"],
        )
    published = published_results(dataset=found.dataset.removesuffix("_small"))
    html = render_report(
        title=f"{found.system} on {found.dataset}",
        facts=_facts(found, model),
        caption=TABLE_CAPTION,
        table=_table(found, baselines),
        figures=captions,
        published=_own_rows(published, found.system),
        unmeasured=UNMEASURED,
    )
    return (
        drawn["regularity"],
        drawn["peaks"],
        drawn["reconstructions"],
        drawn["roc"],
        drawn["kinds"],
        drawn["learning"],
        html,
    )


def _course(found: Findings, drawn: Figure) -> dict[str, tuple[str, Figure]]:
    if found.images:
        return {"Anomaly scores of the test images": ("Scaled once over all images, as the headline is.", drawn)}
    caption = (
        "Each clip's score is scaled to its own range, as the headline is: a clip without any anomaly still has a "
    )
    return {"Regularity of the test clips": (caption + "lowest point.", drawn)}


def _roc_curves(found: Findings, baselines: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[pd.DataFrame, float]]:
    curves = {}
    labelled = found.scored[found.scored["label"].notna()]
    if labelled["label"].nunique() == 2:
        table = roc_table(labelled["label"].astype(int), labelled["anomaly"])
        curves[found.system] = (table, found.metrics["micro_auc"])
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
    rows = {found.system: found.metrics, **found.rows}
    rows |= {name.replace("_", " "): metrics for name, metrics in baselines.items()}
    table = {}
    for name, metrics in rows.items():
        low, high = metrics.get("micro_auc_low", float("nan")), metrics.get("micro_auc_high", float("nan"))
        interval = float("nan") if pd.isna(low) else f"{100 * low:.1f} to {100 * high:.1f}"
        table[name] = [interval if key == "interval" else float(metrics.get(key, float("nan"))) for key in COLUMNS]
    return pd.DataFrame.from_dict(table, orient="index", columns=list(COLUMNS.values()))


def _facts(found: Findings, model: Model) -> dict[str, str]:
    about, frames = found.checkpoint.about, found.checkpoint.frames
    config = ", ".join(f"{key} {value}" for key, value in found.checkpoint.config.items())
    training = about["training"]
    settings = (
        "one pass over the clips"
        if model.learns_in_one_pass
        else f"{training['epochs']} epochs, batch {training['batch_size']}, learning rate {training['learning_rate']}, "
        f"{training['precision']}"
    )
    facts = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in model.facts().items())
    part = "" if found.checkpoint.model == found.system else f" of the part {found.checkpoint.model}"
    return {
        f"frames{part}": f"{frames['width']}x{frames['height']} {frames['colour']}",
        f"configuration{part}": config,
        f"training{part}": (
            f"{settings}, seed {about['seed']}, {about['seconds'] / 60:.1f} minutes, torch {about['torch']}"
        ),
        **({f"found in training{part}": facts} if facts else {}),
        "held-out normal clips": ", ".join(about["held_out"]) or "none",
        **({"threshold for alarms": said} if (said := said_of_threshold(found.metrics)) else {}),
        **({"alarms above it": said} if (said := said_of_alarms(found.metrics)) else {}),
        "scored": f"{len(found.scored)} frames of {found.scored['clip'].nunique()} clips",
        "terms": "; ".join(f"{name}: {term.meaning}" for name, term in found.terms.items()),
    }


def _number(value: float) -> str:
    """Counts as they are, everything else to four digits."""
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _own_rows(published: pd.DataFrame, model: str) -> pd.DataFrame:
    """The rows of the papers' tables that show this model, its variants and those it was compared with."""
    papers = published.loc[published["ours"].str.split("/").str[0] == model, "paper"].unique()
    rows = published[published["paper"].isin(papers) & (published["metric"] == "micro_auc")]
    return rows.sort_values(["paper", "table", "value"])

"""The node that draws the systems that have been evaluated, and says which have not."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.evaluation.published import published_results, published_value
from vad_pipeline.evaluation.table import NO_LEARNING
from vad_pipeline.report.comparison_report import Evaluated, draw_comparison, ranked
from vad_pipeline.report.model_comparison import compared, gap_figure, models_roc_figure

logger = logging.getLogger(__name__)

Stored = Mapping[str, Callable[[], Any]]  # ``<system>/<file>/<version>``, or what begins so -> loads it


def compare_models(
    systems: list[str],
    dataset: str,
    seed: int,
    images: bool,
    stored: Stored,
    metrics: Stored,
    tables: Stored,
    reports: Stored,
    *evaluated: str,
) -> tuple[Figure, Figure, pd.DataFrame, str]:
    """ROC curves, gap scores, a table, and a page; systems without scored frames are left out, the latest count.

    Args:
        systems: names, in the order of the bars.
        dataset: whose published figures stand beside ours.
        seed: of the bootstrap.
        images: the data are single images.
        stored, metrics, tables, reports: what all systems left, all versions: scored frames, metrics, tables, pages.
        evaluated: reports of systems of the same run, the last that these leave, so that it waits for them; without
            any, the log names the systems that have not been evaluated.

    Returns:
        Two figures; a table row, micro_auc, micro_auc_low, micro_auc_high, gap, published (per cent), frames_scored:
        the models, then what takes no learning, then what the papers cite of others on the same data; the page.

    Raises:
        ValueError: none of the systems has been evaluated.
    """
    latest = _latest(stored)
    present = [system for system in systems if system in latest]
    missing = [system for system in systems if system not in latest]
    if not present:
        raise ValueError(
            f"model_comparison.systems: none of {', '.join(systems)} has been evaluated on {dataset}; "
            f"`kedro run --pipeline={systems[0] if systems else 'lgn_net'}` trains and evaluates one"
        )
    if missing and not evaluated:
        logger.warning(
            "Not evaluated on %s, so not in the comparison: %s; their pipelines of these names do it.",
            dataset,
            ", ".join(missing),
        )
    measured, pages = _latest(metrics), _latest(reports)
    models = {}
    for system in present:
        scored = stored[latest[system]]()
        numbers = metrics[measured[system]]() if system in measured else {}
        models[system] = Evaluated(scored, compared(scored), numbers, _address(pages.get(system, "")))
    rows = [
        {
            "row": system,
            "micro_auc": 100 * models[system].compared.micro_auc,
            **{
                f"micro_auc_{end}": 100 * models[system].metrics.get(f"micro_auc_{end}", np.nan)
                for end in ("low", "high")
            },
            "gap": 100 * models[system].compared.gap,
            "published": published_value(system, dataset.removesuffix("_small")),
            "frames_scored": len(models[system].scored),
        }
        for system in (ranked(models) if evaluated else present)
    ]
    baselines = _baselines([tables[key] for system, key in _latest(tables).items() if system in present])
    shown = [
        {"row": row["row"], "micro_auc": row["micro_auc"], "gap": row["gap"]} for row in baselines.to_dict("records")
    ]
    cited = _cited(present, dataset.removesuffix("_small"))
    table = pd.DataFrame([*rows, *shown, *cited]).astype({"published": "float64"})
    of_models = {system: model.compared for system, model in models.items()}
    page = draw_comparison(dataset, models, baselines, seed, images)
    return models_roc_figure(of_models), gap_figure(of_models), table, page


def _latest(stored: Stored) -> dict[str, str]:
    """System -> key of its latest version: versions are times."""
    return {key.split("/", 1)[0]: key for key in sorted(stored)}


def _address(key: str) -> str:
    """A system's page seen from ``model_comparison/report.html/<version>/``; empty without one."""
    return "../../../" + "/".join([*key.split("/")[:3], "report.html"]) if key else ""


def _baselines(tables: list[Callable[[], pd.DataFrame]]) -> pd.DataFrame:
    """Rows of what takes no learning, from the first table that has them: they are the same under every system."""
    for load in tables:
        table = load()
        rows = table[table["row"].str.endswith(NO_LEARNING)]
        if len(rows):
            return rows
    return pd.DataFrame(columns=["row", "micro_auc", "gap"])


def _cited(systems: list[str], dataset: str) -> list[dict[str, Any]]:
    """What the tables of these systems' papers print of other methods on the data set, once each, the best first."""
    results = published_results(dataset=dataset)
    plain = (results["metric"] == "micro_auc") & (results["condition"] == "") & (results["trained_on"] == "")
    papers = results.loc[results["ours"].isin(systems), "paper"].unique()
    others = (
        results[plain & (results["ours"] == "") & results["paper"].isin(papers)]
        .drop_duplicates(["row", "value"])
        .sort_values("value")
    )
    return [
        {"row": f"{line.row} ({line.paper}, {line.table})", "published": line.value}
        for line in others.iloc[::-1].itertuples()
    ]

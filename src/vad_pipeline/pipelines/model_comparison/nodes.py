"""The node that draws the systems that have been evaluated, and says which have not."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.evaluation.published import published_results, published_value
from vad_pipeline.report.model_comparison import compared, gap_figure, models_roc_figure

logger = logging.getLogger(__name__)


def compare_models(
    systems: list[str], dataset: str, stored: Mapping[str, Callable[[], Any]]
) -> tuple[Figure, Figure, pd.DataFrame]:
    """ROC curves, gap scores, and a table of both; systems without scored frames are named in the log and left out.

    Args:
        systems: names, in the order of the bars.
        dataset: whose published figures stand beside ours.
        stored: ``<system>/scored_frames.parquet/<version>``, or what begins so -> loads that table.

    Returns:
        Two figures and a table row, micro_auc, gap, published (per cent), frames_scored; below our systems what the
        papers cite of others on the same data.

    Raises:
        ValueError: none of the systems has been evaluated.
    """
    latest = {key.split("/", 1)[0]: stored[key] for key in sorted(stored)}  # versions are times
    present = [system for system in systems if system in latest]
    missing = [system for system in systems if system not in latest]
    if not present:
        raise ValueError(
            f"model_comparison.systems: none of {', '.join(systems)} has been evaluated on {dataset}; "
            f"`kedro run --pipeline={systems[0] if systems else 'lgn_net'}` trains and evaluates one"
        )
    if missing:
        logger.warning(
            "Not evaluated on %s, so not in the comparison: %s; their pipelines of these names do it.",
            dataset,
            ", ".join(missing),
        )
    tables = {system: latest[system]() for system in present}
    models = {system: compared(table) for system, table in tables.items()}
    rows = [
        {
            "row": system,
            "micro_auc": 100 * model.micro_auc,
            "gap": 100 * model.gap,
            "published": published_value(system, dataset.removesuffix("_small")),
            "frames_scored": len(tables[system]),
        }
        for system, model in models.items()
    ]
    table = pd.DataFrame([*rows, *_cited(present, dataset.removesuffix("_small"))]).astype({"published": "float64"})
    return models_roc_figure(models), gap_figure(models), table


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

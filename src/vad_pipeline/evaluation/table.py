"""Rows of the tables that compare systems, in per cent."""

from collections.abc import Mapping
from typing import Any

from vad_pipeline.evaluation.published import published_value

NO_LEARNING = "(no learning)"  # ends the titles of trivial baselines
TABLE_COLUMNS = (
    "micro_auc",
    "micro_auc_std",
    "micro_auc_global",
    "micro_auc_held_out",
    "macro_auc",
    "micro_auc_common",
    "average_precision",
    "eer",
    "gap",
    "micro_auc_smoothed",  # not causal
)


def row_of_table(
    title: str,
    metrics: Mapping[str, float],
    dataset: str,
    published: str = "",
    condition: str = "",
    trained_on: str = "",
) -> dict[str, Any]:
    """One row, in per cent; ``published`` and ``condition`` as in ``Row``, ``trained_on`` where that is another set."""
    values = {column: 100 * metrics.get(column, float("nan")) for column in TABLE_COLUMNS}
    figure = published_value(published, dataset.removesuffix("_small"), condition=condition, trained_on=trained_on)
    return {"row": title, **values, "published": figure}


def baseline_rows(trivial: Mapping[str, Mapping[str, float]], dataset: str) -> list[dict[str, Any]]:
    """The rows of what takes no learning, under any table."""
    return [row_of_table(f"{name.replace('_', ' ')} {NO_LEARNING}", m, dataset) for name, m in trivial.items()]

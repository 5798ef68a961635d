"""All that one system's scores are measured by: its headline, the rows of its table, the curve of every frame."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from vad_pipeline.evaluation.evaluate import (
    evaluate,
    headline_normalisation,
    oracle_metrics,
    oracle_wanted,
    scored_frames,
)
from vad_pipeline.evaluation.fusion import inverse_spread
from vad_pipeline.evaluation.normality import Normaliser
from vad_pipeline.evaluation.table import baseline_rows, row_of_table
from vad_pipeline.evaluation.terms import Term, WeightedRow


@dataclass(frozen=True)
class Protocol:
    """How a run measures.

    Attributes:
        name: ``clean``, or ``paper`` for what papers do with test labels beside it.
        split: whose clips are evaluated.
        seed: of the bootstrap.
        images: the data are single images, see ``evaluate``.
    """

    name: str = "clean"
    split: str = "test"
    seed: int = 0
    images: bool = False


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        metrics: flat, the headline's and further weights'.
        table: a row each for the system's rows and the trivial baselines, per cent.
        scored: columns clip, frame, terms, label, kind, anomaly, regularity.
        others: title -> metrics of the rows beside the headline.
    """

    metrics: dict[str, float]
    table: pd.DataFrame
    scored: pd.DataFrame
    others: dict[str, dict[str, float]]


def measure(
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    terms: Mapping[str, Term],
    rows: Sequence[WeightedRow],
    protocol: Protocol,
    dataset: str,
    lengths: Mapping[str, int],
    trivial: Mapping[str, Mapping[str, float]],
    held_out: Collection[str] = (),
    normaliser: Normaliser | None = None,
    fps: Mapping[str, float | None] | None = None,
) -> Measured:
    """Measure a system.

    Args:
        scores: columns clip, frame and the raw terms.
        labels: columns clip, frame, label, kind.
        terms: declarations of the raw terms.
        rows: one of them with an empty key, the headline.
        protocol: how.
        dataset: whose published figures stand beside ours.
        lengths: clip -> frames.
        trivial: trivial baseline -> metrics.
        held_out: normal clips that took no part in training; rows of several terms are then also fused by their spread.
        normaliser: of these clips' scores.
        fps: clip -> frames a second.
    """

    def measured(weights: Mapping[str, float]) -> dict[str, float]:
        found = evaluate(
            scores, labels, terms, weights, protocol.seed, protocol.split, lengths, normaliser, protocol.images, fps
        )
        return found

    headline = next(row for row in rows if row.key == "")
    found = {row.title: measured(row.weights) for row in rows}
    lines = {row.title: (row.published, row.condition) for row in rows}
    metrics = dict(found[headline.title])
    held_out = sorted(set(held_out) & set(scores["clip"]))
    for row in rows:
        fused = [term for term, weight in row.weights.items() if weight > 0]
        if row.key is None:
            continue
        if oracle_wanted(protocol.name):
            best = oracle_metrics(
                scores, labels, terms, row.weights, protocol.split, headline_normalisation(protocol.images)
            )
            metrics |= {f"{metric}{row.key}": value for metric, value in best.items()}
            found[row.title] = found[row.title] | best
        if len(row.weights) < 2:
            continue
        metrics[f"micro_auc{row.key}"] = found[row.title]["micro_auc"]
        if held_out and len(fused) > 1:
            weights = inverse_spread(scores, terms, fused, held_out)
            title = f"{row.title}, weights by inverse spread"
            found[title], lines[title] = measured(weights), ("", "")
            metrics[f"micro_auc_inverse_spread{row.key}"] = found[title]["micro_auc"]
            metrics |= {f"{term}_weight_inverse_spread{row.key}": weight for term, weight in weights.items()}
    table = [row_of_table(title, values, dataset, *lines[title]) for title, values in found.items()]
    if oracle_wanted(protocol.name):
        for line, values in zip(table, found.values(), strict=True):
            for column in ("micro_auc_oracle", "micro_auc_oracle_best_term"):
                line[column] = 100 * values.get(column, float("nan"))
    table += baseline_rows(trivial, dataset)
    how = headline_normalisation(protocol.images)
    return Measured(
        metrics,
        pd.DataFrame(table).astype({"published": "float64"}),
        scored_frames(scores, labels, terms, headline.weights, protocol.split, how),
        {title: values for title, values in found.items() if title != headline.title},
    )

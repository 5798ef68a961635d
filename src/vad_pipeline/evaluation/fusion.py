"""Scores of several models of the same clips as one table, and weights that no test label decides."""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce

import numpy as np
import pandas as pd

from vad_pipeline.evaluation.alignment import KEY, EvaluationError
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.evaluation.terms import Term


def join_scores(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The frames that all tables score, with the terms of all: columns clip, frame and every raw term.

    Raises:
        EvaluationError: two tables share a term, or no frame is in all of them.
    """
    columns = [column for table in tables for column in table.columns if column not in KEY]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise EvaluationError(f"term {twice[0]}: in two tables of scores; fuse models whose terms differ")
    joined = reduce(lambda one, other: one.merge(other, on=KEY, how="inner", validate="one_to_one"), tables)
    if joined.empty:
        raise EvaluationError("no frame is scored by all parts; score them on the same clips")
    return joined.reset_index(drop=True)


def inverse_spread(
    scores: pd.DataFrame, terms: Mapping[str, Term], fused: Collection[str], clips: Collection[str]
) -> dict[str, float]:
    """Weights in inverse proportion to the standard deviation of each term over normal clips (spec 1.6).

    What counts is the spread of the term as it is fused, turned and normalised per clip: a term that swings from end to
    end on normal footage says little.

    Args:
        scores: columns clip, frame and the terms.
        terms: their declarations.
        fused: which of them.
        clips: normal ones, held out from training.

    Returns:
        Weights that sum to 1; a term that does not vary gets what the least varying of the others gets.

    Raises:
        EvaluationError: none of the clips is scored.
    """
    normal = scores[scores["clip"].isin(clips)]
    if normal.empty:
        raise EvaluationError("no held-out normal clip is scored; set training.held_out above 0")
    spread = {term: float(np.std(anomaly_score(normal, terms, {term: 1.0}))) for term in fused}
    least = min((value for value in spread.values() if value > 0), default=1.0)
    raw = {term: 1 / max(value, least) for term, value in spread.items()}
    total = sum(raw.values())
    return {term: value / total for term, value in raw.items()}

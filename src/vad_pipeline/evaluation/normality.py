"""From raw terms to one anomaly score per frame: turn, normalise, weigh (spec 1.3).

This is the only place where directions are converted: a term says whether high means anomalous, everything after it is
"higher = more anomalous" (spec 1.3, direction guard). Regularity is 1 - anomaly.
"""

import warnings
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import pandas as pd

from vad_pipeline.evaluation.alignment import EvaluationError
from vad_pipeline.evaluation.terms import Term

Normalisation = Literal["per_clip", "global", "none"]

_CLIPS_NAMED = 5


def normalise(values: pd.Series, clips: pd.Series, how: Normalisation = "per_clip") -> pd.Series:
    """Min-max normalise a series of frames.

    - ``per_clip``: each clip by its own minimum and maximum; the headline. It needs the whole clip (offline) and
      forces a 0 and a 1 into every clip, wholly normal ones included (pitfall 5).
    - ``global``: all frames by one minimum and one maximum.
    - ``none``: left in the term's own unit.

    Args:
        values: (n,) finite numbers; their name is used in warnings.
        clips: (n,) clip id of each frame; the frames of a clip need not be adjacent.
        how: see above.

    Returns:
        (n,) float64 with the index of `values`, in [0, 1] unless `how` is ``none``. A constant series is 0.5
        everywhere (spec 1.3), with a warning that names its clips.

    Raises:
        EvaluationError: `how` is unknown.

    >>> normalise(pd.Series([1.0, 3.0, 7.0, 9.0]), pd.Series(["a", "a", "b", "b"])).tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    if how not in get_args(Normalisation):
        raise EvaluationError(f"normalisation {how!r}: unknown; choose one of {', '.join(get_args(Normalisation))}")
    numbers = values.to_numpy(np.float64)
    if how == "none" or not len(numbers):
        return pd.Series(numbers, index=values.index, name=values.name)
    codes, names = pd.factorize(clips.to_numpy())
    group = codes if how == "per_clip" else np.zeros_like(codes)
    low = np.full(len(names), np.inf)
    high = np.full(len(names), -np.inf)
    np.minimum.at(low, group, numbers)
    np.maximum.at(high, group, numbers)
    low, high = low[group], high[group]
    constant = high == low
    if constant.any():
        where = (
            "all clips together"
            if how == "global"
            else _listed([str(name) for name in names[np.unique(codes[constant])]])
        )
        warnings.warn(
            f"{values.name or 'score'}: constant over {where}; its normalised value is 0.5 there", stacklevel=2
        )
    span = np.where(constant, 1.0, high - low)
    return pd.Series(np.where(constant, 0.5, (numbers - low) / span), index=values.index, name=values.name)


def anomaly_score(
    aligned: pd.DataFrame,
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    how: Normalisation = "per_clip",
) -> pd.Series:
    """Fuse raw terms into one anomaly score per frame.

    Each term is turned so that higher means more anomalous, normalised (unless it is bounded) and weighed; weights are
    divided by their sum, terms of weight 0 are not looked at. With LGN-Net's terms this is 1 - N_t of spec 4.4.
    ``none`` does not normalise: terms in different units cannot be added, so exactly one term may then carry weight and
    the score is that term in its own unit, its sign turned where high means normal.

    Args:
        aligned: columns clip and the terms, finite; labels are not used, so any score table will do.
        terms: name -> declaration, at least of the weighted terms.
        weights: name -> weight >= 0.
        how: see `normalise`.

    Returns:
        (n,) float64 named ``anomaly`` with the index of `aligned`; in [0, 1] unless `how` is ``none``.

    Raises:
        EvaluationError: a weight is of an unknown term, negative or not finite, all weights are 0, a weighted term has
            no column, or ``none`` with several terms.
    """
    shares = _shares(terms, weights)
    missing = [term for term in shares if term not in aligned]
    if missing:
        raise EvaluationError(
            f"term {missing[0]}: no such column in the scores, which have {', '.join(map(str, aligned.columns))}; "
            "score the clips again with this model"
        )
    if how == "none" and len(shares) > 1:
        raise EvaluationError(
            f"terms {', '.join(shares)} without normalisation: their units differ; give one term a weight, or normalise"
        )
    total = np.zeros(len(aligned))
    for term, share in shares.items():
        higher = terms[term].higher_is_anomalous
        if terms[term].bounded and how != "none":
            values = aligned[term].to_numpy(np.float64)
            total += share * (values if higher else 1 - values)
            continue
        turned = aligned[term] if higher else -aligned[term]
        total += share * normalise(turned, aligned["clip"], how).to_numpy()
    return pd.Series(total, index=aligned.index, name="anomaly")


def _shares(terms: Mapping[str, Term], weights: Mapping[str, float]) -> dict[str, float]:
    """The terms that carry weight, with weights that sum to 1."""
    for term, weight in weights.items():
        if term not in terms:
            raise EvaluationError(f"weight of {term!r}: no such term; the model has {', '.join(sorted(terms))}")
        if not (np.isfinite(weight) and weight >= 0):
            raise EvaluationError(f"weight of {term}: {weight}; weights are finite and at least 0")
    total = sum(weights.values())
    if total <= 0:
        raise EvaluationError(f"no term carries weight; give one of {', '.join(sorted(terms))} a weight above 0")
    return {term: weight / total for term, weight in weights.items() if weight > 0}


def _listed(clips: list[str]) -> str:
    more = f" and {len(clips) - _CLIPS_NAMED} more" if len(clips) > _CLIPS_NAMED else ""
    return f"clip{'s' if len(clips) > 1 else ''} {', '.join(clips[:_CLIPS_NAMED])}{more}"

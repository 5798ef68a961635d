"""From raw terms to one anomaly score per frame: turn, normalise, weigh (spec 1.3).

This is the only place where directions are converted: a term says whether high means anomalous, everything after it is
"higher = more anomalous" (spec 1.3, direction guard). Regularity is 1 - anomaly.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import pandas as pd

from vad_pipeline.evaluation.alignment import EvaluationError
from vad_pipeline.evaluation.terms import Term

Normalisation = Literal["per_clip", "global", "held_out", "none"]
Normaliser = Mapping[str, Sequence[float]]  # term -> quantiles of held-out normal scores, at LEVELS

LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
LOW, HIGH = LEVELS.index(0.05), LEVELS.index(0.95)

_CLIPS_NAMED = 5


def quantiles(terms: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """The normaliser of scores of held-out normal frames: term -> its quantiles at ``LEVELS``."""
    return {term: [float(q) for q in np.quantile(values, LEVELS)] for term, values in terms.items() if len(values)}


def normalise(
    values: pd.Series, clips: pd.Series, how: Normalisation = "per_clip", held_out: Sequence[float] = ()
) -> pd.Series:
    """Bring a series of frames to a common scale.

    - ``per_clip``: each clip by its own minimum and maximum; the headline. It needs the whole clip (offline) and
      forces a 0 and a 1 into every clip, wholly normal ones included (pitfall 5).
    - ``global``: all frames by one minimum and one maximum.
    - ``held_out``: the 5% and the 95% quantile of held-out normal frames become 0 and 1; what is beyond them lies
      outside. It needs nothing of the clip itself, so a live camera can have it.
    - ``none``: left in the term's own unit.

    Args:
        values: (n,) finite numbers; their name is used in warnings.
        clips: (n,) clip id of each frame; the frames of a clip need not be adjacent.
        how: see above.
        held_out: quantiles of the held-out frames at ``LEVELS``, for `how` ``held_out``.

    Returns:
        (n,) float64 with the index of `values`, in [0, 1] for ``per_clip`` and ``global``. A constant series, or one
        that is constant on held-out frames, is 0.5 everywhere (spec 1.3), with a warning that names its clips.

    Raises:
        EvaluationError: `how` is unknown, or there are no held-out quantiles for it.

    >>> normalise(pd.Series([1.0, 3.0, 7.0, 9.0]), pd.Series(["a", "a", "b", "b"])).tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    if how not in get_args(Normalisation):
        raise EvaluationError(f"normalisation {how!r}: unknown; choose one of {', '.join(get_args(Normalisation))}")
    numbers = values.to_numpy(np.float64)
    if how == "none" or not len(numbers):
        return pd.Series(numbers, index=values.index, name=values.name)
    if how == "held_out":
        return _by_held_out(values, numbers, held_out)
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
    normaliser: Normaliser | None = None,
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
        normaliser: of held-out normal frames, for `how` ``held_out``; a checkpoint has it.

    Returns:
        (n,) float64 named ``anomaly`` with the index of `aligned`; in [0, 1] for ``per_clip`` and ``global``.

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
        known = (normaliser or {}).get(term, ())
        known = known if higher else [-quantile for quantile in reversed(known)]
        total += share * normalise(turned, aligned["clip"], how, known).to_numpy()
    return pd.Series(total, index=aligned.index, name="anomaly")


def _by_held_out(values: pd.Series, numbers: np.ndarray, held_out: Sequence[float]) -> pd.Series:
    if len(held_out) != len(LEVELS):
        raise EvaluationError(
            f"{values.name or 'score'}: no quantiles of held-out normal frames; set training.held_out above 0 and train"
        )
    low, high = held_out[LOW], held_out[HIGH]
    if high == low:
        warnings.warn(f"{values.name or 'score'}: constant on held-out normal frames; it counts for 0.5", stacklevel=3)
        numbers, low, high = np.full(len(numbers), 0.5), 0.0, 1.0
    return pd.Series((numbers - low) / (high - low), index=values.index, name=values.name)


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

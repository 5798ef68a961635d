"""The metrics of one model from its table of raw terms: the protocol of every table of the project.

Headline: micro AUC, per-clip min-max, no smoothing, the fusion weights given. Nothing here chooses anything by test
labels, but for `fusion_sweep` and `oracle_metrics`, whose names say 'oracle'.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product

import numpy as np
import pandas as pd

from vad_pipeline.evaluation.alignment import (
    KEY,
    EvaluationError,
    align,
    in_clip_order,
    labelled_lengths,
    reconstruction_frames,
    unlabelled_clips,
    unscored_clips,
)
from vad_pipeline.evaluation.metrics import (
    auc_by_kind,
    average_precision,
    bootstrap_interval,
    eer,
    frame_bootstrap_interval,
    gap_score,
    macro_auc,
    micro_auc,
)
from vad_pipeline.evaluation.normality import Normalisation, Normaliser, anomaly_score
from vad_pipeline.evaluation.smoothing import smoothed
from vad_pipeline.evaluation.terms import Term


def evaluate(
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    seed: int = 0,
    split: str = "test",
    lengths: Mapping[str, int] | None = None,
    normaliser: Normaliser | None = None,
    images: bool = False,
    fps: Mapping[str, float | None] | None = None,
) -> dict[str, float]:
    """Measure one model.

    Args:
        scores: columns clip, frame and the raw terms; columns that `terms` does not declare are ignored.
        labels: columns clip, frame, label, kind.
        terms: declaration of each raw term.
        weights: fusion weights of the headline.
        seed: of the bootstrap.
        split: whose clips count.
        lengths: clip -> frames; by default read off the labels, which hold a row per frame.
        normaliser: of held-out normal frames, from the checkpoint; None or empty where none was held out.
        images: the data are single images: the headline is normalised globally, intervals are over frames, and there
            are no windows whose frames could differ and no neighbours in time.
        fps: clip -> frames a second, for the smoothed figure; 10 where it is not known.

    Returns:
        Flat; areas and rates are fractions; nan where undefined (no labels, one class only), with a warning.

        - ``micro_auc``, the headline, and its bootstrap interval ``micro_auc_low``, ``micro_auc_high`` (95 %)
        - ``micro_auc_global``: one min-max over all frames instead of one per clip
        - ``micro_auc_held_out``: scaled by held-out normal frames alone, what a live camera can have; where there
          is a normaliser
        - ``micro_auc_common``: only the frames that the 16-frame reconstruction family scores too, normalised among
          themselves, as if the model had scored no others
        - ``micro_auc_smoothed``: the headline's score after a Gaussian of 0.3 s over each clip. Not causal: a frame's
          score then depends on later frames, as no live alarm's can
        - ``macro_auc``, ``average_precision``, ``eer``, ``gap`` of the headline's score
        - ``micro_auc_term_<term>``: each term alone, per clip
        - ``micro_auc_kind_<kind>``: each kind and group of kinds, "/" replaced by "_"
        - ``micro_auc_global_kind_<kind>``: the same of the score behind ``micro_auc_global``, to compare models by
        - ``frames_scored``, ``frames_abnormal``, ``clips_scored``

    Raises:
        EvaluationError: see `align` and `anomaly_score`; a declared term has no column.
    """
    with _each_warning_once():
        aligned = _aligned(scores, labels, terms, split)
        label, clips = aligned["label"], aligned["clip"]
        anomaly = anomaly_score(aligned, terms, weights, headline_normalisation(images))
        whole = anomaly_score(aligned, terms, weights, "global")
        if images:
            interval = frame_bootstrap_interval(label, anomaly, seed=seed)
        else:
            interval = bootstrap_interval(aligned, anomaly, seed=seed)
        metrics = {
            "micro_auc": micro_auc(label, anomaly),
            "micro_auc_low": interval.low,
            "micro_auc_high": interval.high,
            "micro_auc_global": micro_auc(label, whole),
            "macro_auc": macro_auc(clips, label, anomaly),
            "average_precision": average_precision(label, anomaly),
            "eer": eer(label, anomaly),
            "gap": gap_score(label, 1 - anomaly),
            "frames_scored": float(len(aligned)),
            "frames_abnormal": float(label.sum()),
            "clips_scored": float(clips.nunique()),
        }
        if normaliser:
            held_out = anomaly_score(aligned, terms, weights, "held_out", normaliser)
            metrics["micro_auc_held_out"] = micro_auc(label, held_out)
        if not images:
            common = _common_auc(aligned, terms, weights, lengths or labelled_lengths(labels))
            metrics["micro_auc_common"] = common
            metrics["micro_auc_smoothed"] = micro_auc(label, smoothed(aligned[KEY], anomaly, fps))
        for term in terms:
            alone = anomaly_score(aligned, terms, {term: 1.0}, headline_normalisation(images))
            metrics[f"micro_auc_term_{term}"] = micro_auc(label, alone)
        for kind, area in auc_by_kind(aligned, anomaly).items():
            metrics[f"micro_auc_kind_{kind.replace('/', '_')}"] = area
        for kind, area in auc_by_kind(aligned, whole).items():
            metrics[f"micro_auc_global_kind_{kind.replace('/', '_')}"] = area
    return metrics


def headline_normalisation(images: bool = False) -> Normalisation:
    """How the headline's terms are scaled: per clip, of single images globally."""
    return "global" if images else "per_clip"


def scored_frames(
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    split: str = "test",
    how: Normalisation = "per_clip",
) -> pd.DataFrame:
    """The frames behind the metrics, for curves and plots.

    Args: as `evaluate`; `how` as `anomaly_score`.

    Returns:
        Columns clip, frame, the declared terms, label (missing where the clip is unlabelled), kind, anomaly, regularity
        (1 - anomaly; both in [0, 1] unless `how` is ``none``), in clip order.
    """
    labelled = _aligned(scores, labels, terms, split).astype({"label": "Int8"})
    rest = scores.loc[scores["clip"].isin(unlabelled_clips(scores, labels, split)), [*KEY, *terms]]
    rest = rest.assign(label=pd.array([pd.NA] * len(rest), dtype="Int8"), kind="")
    aligned = in_clip_order(pd.concat([labelled, rest], ignore_index=True))
    anomaly = anomaly_score(aligned, terms, weights, how)
    return aligned.assign(anomaly=anomaly, regularity=1 - anomaly)


def fusion_sweep(
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    terms: Mapping[str, Term],
    term_a: str,
    term_b: str,
    steps: int = 11,
    split: str = "test",
) -> pd.DataFrame:
    """Oracle: micro AUC on the test labels against the weight of two terms (LGN-Net Fig. 10).

    It shows how much the weight matters. Choosing a weight by it is tuning on the test set.

    Args: as `evaluate`; `steps` weights evenly spread over [0, 1].

    Returns:
        Columns weight (of `term_a`; `term_b` has the rest) and micro_auc_oracle.
    """
    with _each_warning_once():
        aligned = _aligned(scores, labels, {term: terms[term] for term in (term_a, term_b)}, split)
        weights = np.linspace(0, 1, steps)
        areas = [
            micro_auc(aligned["label"], anomaly_score(aligned, terms, {term_a: weight, term_b: 1 - weight}))
            for weight in weights
        ]
    return pd.DataFrame({"weight": weights, "micro_auc_oracle": areas})


def oracle_wanted(protocol: str) -> bool:
    """Whether the protocol asks for what papers do with test labels: ``clean`` does not, ``paper`` does.

    Raises:
        EvaluationError: it is neither.
    """
    if protocol not in ("clean", "paper"):
        raise EvaluationError(f"protocol {protocol!r}: set it to clean (default) or paper")
    return protocol == "paper"


def oracle_metrics(
    scores: pd.DataFrame,
    labels: pd.DataFrame,
    terms: Mapping[str, Term],
    weights: Mapping[str, float],
    split: str = "test",
    how: Normalisation = "per_clip",
) -> dict[str, float]:
    """What tuning on the test labels would report, from the same scores; every name says 'oracle'.

    Args: as `evaluate`; `how` as `anomaly_score`.

    Returns:
        micro_auc_oracle, the best of the grid of the fused terms' weights in steps of 0.1, and <term>_weight_oracle,
        where the grid has it, where the model fuses terms; micro_auc_oracle_best_term, the best term alone, where there
        are several (ALPS reports that). Empty where the labels are of one class.
    """
    aligned = _aligned(scores, labels, terms, split)
    if aligned["label"].nunique() < 2:
        return {}
    alone = [micro_auc(aligned["label"], anomaly_score(aligned, terms, {term: 1.0}, how)) for term in terms]
    best_term = {"micro_auc_oracle_best_term": max(alone)} if len(alone) > 1 else {}
    fused = list(weights)
    if len(fused) < 2:
        return best_term
    single = np.stack([anomaly_score(aligned, terms, {term: 1.0}, how).to_numpy() for term in fused])
    grid = [np.array(parts) / 10 for parts in product(range(11), repeat=len(fused)) if sum(parts) == 10]
    areas = [micro_auc(aligned["label"], pd.Series(parts @ single)) for parts in grid]
    best = int(np.argmax(areas))
    found = {f"{term}_weight_oracle": float(weight) for term, weight in zip(fused, grid[best], strict=True)}
    return {"micro_auc_oracle": float(areas[best]), **found, **best_term}


def _aligned(scores: pd.DataFrame, labels: pd.DataFrame, terms: Mapping[str, Term], split: str) -> pd.DataFrame:
    """`align`, of the declared terms alone; labelled clips without any score are worth a warning."""
    missing = [term for term in terms if term not in scores]
    if missing:
        raise EvaluationError(
            f"term {missing[0]}: declared, but the scores have {', '.join(map(str, scores.columns))}; "
            "score the clips again with this model"
        )
    unscored = unscored_clips(scores, labels, split)
    if unscored:
        warnings.warn(f"labelled but not scored, so not in the metrics: {', '.join(unscored)}", stacklevel=3)
    return align(scores[[*KEY, *terms]], labels, split)


def _common_auc(
    aligned: pd.DataFrame, terms: Mapping[str, Term], weights: Mapping[str, float], lengths: Mapping[str, int]
) -> float:
    """Micro AUC, per-clip min-max, of the frames that the 16-frame reconstruction family scores too."""
    unknown = set(aligned["clip"]) - set(lengths)
    if unknown:
        raise EvaluationError(f"clip {min(unknown)}: scored, but its length is not given; add it to the lengths")
    common = aligned.merge(reconstruction_frames(lengths), on=KEY)
    if common["label"].nunique() < 2 <= aligned["label"].nunique():
        warnings.warn("micro_auc_common: undefined, the frames 8 to L - 8 are not of both classes", stacklevel=3)
        return float("nan")
    return micro_auc(common["label"], anomaly_score(common, terms, weights))


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Metrics share scores and labels: what is wrong with them is said once, not once a metric."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        warnings.warn(message, stacklevel=4)

"""Frame-level metrics of an anomaly score (spec 1.4).

Throughout: `label` int (n,), 1 = abnormal; `anomaly` float (n,), higher = more anomalous, any finite range; `clips`
(n,), the clip of each frame. Areas and rates are fractions in [0, 1]. A metric that needs both classes is nan where
one is missing, with a warning that says which.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve


def micro_auc(label: ArrayLike, anomaly: ArrayLike) -> float:
    """Area under one ROC over the frames of all clips: what all five papers report. nan if a class is missing.

    >>> micro_auc([0, 0, 1], [0.1, 0.3, 0.2])
    0.5
    """
    label, anomaly = np.asarray(label), np.asarray(anomaly, np.float64)
    return float(roc_auc_score(label, anomaly)) if _both_classes(label) else float("nan")


def macro_auc(clips: Sequence[str] | pd.Series, label: ArrayLike, anomaly: ArrayLike) -> float:
    """Mean over clips of the clip's own AUC.

    Each clip gets two sentinel frames, a normal one below its lowest score and an abnormal one above its highest
    (spec 1.4), so that clips of one class are defined. They pull every clip's AUC up, short clips' most. nan where
    there is no clip.
    """
    label, anomaly = np.asarray(label), np.asarray(anomaly, np.float64)
    areas = []
    codes, names = pd.factorize(np.asarray(clips))
    for clip in range(len(names)):
        # ranks instead of scores: a small step below the lowest would vanish beside large scores
        _, ranks = np.unique(anomaly[codes == clip], return_inverse=True)
        padded = np.concatenate([[-1], ranks, [len(ranks)]])
        areas.append(roc_auc_score(np.concatenate([[0], label[codes == clip], [1]]), padded))
    return float(np.mean(areas)) if areas else float("nan")


def average_precision(label: ArrayLike, anomaly: ArrayLike) -> float:
    """Area under precision over recall, as scikit-learn's step sum; abnormal is the positive class."""
    label, anomaly = np.asarray(label), np.asarray(anomaly, np.float64)
    if not _both_classes(label):
        return float("nan")
    return float(average_precision_score(label, anomaly))


def eer(label: ArrayLike, anomaly: ArrayLike) -> float:
    """Equal error rate: the false positive rate at the threshold where it is closest to the miss rate (spec 1.4).

    All thresholds are tried (scikit-learn's default leaves out those on straight stretches of the curve, where the
    closest may lie); of equally close ones the highest counts.
    """
    label, anomaly = np.asarray(label), np.asarray(anomaly, np.float64)
    if not _both_classes(label):
        return float("nan")
    fpr, tpr, _ = roc_curve(label, anomaly, drop_intermediate=False)
    return float(fpr[np.argmin(np.abs(fpr - (1 - tpr)))])


def gap_score(label: ArrayLike, regularity: ArrayLike) -> float:
    """Mean regularity of normal frames minus that of abnormal ones, all clips pooled (LGN-Net Fig. 7).

    Args:
        label: as above.
        regularity: 1 - anomaly.

    Returns:
        In [-1, 1] for regularity in [0, 1].
    """
    label, regularity = np.asarray(label), np.asarray(regularity, np.float64)
    if not _both_classes(label):
        return float("nan")
    return float(regularity[label == 0].mean() - regularity[label == 1].mean())


def roc_table(label: ArrayLike, anomaly: ArrayLike) -> pd.DataFrame:
    """The ROC curve: columns fpr, tpr, threshold, from (0, 0) at threshold inf to (1, 1).

    A frame counts as abnormal where its score is at least the threshold. Empty where a class is missing.
    """
    label, anomaly = np.asarray(label), np.asarray(anomaly, np.float64)
    curve = roc_curve(label, anomaly) if _both_classes(label) else (np.empty(0),) * 3
    return pd.DataFrame(dict(zip(("fpr", "tpr", "threshold"), curve, strict=True)))


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        low, high: bounds; nan where no resample counted.
        resamples: resamples that counted.
        skipped: resamples that held one class only.
    """

    low: float
    high: float
    resamples: int
    skipped: int


def bootstrap_interval(
    aligned: pd.DataFrame, score: pd.Series, n: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile interval of the micro AUC over clips resampled with replacement.

    Frames of one clip resemble each other, so clips are drawn, not frames. With few clips the interval is wide and only
    a rough guide; with one there is nothing to resample: nan, with a warning.

    Args:
        aligned: columns clip, label.
        score: (rows of `aligned`,) higher = more anomalous.
        n: resamples.
        seed: equal seeds give equal intervals.
        level: share of resamples inside.

    Returns:
        Interval; resamples of one class only are left out and counted.
    """
    areas = _resampled(aligned, score, n, seed)
    return _interval(areas, level)


def bootstrap_difference(
    aligned: pd.DataFrame, first: pd.Series, second: pd.Series, n: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """As ``bootstrap_interval``, of the micro AUC of one score minus that of another on the same frames.

    Both are measured on the same resamples, so that a clip which is hard for both does not blur the difference.
    """
    return _interval(_resampled(aligned, first, n, seed) - _resampled(aligned, second, n, seed), level)


def _interval(areas: np.ndarray, level: float) -> Interval:
    """Percentile interval of resamples (n,), nan where one did not count."""
    valid = areas[~np.isnan(areas)]
    if not len(valid):
        return Interval(float("nan"), float("nan"), 0, len(areas))
    low, high = np.quantile(valid, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), len(valid), len(areas) - len(valid))


def _resampled(aligned: pd.DataFrame, score: pd.Series, n: int, seed: int) -> np.ndarray:
    """Micro AUC of n resamples of clips, (n,); nan where a resample is of one class."""
    clips, names = pd.factorize(aligned["clip"].to_numpy())
    label, values = aligned["label"].to_numpy(), score.to_numpy(np.float64)
    areas = np.full(n, np.nan)
    if not _both_classes(label):
        return areas
    if len(names) < 2:
        warnings.warn(f"bootstrap interval: undefined, clip {names[0]} is the only one", stacklevel=3)
        return areas
    wins, positives, negatives = _wins(clips, len(names), label, values)
    random = np.random.default_rng(seed)
    # how often each resample holds each clip: (n, clips)
    times = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n).astype(np.float64)
    pairs = (times @ positives) * (times @ negatives)
    won = np.einsum("nc,nc->n", times @ wins, times)
    np.divide(won, pairs, out=areas, where=pairs > 0)
    return areas


def frame_bootstrap_interval(
    label: ArrayLike, score: ArrayLike, n: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """As ``bootstrap_interval``, over frames that do not resemble each other: single images."""
    label, (_, rank) = np.asarray(label), np.unique(np.asarray(score, np.float64), return_inverse=True)
    if not _both_classes(label):
        return Interval(float("nan"), float("nan"), 0, n)
    random, size, areas = np.random.default_rng(seed), int(rank.max()) + 1, []
    for _ in range(n):
        drawn = random.integers(len(label), size=len(label))
        abnormal = np.bincount(rank[drawn][label[drawn] == 1], minlength=size)
        normal = np.bincount(rank[drawn][label[drawn] == 0], minlength=size)
        pairs = abnormal.sum() * normal.sum()
        if pairs:
            areas.append((abnormal * (np.cumsum(normal) - normal / 2)).sum() / pairs)
    low, high = np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), len(areas), n - len(areas))


def auc_by_kind(aligned: pd.DataFrame, anomaly: pd.Series) -> dict[str, float]:
    """AUC of each kind's abnormal frames against all normal frames.

    Args:
        aligned: columns label, kind (``appearance/cart``); abnormal frames of unknown kind "" count for none.
        anomaly: (rows of `aligned`,) higher = more anomalous.

    Returns:
        Kind -> AUC, and group -> AUC for the part before the first slash (``appearance``), by name.
    """
    label, values = aligned["label"].to_numpy(), anomaly.to_numpy(np.float64)
    kind = aligned["kind"].astype(str)
    group = kind.str.split("/", n=1).str[0]
    normal = label == 0
    areas: dict[str, float] = {}
    for column in (kind, group):
        for name in column[(label == 1) & (kind != "")].unique():
            rows = normal | ((label == 1) & (column == name).to_numpy())
            areas[name] = micro_auc(label[rows], values[rows])
    return dict(sorted(areas.items()))


def _wins(
    clips: np.ndarray, n_clips: int, label: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that an abnormal frame of clip i wins against a normal frame of clip j (ties half), and frames per class.

    The micro AUC of any resample follows from these alone (its Mann-Whitney form), without sorting frames again.

    Returns:
        wins (clips, clips), abnormal frames (clips,), normal frames (clips,), all float64.
    """
    abnormal = label == 1
    positives = np.bincount(clips[abnormal], minlength=n_clips).astype(np.float64)
    negatives = np.bincount(clips[~abnormal], minlength=n_clips).astype(np.float64)
    wins = np.zeros((n_clips, n_clips))
    for j in range(n_clips):
        normal = np.sort(values[(clips == j) & ~abnormal])
        below = np.searchsorted(normal, values[abnormal], "left") + np.searchsorted(normal, values[abnormal], "right")
        wins[:, j] = np.bincount(clips[abnormal], below / 2, minlength=n_clips)
    return wins, positives, negatives


def _both_classes(label: np.ndarray) -> bool:
    missing = [f"no {name} frame" for value, name in ((0, "normal"), (1, "abnormal")) if not (label == value).any()]
    if missing:
        warnings.warn(f"{' and '.join(missing)}: ROC, AUC, AP, EER and gap are undefined, nan", stacklevel=3)
    return not missing

"""Scores smoothed over time, as many papers do before they measure; a frame's then depends on frames after it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

SECONDS = 0.3  # standard deviation of the Gaussian
FRAMES_PER_SECOND = 10.0  # of a clip that does not say its own
REACH = 4.0  # standard deviations at which the Gaussian ends


def smoothed(
    frames: pd.DataFrame, anomaly: pd.Series, fps: Mapping[str, float | None] | None = None, seconds: float = SECONDS
) -> pd.Series:
    """A Gaussian mean over time of each clip's scores, never across clips. Not causal.

    Frames count by their numbers: those that have no score take no part, and the weights of the others add up to one.

    Args:
        frames: columns clip and frame, each frame once.
        anomaly: a score per row of ``frames``, of the same index.
        fps: clip -> frames a second; clips that are missing or have None are taken to have 10.
        seconds: standard deviation of the Gaussian.

    Returns:
        float64, of the index of ``frames``.

    >>> two = pd.DataFrame({"clip": ["a", "a"], "frame": [0, 900]})
    >>> smoothed(two, pd.Series([0.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    found = pd.Series(np.nan, index=frames.index, dtype=np.float64)
    for clip, rows in frames.groupby("clip", sort=False):
        deviation = seconds * ((fps or {}).get(str(clip)) or FRAMES_PER_SECOND)
        number = rows["frame"].to_numpy() - rows["frame"].min()
        values, there = np.zeros(number.max() + 1), np.zeros(number.max() + 1)
        values[number], there[number] = anomaly.loc[rows.index], 1.0
        reach = max(1, int(np.ceil(REACH * deviation)))
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
        sums, totals = (np.convolve(given, weights)[reach : reach + len(given)] for given in (values, there))
        found.loc[rows.index] = sums[number] / totals[number]
    return found

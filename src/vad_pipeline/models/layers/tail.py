"""How unusual a value is, as -log p: its rank among held-out normal values, and beyond them an exponential tail."""

import numpy as np
import torch
from torch import Tensor

LEVELS = 1024  # quantiles that are kept
TAIL = 0.99  # beyond this quantile the tail goes on exponentially with the mean excess


def tail_of(values: np.ndarray) -> Tensor:
    """What is kept of held-out values (n,): quantiles, then the mean excess beyond the last but one per cent and n.

    The larger a value, the more unusual. Of very few values the tail is heavy: p is never below 1 / (n + 1) within what
    was seen.

    Returns:
        float64 (LEVELS + 2,); all quantiles are infinite where there is no value, so that nothing is unusual.
    """
    if not len(values):
        return torch.cat([torch.full((LEVELS,), torch.inf), torch.tensor([1.0, 0.0])]).double()
    values = np.asarray(values, np.float64)
    quantiles = np.quantile(values, np.linspace(0, 1, LEVELS))
    start = np.quantile(values, TAIL)
    beyond = values[values > start] - start
    excess = float(beyond.mean()) if len(beyond) else 0.0
    return torch.from_numpy(np.r_[quantiles, max(excess, 1e-3 * abs(start), 1e-9), len(values)])


def surprise(values: np.ndarray, kept: Tensor) -> np.ndarray:
    """-log p of values (m,), natural logarithm, at least 0; monotone.

    p is conformal within what was seen, (number of held-out values at least as large + 1) / (n + 1).
    """
    known = kept.numpy()
    quantiles, excess, n = known[:LEVELS], known[LEVELS], known[LEVELS + 1]
    place = np.interp(values, quantiles, np.linspace(0, 1, LEVELS)) if np.isfinite(quantiles[0]) else 0 * values
    place = np.where(values <= quantiles[0], 0.0, place)
    start = np.interp(TAIL, np.linspace(0, 1, LEVELS), quantiles)
    within = -np.log(((1 - np.minimum(place, TAIL)) * n + 1) / (n + 1))
    floor = -np.log(((1 - TAIL) * n + 1) / (n + 1))
    with np.errstate(invalid="ignore"):
        return np.where(values > start, floor + (values - start) / excess, within)

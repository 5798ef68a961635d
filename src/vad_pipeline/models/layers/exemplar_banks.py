"""Velocities, looks and places of normal cells, and how far others lie from them.

How far normal things lie is asked crosswise: of each fold of the footage, from examples of the other folds alone. So
all people of the footage bear witness of what is normal, not the few of a held-out part.
"""

from collections.abc import Callable

import cv2
import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

FOLDS = 16
FEWEST_FOLDS = 3  # that must hold examples; with fewer, folds of shorter parts of the footage count
ROWS = 6  # rows of cells above and below whose speeds say what is usual in a row
FEWEST = 200  # examples that a row's speeds take; with fewer, those of the nearest rows that have them
NEIGHBOURS = 10
ROW_UNIT = 18.0  # rows of cells that count as far as the usual speed
SLOWEST = 0.02  # pixels a gap; slower is as slow
PLACE_BLUR = 1.5  # cells, standard deviation


class VelocityBank:
    """Velocities of normal cells by row.

    Args:
        motion: (n, 4), row, column and velocity in pixels a gap.
        row_speeds: (2, rows), median and 95th percentile of the speeds around a row.
    """

    def __init__(self, motion: np.ndarray, row_speeds: np.ndarray):
        self.usual, self.fast = row_speeds
        rows = np.arange(len(self.usual))
        standing = np.c_[np.repeat(rows, NEIGHBOURS), np.zeros((NEIGHBOURS * len(rows), 3))]
        self.tree = cKDTree(self._points(np.concatenate([motion, standing])))

    def speed(self, motion: np.ndarray) -> np.ndarray:
        """Log of the speed of cells (m, 4) over the 95th percentile around their row, (m,)."""
        return np.log(np.maximum(np.hypot(motion[:, 2], motion[:, 3]), SLOWEST) / self.fast[motion[:, 0].astype(int)])

    def distance(self, motion: np.ndarray) -> np.ndarray:
        """Mean distance of cells (m, 4) to the ten nearest examples, (m,), in usual speeds."""
        return self.tree.query(self._points(motion), k=NEIGHBOURS)[0].mean(axis=1)

    def _points(self, motion: np.ndarray) -> np.ndarray:
        rows = motion[:, 0].astype(int)
        return np.c_[motion[:, 2:] / self.usual[rows][:, None], rows / ROW_UNIT]


class AppearanceBank:
    """Features of normal cells.

    Args:
        looks: (n, C), the examples.
        all_looks: (N, C), by which features are standardised.
    """

    def __init__(self, looks: Tensor, all_looks: Tensor):
        self.mean, self.deviation = all_looks.mean(dim=0), all_looks.std(dim=0, correction=0).clamp_min(1e-6)
        self.examples = (looks - self.mean) / self.deviation
        self.squares = self.examples.square().sum(dim=1)

    def distance(self, features: Tensor) -> np.ndarray:
        """Distance of features (m, C) to the nearest example, (m,)."""
        found = [self._distance(part) for part in features.split(1024)]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _distance(self, features: Tensor) -> np.ndarray:
        queries = (features - self.mean) / self.deviation
        squared = self.squares - 2 * queries @ self.examples.T
        return (squared.amin(dim=1) + queries.square().sum(dim=1)).clamp_min(0).sqrt().cpu().numpy()


def rarity(occupied: np.ndarray, frames: int) -> np.ndarray:
    """-log of the share of frames in which something is at each place.

    Args:
        occupied: (h, w), frames in which a cell was foreground.
        frames: how many there were.

    Returns:
        (h, w); where never anything was, a bit more than where something was once.
    """
    smooth = cv2.GaussianBlur(occupied.astype(np.float64), (0, 0), PLACE_BLUR)
    return -np.log((smooth + 0.1) / (frames + 1))


def folds_of(origins: np.ndarray) -> tuple[np.ndarray, int]:
    """Folds of examples, (n,), by the footage that they come from; and which of their origins says so.

    Args:
        origins: int64 (n, 2), numbers of the block of footage and of the shorter part of it, which counts where there
            are too few blocks.
    """
    folds = (origins % FOLDS).T
    kind = 0 if len(np.unique(folds[0])) >= FEWEST_FOLDS else 1
    return folds[kind], kind


def crosswise(folds: np.ndarray, measure: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """What ``measure(others, mine)`` gives of each fold's examples against those of the other folds.

    Args:
        folds: (n,).
        measure: of masks bool (n,), of which the first chooses the examples to compare with.

    Returns:
        Values of all examples, in the order of the folds; of nothing where there is but one fold.
    """
    masks = [folds == fold for fold in np.unique(folds)]
    found = [measure(~mine, mine) for mine in masks] if len(masks) > 1 else []
    return np.concatenate(found) if found else np.zeros(0)


def speeds_by_row(motion: np.ndarray, rows: int) -> np.ndarray:
    """Median and 95th percentile of the speeds of the examples (n, 4) around each row, float32 (2, rows)."""
    speeds = np.maximum(np.hypot(motion[:, 2], motion[:, 3]), SLOWEST)
    near = [speeds[np.abs(motion[:, 0] - row) <= ROWS] for row in range(rows)]
    enough = [row for row in range(rows) if len(near[row]) >= FEWEST]
    found = {row: np.quantile(near[row], (0.5, 0.95)) for row in enough} or {0: np.quantile(speeds, (0.5, 0.95))}
    known = np.array(list(found))
    curves = [np.interp(np.arange(rows), known, [found[row][k] for row in found]) for k in (0, 1)]
    return np.stack(curves).astype(np.float32)

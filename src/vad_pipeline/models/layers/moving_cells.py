"""Foreground cells of a frame: where they are, how they move, how they look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vad_pipeline.features.cell_features import CellFeatures, cell_features
from vad_pipeline.flow.dis import DIS, dis_flow
from vad_pipeline.models.layers.foreground import CELL, around, cells_of

AROUND = 9, 5  # rows and columns of cells whose velocities are averaged: about a person
FLOW = DIS()


@dataclass(frozen=True)
class Cells:
    """Foreground cells of one frame.

    Attributes:
        places: int64 (m, 2), row and column.
        velocity: float32 (m, 2), pixels a gap, averaged over the cells around.
        appearance: float32 (m, C), features.
        lost: the picture has changed as a whole; there are no cells then.
    """

    places: np.ndarray
    velocity: np.ndarray
    appearance: np.ndarray
    lost: bool = False


def cells_in_motion(
    grays: Sequence[np.ndarray], mask: np.ndarray, gap: int, border: int
) -> tuple[np.ndarray, np.ndarray]:
    """Foreground cells of a window's target frame, and their velocities.

    Args:
        grays: uint8 (H, W), a window: ``gap`` frames, the target and, unless scores look back only, ``gap`` more.
        mask: bool (H, W), the target's foreground.
        gap: frames over which motion is measured.
        border: cells along the picture's border that do not count.

    Returns:
        Places int64 (m, 2); velocities float32 (m, 2) in pixels a gap, averaged over the cells around.
    """
    if not mask.any():
        return np.zeros((0, 2), np.int64), np.zeros((0, 2), np.float32)
    now = grays[gap][..., None]
    flow = -dis_flow(now, grays[0][..., None], FLOW)
    if len(grays) > gap + 1:
        flow = (flow + dis_flow(now, grays[2 * gap][..., None], FLOW)) / 2
    cells, velocity = cells_of(mask, flow, border)
    places = np.argwhere(cells)
    return places, around(cells, velocity, *AROUND)[tuple(places.T)]


def features_of(
    frame: np.ndarray, places: np.ndarray, settings: CellFeatures, device: torch.device, bf16: bool = False
) -> np.ndarray:
    """Features float32 (m, C) of the cells at some places (m, 2) of a frame uint8 (H, W, 1|3)."""
    if not len(places):
        return np.zeros((0, settings.dimension), np.float32)
    wanted = np.zeros((1, frame.shape[0] // CELL, frame.shape[1] // CELL), bool)
    wanted[0][tuple(places.T)] = True
    return cell_features(frame[None], settings, device, bf16, wanted)[0][tuple(places.T)]

"""Frames as grids of square patches that do not overlap, and back (ALPS, spec 5.1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from vad_pipeline.clips.clip import Clips

Pooling = Literal["max", "mean", "top_k"]

CHUNK = 64  # frames read at a time when patches are collected
LEAST = 1e-4  # of motion: a fortieth of a gray level on average


@dataclass(frozen=True)
class PatchGrid:
    """Where the patches of a frame lie: as many as fit, in its middle; what is left over at the edges is not looked at.

    Attributes:
        size: side of a patch in pixels.
        rows, columns: patches below and beside each other.
        top, left: pixels above and left of the first one.
    """

    size: int
    rows: int
    columns: int
    top: int
    left: int

    @classmethod
    def of(cls, height: int, width: int, size: int) -> "PatchGrid":
        """The grid of a frame.

        Raises:
            ValueError: the frame is smaller than a patch.

        >>> PatchGrid.of(240, 360, 30)
        PatchGrid(size=30, rows=8, columns=12, top=0, left=0)
        """
        rows, columns = height // size, width // size
        if not rows * columns:
            raise ValueError(
                f"frames of {width}x{height} are smaller than a patch of {size}x{size}; make the frames larger or "
                "lower `patch`"
            )
        return cls(size, rows, columns, (height - rows * size) // 2, (width - columns * size) // 2)

    @property
    def count(self) -> int:
        """Patches of a frame."""
        return self.rows * self.columns

    def inside(self, frames: Tensor) -> Tensor:
        """The part of frames (n, H, W, C) that patches cover, a view (n, rows * size, columns * size, C)."""
        height, width = self.rows * self.size, self.columns * self.size
        return frames[:, self.top : self.top + height, self.left : self.left + width]

    def unfold(self, frames: Tensor) -> Tensor:
        """A view of frames (n, H, W, C) as patches (n, rows, columns, size, size, C); nothing is copied."""
        # (n, rows, columns, C, size, size), strided
        patches = self.inside(frames).unfold(1, self.size, self.size).unfold(2, self.size, self.size)
        return patches.movedim(3, -1)

    def fold(self, patches: Tensor) -> Tensor:
        """Patches (n, rows, columns, size, size, C) put together, (n, rows * size, columns * size, C)."""
        return patches.transpose(2, 3).flatten(1, 2).flatten(2, 3)

    def spread(self, scores: Tensor, height: int, width: int, step: int) -> Tensor:
        """Every ``step``-th pixel of a frame in each direction with its patch's score, 0 beside the patches.

        Args:
            scores: (n, rows, columns).
            height, width: of the frame.
            step: pixels.

        Returns:
            (n, height / step, width / step).
        """
        beside = torch.nn.functional.pad(scores, (0, 1, 0, 1))  # the last row and column stand for "no patch"
        rows = self._owners(height // step, step, self.top, self.rows)
        columns = self._owners(width // step, step, self.left, self.columns)
        return beside[:, rows][:, :, columns]

    def _owners(self, n: int, step: int, first: int, count: int) -> Tensor:
        """The patch that each of n cells has its centre in; ``count`` where it has none."""
        owner = (torch.arange(n) * step + step // 2 - first).div(self.size, rounding_mode="floor")
        return torch.where((owner < 0) | (owner >= count), count, owner)


def patch_motion(frames: Tensor, before: Tensor, grid: PatchGrid) -> Tensor:
    """Mean absolute difference to the frame before in every patch, in [0, 1] of the range of pixels.

    Args:
        frames, before: uint8 (n, H, W, C).
        grid: of the patches.

    Returns:
        float32 (n, rows, columns).
    """
    larger, smaller = torch.maximum(frames, before), torch.minimum(frames, before)
    difference = (larger - smaller).float().mean(-1, keepdim=True)
    return grid.unfold(difference).mean((3, 4, 5)) / 255


def moving_threshold(motion: np.ndarray) -> float:
    """The motion that best tells moving from still patches: Otsu's threshold of its logarithm.

    The logarithm, because still patches differ by the camera's noise, whose size varies by factors; compressed video
    has none, so that what is below ``LEAST`` counts as that.

    Args:
        motion: (n,) of training patches.
    """
    logs = np.log(np.maximum(motion, LEAST))
    low, high = float(logs.min()), float(logs.max())
    if low == high:
        return 0.0
    levels = np.rint((logs - low) / (high - low) * 255).astype(np.uint8)
    level, _ = cv2.threshold(levels.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(np.exp(low + (level + 0.5) / 255 * (high - low)))


def frames_with_motion(clips: Clips, grid: PatchGrid, stride: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames uint8 (n, H, W, C) but the first of each clip, and the motion of their patches (n, rows, columns), a few
    at a time.

    Args:
        clips: of frames.
        grid: of the patches.
        stride: every how many frames of a clip.
    """
    for clip in clips.values():
        array = clip.array()
        for first in range(1, len(clip), CHUNK):
            rows = torch.from_numpy(np.array(array[first - 1 : first + CHUNK]))
            next_one = (1 - first) % stride  # counted over the whole clip, not from where a reading begins
            yield rows[1 + next_one :: stride], patch_motion(rows[1:], rows[:-1], grid)[next_one::stride]


def moving_patches(clips: Clips, grid: PatchGrid, threshold: float, stride: int, most: int, seed: int) -> Tensor:
    """Patches uint8 (n, size, size, C) that move.

    Args:
        clips, grid, stride: as for ``frames_with_motion``.
        threshold: of their motion.
        most: of more, so many are drawn.
        seed: of the draw.
    """
    moving = [grid.unfold(frames)[motion > threshold] for frames, motion in frames_with_motion(clips, grid, stride)]
    patches = torch.cat(moving)
    if len(patches) <= most:
        return patches
    drawn = np.random.default_rng(seed).permutation(len(patches))[:most]
    return patches[torch.from_numpy(np.sort(drawn))]


def pooled(errors: Tensor, moving: Tensor, how: Pooling, top: int) -> Tensor:
    """Scores of frames (n,) from their patches'.

    Args:
        errors: (n, rows, columns), 0 where nothing moves.
        moving: bool (n, rows, columns).
        how: the highest, the mean of the moving ones, or of the ``top`` highest of them.
        top: how many.
    """
    errors, count = errors.flatten(1), moving.flatten(1).sum(1)
    if how == "max":
        return errors.amax(1)
    if how == "top_k":
        return errors.topk(min(top, errors.shape[1])).values.sum(1) / count.clamp(1, top)
    return errors.sum(1) / count.clamp_min(1)

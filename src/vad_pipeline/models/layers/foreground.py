"""What stands out from the empty scene, in pixels and in cells: a running background, and a picture lost to change."""

from dataclasses import dataclass

import cv2
import numpy as np

CELL = 4  # side of a cell in pixels
FOREGROUND = 0.4  # of a cell's pixels from which on it is one of the foreground
BLUR = (3, 3)
OPENING = np.ones((3, 3), np.uint8)

# Gray levels a gap (a fifth of a second) by which the background follows what is seen: where nothing stands out, where
# something does, and while the whole picture has changed.
FOLLOWS, ABSORBS, CATCHES_UP = 0.4, 0.04, 16.0
LOST_SHARE, LOST_GAPS = 0.2, 5  # so much of the picture foreground, for so many gaps (a second): the camera, no thing
LOST_SHIFT = 64.0  # gray levels; an even change by more than that is no exposure but a light switched, a camera covered
CAUGHT_UP = 16  # gaps in which all 256 gray levels are caught up with; so long a picture stays lost at least


@dataclass
class Background:
    """The empty scene as it is believed to look now; a thing that stays is part of it after some minutes.

    Slow changes of light are followed in each pixel, an even change of the whole picture is allowed for at once.

    Attributes:
        picture: float32 (H, W), gray levels; changed in place.
        gap: frames that last a fifth of a second.
        threshold: gray levels from which on a pixel stands out.
        running: whether it follows the light.
        lost_for: frames in a row in which too much of the picture stood out, or that were then caught up with.
    """

    picture: np.ndarray
    gap: int
    threshold: float
    running: bool = True
    lost_for: int = 0

    @property
    def lost(self) -> bool:
        """Whether the picture has changed as a whole: the camera was moved or covered, or the light was switched."""
        return self.lost_for >= LOST_GAPS * self.gap

    def things(self, gray: np.ndarray) -> np.ndarray:
        """``foreground``, of which nothing counts where it is too much for things, be it for less than a second."""
        mask = self.foreground(gray)
        return mask if self.lost_for == 0 else np.zeros_like(mask)

    def foreground(self, gray: np.ndarray) -> np.ndarray:
        """What stands out of the next frame, bool (H, W).

        Args:
            gray: uint8 (H, W).
        """
        difference = cv2.GaussianBlur(gray, BLUR, 0).astype(np.float32) - cv2.GaussianBlur(self.picture, BLUR, 0)
        shift = np.median(difference)
        difference -= shift
        standing_out = (np.abs(difference) > self.threshold).astype(np.uint8)
        mask = cv2.morphologyEx(standing_out, cv2.MORPH_OPEN, OPENING).astype(bool)
        changed = mask.mean() > LOST_SHARE or abs(shift) > LOST_SHIFT
        catching_up = self.lost and self.lost_for < (LOST_GAPS + CAUGHT_UP) * self.gap
        self.lost_for = self.lost_for + 1 if changed or catching_up else 0
        if self.running:
            rate = np.full(gray.shape, CATCHES_UP, np.float32) if self.lost else np.where(mask, ABSORBS, FOLLOWS)
            apart = gray - self.picture
            self.picture += np.sign(apart) * np.minimum(np.abs(apart), rate / self.gap).astype(np.float32)
        return mask


def cells_of(mask: np.ndarray, flow: np.ndarray, border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cells of the foreground and how they move.

    Args:
        mask: bool (H, W), multiples of 4.
        flow: float32 (H, W, 2).
        border: cells along the picture's border that do not count.

    Returns:
        bool (H/4, W/4): more than 0.4 of the cell is foreground, and it is not at the border; float32 (H/4, W/4, 2):
        mean flow of its foreground, 0 where there is none.
    """
    height, width = mask.shape[0] // CELL, mask.shape[1] // CELL
    tiles = mask.reshape(height, CELL, width, CELL)
    pixels = tiles.sum((1, 3))
    moved = (flow.reshape(height, CELL, width, CELL, 2) * tiles[..., None]).sum((1, 3))
    inside = np.zeros((height, width), bool)
    inside[border : height - border, border : width - border] = True
    return inside & (pixels > FOREGROUND * CELL * CELL), (moved / np.maximum(pixels, 1)[..., None]).astype(np.float32)


def around(cells: np.ndarray, values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Mean over the foreground cells of a neighbourhood: about a person, so that a swinging leg is part of its walker.

    Args:
        cells: bool (h, w).
        values: float32 (h, w, c).
        rows, columns: of the neighbourhood, odd.

    Returns:
        float32 (h, w, c), 0 where no foreground is near.
    """
    weight = cells.astype(np.float32)

    def total(of: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(of, -1, (columns, rows), normalize=False, borderType=cv2.BORDER_CONSTANT)

    return total(values * weight[..., None]) / np.maximum(total(weight), 1)[..., None]

"""Where in a frame an error map is high."""

import cv2
import numpy as np

BOX_LEVEL = 0.4  # of the smoothed error's maximum; the region above it is boxed


def enlarged(error: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An error map (h, w) at the size (H, W) of its frame."""
    return cv2.resize(error, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def strongest_region(error: np.ndarray) -> tuple[int, int, int, int]:
    """Box (x, y, width, height) around the connected region of high error that holds the highest.

    Args:
        error: (H, W); it is smoothed first, so that one noisy pixel does not count.
    """
    smooth = cv2.GaussianBlur(error.astype(np.float32), (0, 0), sigmaX=max(1.0, error.shape[1] / 64))
    _, _, _, (x, y) = cv2.minMaxLoc(smooth)
    _, regions = cv2.connectedComponents((smooth >= BOX_LEVEL * smooth[y, x]).astype(np.uint8))
    left, top, width, height = cv2.boundingRect((regions == regions[y, x]).astype(np.uint8))
    return left, top, width, height


def region_in_picture(error: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """``strongest_region`` of an error map in pixels of the picture (H, W) that it is of.

    It is looked for at the size of the model's frame, four times the map's, or the picture's where that is smaller: a
    map knows no finer places, and smoothing a large picture takes longer than many models do.

    >>> region_in_picture(np.pad(np.ones((4, 4), np.float32), ((20, 36), (20, 56))), (480, 640))
    (156, 156, 40, 40)
    """
    at = min(size[0], 4 * error.shape[0]), min(size[1], 4 * error.shape[1])
    x, y, width, height = strongest_region(enlarged(error, at))
    right, bottom = -(-(x + width) * size[1] // at[1]), -(-(y + height) * size[0] // at[0])
    x, y = x * size[1] // at[1], y * size[0] // at[0]
    return x, y, right - x, bottom - y

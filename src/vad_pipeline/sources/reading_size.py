"""The size at which raw clips are read: a height, with the width in proportion."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np


def frames_at_height(frames: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Frames uint8 (H, W, C) brought to ``height`` pixels by averaging.

    >>> [frame.shape for frame in frames_at_height([np.zeros((720, 1280, 3), np.uint8)], 360)]
    [(360, 640, 3)]
    """
    for frame in frames:
        yield _resized(frame, height, cv2.INTER_AREA).reshape(height, -1, frame.shape[-1])


def masks_at_height(masks: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Masks bool (H, W) brought to ``height`` pixels: each pixel is the one of the mask that its centre falls on."""
    for mask in masks:
        yield _resized(mask.astype(np.uint8), height, cv2.INTER_NEAREST_EXACT).astype(bool)


def _resized(image: np.ndarray, height: int, interpolation: int) -> np.ndarray:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return cv2.resize(image, (width, height), interpolation=interpolation)

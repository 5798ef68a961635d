"""Square pieces of a frame around a part of it, scaled to one size, and back."""

import math
from typing import NamedTuple

import cv2
import numpy as np

MARGIN = 1.5  # side of a crop over the longer side of what it is cut around


class Square(NamedTuple):
    """A square of ``side`` pixels, which may reach beyond the frame; the frame is then mirrored."""

    top: int
    left: int
    side: int


def square_around(box: tuple[int, int, int, int], least: int, height: int, width: int) -> Square:
    """The square around a box (top, left, height, width), inside the frame where it fits into it.

    >>> square_around((0, 90, 20, 10), 64, 128, 192)
    Square(top=0, left=63, side=64)
    """
    side = max(least, math.ceil(MARGIN * max(box[2:])))
    top, left = box[0] + box[2] // 2 - side // 2, box[1] + box[3] // 2 - side // 2
    return placed_inside(Square(top, left, side), height, width)


def placed_inside(square: Square, height: int, width: int) -> Square:
    """The square moved into the frame; centred on it where it is larger."""
    top, left = (
        min(max(0, at), length - square.side) if square.side <= length else (length - square.side) // 2
        for at, length in ((square.top, height), (square.left, width))
    )
    return Square(top, left, square.side)


def cut(image: np.ndarray, square: Square, size: int) -> np.ndarray:
    """The square of a frame, (H, W) or (H, W, C), uint8 or bool, scaled to (size, size, ...); masks stay bool."""
    rows, columns = (_mirrored(at, square.side, n) for at, n in zip(square[:2], image.shape[:2], strict=True))
    piece = image[rows[:, None], columns]
    if square.side == size:
        return piece
    if piece.dtype == bool:
        return cv2.resize(piece.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)
    scaled = cv2.resize(piece, (size, size), interpolation=cv2.INTER_AREA)
    return scaled.reshape(size, size, *image.shape[2:])


def paste(image: np.ndarray, filled: np.ndarray, square: Square, mask: np.ndarray) -> None:
    """Write a filled crop, uint8 (size, size, C), back into a frame, uint8 (H, W, C), where ``mask`` (H, W) is true."""
    if len(filled) != square.side:
        filled = cv2.resize(filled, (square.side,) * 2, interpolation=cv2.INTER_CUBIC)
        filled = filled.reshape(square.side, square.side, -1)
    height, width = image.shape[:2]
    top, left = max(0, square.top), max(0, square.left)
    bottom, right = min(height, square.top + square.side), min(width, square.left + square.side)
    inside = filled[top - square.top : bottom - square.top, left - square.left : right - square.left]
    where = mask[top:bottom, left:right]
    image[top:bottom, left:right][where] = inside[where]


def _mirrored(start: int, count: int, length: int) -> np.ndarray:
    """Indices start .. start + count - 1 of a row of ``length`` pixels that goes on, mirrored, at both ends."""
    period = max(1, 2 * (length - 1))
    index = np.arange(start, start + count) % period
    return np.where(index < length, index, period - index)

"""Two frames of flat layers that each move by an affine map, with their exact optical flow and occlusion.

Coordinates are (x, y) in pixels, pixel centres at integers. Affine maps are float64 (3, 3) matrices of column vectors.
Both frames are sampled from the same canvases by an exact inverse map, so neither is a blurred copy of the other.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

CANVAS_SCALE = 2.0  # canvas pixels per frame pixel: finer, so that bilinear sampling loses little
IDENTITY = np.eye(3)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Layer:
    """A flat thing in front of the camera.

    Attributes:
        canvas: uint8 (h, w, 4), colour and alpha. The colour is defined everywhere, also where the alpha is 0, so that
            edges do not pick up a tint.
        place: maps a point of the earlier frame to the canvas.
        motion: maps a point of the earlier frame to where its surface is in the later frame.
    """

    canvas: np.ndarray
    place: np.ndarray
    motion: np.ndarray


class LayeredPair(NamedTuple):
    """Two frames, uint8 (H, W, 4), colour and a channel without meaning; flow, float32 (H, W, 2), pixels; occluded,
    bool (H, W)."""

    earlier: np.ndarray
    later: np.ndarray
    flow: np.ndarray
    occluded: np.ndarray


def translation(x: float, y: float) -> np.ndarray:
    """The map that adds (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def similarity(angle: float, scale: float, fixed: tuple[float, float], shift: tuple[float, float]) -> np.ndarray:
    """Turns by ``angle`` radians and scales about ``fixed``, then moves by ``shift`` pixels."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    x, y = fixed
    return np.array(
        [
            [cos, -sin, x - cos * x + sin * y + shift[0]],
            [sin, cos, y - sin * x - cos * y + shift[1]],
            [0.0, 0.0, 1.0],
        ]
    )


def placed(anchor: tuple[float, float], at: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """The ``place`` of a canvas whose ``anchor`` is at ``at`` of the earlier frame, turned by ``angle``."""
    turned = similarity(-angle, CANVAS_SCALE, (0.0, 0.0), (0.0, 0.0))
    turned[:2, 2] = (
        anchor[0] - turned[0, 0] * at[0] - turned[0, 1] * at[1],
        anchor[1] - turned[1, 0] * at[0] - turned[1, 1] * at[1],
    )
    return turned


def inverse(affine: np.ndarray) -> np.ndarray:
    """The inverse of an affine map."""
    result = IDENTITY.copy()
    result[:2] = cv2.invertAffineTransform(affine[:2])
    return result


def render_layers(layers: list[Layer], height: int, width: int) -> LayeredPair:
    """Renders the layers, ordered from the back, before and after their motions.

    The first one is the background: it is opaque and goes on, mirrored, beyond its canvas. The flow of a pixel of the
    earlier frame is the motion of the frontmost layer that covers more than half of it. It is occluded where that
    point of the surface is more than half covered by layers in front of it in the later frame, or is not between
    pixel centres of the later frame. A layer with an alpha under one half (a shadow) tints what is behind it and
    neither carries flow nor occludes.
    """
    ground = layers[0]
    still = np.array_equal(ground.motion, IDENTITY)
    earlier = _sample(ground.canvas, ground.place, (0, 0, width, height), cv2.BORDER_REFLECT_101)
    if still:
        later = earlier.copy()
    else:
        moved = ground.place @ inverse(ground.motion)
        later = _sample(ground.canvas, moved, (0, 0, width, height), cv2.BORDER_REFLECT_101)
    points = _points(height, width)
    flow = cv2.transform(points, (ground.motion - IDENTITY)[:2])
    front = np.zeros((height, width), np.int16)
    before: list[Cover | None] = [Cover((0, 0, width, height), np.ones((height, width), np.float32))]
    after: list[Cover | None] = [None]
    for number, layer in enumerate(layers[1:], start=1):
        cover = _lay_over(earlier, layer.canvas, layer.place)
        if cover is not None:
            left, top, right, bottom = cover.box
            visible = cover.alpha > 0.5
            front[top:bottom, left:right][visible] = number
            displaced = cv2.transform(points[top:bottom, left:right], (layer.motion - IDENTITY)[:2])
            cv2.copyTo(displaced, visible.view(np.uint8), flow[top:bottom, left:right])
        before.append(cover)
        after.append(_lay_over(later, layer.canvas, layer.place @ inverse(layer.motion)))
    inside = cv2.inRange(points + flow, (0, 0), (width - 1, height - 1)) > 0
    occluded = _covered([layer.motion for layer in layers], front, before, after) | ~inside
    return LayeredPair(earlier, later, flow, occluded)


class Cover(NamedTuple):
    """Where a layer is in a frame: left, top, right, bottom (exclusive), and its alpha in there, float32 (h, w)."""

    box: Box
    alpha: np.ndarray


def _covered(
    motions: list[np.ndarray], front: np.ndarray, before: list[Cover | None], after: list[Cover | None]
) -> np.ndarray:
    """Where what is in front in the earlier frame, a layer's number (H, W), is more than half covered in the later."""
    height, width = front.shape
    covered = np.zeros((height, width), bool)
    bare = np.ones((height, width), np.float32)  # what of a later pixel the layers in front leave open
    for number in range(len(motions) - 1, -1, -1):
        earlier, later = before[number], after[number]
        if earlier is not None:
            left, top, right, bottom = earlier.box
            # The motion maps pixels of the earlier frame to where to look in the later one.
            hidden = _sample(bare, motions[number], earlier.box, cv2.BORDER_REPLICATE) < 0.5
            hidden &= front[top:bottom, left:right] == number
            covered[top:bottom, left:right] |= hidden
        if later is not None and later.alpha.max() > 0.5:
            left, top, right, bottom = later.box
            bare[top:bottom, left:right] *= 1 - later.alpha
    return covered


def _sample(image: np.ndarray, place: np.ndarray, box: Box, border: int) -> np.ndarray:
    """The pixels of a frame within ``box``, looked up in ``image`` where ``place`` maps them."""
    left, top, right, bottom = box
    affine = place[:2].copy()
    affine[:, 2] += affine[:, 0] * left + affine[:, 1] * top
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, affine, (right - left, bottom - top), flags=flags, borderMode=border)


def _lay_over(frame: np.ndarray, canvas: np.ndarray, place: np.ndarray) -> Cover | None:
    """Blends a canvas into ``frame``, uint8 (H, W, 4), in place; None where it is outside."""
    height, width = canvas.shape[:2]
    (a, b, x), (c, d, y) = cv2.invertAffineTransform(place[:2]).tolist()
    # The box around a turned canvas: half its extent is the sum of what both sides extend.
    centre_x, reach_x = (a * (width - 1) + b * (height - 1)) / 2 + x, (abs(a) * width + abs(b) * height) / 2
    centre_y, reach_y = (c * (width - 1) + d * (height - 1)) / 2 + y, (abs(c) * width + abs(d) * height) / 2
    left, right = max(0, math.floor(centre_x - reach_x)), min(frame.shape[1], math.ceil(centre_x + reach_x) + 1)
    top, bottom = max(0, math.floor(centre_y - reach_y)), min(frame.shape[0], math.ceil(centre_y + reach_y) + 1)
    if left >= right or top >= bottom:
        return None
    box = (left, top, right, bottom)
    part = _sample(canvas, place, box, cv2.BORDER_CONSTANT)
    alpha = part[..., 3] * np.float32(1 / 255)
    patch = frame[top:bottom, left:right]
    patch[:] = cv2.blendLinear(part, patch, alpha, 1 - alpha)
    return Cover(box, alpha)


@lru_cache(maxsize=2)
def _points(height: int, width: int) -> np.ndarray:
    """Where the pixels are, float32 (height, width, 2), read-only."""
    points = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2).astype(np.float32)
    points.setflags(write=False)
    return points

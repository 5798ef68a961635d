"""Shapes of the things in rendered flow pairs.

An outline is float64 (n, 2), points (x, y) of a closed polygon, in pixels of the frame around the thing's own origin.
"""

import math
from functools import lru_cache
from random import Random

import cv2
import numpy as np

from vad_pipeline.flow.layers import CANVAS_SCALE

EDGE = 3.0  # canvas pixels kept free around a shape, for the blur of the lens
SUB_PIXEL = 16  # corners are at multiples of a canvas pixel by this


def masks_of(outlines: list[np.ndarray], edge: float = EDGE) -> tuple[list[np.ndarray], tuple[float, float]]:
    """One mask per outline, uint8 (h, w), 0 to 255, all on one canvas, and the canvas point of their origin."""
    corners = [np.rint(outline * (CANVAS_SCALE * SUB_PIXEL)).astype(np.int32) for outline in outlines]
    left, top, width, height = cv2.boundingRect(np.concatenate(corners))
    anchor = (round(edge * SUB_PIXEL) - left, round(edge * SUB_PIXEL) - top)
    shape = (math.ceil(height / SUB_PIXEL + 2 * edge), math.ceil(width / SUB_PIXEL + 2 * edge))
    masks = []
    for polygon in corners:
        mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [polygon + anchor], 255, cv2.LINE_AA, SUB_PIXEL.bit_length() - 1)
        masks.append(mask)
    return masks, (anchor[0] / SUB_PIXEL, anchor[1] / SUB_PIXEL)


def ellipse(width: float, height: float, at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """An ellipse around ``at``."""
    return _ring(24) * (width / 2, height / 2) + at


def random_outline(random: Random, size: float) -> np.ndarray:
    """An ellipse, a box, a polygon or a blob, at most ``size`` long, often slimmer one way."""
    kind = random.random()
    if kind < 0.25:
        outline = _ring(24)
    elif kind < 0.45:
        outline = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) / math.sqrt(2)
        outline[:2] *= random.uniform(0.5, 1)
    elif kind < 0.65:
        corners = random.randint(3, 8)
        angles = [(corner + random.uniform(-0.35, 0.35)) * 2 * math.pi / corners for corner in range(corners)]
        outline = np.array([(math.cos(a), math.sin(a)) for a in angles])
        outline *= np.array([[random.uniform(0.45, 1)] for _ in angles])
    else:
        outline = blob(random)
    slim = 1.0 if random.random() < 0.3 else math.exp(random.uniform(math.log(0.25), 0))
    return outline * (size / 2, size * slim / 2)


def blob(random: Random) -> np.ndarray:
    """A bumpy outline within the unit circle."""
    angles = np.arange(32) * (2 * math.pi / 32)
    radius = np.ones(32)
    for waves in (2, 3, 4, 5):
        radius += random.gauss(0, 0.5) / waves * np.sin(waves * angles + random.uniform(0, 2 * math.pi))
    radius = np.maximum(radius, 0.25)
    return _ring(32) * (radius / radius.max())[:, None]


def random_region(random: Random) -> np.ndarray:
    """A lawn, a road, a wall, a door: an outline in shares of the picture's width and height, may lie half outside."""
    kind = random.random()
    if kind < 0.4:  # a band from side to side
        left, right, thick = random.uniform(-0.1, 1), random.uniform(-0.1, 1), random.uniform(0.05, 0.6)
        corners = np.array([(0, left), (1, right), (1, right + thick), (0, left + thick)])
        return corners if random.random() < 0.6 else corners[:, ::-1]
    x, y = random.uniform(-0.2, 1), random.uniform(-0.2, 1)
    if kind < 0.75:  # a box
        wide, high = (math.exp(random.uniform(math.log(0.05), math.log(0.6))) for _ in "xy")
        return np.array([(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)])
    return (x, y) + random.uniform(0.1, 0.4) * blob(random)


def limb(length: float, thick: float) -> np.ndarray:
    """An arm or a leg that hangs down from its joint at the origin, thinner at the end."""
    half, end = thick / 2, 0.6 * thick / 2
    side = [(half, 0.0), (0.9 * half, 0.5 * length), (end, 0.9 * length), (0.6 * end, length)]
    return np.array([(-0.6 * half, -half), (0.6 * half, -half), *side, *((-x, y) for x, y in reversed(side))])


def trunk_and_head(height: float, build: float) -> tuple[np.ndarray, np.ndarray]:
    """Two outlines around the middle of someone ``height`` tall; ``build`` is the breadth, about 1."""
    shoulder, waist, hips = (build * height * share for share in (0.115, 0.085, 0.09))
    side = [(0.4 * shoulder, -0.35), (shoulder, -0.31), (waist, -0.08), (hips, 0.03), (0.8 * hips, 0.08)]
    right = [(x, y * height) for x, y in side]
    trunk = np.array([*right, *((-x, y) for x, y in reversed(right))])
    return trunk, ellipse(0.13 * height, 0.16 * height, (0.0, -0.42 * height))


@lru_cache
def _ring(points: int) -> np.ndarray:
    angles = np.arange(points) * (2 * math.pi / points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)

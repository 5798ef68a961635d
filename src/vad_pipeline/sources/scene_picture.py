"""How a picture of the built-in scenes is made: the camera, the empty place, sprites and their shadows."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

REFERENCE_HEIGHT = 128  # positions are in reference pixels, the pixels of a picture this high
HORIZON = -3.0  # reference pixels; above the picture, the camera looks down
CAMERA_HEIGHT = 4.6  # metres
FOCAL_LENGTH = 160  # reference pixels
PAVING = (55.0, 113.0)  # reference pixels, the rows of the paved way
SUPERSAMPLING = 3  # sprites are drawn this many times larger, then averaged down
SUB_PIXEL = 3  # bits of sub-pixel precision given to OpenCV on top of that
SHADOW_SHEAR = (0.62, 0.24)  # pixels to the right and down per pixel of height: the sun is behind, on the left
SHADOW_DEPTH = 0.42  # share of the light that a shadow takes away

Colour = tuple[int, int, int]
Point = tuple[float, float]


def metre_at(y: float) -> float:
    """Reference pixels per metre for something standing at ``y``."""
    return (y - HORIZON) / CAMERA_HEIGHT


@dataclass(frozen=True)
class Sprite:
    """A small picture to lay over the frame.

    Attributes:
        left, top: the frame pixel of its upper left corner, may be outside of the frame.
        ground: the row of the sprite where the actor touches the ground.
        rgb: uint8 or float32 (h, w, 3), 0 to 255, premultiplied with alpha.
        alpha: float32 (h, w), 0 to 1.
    """

    left: int
    top: int
    ground: float
    rgb: np.ndarray
    alpha: np.ndarray


class Canvas:
    """Draws in metres around an actor's feet, onto a supersampled RGBA picture."""

    def __init__(self, x: float, y: float, metre: float, direction: int, reach: float, top: float, tilt: float = 0.0):
        self.left, self.top = math.floor(x - reach * metre), math.floor(y - top * metre)
        right, bottom = math.ceil(x + reach * metre), math.ceil(y + 0.2 * metre) + 1
        self.ground = y - self.top
        self._scale = metre * SUPERSAMPLING
        self._unit = float(SUPERSAMPLING << SUB_PIXEL)
        self._x, self._y = (x - self.left) * self._unit + 0.5, self.ground * self._unit + 0.5
        self._metre = metre * self._unit
        self._forward = direction * self._metre
        self._cos, self._sin = math.cos(tilt), math.sin(tilt)
        self._size = (right - self.left, bottom - self.top)
        self._image = np.zeros((self._size[1] * SUPERSAMPLING, self._size[0] * SUPERSAMPLING, 4), dtype=np.uint8)

    def _at(self, point: Point) -> tuple[int, int]:
        forward = self._cos * point[0] + self._sin * point[1]
        up = self._cos * point[1] - self._sin * point[0]
        return int(self._x + self._forward * forward), int(self._y - self._metre * up)

    def _pixels(self, metres: float) -> int:
        return max(1, round(metres * self._scale))

    def limb(self, a: Point, b: Point, width: float, colour: Colour) -> None:
        """A bar with round ends."""
        cv2.line(self._image, self._at(a), self._at(b), (*colour, 255), self._pixels(width), cv2.LINE_8, SUB_PIXEL)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        cv2.circle(
            self._image, self._at(centre), round(radius * self._metre), (*colour, 255), -1, cv2.LINE_8, SUB_PIXEL
        )

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """A circle's outline, ``width`` metres thick."""
        pixels = self._pixels(width)
        cv2.circle(
            self._image, self._at(centre), round(radius * self._metre), (*colour, 255), pixels, cv2.LINE_8, SUB_PIXEL
        )

    def shape(self, points: list[Point], colour: Colour) -> None:
        """A convex polygon."""
        corners = np.array([self._at(point) for point in points], dtype=np.int32)
        cv2.fillConvexPoly(self._image, corners, (*colour, 255), cv2.LINE_8, SUB_PIXEL)

    def sprite(self) -> Sprite:
        """What has been drawn, averaged down to the frame's pixels."""
        # Empty pixels are (0, 0, 0, 0), so averaging down leaves colours premultiplied with alpha.
        small = cv2.resize(self._image, self._size, interpolation=cv2.INTER_AREA)
        alpha = small[..., 3] * np.float32(1 / 255)
        return Sprite(self.left, self.top, self.ground, np.ascontiguousarray(small[..., :3]), alpha)


def _overlap(left: int, top: int, shape: tuple[int, ...], height: int, width: int) -> tuple[slice, slice] | None:
    rows = slice(max(0, top), min(height, top + shape[0]))
    columns = slice(max(0, left), min(width, left + shape[1]))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def lay_over(frame: np.ndarray, sprite: Sprite) -> None:
    """Blends the sprite into ``frame``, float32 (H, W, 3), in place; what is outside of the frame is dropped."""
    place = _overlap(sprite.left, sprite.top, sprite.alpha.shape, *frame.shape[:2])
    if place is None:
        return
    rows, columns = place
    part = (
        slice(rows.start - sprite.top, rows.stop - sprite.top),
        slice(columns.start - sprite.left, columns.stop - sprite.left),
    )
    patch = frame[place]
    patch *= cv2.cvtColor(1 - sprite.alpha[part], cv2.COLOR_GRAY2RGB)
    patch += sprite.rgb[part]


def cast_shadow(frame: np.ndarray, sprite: Sprite, unit: float) -> None:
    """Darkens ``frame``, float32 (H, W, 3), in place where the sprite's silhouette falls on the ground."""
    across, down = SHADOW_SHEAR
    width = sprite.alpha.shape[1]
    margin = math.ceil(2 * unit)
    wide, high = width + math.ceil(across * sprite.ground) + 2 * margin, math.ceil(down * sprite.ground) + 2 * margin
    # (column, row) of the sprite goes to the ground: height above the ground becomes a shift to the right and down.
    affine = np.array([[1, -across, across * sprite.ground + margin], [0, -down, down * sprite.ground + margin]])
    shadow = cv2.warpAffine(sprite.alpha, affine, (wide, high), flags=cv2.INTER_LINEAR)
    shadow = cv2.blur(shadow, (2 * round(unit) + 1, 2 * round(unit) + 1))
    left, top = sprite.left - margin, round(sprite.top + sprite.ground) - margin
    place = _overlap(left, top, shadow.shape, *frame.shape[:2])
    if place is None:
        return
    rows, columns = place
    part = shadow[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    patch = frame[place]
    patch *= cv2.cvtColor(1 - SHADOW_DEPTH * part, cv2.COLOR_GRAY2RGB)


def mark(mask: np.ndarray, sprite: Sprite) -> None:
    """Sets ``mask``, bool (H, W), in place where the sprite hides more than a third of what is behind it."""
    place = _overlap(sprite.left, sprite.top, sprite.alpha.shape, *mask.shape)
    if place is None:
        return
    rows, columns = place
    mask[place] |= (
        sprite.alpha[
            rows.start - sprite.top : rows.stop - sprite.top, columns.start - sprite.left : columns.stop - sprite.left
        ]
        > 1 / 3
    )


def _value_noise(random: np.random.Generator, height: int, width: int, cells: float) -> np.ndarray:
    """Smooth noise, float32 (height, width) around 0 with values of about -1 to 1, ``cells`` lumps over the height."""
    rows, columns = max(2, round(cells)), max(2, round(cells * width / height))
    coarse = random.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@lru_cache(maxsize=4)
def background(seed: int, height: int, width: int) -> np.ndarray:
    """The empty place, float32 (height, width, 3), 0 to 255, read-only: house, hedge, lawn and the paved way."""
    random = np.random.default_rng([seed, 7])
    times = 3  # rendered larger and averaged down, against jagged joints
    rows, columns = height * times, width * times
    unit = rows / REFERENCE_HEIGHT
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / unit
    x = ((np.arange(columns, dtype=np.float32)[None, :] + 0.5) - columns / 2) / unit
    metre = (y - HORIZON) / CAMERA_HEIGHT
    away = FOCAL_LENGTH / metre  # metres from the camera
    side = x / metre
    fine = random.standard_normal((rows, columns)).astype(np.float32)
    lumps = [_value_noise(random, rows, columns, cells) for cells in (4, 12, 40)]
    picture = np.empty((rows, columns, 3), dtype=np.float32)

    def paint(where: np.ndarray, colour: tuple[float, float, float], light: np.ndarray) -> None:
        np.copyto(
            picture,
            np.asarray(colour, np.float32) * (1 + light[..., None]),
            where=np.broadcast_to(where, (rows, columns))[..., None],
        )

    # Lawn everywhere first, the rest is laid over it.
    tuft = 0.10 * lumps[0] + 0.12 * lumps[2] + 0.07 * fine
    paint(y > 0, (104, 128, 72), tuft)
    # Paving in a running bond; each stone has a shade of its own.
    stone = float(random.uniform(0.5, 0.7))
    course = np.floor(away / stone)
    column = np.floor(side / (stone * 1.5) + 0.5 * (course % 2))
    shade = np.modf(np.abs(np.sin(course * 12.9898 + column * 78.233 + seed) * 43758.5453))[0] - 0.5
    joint = np.minimum(
        np.abs(away / stone - course - 0.5) * -1 + 0.5,
        (0.5 - np.abs(side / (stone * 1.5) + 0.5 * (course % 2) - column - 0.5)) * 1.5,
    )
    tone = float(random.uniform(0.92, 1.05))
    way = (y > PAVING[0]) & (y < PAVING[1])
    paving = 0.10 * shade - 0.20 * (joint < 0.045) + 0.035 * lumps[1] + 0.05 * lumps[0] + 0.02 * fine
    paint(way, (164 * tone, 157 * tone, 146 * tone), paving)
    middle = np.abs(y - sum(PAVING) / 2) < 1.3
    paint(middle & way, (126 * tone, 108 * tone, 98 * tone), paving)
    for edge in PAVING:
        paint(np.abs(y - edge) < 1.1, (190, 188, 182), 0.4 * paving)
        paint(np.abs(y - edge - 1.5) < 0.5, (96, 96, 84), 0.4 * paving)
    # The house at the back: bricks, windows with a frame and a reflection, a base.
    brick = ((186, 138, 116), (196, 182, 158), (158, 150, 148))[int(random.integers(3))]
    layer = np.floor(y / 1.8)
    bricks = 0.05 * np.sin(layer * 91.7 + np.floor(x / 4 + 0.5 * (layer % 2)) * 37.1) - 0.10 * (
        (y / 1.8 - layer) < 0.25
    )
    paint(y < 27, brick, bricks + 0.03 * lumps[0])
    pitch, shift = float(random.uniform(26, 34)), float(random.uniform(0, 30))
    pane = np.abs((x + shift) / pitch - np.floor((x + shift) / pitch) - 0.5) * pitch
    paint((pane < 8.4) & (y < 18.4), (226, 222, 212), 0.02 * fine)
    paint((pane < 7.2) & (pane > 0.5) & (y < 17), (74, 92, 108), 0.25 * lumps[1] - 0.012 * (y - 8))
    paint((y > 24) & (y < 27), (120, 116, 112), bricks)
    # A hedge with a rounded top and a dark foot.
    crown = 30 + 1.2 * lumps[1] + 1.0 * lumps[2]
    paint((y > crown - 4) & (y < 42), (58, 84, 50), 0.22 * lumps[2] + 0.16 * fine - 0.035 * (y - 33))
    paint((y > 41) & (y < 44), (72, 92, 54), tuft)
    _paint_bench(picture, unit, float(random.uniform(0.15, 0.85)) * columns)
    # Dappled shade of a tree outside of the picture.
    leaves = cv2.GaussianBlur(np.clip(lumps[1] * 1.4 + lumps[0] - 0.5, 0, 1), (0, 0), 1.2 * unit)
    picture *= (1 - 0.26 * leaves * (y > 44))[..., None]
    small = cv2.resize(np.clip(picture, 0, 255), (width, height), interpolation=cv2.INTER_AREA)
    small.setflags(write=False)
    return small


def _paint_bench(picture: np.ndarray, unit: float, x: float) -> None:
    """A bench on the lawn behind the way; ``picture`` is changed in place, ``x`` is in its pixels."""

    def block(left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        corners = (round(x + left * unit), round(top * unit)), (round(x + right * unit), round(bottom * unit))
        cv2.rectangle(picture, *corners, colour, -1)

    for leg in (-11, 9):
        block(leg, 46, leg + 2, 53, (58, 58, 60))
    for row in (40.5, 43.0, 47.5):
        block(-13, row, 13, row + 1.7, (146, 104, 66))

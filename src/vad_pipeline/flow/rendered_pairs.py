"""Pairs of frames with exact optical flow, rendered as fast as a network trains on them.

In the manner of FlyingChairs (Dosovitskiy et al. 2015, FlowNet): textured things over a textured background, each under
an affine motion of its own. What differs is tuned to a fixed surveillance camera: the background often stands still,
most things are small, many are walkers with swinging limbs, motions are mostly small, surfaces often flat, and the
light changes a little between the frames. A pair depends on nothing but the configuration, a seed and its own number.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import NamedTuple, Self

import cv2
import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from vad_pipeline.flow.layers import CANVAS_SCALE, Layer, placed, render_layers, similarity
from vad_pipeline.flow.silhouettes import EDGE, ellipse, limb, masks_of, random_outline, random_region, trunk_and_head
from vad_pipeline.flow.textures import pattern_pool, random_colour, texture

HELD_OUT = 1 << 40  # pairs numbered from here on are for measuring: no pair before shares a procedural texture
SMALLEST = 6.0  # pixels, the length of the smallest things
SMALLEST_WALKER, WITH_ARMS = 9.0, 22.0  # pixels high
LENS = (3, 3)  # canvas pixels that every surface and edge is blurred over, with weights of 1, 2, 1
WALKERS = 0.45  # share of things
STANDING = 0.12  # share of things that do not move
SHADOWED = 0.2  # share of things with a shadow
GRAY = 0.4  # share of gray pairs
BLURRED = 0.2  # share of pairs that are out of focus
LIT = 0.6  # share of pairs whose light changes between the frames
EASY_CONTRAST = (15.0, 90.0)  # grey levels
EASY_NOISE = 0.7  # grey levels
EASY_WHOLE = 6  # one easy pair of so many moves as a whole
EASY_SMALLEST = 14.0  # pixels
EASY_WALKERS, EASY_STANDING = 0.15, 0.05  # shares
NOISE_MARGIN = 64  # pixels by which the stored noise is larger than a picture

Point = tuple[float, float]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RenderedPairs:
    """What rendered pairs look like.

    Attributes:
        height, width: pixels.
        objects: fewest and most things in front of the background.
        max_displacement: pixels; nothing moves further, and half of the things move less than a third of it.
        static_background: share of pairs whose background does not move at all.
        shake: pixels; the other backgrounds are displaced by up to this.
        light: largest relative change of contrast, gamma and (of a medium grey) brightness from frame to frame.
        noise: grey levels, largest standard deviation of the sensor's noise; it differs from pair to pair.
        compressed: share of pairs with the artefacts of JPEG compression.
        contrast: grey levels, lowest and highest standard deviation of a procedural surface's pattern.
        flat: share of procedural surfaces without any pattern.
        warm_up: the first pairs, numbered below this, are easy: the whole picture moves, patterns show, there is hardly
            any noise. From small motions of faint surfaces alone a network learns for a long time that nothing moves.
        easy: share of the later pairs that are easy, too; in one of six of them the whole picture moves, in the others
            large things before a standing background. Those held out never are. From whole pictures a network learns
            that everything moves alike; of faint, noisy pairs, to say nothing where it cannot be sure, as it then never
            is of small figures in real footage.
    """

    height: int = Field(default=128, ge=32, le=4096)
    width: int = Field(default=128, ge=32, le=4096)
    objects: tuple[int, int] = (2, 8)
    max_displacement: float = Field(default=8.0, gt=0, le=200)
    static_background: float = Field(default=0.5, ge=0, le=1)
    shake: float = Field(default=4.0, ge=0)
    light: float = Field(default=0.04, ge=0, le=0.5)
    noise: float = Field(default=6.0, ge=0, le=64)
    compressed: float = Field(default=0.2, ge=0, le=1)
    contrast: tuple[float, float] = (4.0, 45.0)
    flat: float = Field(default=0.1, ge=0, le=1)
    warm_up: int = Field(default=0, ge=0)
    easy: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"objects {list(self.objects)}: give the fewest, 0 or more, and then the most")
        if self.shake > self.max_displacement / 2:
            raise ValueError(f"shake {self.shake}: must be at most half of max_displacement {self.max_displacement}")
        if not 0 < self.contrast[0] <= self.contrast[1]:
            raise ValueError(f"contrast {list(self.contrast)}: give the lowest, above 0, and then the highest")
        return self

    def eased(self, whole: bool) -> Self:
        """What easy pairs look like: the whole picture moves, or things before a background."""
        most = self.objects[1]
        return replace(
            self,
            objects=(0, min(most, 3)) if whole else (min(most, 3), min(most, 10)),
            static_background=0.0 if whole else 1.0,
            shake=self.max_displacement / 2,
            light=0.0,
            noise=min(self.noise, EASY_NOISE),
            compressed=0.0,
            contrast=EASY_CONTRAST,
            flat=0.0,
        )


class Pair(NamedTuple):
    """Two frames and what happened between them.

    Attributes:
        earlier, later: uint8 (H, W, 3), RGB.
        flow: float32 (H, W, 2), pixels to the right and down, from earlier to later, of the surface that each pixel of
            the earlier frame shows.
        occluded: bool (H, W), pixels of the earlier frame whose surface is covered in the later one or outside of it.
    """

    earlier: np.ndarray
    later: np.ndarray
    flow: np.ndarray
    occluded: np.ndarray


def render_pair(config: RenderedPairs, seed: int, number: int, textures: Sequence[np.ndarray] | None = None) -> Pair:
    """Renders one pair; the first pair of a seed in a process also makes its textures, which takes longer.

    Args:
        config: what pairs look like.
        seed: of the textures and of all pairs, not negative.
        number: of the pair, not negative; held-out pairs are numbered from ``HELD_OUT`` on.
        textures: frames at hand, uint8 (H, W), (H, W, 1) or (H, W, 3); most surfaces are then crops of them.

    Raises:
        ValueError: a texture is not such a frame.
    """
    for index, frame in enumerate(textures or ()):
        if frame.dtype != np.uint8 or not frame.size or frame.ndim < 2 or frame.shape[2:] not in ((), (1,), (3,)):
            raise ValueError(
                f"texture {index}: {frame.dtype} {frame.shape}, must be uint8 (H, W), (H, W, 1) or (H, W, 3)"
            )
    random = Random(f"{seed} {number}")
    warm_up = number < config.warm_up
    easy = warm_up or (number < HELD_OUT and config.easy > random.random())
    if easy:
        config = config.eased(whole=warm_up or number % EASY_WHOLE == 0)
    scene = _Scene(config, random, pattern_pool(seed, number >= HELD_OUT), textures, easy)
    drawn = render_layers(scene.layers(), config.height, config.width)
    earlier, later = _photographed(config, random, drawn.earlier, drawn.later)
    return Pair(earlier, later, drawn.flow, drawn.occluded)


def _moved(fixed: Point, distance: float, direction: float, turn: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    return similarity(turn, zoom, fixed, (distance * math.cos(direction), distance * math.sin(direction)))


class _Scene:
    """Makes up the layers of one pair."""

    def __init__(
        self,
        config: RenderedPairs,
        random: Random,
        pool: np.ndarray,
        frames: Sequence[np.ndarray] | None,
        easy: bool = False,
    ):
        self.config, self.random, self.pool, self.frames = config, random, pool, frames
        self.smallest, self.walkers, self.standing = SMALLEST, WALKERS, STANDING
        if easy:
            self.smallest, self.walkers, self.standing = EASY_SMALLEST, EASY_WALKERS, EASY_STANDING
        shakes = random.random() >= config.static_background
        self.camera = self._shake() if shakes else np.eye(3)
        # What the camera's motion leaves to that of things.
        self.reach = config.max_displacement - (config.shake if shakes else 0.0)

    def layers(self) -> list[Layer]:
        layers = [self._background()]
        fewest, most = self.config.objects
        for _ in range(self.random.randint(fewest, most)):
            length = self.smallest * (self._largest / self.smallest) ** (self.random.random() ** 0.8)
            at = self._position()
            layers += self._walker(length, at) if self.random.random() < self.walkers else self._thing(length, at)
        return layers

    def _shake(self) -> np.ndarray:
        random, config = self.random, self.config
        centre = (config.width / 2, config.height / 2)
        most = config.shake * random.random()
        turn, zoom = (random.uniform(-0.3, 0.3) * most / math.hypot(*centre) for _ in range(2))
        return _moved(centre, 0.55 * most, random.uniform(0, 2 * math.pi), turn, 1 + zoom)

    def _texture(self, height: int, width: int) -> np.ndarray:
        return texture(self.random, height, width, self.pool, self.frames, self.config.contrast, self.config.flat)

    def _background(self) -> Layer:
        random, config = self.random, self.config
        height, width = round(config.height * CANVAS_SCALE), round(config.width * CANVAS_SCALE)
        canvas = self._texture(height, width)
        for _ in range(0 if self.frames else random.randint(0, 3)):
            outline = np.rint(random_region(random) * (width, height)).astype(np.int32)
            left, top, wide, high = cv2.boundingRect(outline)
            box = slice(max(0, top), max(0, top + high)), slice(max(0, left), max(0, left + wide))
            part = canvas[box]
            if part.size:
                mask = np.zeros((height, width), np.uint8)
                cv2.fillPoly(mask, [outline], 255)
                cv2.copyTo(self._texture(*part.shape[:2]), mask[box], part)
        canvas = cv2.cvtColor(cv2.GaussianBlur(canvas, LENS, 0), cv2.COLOR_RGB2RGBA)
        return Layer(canvas, placed((random.random(), random.random()), (0.0, 0.0)), self.camera)

    @property
    def _largest(self) -> float:
        return min(self.config.height, self.config.width) / 2

    def _position(self) -> Point:
        uniform = self.random.uniform
        return uniform(-0.02, 1.02) * self.config.width, uniform(-0.02, 1.02) * self.config.height

    def _distance(self, bound: float) -> float:
        """Pixels that something moves: often less than one, at most ``bound``."""
        return 0.0 if self.random.random() < self.standing else bound * self.random.random() ** 1.5

    def _thing(self, size: float, at: Point) -> list[Layer]:
        """An ellipse, a box, a polygon or a blob."""
        random = self.random
        distance, share = self._distance(self.reach), random.uniform(0, 0.5) if random.random() < 0.5 else 0.0
        # Turning and zooming displace the rim most: that is taken off what the whole is displaced by.
        rim = min(share * distance / size, 0.2)
        turn, zoom = random.uniform(-rim, rim), random.uniform(-rim, rim)
        motion = self.camera @ _moved(at, distance * (1 - share), random.uniform(0, 2 * math.pi), turn, 1 + zoom)
        angle = random.uniform(0, math.pi) if random.random() < 0.6 else random.gauss(0, 0.05)
        (mask,), anchor = masks_of([random_outline(random, size)])
        return [
            *self._shadow(size, at, motion),
            Layer(_canvas(self._texture(*mask.shape), mask), placed(anchor, at, angle), motion),
        ]

    def _walker(self, size: float, at: Point) -> list[Layer]:
        """A trunk with a head, two legs that swing and, if large enough, two arms."""
        random = self.random
        height, build = max(SMALLEST_WALKER, size), random.uniform(0.8, 1.35)
        lean, stride = random.gauss(0, 0.06), random.uniform(0.05, 0.5)
        # A foot stands still, or moves at twice the pace of the body.
        pace = self._distance(self.reach / 2.1)
        sideways = random.random() < 0.65
        direction = random.gauss(0, 0.2) + math.pi * (random.random() < 0.5)
        if not sideways:
            direction, stride = random.uniform(0, 2 * math.pi), 0.4 * stride
        zoom = 1 + random.uniform(-0.4, 0.4) * min(pace, 1) / height
        body = self.camera @ _moved(at, pace, direction, 0.0, zoom)
        swing = pace * random.uniform(-1, 1)

        def limbs(joint: float, length: float, thick: float, swing: float) -> list[Layer]:
            hinge = (at[0] - math.sin(lean) * joint, at[1] + math.cos(lean) * joint)
            (mask,), anchor = masks_of([limb(length, thick)])
            canvas = _canvas(self._texture(*mask.shape), mask)
            return [
                Layer(
                    canvas,
                    placed(anchor, hinge, lean + side * stride),
                    body @ similarity(side * swing / length, 1.0, hinge, (0.0, 0.0)),
                )
                for side in (-1, 1)
            ]

        legs = limbs(0.04 * height, 0.46 * height, 0.11 * build * height, swing)
        arms = limbs(-0.29 * height, 0.36 * height, 0.075 * build * height, -0.8 * swing) if height > WITH_ARMS else []
        (trunk, head), anchor = masks_of(list(trunk_and_head(height, build)))
        clothed = self._texture(*trunk.shape)
        clothed[head > 0] = random_colour(random)
        upper = Layer(_canvas(clothed, cv2.max(trunk, head)), placed(anchor, at, lean), body)
        return [*self._shadow(height, at, body), *arms[:1], *legs, upper, *arms[1:]]

    def _shadow(self, size: float, at: Point, motion: np.ndarray) -> list[Layer]:
        """Sometimes a soft dark spot beside something, too thin to carry flow."""
        random = self.random
        if random.random() >= SHADOWED:
            return []
        soft = max(1.0, 0.08 * size * CANVAS_SCALE)
        (mask,), anchor = masks_of(
            [ellipse(random.uniform(0.4, 1) * size, random.uniform(0.1, 0.3) * size)], EDGE + 2 * soft
        )
        canvas = np.zeros((*mask.shape, 4), np.uint8)
        canvas[..., 3] = cv2.GaussianBlur(mask, (0, 0), soft) * random.uniform(0.1, 0.4)
        beside = (at[0] + random.uniform(-0.4, 0.4) * size, at[1] + random.uniform(0.3, 0.5) * size)
        return [Layer(canvas, placed(anchor, beside, random.gauss(0, 0.2)), motion)]


def _canvas(surface: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A layer's canvas, uint8 (h, w, 4), of a surface, uint8 (h, w, 3), cut to a mask, uint8 (h, w)."""
    return cv2.GaussianBlur(cv2.merge((surface, mask)), LENS, 0)


def _photographed(
    config: RenderedPairs, random: Random, earlier: np.ndarray, later: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The frames as a camera stores them, uint8 (H, W, 3), from rendered ones, uint8 (H, W, 4)."""
    gray = random.random() < GRAY
    frames = [cv2.cvtColor(frame, cv2.COLOR_RGBA2GRAY if gray else cv2.COLOR_RGBA2RGB) for frame in (earlier, later)]
    if random.random() < BLURRED:
        focus = random.uniform(0.4, 1.2)
        frames = [cv2.GaussianBlur(frame, (0, 0), focus) for frame in frames]
    if random.random() < LIT:
        gain, gamma, offset = (random.uniform(-config.light, config.light) for _ in range(3))
        levels = np.linspace(0, 1, 256, dtype=np.float32) ** (1 + gamma)
        levels = 255 * ((levels - 0.5) * (1 + gain) + 0.5 + 0.5 * offset)
        frames[1] = cv2.LUT(frames[1], levels)
    sigma, correlated = config.noise * random.random() ** 1.5, random.randrange(2)
    quality = random.randint(45, 95) if random.random() < config.compressed else None
    stored = []
    for frame, fields in zip(frames, _noise(config.height, config.width), strict=True):
        top, left = random.randrange(NOISE_MARGIN), random.randrange(NOISE_MARGIN)
        noise = fields[correlated, top : top + config.height, left : left + config.width]
        noise = np.ascontiguousarray(noise[..., 0]) if gray else noise
        picture = cv2.addWeighted(frame, 1, noise, sigma, 0, dtype=cv2.CV_8U)
        if quality is not None:
            data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
            picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
        stored.append(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if gray else picture)
    return stored[0], stored[1]


@lru_cache(maxsize=2)
def _noise(height: int, width: int) -> np.ndarray:
    """Noise of standard deviation 1, float32 (2 frames, 2 kinds, H + margin, W + margin, 3), read-only.

    The first kind is independent from pixel to pixel; in the second neighbours are alike, as a camera's own denoising
    leaves them. Crops of stored noise cost a tenth of new noise. The earlier and the later frame have noise of their
    own, since the same noise at another offset would look like motion.
    """
    random = np.random.default_rng(0)
    noise = random.standard_normal((2, 2, height + NOISE_MARGIN, width + NOISE_MARGIN, 3), dtype=np.float32)
    for field in noise[:, 1]:
        cv2.GaussianBlur(field, (0, 0), 0.7, dst=field)
        field /= field.std()
    noise.setflags(write=False)
    return noise

"""Surfaces for rendered flow pairs: procedural patterns in random colours, or crops of frames at hand."""

import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random

import cv2
import numpy as np

PATTERNS = 72  # in a pool
PATTERN_SIZE = 384  # canvas pixels
SPREAD = 42.0  # grey levels that one standard deviation of a pattern is stored as
LOG_SCALE = (math.log(0.6), math.log(1.7))  # of pattern pixels per canvas pixel
UPRIGHT, MIXED = 0.7, 0.35  # shares of procedural textures
RAMP = np.arange(-128, 128, dtype=np.float32)[:, None]  # of a pattern's values less their mean
FROM_FRAMES = 0.75  # share of textures that are taken from given frames


def texture(
    random: Random,
    height: int,
    width: int,
    pool: np.ndarray,
    frames: Sequence[np.ndarray] | None,
    contrast: tuple[float, float],
    flat: float,
) -> np.ndarray:
    """A surface, uint8 (height, width, 3).

    Args:
        random: decides everything.
        height, width: canvas pixels.
        pool: what ``pattern_pool`` gives.
        frames: uint8 (H, W), (H, W, 1) or (H, W, 3); most textures are crops of them, where given.
        contrast: lowest and highest standard deviation of a pattern, in grey levels.
        flat: share of procedural textures without any pattern.
    """
    if frames and random.random() < FROM_FRAMES:
        return _from_frame(random, height, width, random.choice(frames))
    colour = random_colour(random)
    if random.random() < flat:
        return np.full((height, width, 3), colour, np.uint8)
    pattern = _cut(random, height, width, random.choice(pool))
    if random.random() < MIXED:
        share = random.uniform(0.2, 0.8)
        pattern = cv2.addWeighted(pattern, share, _cut(random, height, width, random.choice(pool)), 1 - share, 0)
    lowest, highest = (math.log(levels) for levels in contrast)
    strength = math.exp(random.uniform(lowest, highest)) / SPREAD
    ramp = RAMP * [strength * random.gauss(1, 0.25) for _ in colour] + colour
    return cv2.applyColorMap(pattern, ramp.clip(0, 255).astype(np.uint8)[:, None])


def random_colour(random: Random) -> list[float]:
    """Red, green and blue, 0 to 255. Most things under a surveillance camera are hardly coloured."""
    level, colourful = random.uniform(20, 235), 22.0 if random.random() < 0.2 else 6.0
    return [min(max(level + random.gauss(0, colourful), 0.0), 255.0) for _ in "rgb"]


def _cut(random: Random, height: int, width: int, pattern: np.ndarray) -> np.ndarray:
    """A piece of a pattern, scaled and maybe turned, uint8 (height, width)."""
    scale = math.exp(random.uniform(*LOG_SCALE))  # pattern pixels per canvas pixel
    high, wide = math.ceil(height * scale), math.ceil(width * scale)
    # Most stand upright, as what people build does: that is cheaper, too.
    if max(high, wide) <= PATTERN_SIZE and random.random() < UPRIGHT:
        top, left = random.randint(0, PATTERN_SIZE - high), random.randint(0, PATTERN_SIZE - wide)
        return cv2.resize(pattern[top : top + high, left : left + wide], (width, height))
    x, y, angle = random.uniform(0, PATTERN_SIZE), random.uniform(0, PATTERN_SIZE), random.uniform(0, 2 * math.pi)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return _looked_up(pattern, np.array([[cos, -sin, x], [sin, cos, y]]), height, width)


def _from_frame(random: Random, height: int, width: int, frame: np.ndarray) -> np.ndarray:
    """A piece of a frame, enlarged about as much as a canvas is finer, brighter or darker, maybe mirrored."""
    scale = math.exp(random.uniform(math.log(0.4), 0))  # frame pixels per canvas pixel
    rows, columns = frame.shape[:2]
    x = random.uniform(0, max(0.0, columns - scale * width))
    y = random.uniform(0, max(0.0, rows - scale * height))
    across = [-scale, 0, columns - 1 - x] if random.random() < 0.5 else [scale, 0, x]
    piece = _looked_up(frame, np.array([across, [0, scale, y]]), height, width)
    piece = piece if piece.ndim == 3 else cv2.cvtColor(piece, cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(piece, random.uniform(0.7, 1.3), piece, 0, random.uniform(-25, 25))


def _looked_up(image: np.ndarray, affine: np.ndarray, height: int, width: int) -> np.ndarray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, affine, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


@lru_cache(maxsize=2)
def pattern_pool(seed: int, held_out: bool) -> np.ndarray:
    """Patterns, uint8 (PATTERNS, PATTERN_SIZE, PATTERN_SIZE), read-only, with a mean of 128.

    Kept per process: made once in about half a second. The pool for held-out pairs has no pattern of the other.
    """
    pool = np.empty((PATTERNS, PATTERN_SIZE, PATTERN_SIZE), np.uint8)
    for number in range(PATTERNS):
        random = np.random.default_rng([seed, int(held_out), number])
        pattern = KINDS[number % len(KINDS)](random).astype(np.float32)
        mean, deviation = cv2.meanStdDev(pattern)
        scaled = (pattern - mean[0, 0]) * (SPREAD / max(deviation[0, 0], 1e-6)) + 128
        pool[number] = np.clip(np.rint(scaled), 0, 255)
    pool.setflags(write=False)
    return pool


def _smooth(random: np.random.Generator, cells: float) -> np.ndarray:
    """Noise of about ``cells`` lumps across."""
    coarse = random.standard_normal((max(2, round(cells)),) * 2, dtype=np.float32)
    return cv2.resize(coarse, (PATTERN_SIZE, PATTERN_SIZE), interpolation=cv2.INTER_CUBIC)


def _octaves(random: np.random.Generator) -> np.ndarray:
    """Cloudy to grainy noise."""
    fading = random.uniform(0.45, 0.95)
    first = int(random.integers(0, 4))
    return np.sum([fading**octave * _smooth(random, 3 * 2 ** (first + octave)) for octave in range(7 - first)], axis=0)


def _gradient(random: np.random.Generator) -> np.ndarray:
    """Hardly anything: light that changes over the surface."""
    return _smooth(random, random.uniform(2, 5))


def _grain(random: np.random.Generator) -> np.ndarray:
    """Asphalt, grass: fine and even."""
    noise = random.standard_normal((PATTERN_SIZE, PATTERN_SIZE), dtype=np.float32)
    across, down = random.uniform(0.8, 2.5, 2)
    return cv2.GaussianBlur(noise, (0, 0), across, sigmaY=down)


def _blotches(random: np.random.Generator) -> np.ndarray:
    """Patches of two tones: leaves, camouflage."""
    cells = random.uniform(8, 50)
    return np.tanh(random.uniform(1, 5) * (_smooth(random, cells) + 0.5 * _smooth(random, 3 * cells)))


def _grid() -> tuple[np.ndarray, np.ndarray]:
    ticks = np.arange(PATTERN_SIZE, dtype=np.float32)
    return ticks[None, :], ticks[:, None]


def _waves(random: np.random.Generator, position: np.ndarray) -> np.ndarray:
    period = math.exp(random.uniform(math.log(5), math.log(40)))
    wave = np.sin(position * (2 * math.pi / period) + random.uniform(0, 7))
    return wave if random.random() < 0.3 else np.tanh(6 * (wave + random.uniform(-0.8, 0.8)))


def _stripes(random: np.random.Generator) -> np.ndarray:
    """Stripes, straight or bent, thin or wide."""
    x, _ = _grid()
    bend = random.uniform(0, 8) if random.random() < 0.5 else 0.0
    return _waves(random, x + bend * _smooth(random, 5)) + 0.15 * _octaves(random)


def _checker(random: np.random.Generator) -> np.ndarray:
    """Squares of two tones, or the threads of a cloth."""
    x, y = _grid()
    across, down = _waves(random, x), _waves(random, y)
    return (across * down if random.random() < 0.6 else across + down) + 0.1 * _octaves(random)


def _bricks(random: np.random.Generator) -> np.ndarray:
    """Bricks, slabs, tiles with joints; each has a shade of its own."""
    x, y = _grid()
    high = math.exp(random.uniform(math.log(6), math.log(40)))
    wide, shift = high * random.uniform(1, 3), float(random.choice((0.0, 0.5)))
    course = np.floor(y / high)
    along = x / wide + shift * (course % 2)
    column = np.floor(along)
    shade = np.modf(np.abs(np.sin(course * 12.9898 + column * 78.233)) * 43758.5453)[0] - 0.5
    joint = (y - course * high < random.uniform(1, 3)) | ((along - column) * wide < random.uniform(1, 3))
    return random.uniform(0.1, 1) * shade - random.choice((-1, 1)) * joint + 0.1 * _octaves(random)


def _windows(random: np.random.Generator) -> np.ndarray:
    """A facade, a fence: the same opening again and again."""
    x, y = _grid()
    high, wide = random.uniform(24, 90, 2)
    open_high, open_wide = random.uniform(0.3, 0.8, 2)
    opening = (np.modf(y / high)[0] < open_high) & (np.modf(x / wide)[0] < open_wide)
    return opening * (1 + 0.3 * _smooth(random, 20)) + 0.08 * _octaves(random)


def _dots(random: np.random.Generator) -> np.ndarray:
    """Sparse spots on something even."""
    picture = 0.02 * _octaves(random)
    largest = random.uniform(2, 9)
    for _ in range(int(random.integers(30, 250))):
        x, y = random.integers(0, PATTERN_SIZE, 2).tolist()
        cv2.circle(picture, (x, y), round(random.uniform(1, largest)), float(random.choice((-1, 1))), -1)
    return picture


def _lines(random: np.random.Generator) -> np.ndarray:
    """Cracks, markings, branches on something even."""
    picture = 0.04 * _octaves(random)
    for _ in range(int(random.integers(8, 60))):
        ends = random.integers(-40, PATTERN_SIZE + 40, 4).tolist()
        cv2.line(picture, ends[:2], ends[2:], float(random.uniform(-1, 1)), int(random.integers(1, 6)), cv2.LINE_AA)
    return picture


KINDS = (_octaves, _grain, _blotches, _gradient, _stripes, _bricks, _octaves, _grain, _checker, _windows, _dots, _lines)

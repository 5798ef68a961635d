"""Made footage: a textured street along which things of 24x12 pixels walk to the right, at 1 to 2 pixels a frame."""

from typing import NamedTuple

import cv2
import numpy as np

HEIGHT, WIDTH = 120, 176
LANES = 12, 84  # first rows of those who walk; nobody is between them


def texture(height, width, low, high, seed):
    """Smooth noise, uint8 (height, width)."""
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width)), (0, 0), 2.0)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (low + (high - low) * smooth).astype(np.uint8)


STREET = texture(HEIGHT, WIDTH, 90, 150, 12345)
PEOPLE = [texture(24, 12, *[(10, 60), (190, 240)][seed % 2], seed) for seed in range(10)]


class Thing(NamedTuple):
    """Where it is in the first frame, pixels that it moves a frame to the right, what it looks like, uint8 (h, w)."""

    row: int
    column: float
    speed: float
    picture: np.ndarray

    def box(self, t):
        """Top, bottom, left and right at frame t; ends excluded."""
        left = round(self.column + self.speed * t)
        return self.row, self.row + self.picture.shape[0], left, left + self.picture.shape[1]


def walker(random, row=None, column=None, speed=None):
    """Someone who walks, one of ten."""
    return Thing(
        row=LANES[random.integers(2)] + random.integers(-3, 4) if row is None else row,
        column=random.uniform(-60, WIDTH - 12) if column is None else column,
        speed=random.choice([1.0, 1.25, 1.5, 1.75, 2.0]) if speed is None else speed,
        picture=PEOPLE[random.integers(len(PEOPLE))],
    )


def striped(height=24, width=12):
    """What no walker looks like: hard black and white stripes."""
    rows, columns = np.mgrid[:height, :width]
    return np.where((rows + columns) // 3 % 2, 250, 5).astype(np.uint8)


def footage(things, n=60, seed=0, street=STREET):
    """Frames uint8 (n, H, W, 1) with a little noise."""
    random = np.random.default_rng(seed)
    frames = np.repeat(street[None], n, axis=0)
    for t, frame in enumerate(frames):
        for thing in things:
            top, bottom, left, right = thing.box(t)
            seen = np.arange(max(0, left), min(WIDTH, right))
            frame[top:bottom, seen] = thing.picture[:, seen - left]
    return np.clip(frames + random.normal(0, 1.0, frames.shape), 0, 255).astype(np.uint8)[..., None]


def normal_clip(seed, n=40, walkers=4):
    random = np.random.default_rng([7, seed])
    return footage([walker(random) for _ in range(walkers)], n, seed)

"""A fixed camera with a square that walks over a textured ground."""

import numpy as np
import pytest

from vad_pipeline.clips.clip import Clips

BACKGROUND = np.random.default_rng(5).integers(60, 120, (50, 70, 1), dtype=np.uint8)


def walking_square(n: int, seed: int = 0, size: tuple[int, int] = (12, 9), colours: int = 1) -> np.ndarray:
    """uint8 (n, 50, 70, colours): noise of 1 gray level, a bright object that moves 2 pixels a frame."""
    random = np.random.default_rng(seed)
    frames = np.repeat(BACKGROUND[None].astype(float), n, axis=0)
    for t in range(n):
        left = (2 * t + 5 * seed) % (70 - size[1])
        frames[t, 20 : 20 + size[0], left : left + size[1]] = 200
    frames = frames + random.normal(0, 1, frames.shape)
    return np.repeat(frames.round().clip(0, 255).astype(np.uint8), colours, axis=-1)


@pytest.fixture
def clips(store_clips) -> Clips:
    return store_clips({f"train/{i:02d}": walking_square(30, i) for i in range(3)})

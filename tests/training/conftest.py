"""Small moving scenes and a small model that trains in a second."""

from collections.abc import Callable

import numpy as np
import pytest

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.models.lgn_net import Config
from vad_pipeline.training.train import Training

SIZE = FrameSize(16, 24, "gray")


def moving_square(n: int, phase: int, speed: int = 1) -> np.ndarray:
    frames = np.full((n, 16, 24, 1), 60, np.uint8)
    for t in range(n):
        x = (phase + speed * t) % 20
        frames[t, 6:11, x : x + 4] = 220
    return frames


@pytest.fixture
def scenes(store_clips: Callable[..., Clips]) -> Clips:
    clips = {f"train/{i:02d}": moving_square(14, 3 * i) for i in range(4)}
    return store_clips(clips | {"test/01": moving_square(14, 2), "test/02": moving_square(14, 2, speed=4)})


@pytest.fixture
def config() -> Config:
    return Config(width=0.0625, gamma=None)


@pytest.fixture
def training() -> Training:
    return Training(epochs=3, batch_size=4, learning_rate=1e-3, window_stride=2, accelerator="cpu")

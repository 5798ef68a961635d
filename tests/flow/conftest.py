"""Frames with motion that the tests of flow share."""

import numpy as np
import pytest

from vad_pipeline.sources.scenes import ScenesConfig, read_scenes


@pytest.fixture(scope="session")
def scene_pair() -> tuple[np.ndarray, np.ndarray]:
    """Two successive frames of the built-in scenes, uint8 (96, 144, 3), with people walking."""
    clip = read_scenes(ScenesConfig(train_clips=1, test_clips=0, frames=24, height=96, width=144))[0]
    frames = list(clip.frames())
    return frames[20], frames[21]

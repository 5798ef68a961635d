"""How a video differs from the footage of training is said in words."""

import numpy as np
import pytest

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.detection import footage
from vad_pipeline.detection.events import Score
from vad_pipeline.detection.footage import Footage, Kept, differences

TRAINED = ((240, 320, 3), 10.0, FrameSize(120, 160))


@pytest.mark.parametrize(
    ("shape", "fps", "said"),
    [
        ((240, 320, 3), 10.0, ""),
        ((240, 320, 3), 30.0, ""),
        ((240, 320, 3), None, ""),
        ((480, 640, 3), 10.0, "this video is 640x480 at 10: every frame is resized"),
        ((180, 320, 3), 10.0, "every frame is resized, its shape is another, so things come out 0.75 times as wide"),
        ((240, 320, 3), 25.0, "this video is 320x240 at 25: 10 of its 25 pictures a second are scored"),
        ((240, 320, 3), 5.0, "all its pictures are scored, and things seem 2 times as fast as they are"),
        ((240, 320, 1), 10.0, "it is gray where colour was learnt"),
    ],
)
def test_what_differs_is_said_and_nothing_else(shape, fps, said):
    found = differences(shape, fps, *TRAINED)
    assert said in found
    assert bool(found) == bool(said)
    assert not found or found.startswith("trained on 320x240 at 10 frames a second; this video is ")


def test_of_old_checkpoints_only_what_they_know_is_compared():
    assert differences((480, 640, 1), 10.0, None, 10.0, FrameSize(120, 160)) == ""
    assert "unless that footage" in differences((360, 640, 3), 10.0, None, 10.0, FrameSize(120, 160))


def test_large_pictures_are_kept_small_and_scored_as_they_are(tmp_path, write_video, monkeypatch):
    monkeypatch.setattr(footage, "LARGEST", 32)
    frames = list(np.random.default_rng(0).integers(20, 255, (6, 48, 64), np.uint8))
    video = Footage(write_video(tmp_path / "large.mkv", frames))
    assert [picture.shape for picture, _ in video.pictures(10.0)] == 6 * [(48, 64, 1)]
    assert (video.native, video.shape, video.black) == ((48, 64), (48, 64, 1), False)
    kept = list(video.until(None))
    assert [each.picture.shape for each in kept] == 6 * [(24, 32, 1)]
    score = Score(0, 0.0, 1.0, 0.1, {}, "speed", (8, 16, 24, 32))
    assert kept[0].own(score).box == (4, 8, 12, 16)
    assert Kept(frames[0], 0.0, 0, 1.0).own(score) is score

"""What is seen of a camera's videos, and the settings that follow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.held_out import split_held_out
from vad_pipeline.detection.camera_settings import choose_settings, frames_like, lowest_rate, remarks_on, stride_for
from vad_pipeline.detection.camera_survey import (
    CameraSurvey,
    Motion,
    VideoFacts,
    measure_motion,
    survey_camera,
    video_facts,
)
from vad_pipeline.detection.thresholds import choose_threshold
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.video_file import duration, pictures_near

VIDEO = VideoFacts(Path("a.mp4"), 1280, 720, 25.0, 36000.0, False)
MOTION = Motion(pairs=32, still=0, share=0.04, speed=20.0, fastest=60.0, height=40.0, width=20.0)
SURVEY = CameraSurvey((VIDEO,), (), MOTION)


def street(count, step, side=24):
    """A textured square that moves by ``step`` pixels a frame over a textured ground, (120, 160, 3)."""
    rng = np.random.default_rng(0)
    ground = np.repeat(rng.integers(60, 120, (30, 40, 3), np.uint8), 4, 0).repeat(4, 1)
    thing = np.repeat(rng.integers(150, 255, (side // 4, side // 4, 3), np.uint8), 4, 0).repeat(4, 1)
    frames = []
    for t in range(count):
        frame = ground.copy()
        x = round(8 + step * t) % (160 - side)
        frame[40 : 40 + side, x : x + side] = thing
        frames.append(frame)
    return frames


@pytest.fixture
def moving(tmp_path, write_video):
    """Six seconds."""
    return write_video(tmp_path / "moving.mp4", street(60, 2))


@pytest.fixture
def still(tmp_path, write_video):
    """Three seconds, gray."""
    return write_video(tmp_path / "still.mkv", [frame[..., 0] for frame in street(30, 0)])


def test_what_the_file_says_and_how_what_moves_looks_in_240_rows(moving, still):
    survey = survey_camera([moving], [still])
    (facts,), (other,) = survey.train, survey.test
    assert (facts.width, facts.height, facts.rate, facts.seconds, facts.gray) == (160, 120, 10.0, 6.0, False)
    assert (other.rate, other.seconds, other.gray) == (10.0, 3.0, True)
    motion = survey.motion
    assert motion.speed == pytest.approx(40, rel=0.15), "2 pixels of 120 rows, ten times a second"
    assert motion.height == pytest.approx(48, abs=8)
    assert motion.share == pytest.approx(48 * 48 / (240 * 320), rel=0.4)
    assert motion.still == 0


def test_where_nothing_moves_there_is_neither_speed_nor_thing(still):
    motion = measure_motion([video_facts(still)])
    assert motion.pairs == motion.still > 0
    assert (motion.share, motion.fastest, motion.height) == (0, 0, 0)


def test_pictures_near_a_second_begin_there(moving):
    assert duration(moving) == 6.0
    (image, second), *rest = pictures_near(moving, 4.0)
    assert second == pytest.approx(4.0)
    assert image.shape == (120, 160, 3)
    assert [round(10 * later) for _, later in rest] == list(range(41, 60))
    assert next(pictures_near(moving, 4.0, passed=5))[1] < 4.0, "no more are decoded than was allowed"


def test_a_file_that_is_no_video_is_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"a\.mp4: cannot be opened as a video"):
        survey_camera([tmp_path / "a.mp4"])


def test_eight_to_ten_frames_a_second_are_left_and_gap_is_a_fifth_of_a_second():
    for rate, fps, gap in ((10, 10, 2), (25, 25 / 3, 2), (50, 10, 2), (15, 7.5, 2), (5, 5, 1)):
        chosen = choose_settings(replace(SURVEY, train=(replace(VIDEO, rate=rate),)))
        assert (chosen.fps, chosen.gap) == (fps, gap), rate
    assert all(7 <= rate / stride_for(rate) <= 11 for rate in range(14, 121)), "nearest where nothing is within"


def test_frames_have_the_shape_of_the_picture():
    chosen = choose_settings(SURVEY)
    assert (chosen.exemplars, chosen.height) == ((240, 424), 360)
    for size, multiple in ((chosen.exemplars, 8), (chosen.predictors, 8), (chosen.autoencoders, 16), (chosen.alps, 60)):
        assert size[1] / size[0] == pytest.approx(16 / 9, rel=0.07)
        assert size[0] % multiple == size[1] % multiple == 0
    for aspect in (9 / 16, 1, 4 / 3, 3):
        height, width = frames_like(aspect, 96 * 144, 8)
        assert width / height == pytest.approx(aspect, rel=0.07)
        assert height * width == pytest.approx(96 * 144, rel=0.15)
    small = choose_settings(replace(SURVEY, train=(replace(VIDEO, width=320, height=240),)))
    assert (small.exemplars, small.height) == ((240, 320), None)


def test_flow_s_limit_follows_the_speed_the_rate_and_the_size_of_the_frames():
    chosen = choose_settings(SURVEY)
    fastest = 60 / chosen.fps * chosen.predictors[0] / 240
    assert fastest < chosen.predictors_limit <= 1.5 * fastest + 0.5
    assert chosen.autoencoders_limit > chosen.predictors_limit
    still = replace(MOTION, still=32, fastest=0.0)
    assert choose_settings(replace(SURVEY, motion=still)).predictors_limit == 4.0


def test_settings_are_those_of_most_of_the_footage():
    other = replace(VIDEO, path=Path("b.mp4"), width=640, height=480, rate=10.0, seconds=60.0)
    survey = replace(SURVEY, train=(VIDEO, other))
    assert choose_settings(survey) == choose_settings(SURVEY)
    said = remarks_on(survey, choose_settings(survey), 0.15)
    assert any("differ in size: most have 1280x720 pixels, b.mp4 640x480" in remark for remark in said)
    assert any("differ in rate: most have 25 frames a second, b.mp4 10" in remark for remark in said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"motion": replace(MOTION, still=32)}, "Nothing moves in 32 pairs"),
        ({"motion": replace(MOTION, share=0.5)}, "50% of the picture moves"),
        ({"motion": replace(MOTION, height=11.0)}, "about 11 of 240 rows high"),
        ({"train": (replace(VIDEO, gray=True),)}, "The training footage is gray"),
        ({"train": (VIDEO, replace(VIDEO, gray=True))}, "Some training videos are gray"),
        ({"train": (replace(VIDEO, rate=None),)}, "No training video says its frame rate"),
        ({"train": (replace(VIDEO, seconds=40.0),)}, "supports 360 false alarms an hour at the lowest"),
    ],
)
def test_what_the_user_should_know_is_said_and_nothing_else(changes, said):
    survey = replace(SURVEY, **changes)
    (remark,) = remarks_on(survey, choose_settings(survey), 0.15)
    assert said in remark
    assert remarks_on(SURVEY, choose_settings(SURVEY), 0.15) == []


@pytest.mark.parametrize("lengths", [(40,), (600,), (60, 60), (100,) * 20])
def test_the_rate_that_is_foretold_is_the_one_that_the_threshold_will_have(store_clips, lengths):
    clips = store_clips({f"train/{n}": np.zeros((10 * s, 1, 1, 1), np.uint8) + n for n, s in enumerate(lengths)})
    _, held = split_held_out({"frames": Clips(clips)}, 0.15)
    scores = [np.arange(len(clip), dtype=float) for clip in held["frames"].values()]
    videos = [replace(VIDEO, seconds=float(seconds)) for seconds in lengths]
    assert lowest_rate(videos, 0.15) == pytest.approx(choose_threshold(scores, 10.0).lowest_per_hour)

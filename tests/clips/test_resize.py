from functools import partial

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize, resize, resize_jobs, resized_rows

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (24, 36, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (24, 36, 1), dtype=np.uint8)


@pytest.mark.parametrize("frame", [COLOUR, GRAY], ids=["rgb", "gray"])
@pytest.mark.parametrize("colour", ["rgb", "gray"])
@pytest.mark.parametrize("shape", [(12, 18), (40, 31), (24, 36), (1, 1)])
def test_every_colour_resizes_to_every_shape(frame, colour, shape):
    size = FrameSize(*shape, colour)
    resized = resize(frame, size)
    assert resized.shape == (*shape, size.channels)
    assert resized.dtype == np.uint8
    assert resized.flags.c_contiguous


def test_resizing_is_opencvs_bilinear():
    expected = cv2.resize(COLOUR, (17, 13), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(COLOUR, FrameSize(13, 17)), expected)
    assert not np.array_equal(expected, cv2.resize(COLOUR, (17, 13), interpolation=cv2.INTER_AREA))


def test_a_gray_frame_is_replicated_to_three_equal_channels():
    resized = resize(GRAY, FrameSize(13, 17, "rgb"))
    expected = cv2.resize(GRAY[..., 0], (17, 13), interpolation=cv2.INTER_LINEAR)
    for channel in range(3):
        np.testing.assert_array_equal(resized[..., channel], expected)


def test_gray_weighs_red_first_not_blue():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert resize(red, FrameSize(4, 4, "gray"))[0, 0, 0] == 76  # 0.299 * 255; blue first would give 29


def test_a_frame_of_the_right_size_and_colour_stays_as_it_is():
    np.testing.assert_array_equal(resize(COLOUR, FrameSize(24, 36, "rgb")), COLOUR)


@pytest.mark.parametrize("settings", [{"height": 0}, {"width": -4}, {"colour": "bgr"}, {"channels": 1}])
def test_sizes_and_colours_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        FrameSize(**settings)


def test_rows_computed_in_chunks_equal_those_computed_at_once(tmp_path, store_clips):
    frames = store_clips({"train/01": RNG.integers(0, 256, (11, 24, 36, 3), dtype=np.uint8)})
    jobs = resize_jobs(frames, FrameSize(12, 18, "gray"))
    fingerprint = jobs["train/01"].fingerprint
    arrays = []
    for chunk in (4, 11, 2000):
        pool = ClipPool(str(tmp_path / f"chunk{chunk}"))
        pool.fill(jobs, Parallel(backend="sequential", chunk=chunk), "resize")
        arrays.append(np.array(pool.array(fingerprint)))
    assert arrays[0].shape == (11, 12, 18, 1)
    np.testing.assert_array_equal(arrays[0], arrays[1])
    np.testing.assert_array_equal(arrays[0], arrays[2])


def test_rows_start_and_stop_where_they_are_told(store_clips):
    clip = store_clips({"train/01": RNG.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)})["train/01"]
    rows = partial(resized_rows, clip, FrameSize(8, 8, "gray"))
    np.testing.assert_array_equal(np.stack(list(rows(2, 5))), clip.array()[2:5])
    np.testing.assert_array_equal(np.stack(list(rows(4, None))), clip.array()[4:])


def test_jobs_carry_the_clips_rate_and_length_and_differ_by_size(store_clips):
    frames = store_clips({"train/01": np.zeros((6, 8, 8, 1), np.uint8)})
    small, large = (resize_jobs(frames, FrameSize(n, n))["train/01"] for n in (4, 16))
    assert (small.fps, small.length, small.source) == (10.0, 6, "a test")
    assert small.fingerprint != large.fingerprint
    assert small.fingerprint == resize_jobs(frames, FrameSize(4, 4))["train/01"].fingerprint

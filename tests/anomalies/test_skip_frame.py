import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.anomalies.skip_frame import SkipFrame, skip_frame_rows

LENGTH = 16


def draws(n: int, start: int, n_frames: int, config: SkipFrame, seed: int = 0) -> list[tuple[int, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [skip_frame_rows(rng, start, LENGTH, n_frames, config) for _ in range(n)]


@pytest.mark.parametrize("stride", [2, 3, 4, 5])
def test_rows_are_a_stride_apart(stride):
    start, rows = skip_frame_rows(np.random.default_rng(0), 7, LENGTH, 200, SkipFrame(strides=(stride,)))
    assert start == 7
    assert rows.tolist() == [7 + stride * i for i in range(LENGTH)]
    assert rows.dtype == np.int64


def test_every_stride_is_equally_likely():
    strides = [rows[1] - rows[0] for _, rows in draws(4000, 0, 500, SkipFrame())]
    values, counts = np.unique(strides, return_counts=True)
    assert values.tolist() == [2, 3, 4, 5]
    assert counts.min() > 880  # 1000 each are expected, 27 is the standard deviation
    assert counts.max() < 1120


def test_a_window_that_just_fits_keeps_its_start():
    for start, rows in draws(50, 9, 9 + 2 * (LENGTH - 1) + 1, SkipFrame(strides=(2,))):
        assert start == 9
        assert rows[-1] == 9 + 2 * (LENGTH - 1)


def test_a_window_that_overruns_by_one_frame_starts_anew_and_then_fits():
    for start, rows in draws(300, 170, 170 + 2 * (LENGTH - 1), SkipFrame(strides=(2,))):
        assert start < 170
        assert rows.tolist() == [start + 2 * i for i in range(LENGTH)]


def test_starts_drawn_anew_are_uniform_over_those_that_fit():
    starts = [start for start, _ in draws(4000, 170, 170 + 2 * (LENGTH - 1), SkipFrame(strides=(2,)))]
    assert min(starts) == 0
    assert max(starts) == 169
    counts, _ = np.histogram(starts, bins=[0, 34, 68, 102, 136, 170])
    assert counts.min() > 700  # 800 each are expected, 25 is the standard deviation
    assert counts.max() < 900


@pytest.mark.parametrize("n_frames", [LENGTH, LENGTH + 1, LENGTH + 9])
def test_in_a_clip_too_short_for_the_stride_rows_stop_at_the_last_frame(n_frames):
    for start, rows in draws(50, 0, n_frames, SkipFrame()):
        stride = rows[1] - rows[0]
        assert rows.tolist() == [min(start + stride * i, n_frames - 1) for i in range(LENGTH)]
        assert rows[-1] == n_frames - 1


@pytest.mark.parametrize("n_frames", [16, 17, 30, 45, 61, 80, 200])
def test_the_start_leaves_room_for_the_consecutive_target(n_frames):
    for start, rows in draws(200, n_frames - LENGTH, n_frames, SkipFrame()):
        assert 0 <= start <= n_frames - LENGTH
        assert rows[0] == start
        assert len(rows) == LENGTH
        assert (np.diff(rows) >= 0).all()
        assert rows.max() < n_frames


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    def flat(seed: int) -> list[int]:
        return np.concatenate([rows for _, rows in draws(20, 40, 90, SkipFrame(), seed)]).tolist()

    assert flat(1) == flat(1)
    assert flat(1) != flat(2)


def test_a_clip_shorter_than_the_window_is_an_error():
    with pytest.raises(ValueError, match="a clip of 15 frames is too short for a window of 16"):
        skip_frame_rows(np.random.default_rng(0), 0, LENGTH, 15, SkipFrame())


@pytest.mark.parametrize("start", [-1, 5])
def test_a_start_without_room_for_the_window_is_an_error(start):
    with pytest.raises(ValueError, match=f"start {start}: .* starts at 0 to 4"):
        skip_frame_rows(np.random.default_rng(0), start, LENGTH, 20, SkipFrame())


@pytest.mark.parametrize("wrong", [(), (1, 2), (0,), (2.5,)])
def test_strides_that_skip_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        SkipFrame(strides=wrong)

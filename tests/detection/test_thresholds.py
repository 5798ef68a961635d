"""Thresholds: levels that normal footage crosses as rarely as they promise."""

import numpy as np
import pytest

from vad_pipeline.detection.events import Score, find_events
from vad_pipeline.detection.thresholds import (
    ThresholdError,
    block_levels,
    choose_threshold,
    held_levels,
    said_of_threshold,
)
from vad_pipeline.sources.scenes import ScenesConfig, render_frames


def test_a_level_is_held_where_all_of_the_last_scores_reach_it():
    scores = np.array([0.0, 3.0, 1.0, 2.0, 5.0])
    for hold in (1, 2, 3):
        slow = [min(scores[t : t + hold]) for t in range(len(scores) - hold + 1)]
        assert held_levels(scores, hold).tolist() == slow


def test_what_is_left_over_belongs_to_the_last_block_and_short_clips_are_blocks():
    clips = [np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([7.0]), np.zeros(0)]
    assert block_levels(clips, 2, 1).tolist() == [2.0, 9.0, 7.0]


@pytest.mark.parametrize("per_hour", [60.0, 200.0])
@pytest.mark.parametrize("hold", [1, 3])
def test_normal_footage_to_come_raises_no_more_alarms_than_promised(per_hour, hold):
    """100 seeds of scores that hang together in time, as a camera's do."""
    crossed, promised, blocks = 0, [], 0
    for seed in range(100):
        rng = np.random.default_rng(seed)

        def footage(clips, rng=rng):
            noise = rng.standard_normal((clips, 700))
            for t in range(1, 700):
                noise[:, t] += 0.8 * noise[:, t - 1]
            return list(noise[:, 100:])

        threshold = choose_threshold(footage(12), fps=10, per_hour=per_hour, hold=hold)
        levels = block_levels(footage(12), threshold.block_frames, hold)
        crossed, blocks = crossed + int((levels > threshold.level).sum()), blocks + len(levels)
        promised.append(threshold.per_hour)
    measured = crossed / (blocks * threshold.block_frames / threshold.fps) * 3600
    assert np.mean(promised) <= per_hour
    assert np.mean(promised) > 0.75 * per_hour, "no more careful than the footage makes it"
    assert measured == pytest.approx(np.mean(promised), rel=0.15)


def test_a_rate_that_the_footage_does_not_support_is_refused_with_what_it_takes():
    clips = [np.arange(600.0)]
    lowest = choose_threshold(clips, fps=10)
    assert lowest.level == 599
    assert lowest.per_hour == lowest.lowest_per_hour == pytest.approx(720 / 13)
    with pytest.raises(ThresholdError, match=r"1 minutes|60 seconds.*55\.4 an hour at the lowest.*takes 60 minutes"):
        choose_threshold(clips, fps=10, per_hour=1.0)
    with pytest.raises(ThresholdError, match="no held-out normal footage"):
        choose_threshold([], fps=10)


def test_more_alarms_are_a_lower_threshold():
    clips = [np.random.default_rng(0).standard_normal(6000)]
    levels = [choose_threshold(clips, 10, rate).level for rate in (7.0, 30.0, 200.0)]
    assert levels == sorted(levels, reverse=True)
    assert len(set(levels)) == 3
    assert all(
        choose_threshold(clips, 10, rate).release <= level for rate, level in zip((7, 30, 200), levels, strict=True)
    )


def test_a_system_without_held_out_footage_is_said_to_have_no_threshold():
    names = ("threshold_level", "false_alarms_per_hour_lowest", "held_out_seconds")
    for nothing in (None, float("nan")):  # as files have it, and as the catalog loads it
        assert said_of_threshold(dict.fromkeys(names, nothing)).startswith("no threshold, for no normal footage")
    assert said_of_threshold({"micro_auc": 0.5}) is None


def frame_differences(scenes, number):
    """A cheap score of a normal clip of the built-in scenes: mean difference to the frame before, (frames - 1,)."""
    frames = np.stack(list(render_frames(scenes, "train", number))).astype(np.float32)
    return np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))


def test_rendered_normal_scenes_raise_no_more_alarms_than_promised():
    """100 places of the built-in scenes: a clip of each chooses the threshold, another one counts its alarms."""
    alarms, promised, seconds = 0, [], 0.0
    for seed in range(100):
        scenes = ScenesConfig(seed, height=32, width=32, frames=13, fps=1, colour="gray", train_clips=2, test_clips=0)
        threshold = choose_threshold([frame_differences(scenes, 1)], fps=1, block=2.0)
        fresh = frame_differences(scenes, 2)
        scores = [Score(t, float(t), float(value), 0.5, {}) for t, value in enumerate(fresh)]
        alarms += len(find_events(scores, threshold))
        promised.append(threshold.per_hour / 3600)
        seconds += len(fresh) / threshold.fps
    assert seconds * np.mean(promised) == pytest.approx(600 / 7), "of seven blocks one, and 600 are looked at"
    assert 0.5 < alarms / seconds / np.mean(promised) <= 1.2

"""Events: runs of scores above a threshold, with hysteresis, found frame by frame."""

import pytest

from vad_pipeline.detection.events import EventFinder, Score, event_table, find_events
from vad_pipeline.detection.thresholds import Threshold

THRESHOLD = Threshold(
    level=2.0, release=1.0, hold=1, per_hour=1, lowest_per_hour=1, blocks=10, block_frames=3, fps=10.0
)
HELD = Threshold(level=2.0, release=1.0, hold=2, per_hour=1, lowest_per_hour=1, blocks=10, block_frames=3, fps=10.0)


def scores(*values):
    boxed = [(n, 0, 4, 4) for n in range(len(values))]
    return [Score(n, n / 10, value, 0.5, {}, f"term {n}", boxed[n]) for n, value in enumerate(values)]


def spans(*values, threshold=THRESHOLD):
    return [(event.start_frame, event.end_frame, event.peak_frame) for event in find_events(scores(*values), threshold)]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((0, 0, 0), []),
        ((0, 2.0, 0), []),
        ((0, 3, 0, 0, 0, 0), [(1, 1, 1)]),
        ((0, 3, 1.5, 1.5, 0, 0, 0), [(1, 3, 1)]),
        ((0, 1.5, 3, 5, 4, 0, 0, 0), [(2, 4, 3)]),
        ((3, 0, 0, 3, 0, 0, 0, 3), [(0, 3, 0), (7, 7, 7)]),
        ((0, 0, 4, 5), [(2, 3, 3)]),
    ],
    ids=["calm", "on the line", "one frame", "until the release", "peak", "near ones are one", "to the end"],
)
def test_events_begin_above_the_level_and_end_a_block_after_the_release(values, found):
    assert spans(*values) == found


def test_an_alarm_waits_for_scores_that_stay_above():
    assert spans(0, 3, 0, 3, 0, 0, threshold=HELD) == []
    assert spans(0, 5, 3, 0, 0, 0, 0, threshold=HELD) == [(1, 2, 1)]


def test_an_event_says_when_where_and_why_of_its_peak():
    (event,) = find_events(scores(0, 3, 6, 3, 0, 0, 0), THRESHOLD)
    assert (event.start, event.peak, event.end) == (0.1, 0.2, 0.3)
    assert (event.anomaly, event.reason, event.box) == (6, "term 2", (2, 0, 4, 4))
    table = event_table([event])
    assert table.loc[0, ["x", "y", "width", "height"]].tolist() == [2, 0, 4, 4]
    assert list(event_table([]).columns) == list(table.columns)


def test_the_alarm_goes_on_while_the_event_does():
    finder = EventFinder(THRESHOLD)
    alarms = []
    for score in scores(0, 3, 1.5, 0, 0, 0, 0):
        finder.push(score)
        alarms.append(finder.alarm)
    assert alarms == [False, True, True, True, True, False, False]

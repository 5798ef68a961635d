"""What tests of live sources and of sinks share: an event as a sink is told of it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from vad_pipeline.detection.events import Event, Score
from vad_pipeline.detection.live.sink import Frame, Health, Report
from vad_pipeline.detection.thresholds import Threshold

BEGAN = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def threshold():
    return Threshold(
        level=1.0, release=0.9, hold=1, per_hour=20, lowest_per_hour=20, blocks=35, block_frames=10, fps=10.0
    )


def picture(gray=90):
    return np.full((48, 64, 3), gray, np.uint8)


def frames(n, start=0, alarm=False):
    """Consecutive pictures at ten a second."""
    return [
        Frame(picture(90 + t), t / 10, Score(t, t / 10, 2.0 if alarm else 0.1, 0.01, {}, "motion"), alarm)
        for t in range(start, start + n)
    ]


def report(kind="event", number=1, start=2.0, end=3.0, peak=2.5):
    event = Event(start, end, peak, int(10 * start), int(10 * end), int(10 * peak), 3.5, 0.01, "motion", (4, 6, 20, 10))
    return Report(kind, "entrance", number, BEGAN, event, picture(200))


def health(state="live"):
    return Health("entrance", BEGAN, state, "", 10, 8, 0, 0, 10.0, 0.1, 1, {})

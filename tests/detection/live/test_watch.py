"""A detector on a live source: the events of the batch, frames numbered through gaps, a clean end."""

import json
import threading

import av
import numpy as np
import pandas as pd
import pytest

from tests.detection.test_detector import picture_rows, trained
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.events import Score
from vad_pipeline.detection.live.address import address_of
from vad_pipeline.detection.live.folder import Folder
from vad_pipeline.detection.live.sink import Frame, Health, Report, Sink
from vad_pipeline.detection.live.source import Arrival, LiveSource
from vad_pipeline.detection.live.watch import waiting, watch
from vad_pipeline.detection.thresholds import Threshold
from vad_pipeline.sources.raw_clip import SourceError


class Told(Sink):
    """Keeps what it is told."""

    name = "the test"

    def __init__(self):
        self.frames, self.reports, self.healths, self.closed = [], [], [], False

    def frame(self, frame: Frame) -> None:
        self.frames.append(frame)

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def health(self, health: Health) -> None:
        self.healths.append(health)

    def close(self) -> None:
        self.closed = True


class Brightness:
    """A detector that takes two pictures for the score of the first: its brightness."""

    delay, shortest = 1, 2

    def __init__(self, hold=1):
        self.threshold = Threshold(100.0, 90.0, hold, 20, 20, 35, block_frames=5, fps=10.0)
        self._earlier: list[tuple[np.ndarray, float]] = []
        self.windows: list[tuple[float, float]] = []
        self._n = 0

    def push(self, picture, second):
        self._earlier.append((picture, second))
        if len(self._earlier) < 2:
            return None
        (first, then), (_, now) = self._earlier
        del self._earlier[0]
        self.windows.append((then, now))
        self._n += 1
        return Score(self._n - 1, then, float(first.mean()), 0.01, {}, "brightness")

    def finish(self):
        self._earlier, self._n = [], 0
        return []


class Stub:
    """A source of arrivals that are known."""

    trouble, received, dropped, reconnections = "", 0, 0, 0

    def __init__(self, arrivals, fails=None):
        self._arrivals, self._fails, self.state = list(arrivals), fails, "live"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def next(self, timeout):
        if self._arrivals:
            return self._arrivals.pop(0)
        if self._fails:
            raise self._fails
        self.state = "ended"
        return None


def arrivals(grays, gaps=(0,), second=0.0):
    return [
        Arrival(np.full((4, 6, 1), gray, np.uint8), second + n / 10, 0.0, n in gaps) for n, gray in enumerate(grays)
    ]


def watched(detector, source, **options):
    told = Told()
    last = watch(detector, source, [told], "entrance", threading.Event(), **options)
    assert told.closed
    return told, last


@pytest.mark.parametrize("hold", [1, 3])
def test_an_alarm_is_told_when_it_begins_and_an_event_when_it_ends_with_the_peaks_picture(hold):
    grays = [10] * 5 + [110, 120, 150, 130] + [10] * 12
    told, last = watched(Brightness(hold), Stub(arrivals(grays)))
    assert [(report.kind, report.number) for report in told.reports] == [("alarm", 1), ("event", 1)]
    alarm, event = told.reports
    assert alarm.event.start == event.event.start == pytest.approx(0.5)
    assert (event.event.end, event.event.peak) == pytest.approx((0.8, 0.7))
    assert event.picture.max() == event.picture.min() == 150
    assert alarm.picture.max() == (110 if hold == 1 else 150)
    assert [frame.picture[0, 0, 0] for frame in told.frames] == grays[: len(told.frames)], "each picture, in order"
    assert len(told.frames) >= len(grays) - 1
    assert {frame.score is None or frame.score.anomaly == frame.picture.mean() for frame in told.frames} == {True}
    assert (last.scored, last.events, last.state) == (len(grays) - 1, 1, "ended")


def test_no_window_spans_a_gap_and_none_longer_than_a_block_lies_within_an_event():
    detector = Brightness()
    later = arrivals([110] * 3 + [10] * 9, gaps=(0,), second=1.0)
    told, last = watched(detector, Stub([*arrivals([10, 10, 110, 110]), *later]))
    assert all(now - then == pytest.approx(0.1) for then, now in detector.windows)
    events = [report.event for report in told.reports if report.kind == "event"]
    assert [(event.start_frame, event.end_frame) for event in events] == [(2, 2), (10, 12)], "frames count time"
    assert last.events == 2, "more than a block of five frames lies between"


def test_an_event_that_goes_on_at_the_end_is_told():
    told, _ = watched(Brightness(), Stub(arrivals([10, 10, 120, 120, 120])))
    assert [report.kind for report in told.reports] == ["alarm", "event"]
    assert told.healths[-1].state == "ended"


def test_a_source_that_fails_is_raised_after_all_is_told():
    told = Told()
    with pytest.raises(SourceError, match="refused"):
        watch(Brightness(), Stub(arrivals([10, 10, 120, 120]), SourceError("refused")), [told], "a", threading.Event())
    assert [report.kind for report in told.reports] == ["alarm", "event"]
    assert told.closed


def test_stopping_ends_it_though_the_source_goes_on():
    class Endless(Stub):
        def next(self, timeout):
            stop.set() if self.received == 20 else None
            self.received += 1
            return Arrival(np.zeros((4, 6, 1), np.uint8), self.received / 10, 0.0, self.received == 1)

    stop, told = threading.Event(), Told()
    last = watch(Brightness(), Endless([]), [told], "entrance", stop)
    assert last.state == "live"
    assert last.scored == 20
    assert told.closed


def test_a_trained_detector_finds_live_what_it_finds_in_the_file(tmp_path, write_video):
    trained(tmp_path, "scene_exemplars")
    detector = Detector.load(tmp_path / "scene_exemplars")
    frames = [picture_rows(1, t)[0, ..., 0] for t in range(25)]
    for t in range(25, 35):
        odd = picture_rows(1, t)[0, ..., 0].copy()
        odd[1:5, 2 * (t % 8) : 2 * (t % 8) + 4] = 255
        frames.append(odd)
    video = write_video(tmp_path / "new.mkv", frames, fps=10)
    table = detector.score(video)
    wanted = detector.events(table)
    told = Told()
    source = LiveSource(address_of(str(video)), detector.fps, max(100, waiting(detector)))
    sinks = [told, Folder(tmp_path / "out", detector.threshold)]
    last = watch(detector, source, sinks, "entrance", threading.Event(), every=0.5)
    assert [frame.score.anomaly for frame in told.frames if frame.score] == pytest.approx(table["anomaly"], rel=1e-6)
    ended = [report.event for report in told.reports if report.kind == "event"]
    assert [(e.start_frame, e.end_frame, e.peak_frame) for e in ended] == [
        (e.start_frame, e.end_frame, e.peak_frame) for e in wanted
    ]
    assert wanted
    lines = pd.read_csv(tmp_path / "out" / "events.csv")
    assert len(lines) == len(wanted)
    for picture, clip in zip(lines["picture"], lines["clip"], strict=True):
        assert (tmp_path / "out" / picture).exists()
        with av.open(str(tmp_path / "out" / clip)) as shown:
            assert sum(1 for _ in shown.decode(video=0)) > 3
    assert json.loads((tmp_path / "out" / "health.json").read_text())["scored"] == last.scored == len(table)
    assert last.dropped == 0
    assert len(told.healths) > 4

"""Events: runs of frames above a threshold, by hysteresis, found frame by frame."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd

from vad_pipeline.detection.thresholds import Threshold

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Score:
    """What a detector says of a frame.

    Attributes:
        frame: its number, from 0.
        second: when it is shown, from the first picture.
        anomaly: fused score; its scale is the held-out footage's, not the clip's.
        p_value: share of held-out normal frames that are at least as anomalous, this one counted in (conformal); never
            below 1 / (their number + 1).
        terms: raw terms.
        reason: the term that stands out most.
        box: x, y, width, height in pixels of the picture around the strongest region; None without an error map.
        error: error map float16 (H/4, W/4) of the frames that the model reads; None where it gives none.
    """

    frame: int
    second: float
    anomaly: float
    p_value: float
    terms: dict[str, float]
    reason: str = ""
    box: Box | None = None
    error: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Event:
    """A run of frames above the threshold.

    Attributes:
        start, end, peak: seconds; of the first and the last frame above the threshold, and of the most anomalous one.
        start_frame, end_frame, peak_frame: their numbers.
        anomaly, p_value, reason, box: of the most anomalous frame.
    """

    start: float
    end: float
    peak: float
    start_frame: int
    end_frame: int
    peak_frame: int
    anomaly: float
    p_value: float
    reason: str
    box: Box | None = None


class EventFinder:
    """Finds events in a stream of scores.

    One begins when scores stay above ``threshold.level`` for ``threshold.hold`` frames, and ends when none was above
    ``threshold.release`` for a block's time; so two events are never nearer than a block.

    Args:
        threshold: when an alarm is raised.
    """

    def __init__(self, threshold: Threshold):
        self.threshold = threshold
        self._above: list[Score] = []  # the last frames in a row that are above the level, at most hold
        self._event: Event | None = None
        self._last = 0  # frame that was above the release last
        self.peak: Score | None = None  # the most anomalous frame of the event that goes on, so far

    @property
    def alarm(self) -> bool:
        """Whether an event goes on."""
        return self._event is not None

    @property
    def event(self) -> Event | None:
        """The event that goes on, as far as it has come."""
        return self._event

    def push(self, score: Score) -> Event | None:
        """Take the next frame's score; the event that has ended by it, if any."""
        threshold = self.threshold
        ended = None
        if self._event is not None and score.frame - self._last > threshold.block_frames:  # frames are missing
            ended = self.finish()
        self._above = [*self._above, score][-threshold.hold :] if score.anomaly > threshold.level else []
        if self._event is None:
            if len(self._above) == threshold.hold:
                self.peak = self._above[0]
                self._event = self._joined(_event_of(self.peak), self._above[1:])
                self._last = score.frame
            return ended
        if score.anomaly > threshold.release:
            self._event, self._last = self._joined(self._event, [score]), score.frame
        elif score.frame - self._last >= threshold.block_frames:
            return self.finish()
        return None

    def finish(self) -> Event | None:
        """The event that goes on at the end of the stream, if any."""
        ended, self._event, self._above, self.peak = self._event, None, [], None
        return ended

    def _joined(self, event: Event, scores: Iterable[Score]) -> Event:
        for score in scores:
            event = replace(event, end=score.second, end_frame=score.frame)
            if score.anomaly > event.anomaly:
                self.peak = score
                event = replace(_event_of(score), start=event.start, start_frame=event.start_frame)
        return event


def find_events(scores: Iterable[Score], threshold: Threshold) -> list[Event]:
    """All events of a clip."""
    finder = EventFinder(threshold)
    found = [finder.push(score) for score in scores]
    return [event for event in (*found, finder.finish()) if event is not None]


def event_table(events: Iterable[Event]) -> pd.DataFrame:
    """A row each, columns as the fields of ``Event``, the box as x, y, width, height."""
    names = [name for name in Event.__dataclass_fields__ if name != "box"]
    rows = []
    for event in events:
        box = event.box or (pd.NA,) * 4
        own = {name: value for name, value in asdict(event).items() if name != "box"}
        rows.append({**own, **dict(zip(("x", "y", "width", "height"), box, strict=True))})
    table = pd.DataFrame(rows, columns=[*names, "x", "y", "width", "height"])
    return table.astype(dict.fromkeys(("x", "y", "width", "height"), "Int64"))


def _event_of(score: Score) -> Event:
    return Event(
        score.second,
        score.second,
        score.second,
        score.frame,
        score.frame,
        score.frame,
        score.anomaly,
        score.p_value,
        score.reason,
        score.box,
    )

"""A detector on a live source: pictures in, alarms, events and health out to sinks, until it is told to stop."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.detection.detector import Detector, Picture
from vad_pipeline.detection.events import Event, EventFinder, Score
from vad_pipeline.detection.live.memory import give_back
from vad_pipeline.detection.live.sink import Delivery, Frame, Health, Report, Sink
from vad_pipeline.detection.live.source import Arrival, LiveSource

PATIENCE = 0.2  # seconds between looks at whether to stop
BACKLOG = 2.0  # seconds of pictures that may wait for the detector


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WatchSettings:
    """What is watched by what, and who is told.

    Attributes:
        models: folder of the trained models of the environment.
        folder: where what is found goes.
        source: a URL, a device or a file (``address_of``).
        model: name of a system, or a folder that holds one.
        version: of the checkpoint; None is the latest.
        camera: its name in what is told; None is the data set's.
        false_alarms_per_hour, hold: see ``Detector``.
        patience: seconds to wait for the first picture; a connection that breaks later is made again for ever.
        health: seconds between reports of health.
        before, longest: seconds of an event's clip before the alarm, and after it at most.
        webhook: web address that alarms and events are posted to.
        mqtt: broker that they are published to.
        accelerator: Lightning's names of devices.
        threads: that torch computes with on a CPU; None takes all cores.
    """

    models: str
    folder: str
    source: str | None = None
    model: str = "scene_exemplars"
    version: str | None = None
    camera: str | None = None
    false_alarms_per_hour: float | None = Field(default=None, gt=0)
    hold: int | None = Field(default=None, ge=1)
    patience: float = Field(default=60.0, gt=0)
    health: float = Field(default=60.0, gt=0)
    before: float = Field(default=5.0, ge=0)
    longest: float = Field(default=60.0, gt=0)
    webhook: str | None = None
    mqtt: str | None = None
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(default=1, ge=1)


def waiting(detector: Detector) -> int:
    """Pictures that a source may keep for a detector: of two seconds, and enough for a window or two."""
    return max(2 * detector.shortest, round(BACKLOG * detector.threshold.fps))


def watch(
    detector: Detector,
    source: LiveSource,
    sinks: Sequence[Sink],
    camera: str,
    stop: threading.Event,
    every: float = 60.0,
) -> Health:
    """Watch until the source ends or ``stop`` is set.

    Memory is bounded by the detector's window, the pictures that wait for it and for the sinks. An event that goes on
    at the end is reported as ended.

    Args:
        detector: trained.
        source: not yet entered.
        sinks: each is told in a thread of its own; closed at the end.
        camera: its name, for the sinks.
        stop: set from outside, by a signal, to end it cleanly.
        every: seconds between reports of health.

    Returns:
        The last report of health.

    Raises:
        SourceError: the source cannot be read; what was found before is told.
    """
    with ExitStack() as closing:
        deliveries = []
        for sink in sinks:
            deliveries.append(Delivery(sink))
            closing.callback(deliveries[-1].close)
        watching = _Watching(detector, source, deliveries, camera, every)
        try:
            with source:
                for arrival in _arrivals(source, stop):
                    watching.take(arrival)
        finally:
            last = watching.finish()
    return replace(last, undelivered={delivery.sink.name: delivery.undelivered for delivery in deliveries})


def _arrivals(source: LiveSource, stop: threading.Event) -> Iterator[Arrival | None]:
    """Pictures, and None now and then where there are none."""
    while not stop.is_set():
        arrival = source.next(PATIENCE)
        if arrival is None and source.state == "ended":
            return
        yield arrival


class _Watching:
    """What is known while a source is watched."""

    def __init__(self, detector: Detector, source: LiveSource, deliveries: list[Delivery], camera: str, every: float):
        self.detector, self.source, self.deliveries, self.camera, self.every = (
            detector,
            source,
            deliveries,
            camera,
            every,
        )
        self.finder = EventFinder(detector.threshold)
        self.began, self.clock = datetime.now().astimezone(), time.monotonic()
        self.pictures: deque[tuple[int, Picture, float]] = deque()  # that wait for their score
        self.taken = self.first = self.scored = self.events = 0  # frames; number of the stream's first one
        self.recent: deque[tuple[Score, Picture]] = deque(maxlen=detector.threshold.hold)
        self.peak: tuple[Score, Picture] | None = None
        self.lag, self.said, self.scored_then, self.state = 0.0, self.clock, 0, ""

    def take(self, arrival: Arrival | None) -> None:
        if arrival is not None:
            if arrival.gap:
                self._judge(self.detector.finish())
                self._show_until(self.taken, None)
                # a number for each picture's time that went by, as an alarm's end is counted in frames
                self.first = self.taken = max(self.taken, round(arrival.second * self.detector.threshold.fps))
            self.lag = max(self.lag, time.monotonic() - arrival.due)
            self.pictures.append((self.taken, arrival.picture, arrival.second))
            self.taken += 1
            score = self.detector.push(arrival.picture, arrival.second)
            self._judge([score] if score is not None else [])
        now = time.monotonic()
        if now - self.said >= self.every or self.source.state != self.state:
            self.health(now)

    def finish(self) -> Health:
        self._judge(self.detector.finish())
        if (event := self.finder.finish()) is not None:
            self._report("event", event)
        return self.health(time.monotonic())

    def _judge(self, scores: Iterable[Score]) -> None:
        for score in scores:
            self.scored += 1
            score = replace(score, frame=self.first + score.frame)
            before = self.finder.alarm
            ended = self.finder.push(score)
            if ended is not None:
                self._report("event", ended)
            self._show_until(score.frame, score)
            if self.finder.peak is not None and (self.peak is None or self.peak[0] is not self.finder.peak):
                self.peak = next((each for each in self.recent if each[0] is self.finder.peak), self.peak)
            if self.finder.event is not None and (not before or ended is not None):
                self.events += 1
                self._report("alarm", self.finder.event)

    def _show_until(self, frame: int, score: Score | None) -> None:
        """Hand on the pictures up to a frame, the last of them with its score."""
        while self.pictures and self.pictures[0][0] <= frame:
            number, picture, second = self.pictures.popleft()
            own = score if score is not None and number == score.frame else None
            if own is not None:
                self.recent.append((own, picture))
            self._tell(Frame(picture, second, own, self.finder.alarm))

    def _report(self, kind: Literal["alarm", "event"], event: Event) -> None:
        known = self.peak is not None and self.peak[0].frame == event.peak_frame
        picture = self.peak[1] if known and self.peak is not None else None
        self._tell(Report(kind, self.camera, self.events, self.began, event, picture))

    def health(self, now: float) -> Health:
        give_back()
        source, elapsed = self.source, max(now - self.said, 1e-3)
        health = Health(
            self.camera,
            self.began + timedelta(seconds=now - self.clock),
            source.state,
            source.trouble,
            source.received,
            self.scored,
            source.dropped,
            source.reconnections,
            (self.scored - self.scored_then) / elapsed,
            self.lag,
            self.events,
            {delivery.sink.name: delivery.undelivered for delivery in self.deliveries},
        )
        self.lag, self.said, self.scored_then, self.state = 0.0, now, self.scored, source.state
        self._tell(health)
        return health

    def _tell(self, message: Frame | Report | Health) -> None:
        for delivery in self.deliveries:
            delivery.put(message)

"""Where what is found live goes: what sinks are told, each in a thread of its own, so that none holds up the rest."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import cv2
import numpy as np

from vad_pipeline.detection.detector import Picture
from vad_pipeline.detection.events import Event, Score

JPEG_QUALITY = 92
FAREWELL = 10.0  # seconds that a sink has to say the rest when watching ends

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """A picture as it was judged.

    Attributes:
        picture: uint8 (H, W, 1|3), RGB.
        second: since watching began.
        score: None where it has none, at the begin of a stream.
        alarm: whether an event goes on.
    """

    picture: Picture
    second: float
    score: Score | None
    alarm: bool


@dataclass(frozen=True)
class Report:
    """An event that began (``alarm``), or has ended (``event``).

    Attributes:
        kind: which of both.
        camera: its name.
        number: of the event, from 1.
        began: when watching began, from which seconds are counted.
        event: as far as it has come.
        picture: of its peak so far, uint8 (H, W, 1|3).
    """

    kind: Literal["alarm", "event"]
    camera: str
    number: int
    began: datetime
    event: Event
    picture: Picture | None

    def time(self, second: float) -> datetime:
        """When a second of the stream was, with the time zone of this machine."""
        return self.began + timedelta(seconds=second)

    @property
    def name(self) -> str:
        """Of its files: when the event began, to the millisecond."""
        return self.time(self.event.start).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]

    def record(self) -> dict[str, Any]:
        """Of JSON's types: kind, camera, event, start, end (None as long as it goes on), peak, seconds, anomaly,
        p_value, reason and box (x, y, width, height in the picture's pixels, or None)."""
        event, ended = self.event, self.kind == "event"
        return {
            "kind": self.kind,
            "camera": self.camera,
            "event": self.number,
            "start": self.time(event.start).isoformat(timespec="milliseconds"),
            "end": self.time(event.end).isoformat(timespec="milliseconds") if ended else None,
            "peak": self.time(event.peak).isoformat(timespec="milliseconds"),
            "seconds": round(event.end - event.start, 3),
            "anomaly": event.anomaly,
            "p_value": event.p_value,
            "reason": event.reason,
            "box": None if event.box is None else [int(side) for side in event.box],
        }


@dataclass(frozen=True)
class Health:
    """How watching goes.

    Attributes:
        camera: its name.
        time: now.
        state: of the source: ``connecting``, ``live``, ``lost`` or ``ended``.
        trouble: what broke the connection last, in words.
        received, scored, dropped: pictures since watching began.
        reconnections: after the first connection.
        per_second: scores a second since the last report of this kind.
        lag: seconds from a picture to its turn, the longest since the last report.
        events: that began.
        undelivered: sink -> messages that it did not take.
    """

    camera: str
    time: datetime
    state: str
    trouble: str
    received: int
    scored: int
    dropped: int
    reconnections: int
    per_second: float
    lag: float
    events: int
    undelivered: dict[str, int]

    def record(self) -> dict[str, Any]:
        """Of JSON's types, with ``kind``: health."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"kind": "health", **own, "time": self.time.isoformat(timespec="milliseconds")}

    def __str__(self) -> str:
        """A line for people."""
        said = [
            f"{self.time:%H:%M:%S} {self.state}{f' ({self.trouble})' if self.trouble and self.state != 'live' else ''}",
            f"{self.per_second:.1f} frames a second",
            f"{self.dropped} dropped",
            f"{self.lag:.1f} s behind",
            f"{self.events} events",
        ]
        said += [f"{self.reconnections} reconnections"] if self.reconnections else []
        said += [f"{count} messages that {sink} did not take" for sink, count in self.undelivered.items() if count]
        return ", ".join(said)


class Sink:
    """A place for what is found. Each method may take its time, and may raise: ``Delivery`` says so and goes on."""

    name = "sink"

    def frame(self, frame: Frame) -> None:
        """Every picture, in order; sinks that need none leave this as it is."""

    def report(self, report: Report) -> None:
        """An event that began, or has ended."""

    def health(self, health: Health) -> None:
        """How watching goes."""

    def close(self) -> None:
        """Nothing more comes."""


class Delivery:
    """A thread that tells a sink what it is handed, in order.

    Args:
        sink: to be told.
        most: messages that may wait; of more, pictures are left out first, then the oldest.

    Attributes:
        undelivered: messages that were left out or that the sink failed at; pictures do not count.
    """

    def __init__(self, sink: Sink, most: int = 64):
        self.sink, self.most, self.undelivered = sink, most, 0
        self._waiting: deque[Frame | Report | Health] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=f"tells {sink.name}", daemon=True)
        self._thread.start()

    def put(self, message: Frame | Report | Health) -> None:
        """Hand on a message; never waits."""
        with self._changed:
            if len(self._waiting) >= self.most:
                if isinstance(message, Frame):
                    return
                frame = next((each for each in self._waiting if isinstance(each, Frame)), None)
                if frame is not None:
                    self._waiting.remove(frame)
                else:
                    self._waiting.popleft()
                    self.undelivered += 1
            self._waiting.append(message)
            self._changed.notify()

    def close(self, seconds: float = FAREWELL) -> None:
        """Wait for what is still to be said, but not for ever."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.warning("%s: %d messages were still to be told", self.sink.name, len(self._waiting))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                message = self._waiting.popleft()
            if isinstance(message, Frame):
                self._told(self.sink.frame, message)
            else:
                told = self.sink.report if isinstance(message, Report) else self.sink.health
                self.undelivered += not self._told(told, message)
        self._told(lambda _: self.sink.close(), None)

    def _told(self, tell: Callable[[Any], None], message: Any) -> bool:
        try:
            tell(message)
        except Exception as error:  # whatever a sink fails at, watching goes on
            if (said := f"{type(error).__name__}: {error}") != self._said:  # once, not at every picture
                logger.warning("%s did not take what was found (%s)", self.sink.name, error)
            self._said = said
            return False
        return True


def jpeg(picture: Picture, box: tuple[int, int, int, int] | None = None) -> bytes:
    """A picture uint8 (H, W, 1|3), RGB, as JPEG, the strongest region boxed."""
    image = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
    image = np.ascontiguousarray(image[..., ::-1])
    if box is not None:
        x, y, width, height = box
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), (40, 40, 230), max(1, image.shape[1] // 240))
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"a picture of {picture.shape} cannot be written as JPEG")
    return encoded.tobytes()

"""A folder of what is found live: a CSV line, a picture and a short video of each event; the health."""

import json
import logging
import shutil
from collections import deque
from contextlib import suppress
from csv import DictWriter
from dataclasses import dataclass
from io import StringIO
from os import fsync
from pathlib import Path

import av
import cv2
import numpy as np

from vad_pipeline.detection.annotated_video import AnnotatedVideo
from vad_pipeline.detection.events import Score
from vad_pipeline.detection.live.sink import Frame, Health, Report, Sink, jpeg
from vad_pipeline.detection.thresholds import Threshold

COLUMNS = ("start", "end", "peak", "seconds", "anomaly", "p_value", "reason", "x", "y", "width", "height")
FILES = ("picture", "clip")
ROWS = 720  # of pictures in clips, at most: what waits for an alarm lies in memory
RESERVE = 50_000_000  # bytes of the disk that clips leave for the lines of events to come

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Packed:
    """A picture in memory, as JPEG."""

    jpeg: bytes
    second: float
    score: Score | None
    alarm: bool


class Folder(Sink):
    """Writes ``events.csv``, ``events/<time>.jpg``, ``events/<time>.mp4`` and ``health.json``.

    An event's line is written when it has ended, and first; a clip that finds no room is dropped.

    Args:
        folder: goes on where an earlier watch left off.
        threshold: of the alarm.
        before: seconds before an alarm that its clip shows.
        longest: seconds that a clip shows after the alarm, at most.
    """

    name = "the folder"

    def __init__(self, folder: Path, threshold: Threshold, before: float = 5.0, longest: float = 60.0):
        self.folder, self.threshold, self.before, self.longest = folder, threshold, before, longest
        (folder / "events").mkdir(parents=True, exist_ok=True)
        self._earlier: deque[_Packed] = deque()
        self._clip: AnnotatedVideo | None = None
        self._unwritten: list[dict[str, object]] = []
        self._began = 0.0

    def frame(self, frame: Frame) -> None:
        """Keep it for the clip of an alarm to come, or add it to that of the alarm that goes on."""
        packed = _packed(frame)
        self._earlier.append(packed)
        while self._earlier[0].second < frame.second - self.before:
            self._earlier.popleft()
        if self._clip is not None and frame.second <= self._began + self.longest:
            self._add(packed)

    def report(self, report: Report) -> None:
        """Begin the clip of an alarm; end it, and write the line, of an event.

        Raises:
            OSError: the line cannot be written; it is tried again with the next one.
        """
        if report.kind == "alarm":
            self._begin(self.folder / "events" / f"{report.name}.mp4", report.event.start)
            return
        try:
            self._write_line(report)
        finally:
            self._end()

    def health(self, health: Health) -> None:
        """Replace ``health.json``."""
        partial = self.folder / ".health.json.partial"
        partial.write_text(json.dumps(health.record(), indent=1), encoding="utf-8")
        partial.replace(self.folder / "health.json")

    def close(self) -> None:
        """End the clip of an alarm that goes on."""
        self._end()

    def _write_line(self, report: Report) -> None:
        record = report.record()
        x, y, width, height = record.pop("box") or ("", "", "", "")
        line = record | {"x": x, "y": y, "width": width, "height": height, "picture": "", "clip": ""}
        if report.picture is not None:
            path = self.folder / "events" / f"{report.name}.jpg"
            partial = path.with_name(f".{path.name}.partial")
            try:
                partial.write_bytes(jpeg(report.picture, report.event.box))
                partial.replace(path)
                line["picture"] = f"events/{path.name}"
            except OSError as error:
                partial.unlink(missing_ok=True)
                logger.warning("the picture of an event is dropped (%s)", error.strerror)
        if self._clip is not None:
            line["clip"] = f"events/{self._clip.path.name}"
        self._unwritten.append(line)
        path, said = self.folder / "events.csv", StringIO()
        writer = DictWriter(said, [*COLUMNS, *FILES], extrasaction="ignore")
        if not path.exists() or not path.stat().st_size:
            writer.writeheader()
        writer.writerows(self._unwritten)
        length = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", newline="") as file:
            try:
                file.write(said.getvalue())
                file.flush()
                fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(length)  # half a line would spoil the next one
                raise
        self._unwritten = []

    def _begin(self, path: Path, second: float) -> None:
        self._end()
        if shutil.disk_usage(self.folder).free < RESERVE:
            logger.warning("no room on the disk for the clip of an event; its line is kept")
            return
        self._clip, self._began = AnnotatedVideo(path, self.threshold), second
        self._first = self._earlier[0].second if self._earlier else second
        for packed in self._earlier:
            self._add(packed)

    def _add(self, packed: _Packed) -> None:
        if self._clip is None:
            return
        try:
            picture = cv2.imdecode(np.frombuffer(packed.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            self._clip.write(picture[..., ::-1], packed.second - self._first, packed.score, packed.alarm)
        except (OSError, av.FFmpegError, ValueError) as error:  # no room, or pictures of another size
            self._drop(error)

    def _end(self) -> None:
        if self._clip is None:
            return
        try:
            self._clip.__exit__(None, None, None)
        except (OSError, av.FFmpegError) as error:
            self._drop(error)
        self._clip = None

    def _drop(self, error: Exception) -> None:
        clip, self._clip = self._clip, None
        assert clip is not None
        logger.warning("the clip %s is dropped (%s)", clip.path.name, getattr(error, "strerror", None) or error)
        with suppress(OSError, av.FFmpegError):
            clip.__exit__(type(error), error, None)


def _packed(frame: Frame) -> _Packed:
    picture, score = frame.picture, frame.score
    if picture.shape[0] > ROWS:
        width = round(picture.shape[1] * ROWS / picture.shape[0])
        if score is not None and score.box is not None:
            x, y, w, h = (round(side * ROWS / picture.shape[0]) for side in score.box)
            score = Score(**{**score.__dict__, "box": (x, y, max(1, w), max(1, h))})
        picture = cv2.resize(picture, (width, ROWS), interpolation=cv2.INTER_AREA).reshape(ROWS, width, -1)
    return _Packed(jpeg(picture), frame.second, score, frame.alarm)

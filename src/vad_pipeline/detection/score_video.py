"""A new video scored by a trained detector: tables, events with pictures, an annotated video."""

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import pandas as pd

from vad_pipeline.detection.annotated_video import AnnotatedVideo
from vad_pipeline.detection.detector import Detector, score_table
from vad_pipeline.detection.events import Event, EventFinder, Score, event_table
from vad_pipeline.detection.footage import Footage, Kept, differences, with_box
from vad_pipeline.detection.in_place import put_in_place
from vad_pipeline.detection.overlap import Behind
from vad_pipeline.detection.thresholds import Threshold
from vad_pipeline.sources.raw_clip import SourceError

FULL = (errno.ENOSPC, errno.EDQUOT)
ANNOTATED = "annotated.mp4"
DRAWN = 8  # pictures that wait to be drawn and encoded
ROWS = 4096  # scores that become a table, which takes a tenth of their memory


@dataclass(frozen=True)
class Scored:
    """What was found in a video.

    Attributes:
        video: the file.
        folder: holds ``scores.csv``, ``scores.parquet``, ``events.csv``, ``events/<n>.jpg`` and ``annotated.mp4``.
        scores: table, see ``Detector.score``.
        events: in order.
        size: rows and columns of the video's pictures.
        fps: frames a second of the video, None where it does not say.
        notes: what whoever reads the scores should know: how the video differs from the footage of training.
        missing: why something is not there, a sentence; empty where all is.
    """

    video: Path
    folder: Path
    scores: pd.DataFrame
    events: list[Event]
    size: tuple[int, int] = (0, 0)
    fps: float | None = None
    notes: tuple[str, ...] = ()
    missing: str = ""


def score_video(
    detector: Detector,
    video: Path,
    folder: Path,
    height: int | None = None,
    region: Path | None = None,
    annotated: bool = True,
    report: Callable[[Scored], None] | None = None,
) -> Scored:
    """Score a video; what an earlier run left in the folder is replaced once all is there.

    A video that changes its size is scored up to there; where the disk is full, what fits is kept:
    ``Scored.missing`` says so.

    Args:
        detector: trained.
        video: a file.
        folder: for what is found.
        height: rows that pictures are brought to first, as in training; None leaves them.
        region: image of the region of interest, as in training.
        annotated: write the annotated video, too.
        report: writes what else belongs into the folder, before that gets its name.

    Raises:
        SourceError: it cannot be decoded, or has too few frames.
        OSError: the folder cannot be written, not even without the annotated video.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        (temporary / "events").mkdir(parents=True)
        footage = Footage(video, height, region)
        drawing = _Drawing(temporary, detector.threshold, annotated)
        scores, events = _pass(detector, footage, drawing)
        room = _Room(temporary, drawing.lost)
        found = Scored(
            video,
            temporary,
            scores,
            events,
            footage.native,
            footage.fps,
            _notes(detector, footage),
        )
        room.write(lambda: _write_tables(found))
        found = replace(found, missing=_missing(found, footage, room.lost))
        if report is not None:
            try:
                room.write(lambda: report(found))
            except OSError as error:
                if error.errno not in FULL:
                    raise
                room.lost.append("report.html")
            found = replace(found, missing=_missing(found, footage, room.lost))
        put_in_place(temporary, folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_full(error):
            said = f"no space left for what was found in {video.name}, nothing of it is kept; free some, score it again"
            raise OSError(errno.ENOSPC, said, str(folder)) from error
        raise
    return replace(found, folder=folder)


def is_full(error: BaseException) -> bool:
    """Whether a file could not be written for want of space; of Python or of FFmpeg."""
    return isinstance(error, OSError | av.FFmpegError) and error.errno in FULL


def _pass(detector: Detector, footage: Footage, drawing: "_Drawing") -> tuple[pd.DataFrame, list[Event]]:
    """One pass over the video: the table of scores, and events.

    Raises:
        SourceError: see ``score_video``.
    """
    finder = EventFinder(detector.threshold)
    scores: list[Score] = []
    tables: list[pd.DataFrame] = []
    events: list[Event] = []
    pictured = 0  # events that have a picture
    with drawing:
        for score in detector.stream(footage.pictures(detector.fps)):
            event = finder.push(score)
            if event is not None:
                events.append(event)
            for kept in footage.until(score.frame):
                own = score if kept.frame == score.frame else None
                drawing.picture(kept, own, finder.alarm)
                # of an alarm that takes several frames the peak may have passed; then the first after it
                if own is not None and finder.alarm and (finder.peak is own or pictured == len(events)):
                    drawing.peak(kept, own, len(events) + 1)
                    pictured = len(events) + 1
            scores.append(replace(score, error=None))  # so that memory does not grow by maps
            if len(scores) == ROWS:
                tables.append(score_table(scores, detector.threshold))
                scores = []
        if not scores and not tables:
            raise footage.broken or SourceError(
                f"{footage.path}: {footage.count} frames at {detector.threshold.fps:g} a second, a score takes "
                f"{detector.shortest} and more; give a longer video"
            )
        for kept in footage.until(None):
            drawing.picture(kept, None, finder.alarm)
    if (last := finder.finish()) is not None:
        events.append(last)
    tables += [score_table(scores, detector.threshold)] if scores else []
    return pd.concat(tables, ignore_index=True), events


class _Drawing:
    """Draws the annotated video and the events' pictures by a thread; what finds no room is lost, the scores go on."""

    def __init__(self, folder: Path, threshold: Threshold, annotated: bool):
        self.lost: list[str] = []
        self._folder = folder
        self._video = AnnotatedVideo(folder / ANNOTATED, threshold) if annotated else None
        self._behind = Behind(DRAWN)

    def __enter__(self) -> "_Drawing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._behind.finish()
            else:
                self._behind.stop()
        except BaseException as failed:
            self._end(failed)
            raise
        self._end(error)

    def picture(self, kept: Kept, score: Score | None, alarm: bool) -> None:
        """The next picture of the video."""
        self._behind.do(self._write, kept, None if score is None else kept.own(score), alarm)

    def peak(self, kept: Kept, score: Score, number: int) -> None:
        """The picture of an event's peak so far."""
        self._behind.do(self._picture, kept, kept.own(score), self._folder / "events" / f"{number}.jpg")

    def _write(self, kept: Kept, score: Score | None, alarm: bool) -> None:
        if self._video is None:
            return
        try:
            self._video.write(kept.picture, kept.second, score, alarm)
        except (OSError, av.FFmpegError) as error:
            self._give_up(error)

    def _picture(self, kept: Kept, score: Score, path: Path) -> None:
        _, encoded = cv2.imencode(".jpg", with_box(kept.picture, score))
        try:
            path.write_bytes(encoded.tobytes())
        except OSError as error:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            if not is_full(error):
                raise
            self.lost.append(f"events/{path.name}")

    def _end(self, error: BaseException | None) -> None:
        if self._video is None:
            return
        try:
            self._video.__exit__(None if error is None else type(error), error, None)
        except (OSError, av.FFmpegError) as failed:
            self._give_up(failed)

    def _give_up(self, error: OSError | av.FFmpegError) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.__exit__(type(error), error, None)
        if not is_full(error):
            raise error
        self.lost.append(ANNOTATED)


class _Room:
    """Writes files; where the disk is full, at the cost of the annotated video, which takes most and is made again."""

    def __init__(self, folder: Path, lost: list[str]):
        self.lost = lost
        self._folder = folder

    def write(self, work: Callable[[], None]) -> None:
        """Do the work, a second time if room was made for it."""
        try:
            work()
        except OSError as error:
            video = self._folder / ANNOTATED
            if not is_full(error) or not video.exists():
                raise
            video.unlink()
            self.lost.append(ANNOTATED)
            work()


def _write_tables(found: Scored) -> None:
    found.scores.to_csv(found.folder / "scores.csv", index=False)
    found.scores.to_parquet(found.folder / "scores.parquet", index=False)
    listed = event_table(found.events)
    listed.insert(0, "event", range(1, len(found.events) + 1))
    pictures = [f"events/{number}.jpg" for number in listed["event"]]
    listed["picture"] = [name if (found.folder / name).exists() else "" for name in pictures]
    listed.to_csv(found.folder / "events.csv", index=False)


def _notes(detector: Detector, footage: Footage) -> tuple[str, ...]:
    trained = detector.native, detector.fps, detector.frames
    found = differences(footage.shape, footage.fps, *trained, footage.native)
    black = "all pictures are black, so the scores say nothing; look whether the camera is covered or unplugged"
    return tuple(note for note in (found, black if footage.black else "") if note)


def _missing(found: Scored, footage: Footage, lost: list[str]) -> str:
    """Why something is not there, a sentence."""
    said = []
    if footage.broken is not None:
        last = float(found.scores["second"].iloc[-1])
        said.append(f"{footage.broken}; it was scored up to second {last:.1f}")
    if lost:
        there = sorted(path.name for path in found.folder.iterdir())
        names = ", ".join(dict.fromkeys(lost))
        said.append(
            f"{found.video}: no space left for {names}; kept are {', '.join(there)}; free some and score it again"
        )
    return "; ".join(said)

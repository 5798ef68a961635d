"""A new video scored by a trained detector: tables, events with pictures, an annotated video."""

import shutil
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vad_pipeline.detection.annotated_video import AnnotatedVideo
from vad_pipeline.detection.detector import Detector, Picture, at_rate, score_table
from vad_pipeline.detection.events import Event, EventFinder, Score, event_table
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.reading_size import frames_at_height
from vad_pipeline.sources.video_file import open_video, video_stream
from vad_pipeline.sources.videos import read_timed_video


@dataclass(frozen=True)
class Scored:
    """What was found in a video.

    Attributes:
        video: the file.
        folder: holds ``scores.csv``, ``scores.parquet``, ``events.csv``, ``events/<n>.jpg`` and ``annotated.mp4``.
        scores: table, see ``Detector.score``.
        events: in order.
    """

    video: Path
    folder: Path
    scores: pd.DataFrame
    events: list[Event]


def score_video(
    detector: Detector,
    video: Path,
    folder: Path,
    height: int | None = None,
    region: Path | None = None,
    annotated: bool = True,
) -> Scored:
    """Score a video; what an earlier run left in the folder is replaced once all is there.

    Args:
        detector: trained.
        video: a file.
        folder: for what is found.
        height: rows that pictures are brought to first, as in training; None leaves them.
        region: image of the region of interest, as in training.
        annotated: write the annotated video, too.

    Raises:
        SourceError: it cannot be decoded, or has too few frames.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "events").mkdir(parents=True)
    finder, kept, events, scores = EventFinder(detector.threshold), _Kept(), [], []
    try:
        with AnnotatedVideo(temporary / "annotated.mp4", detector.threshold) as writer:
            pictures = _pictures(video, height, region)
            for score in detector.stream(kept.remember(at_rate(_shown(pictures, video), detector.fps))):
                event = finder.push(score)
                if event is not None:
                    events.append(event)
                for picture, second, frame in kept.until(score.frame):
                    own = score if frame == score.frame else None
                    if annotated:
                        writer.write(picture, second, own, finder.alarm)
                    thumbnail = temporary / "events" / f"{len(events) + 1}.jpg"
                    if own is not None and finder.alarm and (finder.peak is own or not thumbnail.exists()):
                        _thumbnail(picture, own, thumbnail)
                scores.append(replace(score, error=None))  # so that memory does not grow by maps
            if annotated and scores:
                for picture, second, _ in kept.until(None):
                    writer.write(picture, second, None, finder.alarm)
        if not scores:
            raise SourceError(
                f"{video}: {kept.count} frames at {detector.threshold.fps:g} a second, a score takes "
                f"{detector.shortest} and more; give a longer video"
            )
        if (last := finder.finish()) is not None:
            events.append(last)
        table = score_table(scores, detector.threshold)
        table.to_csv(temporary / "scores.csv", index=False)
        table.to_parquet(temporary / "scores.parquet", index=False)
        listed = event_table(events)
        listed.insert(0, "event", range(1, len(events) + 1))
        listed["picture"] = [f"events/{number}.jpg" for number in listed["event"]]
        listed.to_csv(temporary / "events.csv", index=False)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if folder.exists():
        shutil.rmtree(folder)
    temporary.replace(folder)
    return Scored(video, folder, table, events)


class _Kept:
    """Pictures whose scores are still to come."""

    def __init__(self) -> None:
        self.count = 0
        self._pictures: deque[tuple[Picture, float, int]] = deque()

    def remember(self, pictures: Iterator[tuple[Picture, float]]) -> Iterator[tuple[Picture, float]]:
        for picture, second in pictures:
            self._pictures.append((picture, second, self.count))
            self.count += 1
            yield picture, second

    def until(self, frame: int | None) -> Iterator[tuple[Picture, float, int]]:
        """Those up to a frame, or all that are left."""
        while self._pictures and (frame is None or self._pictures[0][2] <= frame):
            yield self._pictures.popleft()


def _pictures(video: Path, height: int | None, region: Path | None) -> Iterator[tuple[Picture, float]]:
    for picture, second in read_timed_video(video, 1, region, "keep"):
        yield picture if height is None else next(frames_at_height([picture], height)), second


def _shown(pictures: Iterator[tuple[Picture, float]], video: Path) -> Iterator[tuple[Picture, float]]:
    """The same, with a progress bar by seconds."""
    with open_video(video) as container:
        stream = video_stream(video, container)
        ticks = stream.duration
        seconds = float(ticks * stream.time_base) if ticks and stream.time_base else None
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} s"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(f"scoring {video.name}", total=seconds)
        for picture, second in pictures:
            progress.update(task, completed=second)
            yield picture, second


def _thumbnail(picture: Picture, score: Score, path: Path) -> None:
    image = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
    image = np.ascontiguousarray(image[..., ::-1])
    if score.box is not None:
        x, y, width, height = score.box
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), (40, 40, 230), max(1, image.shape[1] // 240))
    cv2.imwrite(str(path), image)

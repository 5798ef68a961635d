"""A video as it is scored, and how it differs from the footage that the detector was trained on, in sentences."""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.detection.detector import Picture, at_rate
from vad_pipeline.detection.events import Score
from vad_pipeline.detection.overlap import ahead
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.reading_size import frames_at_height
from vad_pipeline.sources.video_file import frame_rate, open_video, video_stream
from vad_pipeline.sources.videos import read_timed_video

DECODED = 4  # pictures that wait to be resized
LARGEST = 1920  # pixels of the longer side of the pictures that are kept to be drawn on
BLACK = 16  # of 255, a value that video stores for black, too
SAME_RATE, SAME_SHAPE = 0.01, 0.02  # shares by which rates and shapes may differ and be called equal


@dataclass(frozen=True)
class Kept:
    """A picture whose score is still to come.

    Attributes:
        picture: uint8 (H, W, 1|3), RGB, at most ``LARGEST`` pixels on its longer side.
        second: when it is shown.
        frame: its number among those that are scored.
        scale: of its pixels to those that are scored, at most 1.
    """

    picture: Picture
    second: float
    frame: int
    scale: float

    def own(self, score: Score) -> Score:
        """The score with its box in pixels of this picture."""
        if score.box is None or self.scale == 1:
            return score
        x, y, width, height = (round(side * self.scale) for side in score.box)
        return replace(score, box=(x, y, max(1, width), max(1, height)))


class Footage:
    """The pictures of a video: of those that are scored, the ones whose scores are still to come are kept.

    Args:
        path: of the file.
        height: rows that pictures are brought to first, as in training; None leaves them.
        region: image of the region of interest, as in training.

    Attributes:
        native: rows and columns of the file's pictures, (0, 0) before the first.
        shape: rows, columns and colours of the pictures that are scored.
        fps: frames a second of the file, None where it does not say.
        count: pictures that are scored so far.
        black: whether all of them are.
        broken: why the file could not be read on, None if it could.
    """

    def __init__(self, path: Path, height: int | None = None, region: Path | None = None):
        self.path, self.height, self.region = path, height, region
        self.native: tuple[int, int] = (0, 0)
        self.shape: tuple[int, ...] = ()
        self.fps = frame_rate(path)
        self.count = 0
        self.black = True
        self.broken: SourceError | None = None
        self._kept: deque[Kept] = deque()

    def pictures(self, fps: float | None) -> Iterator[tuple[Picture, float]]:
        """Pictures at a rate, and their seconds; a file that cannot be read on ends there and is ``broken``.

        Raises:
            SourceError: nothing of it can be read.
        """
        for picture, second in at_rate(ahead(self._decoded(), DECODED), fps):
            self.native = picture.shape[:2]
            if self.height is not None:
                picture = next(frames_at_height([picture], self.height))
            self.shape = picture.shape
            scale = min(1.0, LARGEST / max(picture.shape[:2]))
            kept = picture if scale == 1 else next(frames_at_height([picture], round(scale * picture.shape[0])))
            self._kept.append(Kept(kept, second, self.count, scale))
            self.black = self.black and int(kept.max()) <= BLACK
            self.count += 1
            yield picture, second

    def until(self, frame: int | None) -> Iterator[Kept]:
        """What is kept up to a frame, or all that is left."""
        while self._kept and (frame is None or self._kept[0].frame <= frame):
            yield self._kept.popleft()

    def _decoded(self) -> Iterator[tuple[Picture, float]]:
        """All pictures, with a progress bar by seconds."""
        begun = False
        try:
            for shown in _watched(read_timed_video(self.path, 1, self.region, "keep"), self.path):
                begun = True
                yield shown
        except SourceError as error:
            if not begun:
                raise
            self.broken = error


def first_picture(video: Path) -> Picture:
    """The first picture of a video as the file has it, uint8 (H, W, 1|3), RGB.

    Raises:
        SourceError: it cannot be decoded.
    """
    return next(read_timed_video(video, 1, None, "keep"))[0]


def with_box(picture: Picture, score: Score) -> np.ndarray:
    """A picture with the box of its score, uint8 (H, W, 3), BGR as OpenCV writes it.

    Args:
        picture: uint8 (H, W, 1|3), RGB.
        score: its box is in the picture's pixels.
    """
    image = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
    image = np.ascontiguousarray(image[..., ::-1])
    if score.box is not None:
        x, y, width, height = score.box
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), (40, 40, 230), max(1, image.shape[1] // 240))
    return image


def sampling(fps: float | None, trained: float | None) -> str:
    """How many of a video's pictures are scored, in words.

    >>> sampling(25.0, 10.0), sampling(10.0, 10.0), sampling(None, 10.0)
    ('10 of its 25 pictures a second', 'all of its 10 pictures a second', 'at most 10 pictures a second')
    """
    if fps is None:
        return f"at most {trained:.3g} pictures a second" if trained else "all of its pictures"
    if trained is None or fps <= trained * (1 + SAME_RATE):
        return f"all of its {fps:.3g} pictures a second"
    return f"{trained:.3g} of its {fps:.3g} pictures a second"


def differences(
    shape: tuple[int, ...],
    fps: float | None,
    native: tuple[int, ...] | None,
    trained: float | None,
    reads: FrameSize,
    file: tuple[int, int] | None = None,
) -> str:
    """How a video differs from what was trained on and what is done about it, one sentence; empty where it does not.

    Args:
        shape: rows, columns and colours of its pictures.
        fps: its frames a second, None where not known.
        native: rows, columns and colours of the footage of training, None where not known.
        trained: its frames a second, None where not known.
        reads: what the detector reads.
        file: rows and columns of the video's pictures before they were brought to the height that is asked for.

    >>> differences((576, 768, 3), 10.0, (240, 320, 3), 8.3, FrameSize(240, 320))
    'trained on 320x240 at 8.3 frames a second; this video is 768x576 at 10: every frame is resized, 8.3 of its 10 \
pictures a second are scored'
    >>> differences((240, 320, 3), 16.6, (240, 320, 3), 8.3, FrameSize(240, 320))
    ''
    """
    height, width = native[:2] if native else (reads.height, reads.width)
    done = []
    if native and tuple(shape[:2]) != tuple(native[:2]):
        done.append("every frame is resized")
    wider = shape[1] * height / (shape[0] * width)
    if abs(wider - 1) > SAME_SHAPE:
        unless = "" if native else ", unless that footage was brought to it from the same shape"
        done.append(f"its shape is another, so things come out {1 / wider:.2g} times as wide as in training{unless}")
    if native and shape[2] != native[2]:
        done.append(f"it is {'gray where colour' if shape[2] == 1 else 'in colour where gray'} was learnt")
    if fps and trained and fps < trained * (1 - SAME_RATE):
        done.append(f"all its pictures are scored, and things seem {trained / fps:.2g} times as fast as they are")
    elif fps and trained and abs(fps / trained - round(fps / trained)) > SAME_RATE * fps / trained:
        done.append(f"{sampling(fps, trained)} are scored")
    if not done:
        return ""
    before = f"trained on {width}x{height}" + (f" at {trained:.3g} frames a second" if trained else "")
    size = f"{shape[1]}x{shape[0]}"
    if file is not None and tuple(file) != tuple(shape[:2]):
        size = f"{file[1]}x{file[0]}, read as {size}"
    return f"{before}; this video is {size}" + (f" at {fps:.3g}" if fps else "") + f": {', '.join(done)}"


def _watched(pictures: Iterator[tuple[Picture, float]], video: Path) -> Iterator[tuple[Picture, float]]:
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

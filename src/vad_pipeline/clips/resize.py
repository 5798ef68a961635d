"""Derived frames: the size and colour that a model reads."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FrameSize:
    """The frames that a model reads.

    Attributes:
        height, width: pixels.
        colour: ``rgb`` (gray frames are replicated) or ``gray``.
    """

    height: int = Field(default=256, ge=1)
    width: int = Field(default=256, ge=1)
    colour: Literal["rgb", "gray"] = "rgb"

    @property
    def channels(self) -> int:
        """3 for ``rgb``, 1 for ``gray``."""
        return 3 if self.colour == "rgb" else 1


def resize_jobs(frames: Clips, size: FrameSize) -> dict[str, ClipJob]:
    """Jobs that resize every clip to uint8 (T, height, width, channels)."""
    return {
        clip: ClipJob(
            fingerprint=step_fingerprint(stored.fingerprint, size, (resized_rows,), ("cv2",)),
            rows=partial(resized_rows, stored, size),
            length=len(stored),
            seconds=stored.seconds,
            fps=stored.fps,
            source=stored.source,
            parameters=asdict(size),
        )
        for clip, stored in frames.items()
    }


def resized_rows(clip: Clip, size: FrameSize, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Resized frames ``start`` to ``stop``, each uint8 (height, width, channels)."""
    array = clip.array()
    for t in range(start, len(array) if stop is None else stop):
        yield resize(array[t], size)


def resize(frame: np.ndarray, size: FrameSize) -> np.ndarray:
    """Bilinear, as the reference implementations do (spec 1.1); colour is converted first.

    Args:
        frame: uint8 (H, W, 1|3), RGB where it has three channels.

    >>> resize(np.zeros((240, 360, 1), np.uint8), FrameSize(128, 192, "rgb")).shape
    (128, 192, 3)
    """
    if frame.shape[-1] == 3 and size.colour == "gray":
        frame = to_gray(frame)[..., None]
    if frame.shape[:2] != (size.height, size.width):
        frame = cv2.resize(frame, (size.width, size.height), interpolation=cv2.INTER_LINEAR)
        frame = frame.reshape(size.height, size.width, -1)
    if frame.shape[-1] == 1 and size.colour == "rgb":
        frame = np.repeat(frame, 3, axis=-1)
    return np.ascontiguousarray(frame)


def to_gray(frame: np.ndarray) -> np.ndarray:
    """Gray values (H, W) of a frame (H, W, 1|3), RGB where it has three channels; contiguous, of the frame's type.

    The weights are Rec. 601's, rounded as OpenCV does.

    >>> to_gray(np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]))
    array([[ 76, 150,  29]], dtype=uint8)
    """
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.shape[-1] == 3 else np.ascontiguousarray(frame[..., 0])

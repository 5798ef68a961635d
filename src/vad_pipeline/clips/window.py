"""What a model sees at once: a window of frames, and rows of the streams that belong to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FEWER = {"flow": 1}  # rows that a stream has fewer than its clip has frames


@dataclass(frozen=True)
class Stream:
    """Rows that a model reads, one for each frame of a clip; where they come from is the stream's name.

    ``frames`` are frames of the model's own size, ``flow`` is theirs (row t is the motion from frame t to t + 1),
    ``features`` describe native frames.

    Attributes:
        rows: those that a window sees, as offsets from its first frame. A predictor leaves out the flow that ends in
            its target.
        recipe: how rows are made, where there is a choice; JSON: the estimator of flow, the settings of features.
    """

    rows: range
    recipe: Mapping[str, Any] = field(default_factory=dict)


def frames_of(rows: Mapping[str, int]) -> int:
    """Frames of a clip whose streams have so many rows.

    >>> frames_of({"frames": 40}), frames_of({"flow": 39}), frames_of({"frames": 40, "flow": 39})
    (40, 40, 40)
    """
    return max(count + FEWER.get(stream, 0) for stream, count in rows.items())


@dataclass(frozen=True)
class Window:
    """The frames that a model sees at once.

    Attributes:
        length: frames in a window.
        target: position in the window of the frame that is scored.
        apart: windows do not overlap and score all of their frames; the last one ends with the clip.
    """

    length: int
    target: int
    apart: bool = False

    @property
    def stride(self) -> int:
        """Frames between the starts of two windows."""
        return self.length if self.apart else 1

    def scored(self, n_frames: int) -> range:
        """Frames of a clip that get a score (spec 1.2); without ``apart`` windows start at every frame.

        >>> len(Window(5, 4).scored(180)), len(Window(16, 8).scored(180)), len(Window(16, 8, apart=True).scored(180))
        (176, 165, 180)
        """
        if self.apart:
            return range(n_frames if n_frames >= self.length else 0)
        return range(self.target, n_frames - self.length + self.target + 1)

    def place(self, frame: int, n_frames: int) -> tuple[int, int]:
        """Start of the window that scores a frame, and the frame's position in it.

        >>> Window(5, 4).place(9, 40), Window(16, 8, apart=True).place(37, 40), Window(16, 8, apart=True).place(20, 40)
        ((5, 4), (24, 13), (16, 4))
        """
        if not self.apart:
            return frame - self.target, self.target
        start = frame - frame % self.length
        start = start if start + self.length <= n_frames else n_frames - self.length
        return start, frame - start

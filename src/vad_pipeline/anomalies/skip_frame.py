"""Skip-frame pseudo-anomalies: a window that leaves frames out, so that everything in it moves too fast.

LNTRA (Astrid et al. 2021, Learning Not to Reconstruct Anomalies), as its official code draws them (spec 6.8).
"""

from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

REDRAWS = 10  # of the start, at most


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SkipFrame:
    """How many frames are skipped.

    Attributes:
        strides: steps in frames, 2 or more, one of which is drawn for each window with equal probability.
    """

    strides: tuple[Annotated[int, Field(ge=2)], ...] = Field(default=(2, 3, 4, 5), min_length=1)


def skip_frame_rows(
    rng: np.random.Generator, start: int, length: int, n_frames: int, config: SkipFrame
) -> tuple[int, np.ndarray]:
    """Draws a stride j and gives the rows start, start + j, ..., start + (length - 1) j of the pseudo-anomalous window.

    Where they overrun the clip, the start is drawn again, up to 10 times, uniformly from those that leave room for the
    target, ``length`` consecutive frames from the start; if they still do, they stop at the last frame. The official
    code draws from the whole clip and repeats the last frame in the target, too, which teaches that standing still is
    normal; and it lets rows overrun by one before it draws again.

    Args:
        rng: decides everything.
        start: row of the window's first frame, so that rows start to start + length - 1 exist.
        length: frames in the window.
        n_frames: in the clip.
        config: the strides.

    Returns:
        The start, possibly a new one, and the rows, int64 (length,), each in [start, n_frames - 1].

    Raises:
        ValueError: the clip does not hold ``length`` frames from ``start`` on.

    >>> skip_frame_rows(np.random.default_rng(0), 3, 4, 100, SkipFrame(strides=(5,)))
    (3, array([ 3,  8, 13, 18]))
    """
    if n_frames < length:
        raise ValueError(f"a clip of {n_frames} frames is too short for a window of {length}; remove the clip")
    if not 0 <= start <= n_frames - length:
        raise ValueError(
            f"start {start}: a window of {length} frames of a clip of {n_frames} starts at 0 to {n_frames - length}"
        )
    stride = int(rng.choice(config.strides))
    reach = stride * (length - 1)
    for _ in range(REDRAWS):
        if start + reach < n_frames:
            break
        start = int(rng.integers(n_frames - length + 1))
    return start, np.minimum(start + stride * np.arange(length), n_frames - 1)

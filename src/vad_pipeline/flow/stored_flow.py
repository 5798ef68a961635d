"""How a step hands flow to the clip store: float16 (T-1, H, W, 2), the motion from t to t+1 stored under t."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vad_pipeline.clips.clip import Clip
from vad_pipeline.clips.job import ClipJob


class FlowError(ValueError):
    """Flow that cannot be computed or stored; the message names the clip, the place and the remedy."""


def flow_job(
    frames: Clip,
    fingerprint: str,
    rows: Callable[[int, int | None], Iterator[np.ndarray]],
    parameters: dict[str, Any],
) -> ClipJob:
    """The job that computes the flow of one clip.

    A clip of one frame becomes an array of no rows, with a warning.

    Args:
        frames: the stored clip, uint8 (T, H, W, 1|3).
        fingerprint: of everything that decides the flow.
        rows: ``rows(start, stop)`` yields the flow of pairs ``start`` to ``stop``; it reads frames ``start`` to
            ``stop`` inclusive, so that two chunks of a clip share one frame.
        parameters: the step's, for people.
    """
    if len(frames) == 1:
        warnings.warn(
            f"clip {frames.clip} has one frame, so no motion: its flow is stored with length 0 ({frames.source})",
            stacklevel=3,
        )
    _, height, width, _ = frames.shape
    return ClipJob(
        fingerprint=fingerprint,
        rows=rows,
        length=len(frames) - 1,
        row_if_none=((height, width, 2), "float16"),
        fps=frames.fps,
        source=frames.source,
        parameters=parameters,
    )


def stored_row(flow: np.ndarray, clip: str, frame: int) -> np.ndarray:
    """Flow float32 (H, W, 2) of one pair as it is stored, float16; good to 0.004 px below 8 px.

    Raises:
        FlowError: a value is not finite or leaves float16. It is raised rather than replaced by zero, which would
            read as stillness, the most normal thing there is.
    """
    with np.errstate(over="ignore"):
        row = flow.astype(np.float16)
    if not np.isfinite(row).all():
        bad = int((~np.isfinite(row)).any(axis=-1).sum())
        raise FlowError(
            f"clip {clip}, frames {frame} to {frame + 1}: the flow of {bad} pixels is not a finite number below 65504; "
            "use the estimator's default parameters, or remove the frame if it is damaged"
        )
    return row


def rows_of_pairs(
    clip: Clip,
    start: int,
    stop: int | None,
    gray: Callable[[np.ndarray], np.ndarray],
    flow: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Iterator[np.ndarray]:
    """Flow of the pairs ``start`` to ``stop``, each float16 (H, W, 2); reads one frame more than it yields rows.

    Args:
        clip: frames uint8 (T, H, W, 1|3).
        start, stop: pairs; None is all that are left.
        gray: a frame as the estimator reads it, made once of each.
        flow: of two of these, float32 (H, W, 2).

    Raises:
        FlowError: flow that is not finite.
    """
    array = clip.array()
    stop = len(array) - 1 if stop is None else stop
    if start >= stop:
        return
    earlier = gray(array[start])
    for t in range(start, stop):
        later = gray(array[t + 1])
        yield stored_row(flow(earlier, later), clip.clip, t)
        earlier = later

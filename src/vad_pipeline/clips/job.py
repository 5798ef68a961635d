"""How a step hands a clip to the clip store: a recipe that is carried out only where the store lacks its result."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ClipJob:
    """A clip that can be computed.

    Attributes:
        fingerprint: of everything that decides the result; equal fingerprints mean equal arrays.
        rows: ``rows(start, stop)`` yields the clip's rows (one frame, flow field or mask each) in order; it is called
            in a worker process, so it is a module-level function or a partial of one. None where ``file`` is given.
        file: a complete ``.npy`` file that becomes the clip; the store takes it over, the file is gone afterwards,
            whether the store needed it or not.
        again: makes ``file`` where it is not there; called in this process, and only if the store lacks the clip.
        timed: ``rows`` yields pairs of a row and its second from the clip's first picture.
        seconds: of each row, float64 (T,), where they are known beforehand: those of the clip that it is made of.
        length: number of rows where it is known beforehand; a long clip is then split over several workers.
        row_if_none: shape and numpy type of a row of a clip that may rightly have none, as the flow of a single frame;
            it is then stored as an array of length 0. A clip without rows is an error where this is not given.
        fps: frames per second of the rows.
        source: where the clip comes from, for people.
        parameters: the step's parameters, for people.
    """

    fingerprint: str
    rows: Callable[[int, int | None], Iterator[Any]] | None = None
    file: str | None = None
    again: Callable[[], None] | None = None
    timed: bool = False
    seconds: np.ndarray | None = None
    length: int | None = None
    row_if_none: tuple[tuple[int, ...], str] | None = None
    fps: float | None = None
    source: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

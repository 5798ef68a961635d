"""Which normal frames get a pseudo-anomalous twin: all of them, or a pool of runs of consecutive frames."""

from collections.abc import Mapping
from typing import NamedTuple
from zlib import crc32

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Pool:
    """How many frames get a twin.

    Attributes:
        size: frames; null takes every training frame. Detectors read windows of consecutive frames, so a pool is made
            of runs.
        run: consecutive frames in a run, the longest window that a detector will read.
    """

    size: int | None = Field(default=None, ge=1)
    run: int = Field(default=16, ge=1)


class Run(NamedTuple):
    """Frames ``start`` to ``stop`` (exclusive) of a clip; ``name`` is their clip id in the pseudo-anomaly stores."""

    clip: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """``train/01@32`` for the run that starts at frame 32 of ``train/01``."""
        return f"{self.clip}@{self.start}"


def runs_of(lengths: Mapping[str, int], pool: Pool, seed: int) -> list[Run]:
    """The runs to make: whole clips, or randomly chosen runs without overlap, in order of clips and frames.

    Args:
        lengths: clip -> frames.
        pool: how many.
        seed: of the choice.

    >>> [run.name for run in runs_of({"train/01": 40, "train/02": 9}, Pool(size=32), 0)]
    ['train/01@0', 'train/01@16']
    """
    if pool.size is None:
        return [Run(clip, 0, length) for clip, length in lengths.items() if length]
    slots = [
        Run(clip, start, start + pool.run)
        for clip, length in lengths.items()
        for start in range(0, length - pool.run + 1, pool.run)
    ]
    count = min(len(slots), max(1, round(pool.size / pool.run)))
    chosen = np.random.default_rng([seed, 0]).permutation(len(slots))[:count]
    return [slots[i] for i in sorted(chosen.tolist())]


def run_of(name: str, length: int) -> Run:
    """The run that a stored pseudo-anomalous clip of ``length`` frames holds.

    >>> run_of("train/01@32", 16)
    Run(clip='train/01', start=32, stop=48)
    """
    clip, start = name.rsplit("@", 1)
    return Run(clip, int(start), int(start) + length)


def frame_seed(seed: int, clip: str, frame: int) -> list[int]:
    """What seeds the randomness of one frame: for ``numpy.random.default_rng``."""
    return [seed, crc32(clip.encode()), frame]

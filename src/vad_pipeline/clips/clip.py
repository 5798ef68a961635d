"""What a clip store loads to: a mapping from clip id to a clip whose array is opened only when asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from vad_pipeline.clips.fingerprint import fingerprint
from vad_pipeline.clips.names import natural_key
from vad_pipeline.clips.pool import ClipPool


@dataclass(frozen=True)
class Clip:
    """One stored clip; small and picklable, so it travels to worker processes instead of its pixels.

    Attributes:
        clip: clip id, ``train/01``.
        fingerprint: its name in the pool.
        shape: (T, H, W) for masks, (T, H, W, C) for frames and flow.
        dtype: numpy name of the type.
        fps: frames per second, None where unknown.
        source: where it came from.
        pool: where its pixels lie.
        stored: of a part of a clip, the whole one's fingerprint and the part's first row; None of a whole one.
        seconds: when each frame is shown, float64 (T,), seconds from the first picture; None where that was not stored.
    """

    clip: str
    fingerprint: str
    shape: tuple[int, ...]
    dtype: str
    fps: float | None
    source: str
    pool: ClipPool
    stored: tuple[str, int] | None = None
    seconds: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return self.shape[0]

    def times(self) -> np.ndarray | None:
        """When each frame is shown, float64 (T,), seconds from the first picture: as stored with frames of videos, by
        the rate where frames follow one, None where neither is known."""
        if self.seconds is not None or not self.fps:
            return self.seconds
        return np.arange(len(self)) / self.fps

    @property
    def split(self) -> str:
        """``train``, ``val`` or ``test``."""
        return self.clip.split("/", 1)[0]

    def array(self) -> np.ndarray:
        """The pixels, ``shape`` and ``dtype`` as declared; memory-mapped and read-only where the pool is local."""
        if self.stored is None:
            return self.pool.array(self.fingerprint)
        whole, first = self.stored
        return self.pool.array(whole)[first : first + len(self)]

    def part(self, name: str, start: int, stop: int) -> "Clip":
        """Rows ``start`` to ``stop`` as a clip of its own; nothing is copied."""
        whole, first = self.stored or (self.fingerprint, 0)
        return replace(
            self,
            clip=name,
            fingerprint=fingerprint(whole, first + start, first + stop),
            shape=(stop - start, *self.shape[1:]),
            stored=(whole, first + start),
            seconds=None if (times := self.times()) is None else times[start:stop],
        )


class Clips(Mapping[str, Clip]):
    """Clips of one version of a store, in numeric-aware order of their ids."""

    def __init__(self, clips: Mapping[str, Clip]):
        self._clips = {clip: clips[clip] for clip in sorted(clips, key=natural_key)}

    def __getitem__(self, clip: str) -> Clip:
        return self._clips[clip]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clips)

    def __len__(self) -> int:
        return len(self._clips)

    def split(self, *names: str) -> "Clips":
        """The clips of the named splits."""
        return Clips({clip: self._clips[clip] for clip in self._clips if self._clips[clip].split in names})

    def table(self) -> pd.DataFrame:
        """One row per clip: clip, split, frames, height, width, channels, dtype, fps, source, fingerprint."""
        return pd.DataFrame(
            [
                {
                    "clip": c.clip,
                    "split": c.split,
                    "frames": c.shape[0],
                    "height": c.shape[1],
                    "width": c.shape[2],
                    "channels": c.shape[3] if len(c.shape) == 4 else 1,
                    "dtype": c.dtype,
                    "fps": c.fps,
                    "source": c.source,
                    "fingerprint": c.fingerprint,
                }
                for c in self._clips.values()
            ]
        )

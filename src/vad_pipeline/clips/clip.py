"""What a clip store loads to: a mapping from clip id to a clip whose array is opened only when asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

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
    """

    clip: str
    fingerprint: str
    shape: tuple[int, ...]
    dtype: str
    fps: float | None
    source: str
    pool: ClipPool

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def split(self) -> str:
        """``train``, ``val`` or ``test``."""
        return self.clip.split("/", 1)[0]

    def array(self) -> np.ndarray:
        """The pixels, ``shape`` and ``dtype`` as declared; memory-mapped and read-only where the pool is local."""
        return self.pool.array(self.fingerprint)


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


def split_held_out(train: Clips, share: float) -> tuple[Clips, Clips]:
    """Training clips and held-out normal clips, the latter spread evenly over the former's order.

    At least one clip is held out where the share is positive and there are two clips or more.
    """
    n = min(max(1, round(share * len(train))), len(train) - 1) if share > 0 else 0
    names = list(train)
    held = {names[int((i + 0.5) * len(names) / n)] for i in range(n)}
    return (
        Clips({name: train[name] for name in names if name not in held}),
        Clips({name: train[name] for name in names if name in held}),
    )

"""Windows of which some are pseudo-anomalous: what the model sees is odd, what it shall answer is always normal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vad_pipeline.anomalies.patch import Patch, intruder, patch_clip, read_intruders
from vad_pipeline.anomalies.pool import run_of
from vad_pipeline.anomalies.skip_frame import SkipFrame, skip_frame_rows
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Stream
from vad_pipeline.fitting.windows import WindowError, Windows


@dataclass(frozen=True)
class PseudoAnomalies:
    """The pseudo-anomalies that a model trains on.

    Attributes:
        source: ``stored`` are those of the pseudo_anomalies pipeline; ``patch`` and ``skip_frame`` are made on the fly.
        probability: of each window.
        stream: the one that becomes odd.
        patch, skip_frame: how those are made.
        intruders: folder of images for ``patch``; None for procedural textures.
    """

    source: Literal["stored", "patch", "skip_frame"]
    probability: float
    stream: str = "frames"
    patch: Patch = field(default_factory=Patch)
    skip_frame: SkipFrame = field(default_factory=SkipFrame)
    intruders: str | None = None


class PseudoWindows(Windows):
    """Windows that are replaced by pseudo-anomalies with a probability of their own each (spec 6.3, 6.8).

    A batch holds ``pseudo.stream``, what the model sees, ``target``, the normal window that it shall answer, both
    (B, length, ...) of the stored type, and ``pseudo``, bool (B,). What happens to an item is a function of (seed,
    number) alone, whichever worker fetches it.

    Where the pool has no twin of the window that is to be replaced, another window of the pool takes its place, target
    and all.

    Args:
        clips, streams, length, stride: as for ``Windows``; ``pseudo.stream`` is what becomes odd, seen whole.
        pseudo: which pseudo-anomalies, how many.
        stored: for ``pseudo.source: stored``, pseudo-anomalous runs of these clips' stream, named as ``Run.name``.
        seed: of everything.

    Raises:
        WindowError: a clip is shorter than the window, or no stored run is long enough.
    """

    def __init__(
        self,
        clips: Mapping[str, Clips],
        streams: Mapping[str, Stream],
        length: int,
        stride: int,
        pseudo: PseudoAnomalies,
        stored: Clips | None,
        seed: int,
    ):
        super().__init__(clips, streams, length, stride)
        self.pseudo, self.seed = pseudo, seed
        self.stored = list(stored.values()) if stored and pseudo.source == "stored" else []
        self.normal = self.clips[pseudo.stream]
        self.twins = self._find_twins()  # clip, start -> run, row
        self.starts_of_twins = list(self.twins)
        if pseudo.source == "stored" and not self.twins:
            raise WindowError(
                f"no pseudo-anomalous run of {length} {pseudo.stream} or more among the training clips; make them with "
                f"`kedro run --pipelines=pseudo_anomalies` and pool.run of at least {length}"
            )
        folder = pseudo.intruders
        self.intruders = read_intruders(Path(folder)) if pseudo.source == "patch" and folder else None

    def _find_twins(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Where in the stored runs each normal window has its twin."""
        numbers = {clip.clip: i for i, clip in enumerate(self.normal)}
        twins = {}
        for i, stored in enumerate(self.stored):
            run = run_of(stored.clip, len(stored))
            if run.clip not in numbers:
                continue
            own = numbers[run.clip]
            last = run.stop == len(self.normal[own])  # a stream with a row less than the frames repeats its last
            stop = self.lengths[own] if last else min(run.stop, self.lengths[own])
            for start in range(run.start, stop - self.length + 1):
                twins[own, start] = (i, start - run.start)
        return twins

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = super().__getitems__(numbers)
        batch["target"] = batch[self.pseudo.stream]
        batch[self.pseudo.stream] = batch["target"].clone()
        batch["pseudo"] = torch.zeros(len(numbers), dtype=torch.bool)
        for row, number in enumerate(numbers):
            random = np.random.default_rng([self.seed, number])
            if random.random() < self.pseudo.probability:
                batch["pseudo"][row] = True
                self._replace(row, number % len(self), random, batch)
        return batch

    def _replace(self, row: int, window: int, random: np.random.Generator, batch: dict[str, torch.Tensor]) -> None:
        """Make one window of a batch pseudo-anomalous."""
        seen, target = batch[self.pseudo.stream].numpy(), batch["target"].numpy()
        if self.pseudo.source == "patch":
            height, width, channels = target.shape[2:]
            other = intruder(random, height, width, channels, self.intruders)
            seen[row] = patch_clip(target[row], other, self.pseudo.patch, random)
            return
        if self.pseudo.source == "skip_frame":
            # LNTRA draws these from a second loader: they have nothing to do with the window that they replace
            clip, start = (int(v) for v in self.starts[random.integers(len(self))])
            array = self._array(self.normal[clip])
            start, rows = skip_frame_rows(random, start, self.length, len(array), self.pseudo.skip_frame)
            seen[row] = array[rows]
        else:
            clip, start = (int(v) for v in self.starts[window])
            if (clip, start) not in self.twins:
                clip, start = self.starts_of_twins[int(random.integers(len(self.starts_of_twins)))]
            array = self._array(self.normal[clip])
            run, first = self.twins[clip, start]
            self._fill(seen[row], self._array(self.stored[run]), first)
        self._fill(target[row], array, start)

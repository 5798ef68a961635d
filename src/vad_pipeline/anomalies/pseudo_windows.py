"""Windows of which some are pseudo-anomalous: what the model sees is odd, what it shall answer is always normal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vad_pipeline.anomalies.patch import Patch, intruder, patch_clip, read_intruders
from vad_pipeline.anomalies.pool import run_of
from vad_pipeline.anomalies.skip_frame import SkipFrame, skip_frame_rows
from vad_pipeline.clips.clip import Clips
from vad_pipeline.fitting.loaders import EpochSampler
from vad_pipeline.fitting.windows import WindowError, Windows, leading


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

    A batch holds ``kind.stream``, what the model sees, ``target``, the normal window that it shall answer, both
    (B, length, ...) of the stored type, and ``pseudo``, bool (B,). Items are numbered epoch * windows + window;
    what happens to an item is a function of (seed, number) alone, whichever worker fetches it.

    Args:
        streams: as for ``Windows``; ``kind.stream`` is what becomes odd.
        length: frames in a window.
        stride: frames between the starts of two windows of a clip.
        kind: which pseudo-anomalies, how many.
        stored: for ``kind.source: stored``, pseudo-anomalous runs of these clips' stream, named as ``Run.name``.
        seed: of everything.

    Raises:
        WindowError: a clip is shorter than the window, or no stored run is long enough.
    """

    def __init__(
        self,
        streams: Mapping[str, Clips],
        length: int,
        stride: int,
        kind: PseudoAnomalies,
        stored: Clips | None,
        seed: int,
    ):
        super().__init__(streams, length, stride)
        self.kind, self.seed = kind, seed
        self.stored = list(stored.values()) if stored and kind.source == "stored" else []
        lengths = [len(clip) for clip in self.streams[leading(streams)]]
        self.odd = self.streams[kind.stream]
        numbers = {clip.clip: i for i, clip in enumerate(self.odd)}
        self.twins: dict[tuple[int, int], tuple[int, int]] = {}  # clip, start -> run, row
        for i, clip in enumerate(self.stored):
            run = run_of(clip.clip, len(clip))
            if run.clip not in numbers:
                continue
            own = numbers[run.clip]
            last = run.stop == len(self.odd[own])  # a stream with a row less than the frames repeats its last
            rows = lengths[own] - run.start if last else len(clip)
            for row in range(rows - length + 1):
                self.twins[own, run.start + row] = (i, row)
        self.starts_of_twins = list(self.twins)
        if kind.source == "stored" and not self.twins:
            raise WindowError(
                f"no pseudo-anomalous run of {length} {kind.stream} or more among the training clips; make them with "
                f"`kedro run --pipelines=pseudo_anomalies` and pool.run of at least {length}"
            )
        folder = kind.intruders
        self.intruders = read_intruders(Path(folder)) if kind.source == "patch" and folder else None

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        batch = super().__getitems__([number % len(self) for number in indices])
        batch["target"] = batch[self.kind.stream]
        batch[self.kind.stream] = batch["target"].clone()
        batch["pseudo"] = torch.zeros(len(indices), dtype=torch.bool)
        for row, number in enumerate(indices):
            random = np.random.default_rng([self.seed, number])
            if random.random() < self.kind.probability:
                batch["pseudo"][row] = True
                self._replace(row, number % len(self), random, batch)
        return batch

    def _replace(self, row: int, window: int, random: np.random.Generator, batch: dict[str, torch.Tensor]) -> None:
        """Make one window of a batch pseudo-anomalous."""
        seen, target = batch[self.kind.stream].numpy(), batch["target"].numpy()
        if self.kind.source == "patch":
            height, width, channels = target.shape[2:]
            other = intruder(random, height, width, channels, self.intruders)
            seen[row] = patch_clip(target[row], other, self.kind.patch, random)
            return
        if self.kind.source == "skip_frame":
            # LNTRA draws these from a second loader: they have nothing to do with the window that they replace
            clip, start = (int(v) for v in self.starts[random.integers(len(self))])
            array = self._array(self.odd[clip])
            start, rows = skip_frame_rows(random, start, self.length, len(array), self.kind.skip_frame)
            seen[row] = array[rows]
        else:
            clip, start = (int(v) for v in self.starts[window])
            if (clip, start) not in self.twins:
                clip, start = self.starts_of_twins[int(random.integers(len(self.starts_of_twins)))]
            array = self._array(self.odd[clip])
            run, first = self.twins[clip, start]
            self._fill(seen[row], self._array(self.stored[run]), first)
        self._fill(target[row], array, start)


class NumberedSampler(EpochSampler):
    """A permutation of the windows per epoch, numbered epoch * windows + window."""

    def __iter__(self) -> Iterator[int]:
        return iter([self.epoch * self.size + window for window in super().__iter__()])

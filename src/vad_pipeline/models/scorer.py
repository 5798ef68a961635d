"""Scoring as a stream: rows of a clip in, scores of frames out, in batches or one by one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vad_pipeline.clips.window import FEWER, Stream, Window, frames_of


@dataclass(frozen=True)
class ScoringOptions:
    """How a model is run, as opposed to what it computes.

    Attributes:
        device: torch device.
        bf16: compute convolutions in bfloat16.
        batch: windows at a time.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bf16: bool = False
    batch: int = 8

    @property
    def dtype(self) -> torch.dtype:
        """Of the convolutions."""
        return torch.bfloat16 if self.bf16 else torch.float32


@dataclass(frozen=True)
class ScoredBatch:
    """Scores of consecutive frames of one clip.

    Attributes:
        frames: frame numbers (m,).
        terms: term -> values (m,).
        maps: error maps float16 (m, H/4, W/4), None where the model gives none.
    """

    frames: np.ndarray
    terms: dict[str, np.ndarray]
    maps: np.ndarray | None = None


@dataclass(frozen=True)
class Complete:
    """Windows whose rows are all there.

    Attributes:
        starts: (n,) their first frames, counted from the first row that is still kept.
        frames: (m,) numbers of the frames to score.
        window, position: (m,) where each of them is: in which window, at which place.
    """

    starts: np.ndarray
    frames: np.ndarray
    window: np.ndarray
    position: np.ndarray


class Scorer(ABC):
    """A trained model made ready to score; it keeps what windows still need, and what goes on from clip to clip.

    ``push`` takes the next rows of a clip, as many as there are, and ``finish`` ends it. A model says what it computes
    once per row (``per_row``), once per window (``encode``), and what of a window's encoding makes its scores
    (``score``); the last alone may change the scorer's state, so that one encoding serves several settings.

    Args:
        window: of the model.
        streams: what a window sees.
        options: how to run it.
    """

    def __init__(self, window: Window, streams: Mapping[str, Stream], options: ScoringOptions):
        self.window, self.streams, self.options = window, dict(streams), options
        self._forget()

    def clip(self, arrays: Mapping[str, np.ndarray]) -> Iterator[ScoredBatch]:
        """Scores of one whole clip, ``options.batch`` windows at a time; arrays are memory-mapped, (T, ...) each."""
        for encoded, complete in self.encodings(arrays):
            yield self._scored(encoded, complete)

    def push(self, rows: Mapping[str, np.ndarray]) -> ScoredBatch | None:
        """Take the next rows of a clip.

        Args:
            rows: stream -> rows (n, ...); flow may come one row later than its frames.

        Returns:
            Scores of the frames that have become scorable, None if none has.
        """
        found = self._take(rows)
        return None if found is None else self._scored(*found)

    def finish(self) -> ScoredBatch | None:
        """End the clip: score what waited for rows that will not come; the next push begins another clip."""
        found = self._end()
        return None if found is None else self._scored(*found)

    def encodings(self, arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, Complete]]:
        """What ``score`` needs of a whole clip, in order: encoded windows, and which frames they score."""
        n_frames = frames_of({name: len(arrays[name]) for name in self.streams})
        ahead, first = self.window.length - self.window.stride, 0
        while first < n_frames:
            stop = min(n_frames, first + self.options.batch * self.window.stride + (ahead if first == 0 else 0))
            found = self._take({name: arrays[name][first:stop] for name in self.streams})
            first = stop
            if found is not None:
                yield found
        found = self._end()
        if found is not None:
            yield found

    def begin(self) -> None:  # noqa: B027  # most scorers have nothing to begin
        """A clip begins; by default nothing."""

    @abstractmethod
    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is computed once per row.

        Args:
            rows: stream -> rows (n, ...) as they are stored, on the device; a stream without new rows is left out.

        Returns:
            Name -> (n, ...): of each given stream its own name, and beside it others of as many rows as ``frames``.
        """

    @abstractmethod
    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Any:
        """What is computed once per window.

        Args:
            rows: what ``per_row`` gave, of all rows that are still kept, in order.
            complete: the windows.
        """

    @abstractmethod
    def score(self, encoded: Any, complete: Complete) -> tuple[dict[str, Tensor], Tensor | None]:
        """Terms, term -> (m,), and error maps (m, H/4, W/4) of the frames to score; may change the scorer's state."""

    def predict(self, arrays: Mapping[str, np.ndarray], position: int) -> np.ndarray:
        """What the model expects of a window's frame, for figures, with its state as it is.

        Args:
            arrays: stream -> rows (rows seen, ...) of one window.
            position: of the frame in it, ``Window.place``'s.

        Returns:
            uint8 (H, W, C).
        """
        raise TypeError(f"{type(self).__name__} has no picture of what it expects")

    def _scored(self, encoded: Any, complete: Complete) -> ScoredBatch:
        with torch.inference_mode():
            terms, maps = self.score(encoded, complete)
        return ScoredBatch(
            complete.frames,
            {name: values.double().cpu().numpy() for name, values in terms.items()},
            None if maps is None else maps.half().cpu().numpy(),
        )

    def _forget(self) -> None:
        self._kept: dict[str, Tensor] = {}  # by names of per_row
        self._seen = dict.fromkeys(self.streams, 0)  # rows of each stream so far
        self._begun = False
        self._first = 0  # frame number of the first kept row
        self._next = 0  # start of the next window
        self._done = 0  # frames before this one have their score

    def _take(self, rows: Mapping[str, np.ndarray]) -> tuple[Any, Complete] | None:
        if not self._begun:
            self.begin()
        self._begun = True
        new = {name: rows[name] for name in self.streams if name in rows and len(rows[name])}
        stored = {name: torch.from_numpy(np.array(part)).to(self.options.device) for name, part in new.items()}
        with torch.inference_mode():
            for name, values in (self.per_row(stored) if stored else {}).items():
                self._kept[name] = torch.cat([self._kept[name], values]) if name in self._kept else values
        for name, part in new.items():
            self._seen[name] += len(part)
        last = min(self._seen[name] - stream.rows.stop for name, stream in self.streams.items())
        return self._encoded(np.arange(self._next, last + 1, self.window.stride))

    def _end(self) -> tuple[Any, Complete] | None:
        n_frames = frames_of(self._seen)
        for name in self.streams:  # a stream with a row less repeats its last
            if FEWER.get(name) and name in self._kept and self._seen[name] < n_frames:
                self._kept[name] = torch.cat([self._kept[name], self._kept[name][-1:]])
                self._seen[name] += 1
        last = n_frames - self.window.length
        starts = np.arange(self._next, last + 1, self.window.stride)
        if self.window.apart and last >= 0 and last % self.window.length:
            starts = np.append(starts, last)
        found = self._encoded(starts)
        self._forget()
        return found

    def _encoded(self, starts: np.ndarray) -> tuple[Any, Complete] | None:
        if not len(starts):
            return None
        if self.window.apart:
            numbers = starts[:, None] + np.arange(self.window.length)
            fresh = numbers >= np.maximum(self._done, np.r_[0, starts[:-1] + self.window.length])[:, None]
            window, position = np.nonzero(fresh)
        else:
            window, position = np.arange(len(starts)), np.full(len(starts), self.window.target)
        complete = Complete(starts - self._first, starts[window] + position, window, position)
        with torch.inference_mode():
            encoded = self.encode(self._kept, complete)
        self._done = int(complete.frames[-1]) + 1
        self._next = int(starts[-1]) + self.window.stride
        self._drop(max(0, self._next - (self.window.length - 1 if self.window.apart else 0)))
        return encoded, complete

    def _drop(self, first: int) -> None:
        """Let go of rows before a frame; clones, so that the memory of what is dropped is free."""
        if first > self._first:
            self._kept = {name: values[first - self._first :].clone() for name, values in self._kept.items()}
            self._first = first

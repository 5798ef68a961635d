"""Windows of consecutive frames, read from the clip store as training needs them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.window import Stream, frames_of


class WindowError(ValueError):
    """A clip that no window fits into."""


class Windows(Dataset):
    """Every window of every clip, fetched a batch at a time.

    Rows stay as they are stored until they are in torch's memory: a window is one copy out of the memory-mapped clip,
    casting and scaling happen once a batch, on the device. Memory is bounded by the batch. Items are numbered epoch *
    windows + window; the epoch changes nothing here.

    Args:
        clips: stream -> clips; all streams hold the same clips. Where a window sees a row of optical flow that the clip
            has no more, its last is repeated.
        streams: what a window sees of each.
        length: frames in a window.
        stride: frames between the starts of two windows of a clip.

    Raises:
        WindowError: a clip is shorter than the window.
    """

    def __init__(self, clips: Mapping[str, Clips], streams: Mapping[str, Stream], length: int, stride: int = 1):
        self.streams, self.length = dict(streams), length
        self.clips = {name: list(clips[name].values()) for name in self.streams}
        self.lengths = [
            frames_of({name: len(stored) for name, stored in zip(self.clips, of_clip, strict=True)})
            for of_clip in zip(*self.clips.values(), strict=True)
        ]
        starts = []
        for number, n_frames in enumerate(self.lengths):
            if n_frames < length:
                name = next(iter(self.clips.values()))[number].clip
                raise WindowError(
                    f"clip {name}: {n_frames} frames, a window needs {length}; remove the clip from the raw data"
                )
            first = np.arange(0, n_frames - length + 1, stride)
            starts.append(np.stack([np.full_like(first, number), first], axis=1))
        self.starts = np.concatenate(starts) if starts else np.empty((0, 2), int)
        self._arrays: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: rows[0] for name, rows in self.__getitems__([index]).items()}

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """The windows as one batch: per stream (B, rows, H, W, C) of the stored type, and ``index`` (B,)."""
        indices = [number % len(self) for number in numbers]
        batch: dict[str, torch.Tensor] = {"index": torch.as_tensor(indices)}
        for name, clips in self.clips.items():
            shape = (len(indices), len(self.streams[name].rows), *clips[0].shape[1:])
            rows = torch.empty(shape, dtype=getattr(torch, clips[0].dtype))
            view = rows.numpy()
            for row, index in enumerate(indices):
                number, start = self.starts[index]
                self._fill(view[row], self._array(clips[number]), start + self.streams[name].rows.start)
            batch[name] = rows
        return batch

    def _fill(self, window: np.ndarray, array: np.ndarray, start: int) -> None:
        """Write the rows from ``start`` on, the last one again where there are no more."""
        inside = array[start : start + len(window)]
        window[: len(inside)] = inside
        window[len(inside) :] = array[-1]

    def _array(self, clip: Clip) -> np.ndarray:
        if clip.fingerprint not in self._arrays:
            self._arrays[clip.fingerprint] = clip.array()
        return self._arrays[clip.fingerprint]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_arrays": {}}  # other processes open the clips themselves

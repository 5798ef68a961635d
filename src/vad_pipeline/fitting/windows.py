"""Windows of consecutive frames, read from the clip store as training and scoring need them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.fitting.loaders import EpochSampler, ReadAheadLoader, as_it_is


class WindowError(ValueError):
    """A clip that no window fits into."""


def leading(streams: Iterable[str]) -> str:
    """The stream whose clips say how many windows there are: the frames, or where a model reads none the first."""
    return "frames" if "frames" in streams else next(iter(streams))


class Windows(Dataset):
    """Every window of every clip, fetched a batch at a time.

    Frames stay uint8 until they are in torch's memory: a window is one copy out of the memory-mapped clip, casting and
    scaling happen once a batch (``scale_frames``), on the device. Memory is bounded by the batch.

    Args:
        streams: stream name -> clips; all streams hold the same clips. A stream one row shorter than the frames
            (optical flow) repeats its last row.
        length: frames in a window.
        stride: frames between the starts of two windows of a clip.

    Raises:
        WindowError: a clip is shorter than the window.
    """

    def __init__(self, streams: Mapping[str, Clips], length: int, stride: int = 1):
        self.streams = {name: list(clips.values()) for name, clips in streams.items()}
        self.length = length
        starts = []
        for number, clip in enumerate(self.streams[leading(streams)]):
            if len(clip) < length:
                raise WindowError(
                    f"clip {clip.clip}: {len(clip)} frames, a window needs {length}; remove the clip from the raw data"
                )
            first = np.arange(0, len(clip) - length + 1, stride)
            starts.append(np.stack([np.full_like(first, number), first], axis=1))
        self.starts = np.concatenate(starts) if starts else np.empty((0, 2), int)
        self._arrays: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: rows[0] for name, rows in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        """The windows as one batch: per stream (B, length, H, W, C) of the stored type, and ``index`` (B,)."""
        batch: dict[str, torch.Tensor] = {"index": torch.as_tensor(indices)}
        for name, clips in self.streams.items():
            shape = (len(indices), self.length, *clips[0].shape[1:])
            rows = torch.empty(shape, dtype=getattr(torch, clips[0].dtype))
            view = rows.numpy()
            for row, index in enumerate(indices):
                number, start = self.starts[index]
                self._fill(view[row], self._array(clips[number]), start)
            batch[name] = rows
        return batch

    def _fill(self, row: np.ndarray, array: np.ndarray, start: int) -> None:
        """Write the window that begins at ``start``."""
        inside = array[start : start + self.length]
        row[: len(inside)] = inside
        row[len(inside) :] = array[-1]

    def _array(self, clip: Clip) -> np.ndarray:
        if clip.fingerprint not in self._arrays:
            self._arrays[clip.fingerprint] = clip.array()
        return self._arrays[clip.fingerprint]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_arrays": {}}  # other processes open the clips themselves


def training_loader(
    windows: Windows, batch_size: int, seed: int, order: type[EpochSampler] = EpochSampler
) -> DataLoader:
    """Shuffled batches; the last, smaller one is dropped (spec 1.5), unless it is the only one."""
    return ReadAheadLoader(
        windows,
        batch_size=batch_size,
        sampler=order(len(windows), seed),
        drop_last=len(windows) >= batch_size,
        collate_fn=as_it_is,
    )


def ordered_loader(windows: Windows, batch_size: int) -> DataLoader:
    """Every window once, in order."""
    return ReadAheadLoader(windows, batch_size=batch_size, collate_fn=as_it_is)

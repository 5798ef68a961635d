"""Windows of consecutive frames, read from the clip store as training and scoring need them."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vad_pipeline.io.clips import Clip, Clips


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


class EpochSampler(Sampler[int]):
    """A permutation of the windows that depends on (seed, epoch) alone, so that a resumed run draws what an
    uninterrupted one does. Lightning calls ``set_epoch``."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        return iter(generator.permutation(self.size).tolist())

    def __len__(self) -> int:
        return self.size


class ReadAheadLoader(DataLoader):
    """A loader whose one worker is a thread that reads the next two batches while a step runs on the last.

    Reading a window is a copy, for which numpy gives up the interpreter lock. A worker process would have to hand every
    batch over through shared memory, which costs several times the copy.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = deque(reader.submit(next, batches, None) for _ in range(2))
            while (batch := ahead.popleft().result()) is not None:
                ahead.append(reader.submit(next, batches, None))
                yield batch


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


def as_it_is(batch: Any) -> Any:
    """The collation of data sets that make whole batches."""
    return batch


def scale_frames(frames: torch.Tensor) -> torch.Tensor:
    """Frames uint8 (..., H, W, C) in [0, 255] to float32 (..., C, H, W) in [-1, 1] (spec 1.1).

    The result keeps the stored memory order, which is channels-last to convolutions.

    >>> scale_frames(torch.tensor([[[[0], [255]]]], dtype=torch.uint8)).shape
    torch.Size([1, 1, 1, 2])
    """
    if frames.device.type == "cpu":
        scaled = torch.empty(frames.shape)
        # one pass over the pixels, where cast, scale and shift in torch would be two or three
        cv2.LUT(_rows(frames.contiguous().numpy()), _SCALED, dst=_rows(scaled.numpy()))
    else:
        scaled = frames.to(torch.float32) / 127.5 - 1
    return scaled.movedim(-1, -3)


_SCALED = (np.arange(256) / 127.5 - 1).astype(np.float32)


def _rows(pixels: np.ndarray) -> np.ndarray:
    """Pixels (..., H, W, C) as one picture (N, W * C) in the same memory, which OpenCV shares among its threads."""
    return pixels.reshape(-1, pixels.shape[-1] * pixels.shape[-2])

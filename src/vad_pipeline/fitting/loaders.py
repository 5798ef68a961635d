"""Orders and loaders that let an interrupted training go on as if nothing had happened."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler


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


def as_it_is(batch: Any) -> Any:
    """The collation of data sets that make whole batches."""
    return batch


class NewEverySampler(Sampler[int]):
    """The numbers epoch * size to (epoch + 1) * size - 1, so that no epoch repeats a pair and a resumed run draws what
    an uninterrupted one does. Lightning calls ``set_epoch``."""

    def __init__(self, size: int):
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.size, (self.epoch + 1) * self.size))

    def __len__(self) -> int:
        return self.size

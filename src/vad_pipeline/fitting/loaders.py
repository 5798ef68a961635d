"""Orders and loaders that let an interrupted training go on as if nothing had happened."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler


class EpochSampler(Sampler[int]):
    """Items of an epoch, numbered epoch * size + item, in an order that depends on (seed, epoch) alone.

    So a resumed run draws what an uninterrupted one does, and a data set can make something else of an item in every
    epoch. Lightning calls ``set_epoch``.

    Args:
        size: items in an epoch.
        seed: of the order; None keeps the items' own.
    """

    def __init__(self, size: int, seed: int | None = None):
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        items = np.arange(self.size)
        if self.seed is not None:
            items = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        return iter((self.epoch * self.size + items).tolist())

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


def training_loader(items: Dataset, batch_size: int, seed: int | None) -> DataLoader:
    """Batches of an epoch's items; the last, smaller one is dropped (spec 1.5), unless it is the only one.

    Args:
        items: a data set that makes whole batches (``__getitems__``) of items numbered as ``EpochSampler`` says.
        batch_size: items per step.
        seed: of the order; None keeps the items' own, for data sets that draw new ones in every epoch.
    """
    size = len(items)  # type: ignore[arg-type]
    return ReadAheadLoader(
        items,
        batch_size=batch_size,
        sampler=EpochSampler(size, seed),
        drop_last=size >= batch_size,
        collate_fn=as_it_is,
    )


def ordered_loader(items: Dataset, batch_size: int) -> DataLoader:
    """Every item once, in order."""
    return ReadAheadLoader(items, batch_size=batch_size, collate_fn=as_it_is)


def as_it_is(batch: Any) -> Any:
    """The collation of data sets that make whole batches."""
    return batch

"""Banks of examples of a set size, the same whatever the order in which they come.

Each example has a priority that follows from its frame's content and its place in it; those of lowest priority stay.
That is a uniform random sample, and those of two parts of the footage merge into that of the whole.
"""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def priorities(content: int, count: int) -> np.ndarray:
    """Random-looking int64 (count,) of the examples of a frame, given the frame's ``content_of``."""
    state = (np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(content) << np.uint64(32))) * np.uint64(
        0x9E3779B97F4A7C15
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def content_of(frame: np.ndarray) -> int:
    """A number in [0, 2^32) that follows from the pixels of a frame."""
    return zlib.crc32(frame.tobytes())


def kept(bank: Mapping[str, Tensor], examples: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """The bank with further examples: the ``size`` of lowest priority of both, in order of priority.

    Args:
        bank: name -> (n, ...), among them ``ranks``, int64 priorities.
        examples: the same of m further ones.
        size: examples at most.
    """
    if len(bank["ranks"]) == size:
        few = examples["ranks"] < bank["ranks"][-1]
        examples = {name: values[few] for name, values in examples.items()}
    if not len(examples["ranks"]):
        return dict(bank)
    order = torch.cat([bank["ranks"], examples["ranks"]]).argsort(stable=True)[:size]
    return {name: torch.cat([values, examples[name]])[order] for name, values in bank.items()}

"""Training items that are small enough to be kept in memory, all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset


class ResidentItems(Dataset):
    """Items in one tensor, in whole batches; an item is the same in every epoch.

    Args:
        items: (n, ...), kept as they are stored.
        name: of the stream that they belong to.
    """

    def __init__(self, items: Tensor, name: str = "frames"):
        self.items, self.name = items, name

    def __len__(self) -> int:
        return len(self.items)

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The items as one batch: (B, ...) of the stored type, and ``index`` (B,). A run of items is a view."""
        index = torch.as_tensor([number % len(self) for number in numbers])
        first, last = int(index[0]), int(index[-1])
        in_a_row = last - first + 1 == len(index) and bool((index.diff() == 1).all())
        return {self.name: self.items[first : last + 1] if in_a_row else self.items[index], "index": index}

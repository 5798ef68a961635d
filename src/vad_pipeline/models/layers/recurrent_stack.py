"""What stacks of recurrent convolutional cells have in common (``st_lstm.py``, ``conv_lstm.py``)."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


class RecurrentStack(nn.Module):
    """Cells stacked in depth and unrolled in time, each with a memory of its own.

    Convolutions of a state that is still zero are skipped: they would add nothing.

    Args:
        cells: in the order of depth; each convolves its input by ``conv_x``.
    """

    def __init__(self, cells: Iterable[nn.Module]):
        super().__init__()
        self.cells = nn.ModuleList(cells)

    @property
    def stack(self) -> list[Any]:
        """The cells, of whatever kind they are."""
        return list(self.cells)

    def input_gates(self, x: Tensor) -> Tensor:
        """The first cell's convolution of the inputs, (N, channels, h, w) -> (N, gates * channels, h, w).

        It depends on one frame alone: scoring computes it once per frame, not once per window.
        """
        return self.stack[0].conv_x(x)

"""Spatiotemporal LSTM cells (Wang et al., PredRNN, NeurIPS 2017), as LGN-Net stacks them."""

import torch
from torch import Tensor, nn

from vad_pipeline.models.layers.recurrent_stack import RecurrentStack


class SpatioTemporalLSTM(RecurrentStack):
    """Cells stacked in depth and unrolled in time; a second memory runs zigzag through the stack (LGN-Net Eq. 1).

    No bias and no normalisation; both forget gates get +1, which Eq. 1 leaves out and PredRNN's code has (spec 4.2).

    Args:
        channels: of the inputs and of every state.
        layers: cells in the stack.
    """

    def __init__(self, channels: int, layers: int = 4):
        super().__init__(SpatioTemporalLSTMCell(channels) for _ in range(layers))

    def forward(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Unroll over time.

        Args:
            gates: ``input_gates`` of the frames, (T, B, 7 * channels, h, w); time comes first so that each step's lie
                together in memory.

        Returns:
            The last cell's hidden state and spatiotemporal memory after the last frame, each (B, channels, h, w).
        """
        stack = self.stack
        hidden: list[Tensor | None] = [None] * len(stack)
        cell: list[Tensor | None] = [None] * len(stack)
        memory: Tensor | None = None
        for x_gates in gates:
            for layer, step in enumerate(stack):
                if layer > 0:
                    x_gates = step.conv_x(hidden[layer - 1])
                hidden[layer], cell[layer], memory = step(x_gates, hidden[layer], cell[layer], memory)
        assert hidden[-1] is not None
        assert memory is not None
        return hidden[-1], memory


class SpatioTemporalLSTMCell(nn.Module):
    """One cell; states are (B, channels, h, w), None standing for zero."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.conv_x = nn.Conv2d(channels, 7 * channels, 3, padding=1, bias=False)
        self.conv_h = nn.Conv2d(channels, 4 * channels, 3, padding=1, bias=False)
        self.conv_m = nn.Conv2d(channels, 3 * channels, 3, padding=1, bias=False)
        self.conv_o = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.conv_last = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(
        self, x_gates: Tensor, hidden: Tensor | None, cell: Tensor | None, memory: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of Eq. 1: the new hidden state, cell and spatiotemporal memory."""
        n = self.channels
        i, f, g, o, i_m, f_m, g_m = x_gates.split(n, dim=1)
        if hidden is not None:
            i_h, f_h, g_h, o_h = self.conv_h(hidden).split(n, dim=1)
            i, f, g, o = i + i_h, f + f_h, g + g_h, o + o_h
        if memory is not None:
            i_s, f_s, g_s = self.conv_m(memory).split(n, dim=1)
            i_m, f_m, g_m = i_m + i_s, f_m + f_s, g_m + g_s
        new_cell = i.sigmoid() * g.tanh()
        if cell is not None:
            new_cell = new_cell + (f + 1).sigmoid() * cell
        new_memory = i_m.sigmoid() * g_m.tanh()
        if memory is not None:
            new_memory = new_memory + (f_m + 1).sigmoid() * memory
        both = torch.cat([new_cell, new_memory], dim=1)
        new_hidden = (o + self.conv_o(both)).sigmoid() * self.conv_last(both).tanh()
        return new_hidden, new_cell, new_memory

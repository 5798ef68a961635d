"""Convolutional LSTM cells (Shi et al., NeurIPS 2015), as LGN-Net's variants stack them."""

from torch import Tensor, nn

from vad_pipeline.models.layers.recurrent_stack import RecurrentStack


class ConvLSTM(RecurrentStack):
    """Cells stacked in depth and unrolled in time, each with a memory of its own; used like ``SpatioTemporalLSTM``.

    LGN-Net's text says no more than that its variants have these cells. As in the ST-LSTM that they stand in for there
    is no bias and the forget gate gets +1; without the original's products of gates and cell states, whose weights
    belong to one size of the frames.

    Args:
        channels: of the inputs and of every state.
        layers: cells in the stack.
    """

    def __init__(self, channels: int, layers: int = 4):
        super().__init__(ConvLSTMCell(channels) for _ in range(layers))

    def forward(self, gates: Tensor) -> tuple[Tensor, Tensor]:
        """Unroll over time.

        Args:
            gates: ``input_gates`` of the frames, (T, B, 4 * channels, h, w).

        Returns:
            The last cell's hidden state and cell state after the last frame, each (B, channels, h, w).
        """
        stack = self.stack
        hidden: list[Tensor | None] = [None] * len(stack)
        cell: list[Tensor | None] = [None] * len(stack)
        for x_gates in gates:
            for layer, step in enumerate(stack):
                if layer > 0:
                    x_gates = step.conv_x(hidden[layer - 1])
                hidden[layer], cell[layer] = step(x_gates, hidden[layer], cell[layer])
        assert hidden[-1] is not None
        assert cell[-1] is not None
        return hidden[-1], cell[-1]


class ConvLSTMCell(nn.Module):
    """One cell; its states are (B, channels, h, w), None standing for zero."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_x = nn.Conv2d(channels, 4 * channels, 3, padding=1, bias=False)
        self.conv_h = nn.Conv2d(channels, 4 * channels, 3, padding=1, bias=False)

    def forward(self, x_gates: Tensor, hidden: Tensor | None, cell: Tensor | None) -> tuple[Tensor, Tensor]:
        """One step: the new hidden and cell state; gates (B, 4 * channels, h, w) are input, forget, new and output."""
        gates = x_gates if hidden is None else x_gates + self.conv_h(hidden)
        i, f, g, o = gates.chunk(4, dim=1)
        new_cell = i.sigmoid() * g.tanh()
        if cell is not None:
            new_cell = new_cell + (f + 1).sigmoid() * cell
        return o.sigmoid() * new_cell.tanh(), new_cell

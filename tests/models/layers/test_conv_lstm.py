import torch

from vad_pipeline.models.layers.conv_lstm import ConvLSTM, ConvLSTMCell


def hand_step(cell, x, h, c):
    """The equations of Shi et al. written out, without bias and peepholes, the forget gate shifted by one."""
    w_x, w_h = (conv.weight.chunk(4) for conv in (cell.conv_x, cell.conv_h))

    def both(gate):
        return torch.conv2d(x, w_x[gate], padding=1) + torch.conv2d(h, w_h[gate], padding=1)

    i, f, o = torch.sigmoid(both(0)), torch.sigmoid(both(1) + 1.0), torch.sigmoid(both(3))
    new_c = f * c + i * torch.tanh(both(2))
    return o * torch.tanh(new_c), new_c


def test_a_step_equals_the_equations():
    torch.manual_seed(0)
    cell = ConvLSTMCell(4)
    x, h, c = (torch.randn(2, 4, 5, 6) for _ in range(3))
    for ours, theirs in zip(cell(cell.conv_x(x), h, c), hand_step(cell, x, h, c), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_skipping_zero_states_changes_nothing():
    torch.manual_seed(0)
    cell = ConvLSTMCell(4)
    x, zero = torch.randn(2, 4, 5, 6), torch.zeros(2, 4, 5, 6)
    for ours, theirs in zip(cell(cell.conv_x(x), None, None), hand_step(cell, x, zero, zero), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_each_layer_keeps_its_own_cell_state_and_hands_its_hidden_state_up():
    torch.manual_seed(0)
    lstm = ConvLSTM(3, layers=2)
    frames = torch.randn(1, 3, 3, 4, 4)
    zero = torch.zeros(1, 3, 4, 4)
    h, c = [zero, zero], [zero, zero]
    for t in range(3):
        h[0], c[0] = hand_step(lstm.cells[0], frames[:, t], h[0], c[0])
        h[1], c[1] = hand_step(lstm.cells[1], h[0], h[1], c[1])
    hidden, cell = lstm(lstm.input_gates(frames.flatten(0, 1)).unflatten(0, (3, 1)))
    torch.testing.assert_close(hidden, h[1])
    torch.testing.assert_close(cell, c[1])

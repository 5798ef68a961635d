import torch

from vad_pipeline.models.layers.st_lstm import SpatioTemporalLSTM, SpatioTemporalLSTMCell


def hand_step(cell, x, h, c, m):
    """Eq. 1 written out, all states given."""
    n = cell.channels
    xs = cell.conv_x(x).split(n, 1)
    hs = cell.conv_h(h).split(n, 1)
    ms = cell.conv_m(m).split(n, 1)
    i, f, g = (torch.sigmoid(xs[0] + hs[0]), torch.sigmoid(xs[1] + hs[1] + 1.0), torch.tanh(xs[2] + hs[2]))
    new_c = f * c + i * g
    i_m, f_m, g_m = torch.sigmoid(xs[4] + ms[0]), torch.sigmoid(xs[5] + ms[1] + 1.0), torch.tanh(xs[6] + ms[2])
    new_m = f_m * m + i_m * g_m
    both = torch.cat([new_c, new_m], 1)
    o = torch.sigmoid(xs[3] + hs[3] + cell.conv_o(both))
    return o * torch.tanh(cell.conv_last(both)), new_c, new_m


def test_a_step_equals_the_equations():
    torch.manual_seed(0)
    cell = SpatioTemporalLSTMCell(4)
    x, h, c, m = (torch.randn(2, 4, 5, 6) for _ in range(4))
    for ours, theirs in zip(cell(cell.conv_x(x), h, c, m), hand_step(cell, x, h, c, m), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_skipping_zero_states_changes_nothing():
    torch.manual_seed(0)
    cell = SpatioTemporalLSTMCell(4)
    x, zero = torch.randn(2, 4, 5, 6), torch.zeros(2, 4, 5, 6)
    for ours, theirs in zip(cell(cell.conv_x(x), None, None, None), hand_step(cell, x, zero, zero, zero), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_memory_runs_zigzag_through_the_stack():
    torch.manual_seed(0)
    lstm = SpatioTemporalLSTM(3, layers=2)
    frames = torch.randn(1, 2, 3, 4, 4)
    zero = torch.zeros(1, 3, 4, 4)
    h, c, m = [zero, zero], [zero, zero], zero
    for t in range(2):
        h[0], c[0], m = hand_step(lstm.cells[0], frames[:, t], h[0], c[0], m)
        h[1], c[1], m = hand_step(lstm.cells[1], h[0], h[1], c[1], m)
    hidden, memory = lstm(lstm.input_gates(frames.flatten(0, 1)).unflatten(0, (2, 1)))
    torch.testing.assert_close(hidden, h[1])
    torch.testing.assert_close(memory, m)

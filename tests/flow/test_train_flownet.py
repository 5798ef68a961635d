from dataclasses import replace

import numpy as np
import pytest
import torch

from vad_pipeline.fitting.checkpoint import write_checkpoint
from vad_pipeline.flow.flownet import Config, FlowNet, FlowNetError
from vad_pipeline.flow.flownet_checkpoint import flownet_checkpoint
from vad_pipeline.flow.rendered_pairs import HELD_OUT, RenderedPairs, render_pair
from vad_pipeline.flow.train_flownet import FlowNetFit, train_flownet

TINY = Config(width=0.0625)
RENDERED = RenderedPairs(height=64, width=64)
SHORT = FlowNetFit(epochs=1, pairs=4, held_out=4, batch_size=4, workers=0, accelerator="cpu", learning_rate=1e-9)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(7)
    path = tmp_path / "start.safetensors"
    write_checkpoint(flownet_checkpoint(FlowNet(TINY), {}), path)
    return path


def test_a_training_goes_on_from_given_weights(weights, tmp_path):
    torch.manual_seed(7)
    start = FlowNet(TINY)
    going_on = train_flownet(TINY, RENDERED, replace(SHORT, start_from=str(weights)), 0, tmp_path)
    anew = train_flownet(TINY, RENDERED, SHORT, 0, tmp_path)
    for name, value in start.state_dict().items():
        # at this learning rate nothing moves beyond what half precision tells apart
        assert torch.allclose(going_on.checkpoint.state[name].float(), value, atol=2e-3)
    different = [
        not torch.allclose(anew.checkpoint.state[n].float(), v, atol=2e-3) for n, v in start.named_parameters()
    ]
    assert sum(different) > len(different) / 2


def test_other_start_weights_are_another_training(weights, tmp_path):
    first = train_flownet(TINY, RENDERED, replace(SHORT, start_from=str(weights)), 0, tmp_path)
    assert train_flownet(TINY, RENDERED, replace(SHORT, start_from=str(weights)), 0, tmp_path).reused
    write_checkpoint(flownet_checkpoint(FlowNet(TINY), {}), weights)
    again = train_flownet(TINY, RENDERED, replace(SHORT, start_from=str(weights)), 0, tmp_path)
    assert not again.reused
    assert not all(torch.equal(v, again.checkpoint.state[k]) for k, v in first.checkpoint.state.items())


def test_weights_of_another_width_are_refused(weights, tmp_path):
    with pytest.raises(FlowNetError, match=r"training.start_from: .*'width': 0.0625.*'width': 0.125"):
        train_flownet(Config(width=0.125), RENDERED, replace(SHORT, start_from=str(weights)), 0, tmp_path)


def moving_share(config, number):
    return (render_pair(config, 0, number).flow != 0).any(axis=-1).mean()


def test_in_the_first_pairs_the_whole_picture_moves_and_held_out_ones_are_as_they_were():
    warm = replace(RENDERED, warm_up=10)
    assert min(moving_share(warm, n) for n in range(10)) > 0.99
    for number in (10, 11, HELD_OUT):
        assert (render_pair(warm, 0, number).flow == render_pair(RENDERED, 0, number).flow).all()
    assert min(moving_share(warm, HELD_OUT + n) for n in range(10)) < 0.7


def test_of_the_later_easy_pairs_one_in_six_moves_as_a_whole_and_things_in_the_others():
    easy = replace(RENDERED, easy=1.0)
    shares = [moving_share(easy, n) for n in range(30)]
    things = [share for n, share in enumerate(shares) if n % 6]
    assert min(shares[::6]) > 0.99
    assert 0.02 < np.mean(things) < 0.9
    assert max(things) < 0.99
    for number in (HELD_OUT, HELD_OUT + 1):
        assert (render_pair(easy, 0, number).flow == render_pair(RENDERED, 0, number).flow).all()


def test_a_share_of_the_later_pairs_is_easy():
    whole = [6 * n for n in range(20)]  # numbers of pairs that move as a whole if they are easy
    shares = [
        np.mean([moving_share(replace(RENDERED, easy=easy), n) > 0.99 for n in whole]) for easy in (0.0, 0.5, 1.0)
    ]
    assert shares[0] < shares[1] < shares[2] == 1

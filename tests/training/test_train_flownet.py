from dataclasses import replace

import numpy as np
import pytest
import torch

from vad_pipeline.flow.rendered_pairs import RenderedPairs
from vad_pipeline.models.flownet import Config, FlowNet, FlowNetError
from vad_pipeline.models.flownet_checkpoint import flownet_checkpoint
from vad_pipeline.training.checkpoint import write_checkpoint
from vad_pipeline.training.train_flownet import FlowNetFit, train_flownet

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


def test_the_first_pairs_are_easy_and_the_held_out_ones_are_not():
    from vad_pipeline.flow.rendered_pairs import HELD_OUT, render_pair

    warm = replace(RENDERED, warm_up=10)
    moving = [(render_pair(warm, 0, n).flow != 0).any(axis=-1).mean() for n in range(10)]
    things = [moving[n] for n in range(10) if n % 6]
    assert min(moving[::6]) > 0.99  # the whole picture
    assert 0.02 < np.mean(things) < 0.9  # things before a background that stands
    assert max(things) < 0.99
    for number in (10, 11, HELD_OUT):
        assert (render_pair(warm, 0, number).flow == render_pair(RENDERED, 0, number).flow).all()
    still = [(render_pair(warm, 0, HELD_OUT + n).flow == 0).all(axis=-1).mean() for n in range(10)]
    assert max(still) > 0.3


def test_a_share_of_the_later_pairs_is_easy_but_none_of_the_held_out():
    from vad_pipeline.flow.rendered_pairs import HELD_OUT, render_pair

    half, all_easy = replace(RENDERED, easy=0.5), replace(RENDERED, easy=1.0)

    def whole(config, first):
        """Pairs of the numbers that are whole pictures if easy, that move everywhere."""
        return np.mean(
            [(render_pair(config, 0, first + 6 * n).flow != 0).any(axis=-1).mean() > 0.99 for n in range(20)]
        )

    assert whole(all_easy, 0) == 1
    assert whole(RENDERED, 0) < whole(half, 0) < 1
    assert whole(all_easy, HELD_OUT + (-HELD_OUT) % 6) < 1

from functools import partial

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.fitting.toys import KillAt, ToyGAN, fit_module
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.fitting.fit import RESUME

LOSSES = ("generator_loss", "discriminator_loss")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A GAN fitted without an interruption, and what is kept of it."""
    folder = tmp_path_factory.mktemp("whole")
    return fit_module(ToyGAN, folder)[1], torch.load(folder / RESUME, weights_only=True)


def same(one, other):
    """Whether two nested states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def values(history, name):
    return history.loc[history["name"] == name].set_index("epoch")["value"]


def test_both_networks_of_a_gan_learn(whole):
    result, _ = whole
    torch.manual_seed(0)
    before = dict(ToyGAN().named_parameters())
    assert {name.split(".")[0] for name in before} == {"generator", "discriminator"}
    for name, weight in before.items():
        assert not torch.equal(weight, result.state[name]), name
    for name in LOSSES:
        assert values(result.history, name).index.tolist() == [0, 1, 2, 3]
        assert np.isfinite(values(result.history, name)).all()


def test_the_history_tells_the_rates_of_several_optimisers_apart(whole):
    history = whole[0].history
    assert set(history["name"]) == {*LOSSES, "learning_rate_generator", "learning_rate_discriminator"}
    for name, rate in (("generator", 1e-2), ("discriminator", 4e-2)):
        assert values(history, f"learning_rate_{name}").tolist() == [rate, rate / 2, rate / 4, rate / 8]


def test_a_gan_killed_within_an_epoch_is_resumed_to_the_same_weights_and_optimisers(tmp_path, whole, killed):
    expected, kept = whole
    killed(fit_module, ToyGAN, tmp_path, [KillAt(2, 3)])
    started = []

    class Watch(Callback):
        def on_train_epoch_start(self, trainer, module):
            started.append(trainer.current_epoch)

    _, resumed = fit_module(ToyGAN, tmp_path, [Watch()])
    assert started == [2, 3], "finished epochs must not be trained again"
    assert same(expected.state, resumed.state)
    assert expected.history.equals(resumed.history)
    again = torch.load(tmp_path / RESUME, weights_only=True)
    assert len(kept["optimizer_states"]) == len(kept["lr_schedulers"]) == 2
    assert same(kept["optimizer_states"], again["optimizer_states"])
    assert same(kept["lr_schedulers"], again["lr_schedulers"])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_nan_in_any_logged_loss_is_named_and_the_epoch_before_it_kept(tmp_path, whole, loss):
    found = rf"toy: {loss} is nan at epoch 2, step 3; the state after epoch 1 is kept in .*{RESUME}"
    with pytest.raises(TrainingError, match=found):  # the fourth batch: the optimisers' steps would be twice as many
        fit_module(partial(ToyGAN, (loss, 2, 3)), tmp_path)
    assert torch.load(tmp_path / RESUME, weights_only=True)["epoch"] == 1
    _, repaired = fit_module(ToyGAN, tmp_path)
    assert same(whole[0].state, repaired.state)


def test_a_nan_in_the_first_epoch_leaves_nothing_to_go_on_from(tmp_path):
    with pytest.raises(TrainingError, match="generator_loss is nan at epoch 0, step 0; there is no finished epoch"):
        fit_module(partial(ToyGAN, ("generator_loss", 0, 0)), tmp_path)
    assert not (tmp_path / RESUME).exists()


class Skipping(lightning.LightningModule):
    """Automatic optimisation that passes over every batch but the first of an epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def training_step(self, batch, index):
        return ((batch - self.weight) ** 2).mean() if index == 0 else None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore:.*returned `None`")
def test_a_step_that_returns_nothing_is_passed_over(tmp_path):
    first = []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if index == 0:
                first.append(batch)

    _, result = fit_module(Skipping, tmp_path, [Watch()])
    expected = torch.ones(3)
    for batch in first:
        expected = expected + 0.1 * 2 * (batch - expected).mean(0) / 3
    assert len(first) == 4
    torch.testing.assert_close(result.state["weight"], expected)


def test_a_module_is_left_as_it_was_whether_its_fit_ends_or_stops(tmp_path):
    module, _ = fit_module(ToyGAN, tmp_path / "ends")
    assert "log" not in vars(module)
    stopped = []
    with pytest.raises(TrainingError):
        fit_module(lambda: stopped.append(ToyGAN(("generator_loss", 0, 0))) or stopped[0], tmp_path / "stops")
    assert "log" not in vars(stopped[0])

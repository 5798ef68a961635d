import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tests.training.conftest import SIZE, moving_square
from vad_pipeline.flow.flownet import Config as FlowNetConfig
from vad_pipeline.flow.flownet import FlowNet, stack_pairs
from vad_pipeline.models import frame_pred
from vad_pipeline.models.frame_pred import Config, FramePred, PatchDiscriminator, UNet
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.training.train import Training, train

TINY = Config(**FramePred.tiny)
THREE_EPOCHS = Training(epochs=3, batch_size=4, learning_rate=1e-3, window_stride=2, held_out=0.0, accelerator="cpu")


def image(*rows):
    return torch.tensor(rows)[None, None]


class PowerCut(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (self.epoch, 1):
            raise RuntimeError("power cut")


class Before(Callback):
    """The weights before the first step."""

    def on_train_start(self, trainer, module):
        self.state = {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def scenes(store_clips):
    return {"frames": store_clips({f"train/{i:02d}": moving_square(14, 3 * i) for i in range(4)})}


def run(folder, scenes, config=TINY, training=THREE_EPOCHS, callbacks=()):
    return train("frame_pred", config, SIZE, training, 0, scenes, folder, callbacks)


@pytest.mark.parametrize("colours", [1, 3])
def test_the_u_net_gives_a_frame_of_its_input_s_size_within_the_range_of_frames(colours):
    network = UNet(0.125, colours)
    predicted = network(torch.randn(2, 4 * colours, 24, 40) * 50)
    assert predicted.shape == (2, colours, 24, 40)
    assert float(predicted.detach().abs().max()) <= 1


def test_every_level_of_the_u_net_is_halved_and_joined_with_its_skip():
    network, seen = UNet(1.0, 3).to("meta"), {}
    for name in ("down", "joined"):
        for number, layer in enumerate(getattr(network, name)):
            layer.register_forward_hook(lambda _, i, o, at=(name, number): seen.update({at: (i[0].shape, o.shape)}))
    network(torch.empty(1, 12, 256, 256, device="meta"))
    shapes = [seen["down", level][1] for level in range(4)]
    assert [tuple(shape) for shape in shapes] == [(1, 64 * 2**i, 256 // 2**i, 256 // 2**i) for i in range(4)]
    assert [tuple(seen["joined", i][0]) for i in range(3)] == [(1, 512, 64, 64), (1, 256, 128, 128), (1, 128, 256, 256)]


def test_what_lies_deep_in_the_u_net_reaches_its_output():
    network, inputs = UNet(0.125, 1), torch.randn(1, 4, 16, 16)
    before = network(inputs)
    for parameter in network.down[3].parameters():
        parameter.data.mul_(2)
    assert not torch.allclose(before, network(inputs))


def test_the_discriminator_judges_patches_and_not_the_whole_frame():
    torch.manual_seed(0)
    network, frame = PatchDiscriminator(0.0625, 1), torch.randn(1, 1, 64, 96)
    other = frame.clone()
    other[..., -4:, -4:] += 5
    before, after = network(frame), network(other)
    assert before.shape[:2] == (1, 1)
    assert min(before.shape[2:]) > 4
    assert torch.equal(before[..., 0, 0], after[..., 0, 0]), "a far corner is another patch"
    assert not torch.equal(before[..., -1, -1], after[..., -1, -1])


def test_the_intensity_loss_is_the_mean_square_of_differences():
    assert float(frame_pred.intensity_loss(image([0.0, 1.0]), image([0.5, -1.0]))) == (0.25 + 4) / 2


def test_the_gradient_loss_compares_absolute_differences_of_neighbours_in_both_directions():
    predicted, target = image([0.0, 1.0], [0.0, 0.5]), image([0.5, 0.0], [0.0, 0.0])
    down = (abs(0 - 0.5) + abs(0.5 - 0)) / 2  # |0-0| against |0-.5|, |.5-1| against |0-0|
    across = (abs(1 - 0.5) + abs(0.5 - 0)) / 2  # |1-0| against |0-.5|, |.5-0| against |0-0|
    assert float(frame_pred.gradient_loss(predicted, target)) == pytest.approx(down + across)
    assert float(frame_pred.gradient_loss(-target + 0.3, target)) == pytest.approx(0, abs=1e-6), "absolute ones"


def test_lsgan_s_losses_are_squared_distances_of_sigmoids_to_their_labels():
    quarter, three_quarters = torch.logit(torch.tensor([0.25])), torch.logit(torch.tensor([0.75]))
    assert float(frame_pred.adversarial_loss(quarter)) == pytest.approx(0.75**2 / 2)
    judged = frame_pred.discriminator_loss(three_quarters, quarter)
    assert float(judged) == pytest.approx(0.25**2 / 2 + 0.25**2 / 2)
    assert float(judged) < float(frame_pred.discriminator_loss(quarter, three_quarters))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_finite_losses_and_gradients(dtype):
    logits = torch.tensor([-1e30, -500.0, 0.0, 500.0, 1e30], dtype=dtype, requires_grad=True)
    loss = frame_pred.adversarial_loss(logits) + frame_pred.discriminator_loss(logits, logits)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def flownet():
    torch.manual_seed(0)
    return FlowNet(FlowNetConfig(width=0.0625)).eval().requires_grad_(False)


def test_the_flow_loss_is_the_mean_distance_of_two_flows_in_pixels():
    network, frames = flownet(), torch.rand(3, 2, 1, 64, 64) * 2 - 1
    last, predicted, target = frames
    one, other = (
        torch.nn.functional.interpolate(
            network(frame_pred.as_pairs(last, to)), scale_factor=4.0, mode="bilinear", align_corners=False
        )
        for to in (predicted, target)
    )
    expected = 20 * (one - other).abs().mean()
    assert float(expected) > 0
    assert float(frame_pred.flow_loss(network, last, predicted, target)) == pytest.approx(float(expected), rel=1e-5)
    assert float(frame_pred.flow_loss(network, last, target, target)) == 0


def test_the_flow_loss_moves_the_prediction_and_not_flownet():
    network, (last, predicted, target) = flownet(), torch.rand(3, 1, 3, 64, 64)
    predicted.requires_grad_(True)
    frame_pred.flow_loss(network, last, predicted, target).backward()
    assert float(predicted.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("colours", [1, 3])
def test_flownet_sees_predicted_frames_as_it_sees_stored_ones(colours):
    stored = torch.randint(0, 256, (2, 2, 8, 12, colours), dtype=torch.uint8)
    scaled = scale_frames(stored)
    torch.testing.assert_close(
        frame_pred.as_pairs(*(s.expand(-1, 3, -1, -1) for s in scaled)), stack_pairs(*stored), atol=1e-6, rtol=0
    )


def test_one_step_changes_both_networks_each_at_its_own_rate(tmp_path, scenes):
    before = Before()
    one_step = Training(epochs=1, batch_size=20, learning_rate=1e-3, window_stride=2, held_out=0.0, accelerator="cpu")
    state = run(tmp_path, scenes, training=one_step, callbacks=[before]).checkpoint.state
    assert {name.split(".")[0] for name in state} == {"generator", "discriminator"}, "FlowNet is not saved"
    weights = [name for name in state if name.endswith("weight")]
    unchanged = [name for name in weights if torch.equal(state[name], before.state[name])]
    assert len(weights) == 8 + 3 + 6 + 1 + 5
    assert not unchanged
    # Adam's first step is the learning rate in every weight, the discriminator's a tenth of the generator's
    for network, rate in (("generator", 1e-3), ("discriminator", 1e-4)):
        steps = [(state[n] - before.state[n]).abs().max() for n in weights if n.startswith(network)]
        assert float(max(steps)) == pytest.approx(rate, rel=1e-2)


def test_weights_of_zero_leave_their_losses_out(tmp_path, scenes):
    without = Config(width=0.0625, flow=0.0)
    history = run(tmp_path, scenes, without).history
    assert "train_flow" not in set(history["name"])
    assert FramePred.pretrained(without) == ()
    assert FramePred.pretrained(TINY) == (TINY.weights,)
    assert TINY.weights.is_file()


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_training_goes_on_to_the_same_weights_of_both_networks(tmp_path, scenes, epoch):
    whole = run(tmp_path / "whole", scenes)
    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "cut", scenes, callbacks=[PowerCut(epoch)])
    resumed = run(tmp_path / "cut", scenes)
    assert whole.checkpoint.state.keys() == resumed.checkpoint.state.keys()
    assert all(torch.equal(value, resumed.checkpoint.state[name]) for name, value in whole.checkpoint.state.items())
    left, right = (r.history.set_index(["epoch", "name"])["value"] for r in (whole, resumed))
    assert left.equals(right)
    rates = left.xs("learning_rate_generator", level="name"), left.xs("learning_rate_discriminator", level="name")
    np.testing.assert_allclose(rates[0], [1e-3, 1e-3, 1e-4])
    np.testing.assert_allclose(rates[1], rates[0] / 10)


def test_training_makes_the_prediction_better(tmp_path, scenes):
    longer = Training(epochs=12, batch_size=4, learning_rate=2e-3, window_stride=1, held_out=0.0, accelerator="cpu")
    history = run(tmp_path, scenes, Config(width=0.125), longer).history
    intensity = history[history["name"] == "train_intensity"]["value"].to_numpy()
    assert intensity[-1] < intensity[0] / 2


def test_scores_are_those_of_the_network_window_by_window():
    torch.manual_seed(0)
    model = FramePred(Config(width=0.125), colours=1).eval()
    frames = np.random.default_rng(0).integers(0, 256, (11, 16, 24, 1), np.uint8)
    batches = list(model.scorer(ScoringOptions(batch=3)).clip({"frames": frames}))
    psnr, maps = (np.concatenate(parts) for parts in zip(*((b.terms["psnr"], b.maps) for b in batches), strict=True))
    scaled = scale_frames(torch.from_numpy(frames))
    with torch.no_grad():
        for start in range(7):
            error = ((model(scaled[None, start : start + 4])[0] - scaled[start + 4]) / 2).square()
            assert psnr[start] == pytest.approx(float(-10 * torch.log10(error.mean())), abs=1e-4)
            assert float(maps[start].mean()) == pytest.approx(float(error.mean()), abs=1e-3)

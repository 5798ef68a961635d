"""VALT-GAN against its tables and equations: two streams, mined latents, two networks that train in turns."""

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from tests.training.conftest import moving_square
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.experiments.experiments import EXPERIMENTS, with_overrides
from vad_pipeline.models import valt_gan
from vad_pipeline.models.build import build
from vad_pipeline.models.layers.backbones import build_backbone
from vad_pipeline.models.layers.patch_gan import score
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.valt_gan import VALTGAN, Config, Generator
from vad_pipeline.training.train import Training, train

TINY = Config(**VALTGAN.tiny)
SIZE = FrameSize(16, 24, "gray")
TRAINING = Training(epochs=3, batch_size=4, learning_rate=1e-3, window_stride=2, held_out=0.0, accelerator="cpu")
ONE_STEP = replace(TRAINING, epochs=1, batch_size=20)


@pytest.fixture
def scenes(store_clips):
    return {"frames": store_clips({f"train/{i:02d}": moving_square(14, 3 * i) for i in range(4)})}


def run(folder, scenes, config=TINY, training=TRAINING, callbacks=()):
    return train("valt_gan", config, SIZE, training, 0, scenes, folder, callbacks)


def curves(result):
    return result.history.pivot(index="epoch", columns="name", values="value")


class Before(Callback):
    """The weights before the first step."""

    def on_train_start(self, trainer, module):
        self.state = {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("backbone", "channels", "millions"),
    [("wider_resnet38", 4096, 149.6), ("resnet50", 2048, 51.3), ("se_resnext50", 2048, 53.3)],
)
def test_the_generator_has_the_shapes_of_table_i_and_the_size_that_goes_with_them(backbone, channels, millions):
    with torch.device("meta"):
        published = Generator(Config(backbone=backbone), 3)
    assert sum(p.numel() for p in published.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert published.encoder.channels == channels
    network, shapes = Generator(Config(backbone=backbone, width=1 / 16), 3).eval(), []
    for layer in (network.encoder, network.reduce, network.decoder.first, *network.decoder.others, network.decoder):
        layer.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
    with torch.no_grad():
        network(torch.zeros(1, 4, 3, 160, 160))
    assert shapes == [
        (4, channels // 16, 20, 20),
        (1, 2048 // 16, 20, 20),
        (1, 1024 // 16, 40, 40),
        (1, 512 // 16, 80, 80),
        (1, 256 // 16, 160, 160),
        (1, 3, 160, 160),
    ]


@pytest.mark.parametrize("tsm", ["post_reduce", "pre_reduce"])
@pytest.mark.parametrize("head", ["tanh", "bn_lrelu", "linear"])
def test_every_shift_and_head_draws_a_frame(tsm, head):
    torch.manual_seed(0)
    network = Generator(replace(TINY, tsm=tsm, head=head), 1)
    predicted = network(torch.rand(2, 4, 1, 16, 24) * 2 - 1).detach()
    assert predicted.shape == (2, 1, 16, 24)
    if head == "tanh":
        assert float(predicted.abs().max()) <= 1
    assert (head == "bn_lrelu") == any(isinstance(m, nn.BatchNorm2d) for m in network.decoder.head)


def test_the_latent_is_the_sum_of_a_spatial_stream_and_a_shifted_one():
    torch.manual_seed(0)
    network, features = Generator(replace(TINY, width=0.0625), 1), torch.randn(1, 4, 256, 2, 3)
    z, spatial = network.latent(features.unbind(1)), network.reduce(features.flatten(1, 2))
    parts, both = spatial.unflatten(1, (4, 32)), z.unflatten(1, (4, 32))
    torch.testing.assert_close(both[:, :, 2:], 2 * parts[:, :, 2:])
    torch.testing.assert_close(both[:, :3, :2], parts[:, :3, :2] + parts[:, 1:, :2])
    torch.testing.assert_close(both[:, 3, :2], parts[:, 3, :2])


def test_a_norm_behind_the_encoder_keeps_latents_in_scale_whatever_its_sum_grows_to():
    frames = torch.rand(6, 1, 16, 24) * 2 - 1
    grown = []
    for encoder_norm in (False, True):
        torch.manual_seed(0)
        generator = Generator(replace(TINY, width=1 / 16, encoder_norm=encoder_norm), 1)
        before = generator.features(frames).square().mean().sqrt()
        with torch.no_grad():
            for parameter in (generator.encoder.mod7.block1.convs.conv3, generator.encoder.mod7.block1.proj_conv):
                parameter.weight.mul_(100)
        grown.append(float(generator.features(frames).square().mean().sqrt() / before))
    assert grown[0] > 50
    assert grown[1] == pytest.approx(1, abs=0.2)


def test_before_the_reduction_a_frame_s_own_features_move_to_its_neighbours():
    torch.manual_seed(0)
    network = Generator(replace(TINY, width=0.0625, tsm="pre_reduce"), 1)
    nn.init.zeros_(network.reduce.weight)
    features = torch.zeros(1, 4, 256, 2, 3)
    features[:, 2] = torch.randn(256, 2, 3)
    moved = network.latent(features.unbind(1)).unflatten(1, (4, 32)).abs().amax((0, 3, 4)).gt(0).sum(1)
    assert moved.tolist() == [0, 4, 24, 4], "an eighth either way"


def test_pixel_losses_are_the_equations_means():
    predicted, target = torch.tensor([1.0, 0.0, 0.5, 0.5]), torch.tensor([0.0, 0.0, 0.5, -0.5])
    losses = valt_gan.pixel_losses(predicted, target)
    assert float(losses["l1"]) == pytest.approx(0.5)
    assert float(losses["l2"]) == pytest.approx(0.5)
    assert float(valt_gan.pixel_losses(predicted / 2, target / 2, "rmse")["l2"]) == pytest.approx(0.125**0.5)


def test_adversarial_losses_are_logarithms_of_the_verdicts():
    quarter, half = torch.logit(torch.tensor([0.25])), torch.zeros(1)
    assert float(valt_gan.adversarial_loss(quarter)) == pytest.approx(-np.log(0.25))
    assert float(valt_gan.discriminator_loss(half, quarter)) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_finite_losses_and_gradients(dtype):
    logits = torch.tensor([-1e30, -500.0, 0.0, 500.0, 1e30], dtype=dtype, requires_grad=True)
    loss = valt_gan.adversarial_loss(logits) + valt_gan.discriminator_loss(logits, logits)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("g_uses_mined", [True, False])
@pytest.mark.parametrize("backbone", ["wider_resnet38", "resnet50", "se_resnext50"])
def test_one_step_changes_every_weight_of_both_networks(tmp_path, scenes, g_uses_mined, backbone):
    before, config = Before(), replace(TINY, g_uses_mined=g_uses_mined, backbone=backbone)
    state = run(tmp_path, scenes, config, ONE_STEP, [before]).checkpoint.state
    assert {name.split(".")[0] for name in state} == {"generator", "discriminator"}
    convolutions = [name for name, value in state.items() if value.ndim == 4 and value.abs().max() > 0]
    assert sum(name.startswith("discriminator") for name in convolutions) == 5
    changed = [name for name in convolutions if not torch.equal(state[name], before.state[name])]
    assert changed == convolutions
    steps = [float((state[name] - before.state[name]).abs().max()) for name in convolutions]
    assert max(steps) == pytest.approx(1e-3, rel=1e-2), "Adam's first step is the learning rate"


def test_the_discriminator_learns_at_its_own_rate(tmp_path, scenes):
    before, config = Before(), replace(TINY, discriminator_rate=0.1)
    state = run(tmp_path, scenes, config, ONE_STEP, [before]).checkpoint.state
    for network, rate in (("generator", 1e-3), ("discriminator", 1e-4)):
        weights = [name for name in state if name.startswith(network) and state[name].ndim == 4]
        steps = [float((state[name] - before.state[name]).abs().max()) for name in weights]
        assert max(steps) == pytest.approx(rate, rel=1e-2)


def test_the_generator_s_step_leaves_no_gradient_in_the_discriminator(scenes):
    model, judged = VALTGAN(TINY, colours=1), {}
    optimizers = model.configure_optimizers()
    model.optimizers = lambda: optimizers
    model.manual_backward = lambda loss: loss.backward()
    model.log_dict = lambda values, **_: judged.update(values)
    optimizers[1].step = lambda: judged.update(grads=[p.grad.clone() for p in model.discriminator.parameters()])
    frames = torch.randint(0, 256, (4, 5, 16, 24, 1), dtype=torch.uint8)
    model.training_step({"frames": frames}, 0)
    pairs = zip(model.discriminator.parameters(), judged["grads"], strict=True)
    assert all(torch.equal(p.grad, own) for p, own in pairs)
    norm = torch.stack([grad.norm() for grad in judged["grads"]]).norm()
    assert float(judged["train_gradient_discriminator"]) == pytest.approx(float(norm), rel=1e-5)
    assert all(p.requires_grad for p in model.parameters())


def test_mining_raises_d_s_score_of_what_is_drawn_in_training(tmp_path, scenes):
    with_mining = curves(run(tmp_path, scenes, replace(TINY, epsilon=0.8, steps=4, threshold=1.0)))
    assert (with_mining["train_score_after_mining"] > with_mining["train_score_before_mining"]).all()
    assert (with_mining["train_mining_steps"] == 4).all()
    assert with_mining["train_score_before_mining"].between(0, 1).all()
    without = curves(run(tmp_path, scenes, replace(TINY, epsilon=0.0)))
    assert (without["train_score_after_mining"] == without["train_score_before_mining"]).all()
    assert (without["train_mining_steps"] == 0).all()


def test_what_says_whether_a_gan_collapses_is_noted_each_epoch(tmp_path, scenes):
    noted = curves(run(tmp_path, scenes))
    named = {"gradient_generator", "gradient_discriminator", "score_real", "score_generated", "adversarial", "l1", "l2"}
    assert {f"train_{name}" for name in named} <= set(noted)
    assert len(noted) == 3
    assert (noted[["train_gradient_generator", "train_gradient_discriminator"]] > 0).all(axis=None)
    assert (noted[["learning_rate_generator", "learning_rate_discriminator"]] == 1e-3).all(axis=None), "no schedule"


@pytest.mark.parametrize(("preset", "weight"), [("paper", 1.0), ("stable", 0.05)])
def test_the_presets_weigh_the_adversarial_loss(tmp_path, scenes, preset, weight):
    found = curves(run(tmp_path, scenes, replace(TINY, preset=preset), ONE_STEP)).iloc[0]
    expected = found["train_l1"] + found["train_l2"] + weight * found["train_adversarial"]
    assert found["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_box_of_no_size_trains_bit_for_bit_as_latents_that_need_no_mining(tmp_path, scenes):
    none, needless, mined = (
        run(tmp_path, scenes, replace(TINY, **changed), replace(TRAINING, epochs=1)).checkpoint.state
        for changed in ({"epsilon": 0.0}, {"epsilon": 0.8, "threshold": 0.0}, {"epsilon": 0.8, "threshold": 1.0})
    )
    assert all(torch.equal(value, needless[name]) for name, value in none.items())
    assert not all(torch.equal(value, mined[name]) for name, value in none.items())


@pytest.mark.parametrize("g_uses_mined", [True, False])
def test_ten_steps_of_mining_are_no_batches_to_batch_norm(tmp_path, scenes, g_uses_mined):
    config = replace(TINY, g_uses_mined=g_uses_mined, steps=10, threshold=1.0)
    state = run(tmp_path, scenes, config, ONE_STEP).checkpoint.state
    counted = {name: int(value) for name, value in state.items() if name.endswith("num_batches_tracked")}
    assert {n for name, n in counted.items() if name.startswith("generator")} == {1}
    assert {n for name, n in counted.items() if name.startswith("discriminator")} == {3}, "real, generated, for G"


class Kill(Callback):
    """Kills its own process in the middle of the second epoch: nothing is cleaned up."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_training_goes_on_to_the_same_two_networks(tmp_path, scenes):
    whole = run(tmp_path / "whole", scenes)
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(tmp_path / "killed", scenes, TINY, TRAINING, [Kill()])
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("*/resume.ckpt"))
    resumed = run(tmp_path / "killed", scenes)
    assert whole.checkpoint.state.keys() == resumed.checkpoint.state.keys()
    for name, value in whole.checkpoint.state.items():
        assert torch.equal(value, resumed.checkpoint.state[name]), name
    left, right = (r.history.set_index(["epoch", "name"])["value"] for r in (whole, resumed))
    assert left.equals(right)


def test_training_makes_the_prediction_better(tmp_path, scenes):
    longer = replace(TRAINING, epochs=12, learning_rate=2e-3, window_stride=1)
    found = curves(run(tmp_path, scenes, replace(TINY, width=0.0625, preset="stable"), longer))
    assert found["train_l2"].iloc[-1] < found["train_l2"].iloc[0] / 2


def settled(config):
    torch.manual_seed(0)
    model = VALTGAN(config, colours=1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def terms_of(model, frames, batch=3):
    batches = list(model.scorer(ScoringOptions(batch=batch)).clip({"frames": frames}))
    terms = {name: np.concatenate([b.terms[name] for b in batches]) for name in model.terms}
    return terms, np.concatenate([b.maps for b in batches])


FRAMES = np.random.default_rng(0).integers(0, 256, (11, 16, 24, 1), np.uint8)


@pytest.mark.parametrize(
    "changed", [{"tsm": "post_reduce"}, {"tsm": "pre_reduce"}, {"encoder_norm": True}], ids=lambda c: "-".join(c)
)
def test_scores_are_those_of_the_network_window_by_window(changed):
    model = settled(replace(TINY, **changed))
    terms, maps = terms_of(model, FRAMES)
    scaled = scale_frames(torch.from_numpy(FRAMES))
    with torch.no_grad():
        for start in range(7):
            predicted = model(scaled[None, start : start + 4])
            error = ((predicted[0] - scaled[start + 4]) / 2).square()
            assert terms["psnr"][start] == pytest.approx(float(-10 * torch.log10(error.mean())), abs=1e-4)
            assert float(maps[start].mean()) == pytest.approx(float(error.mean()), abs=1e-3)
            realness = float(score(model.discriminator(predicted)))
            assert terms["realness"][start] == pytest.approx(realness, abs=1e-4)


def test_the_encoder_sees_each_frame_once():
    model, seen = settled(TINY), []
    scorer = model.scorer(ScoringOptions(batch=3))
    scorer.generator.encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    list(scorer.clip({"frames": FRAMES}))
    assert sum(seen) == len(FRAMES)


def test_latents_mined_at_test_look_more_real_and_take_no_other_training(tmp_path, scenes):
    config = replace(TINY, epsilon=0.5, threshold=1.0)
    trained = run(tmp_path, scenes, config)
    again = run(tmp_path, scenes, replace(config, mine_at_test=True))
    assert again.reused
    plain, mined = (terms_of(build(result.checkpoint), FRAMES)[0] for result in (trained, again))
    assert (mined["realness"] > plain["realness"]).all()


def test_pretrained_weights_are_taken_over_before_training_and_hashed(tmp_path, scenes):
    torch.manual_seed(7)
    weights = build_backbone("resnet50", TINY.width, 1).state_dict()
    torch.save(weights, tmp_path / "backbone.pth")
    config = replace(TINY, backbone="resnet50", backbone_weights=str(tmp_path / "backbone.pth"))
    assert VALTGAN.pretrained(config) == (tmp_path / "backbone.pth",)
    assert VALTGAN.pretrained(TINY) == ()
    before = Before()
    run(tmp_path, scenes, config, ONE_STEP, [before])
    assert all(torch.equal(before.state[f"generator.encoder.{name}"], value) for name, value in weights.items())


def test_the_ablation_has_fig_3_s_boxes_and_table_iv_s_backbones():
    rows = [with_overrides(Config(), row.overrides) for row in EXPERIMENTS["valt_gan_ablation"].rows]
    assert {config.epsilon for config in rows} == {0.0, 0.008, 0.08, 0.8}
    assert {config.backbone for config in rows} == {"wider_resnet38", "resnet50", "se_resnext50"}

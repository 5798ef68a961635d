"""ALPS against its equations: two networks with opposing goals, patches that move, three scores."""

import multiprocessing
import os
import signal
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.models.alps import ALPS, Config, network_input, noise_deviation
from vad_pipeline.models.build import build
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.training.train import Training, train

IMAGES = Config(width=0.125, latent=8, patch=None)
PATCHES = Config(width=0.125, latent=8, patch=8)
SIZE = FrameSize(16, 24, "gray")
TRAINING = Training(epochs=3, batch_size=4, learning_rate=1e-3, accelerator="cpu")


def walkers(n, speed=1, top=2):
    """A bright thing that crosses a still, noisy picture of 16x24 pixels."""
    frames = np.random.default_rng(0).integers(90, 94, (1, 16, 24, 1)).repeat(n, 0).astype(np.uint8)
    for t in range(n):
        x = (speed * t) % 20
        frames[t, top : top + 5, x : x + 4] = 220
    return frames


def batch(n=16, seed=0):
    return torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


def model(config=IMAGES, **changes):
    torch.manual_seed(0)
    return ALPS(replace(config, **changes), colours=1)


def trained(tmp_path, store_clips, config=PATCHES, **settings):
    clips = store_clips({"train/1": walkers(20), "train/2": walkers(20, top=6), "test/1": walkers(20, speed=3)})
    training = replace(TRAINING, **settings)
    return train("alps", config, SIZE, training, 0, {"frames": clips}, tmp_path), clips


def test_the_networks_have_the_specified_sizes():
    with torch.device("meta"):
        network = ALPS(Config(), colours=1)
    count = {
        name: sum(p.numel() for p in part.parameters()) / 1e6
        for name, part in (("encoder", network.encoder), ("decoder", network.decoder), ("distorter", network.distorter))
    }
    assert count["encoder"] + count["decoder"] == pytest.approx(0.94, abs=0.005)
    assert count["distorter"] == pytest.approx(0.24, abs=0.005)
    kinds = [type(layer).__name__ for layer in network.decoder.images]
    assert kinds.count("ConvTranspose2d") == 6
    assert [type(layer).__name__ for layer in network.encoder].count("Conv2d") == 4


def test_perturbations_have_both_signs_and_stay_within_the_bound():
    delta = model(bound=0.5).distorter(10 * batch() - 5)
    assert delta.abs().max() <= 0.5
    assert (delta > 0).any()
    assert (delta < 0).any()
    assert model(bound=None).distorter(1000 * batch()).abs().max() > 1


@pytest.mark.parametrize("mode", ["alps", "noise", "vanilla"])
def test_errors_are_mean_squares_of_the_two_reconstructions(mode):
    network = model(mode=mode, noise_strength=0.3).eval()
    images = batch()
    with torch.no_grad():
        torch.manual_seed(5)
        errors = network.errors(images)
        torch.manual_seed(5)
        latent = network.encoder(images)
        if mode == "alps":
            delta = network.distorter(images)
        else:
            delta = noise_deviation(network.config) * torch.randn_like(latent) if mode == "noise" else 0 * latent
        clean, perturbed = network.decoder(latent), network.decoder(latent + delta)
    assert errors["clean_error"] == pytest.approx(float(F.mse_loss(clean, images)), rel=1e-5)
    assert errors["perturbed_error"] == pytest.approx(float(F.mse_loss(perturbed, images)), rel=1e-5)
    assert errors["perturbation"] == pytest.approx(float(delta.abs().mean()), rel=1e-5)


class OneStep(Callback):
    """Notes the networks before and after the first step, and the images of its batch."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == trainer.current_epoch == 0:
            self.before = deepcopy(module.state_dict())
            self.images = network_input(batch["frames"], module.config)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx == trainer.current_epoch == 0:
            self.after = deepcopy(module.state_dict())


def test_the_distorter_s_step_changes_only_the_distorter_and_raises_the_perturbed_error(tmp_path, store_clips):
    step = OneStep()
    clips = store_clips({"train/1": walkers(40), "train/2": walkers(40, top=6)})
    config = replace(PATCHES, distorter_rate=1e-2, every=1)
    training = replace(TRAINING, epochs=1, learning_rate=1e-30)  # the autoencoder's step is none
    train("alps", config, SIZE, training, 0, {"frames": clips}, tmp_path, [step])
    moved = {
        name.split(".")[0]
        for name, value in step.after.items()
        if "running" not in name
        and "batches" not in name  # statistics of the forward pass that both share
        and not torch.allclose(value, step.before[name], rtol=0, atol=1e-20)
    }
    assert moved == {"distorter"}

    def perturbed_error(distorter):
        network = ALPS(config, colours=1)
        weights = {n: v for n, v in (step.after if distorter else step.before).items() if n.startswith("distorter")}
        network.load_state_dict(step.before | weights)
        with torch.no_grad():
            return float(network.train().errors(step.images)["perturbed_error"])

    assert perturbed_error(True) > perturbed_error(False)


@pytest.mark.parametrize(("every", "epochs"), [(1, {0, 1, 2}), (2, {0, 2}), (3, {0})])
def test_the_distorter_moves_every_nth_epoch(tmp_path, store_clips, every, epochs):
    moved = set()

    class Watch(Callback):
        def on_train_epoch_start(self, trainer, module):
            self.before = deepcopy(module.distorter.state_dict())

        def on_train_epoch_end(self, trainer, module):
            weight = "0.weight"
            if not torch.equal(module.distorter.state_dict()[weight], self.before[weight]):
                moved.add(trainer.current_epoch)

    clips = store_clips({"train/1": walkers(20), "train/2": walkers(20, top=6)})
    config = replace(PATCHES, every=every)
    train("alps", config, SIZE, TRAINING, 0, {"frames": clips}, tmp_path, [Watch()])
    assert moved == epochs


def test_a_training_keeps_the_mean_perturbation_of_its_last_epoch_and_noise_is_as_strong(tmp_path, store_clips):
    result, _ = trained(tmp_path, store_clips)
    history = result.history
    last = history[(history["epoch"] == 2) & (history["name"] == "train_perturbation")]["value"].item()
    strength = build(result.checkpoint).facts()["perturbation"]
    assert strength == pytest.approx(last, rel=1e-5)
    noisy = ALPS(replace(PATCHES, mode="noise", noise_strength=strength), colours=1)
    scorer = noisy.scorer(ScoringOptions())
    assert float(scorer.noise.abs().mean()) == pytest.approx(strength, rel=0.02)
    drawn = torch.stack([noisy.errors(batch(64))["perturbation"] for _ in range(20)])
    assert float(drawn.mean()) == pytest.approx(strength, rel=0.02)


def test_noise_of_no_stated_strength_is_refused():
    with pytest.raises(TrainingError, match="noise_strength"):
        model(mode="noise")


def test_vanilla_has_no_distorter_and_three_equal_scores(tmp_path, store_clips):
    result, clips = trained(tmp_path, store_clips, replace(PATCHES, mode="vanilla"))
    assert not any(name.startswith("distorter") for name in result.checkpoint.state)
    rates = {name for name in result.history["name"] if "rate" in name}
    assert rates == {"learning_rate"}
    for scored in build(result.checkpoint).scorer(ScoringOptions()).clip({"frames": clips["test/1"].array()}):
        np.testing.assert_array_equal(scored.terms["clean_error"], scored.terms["perturbed_error"])
        np.testing.assert_allclose(scored.terms["mean_error"], scored.terms["clean_error"])


@pytest.mark.parametrize("pooling", ["max", "mean", "top_k"])
def test_a_frame_s_scores_are_those_of_its_moving_patches(pooling):
    network = model(PATCHES, frame_score=pooling, top=2)
    network.motion_threshold.fill_(0.01)
    frames = walkers(12, speed=2, top=6)  # between two rows of patches
    scorer = network.scorer(ScoringOptions(batch=4))
    found = list(scorer.clip({"frames": frames}))
    assert np.concatenate([part.frames for part in found]).tolist() == list(range(1, 12))
    encoder, decoder, distorter = network.encoder.eval(), network.decoder.eval(), network.distorter.eval()
    for t in range(1, 12):
        by_patch = []
        for row in range(2):
            for column in range(3):
                area = slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8)
                now, before = frames[t][area].astype(float), frames[t - 1][area].astype(float)
                if np.abs(now - before).mean() / 255 <= 0.01:
                    continue
                with torch.no_grad():
                    image = torch.from_numpy(now).float().movedim(-1, 0)[None] / 255
                    image = F.interpolate(image, size=32, mode="bilinear")
                    latent = encoder(image)
                    clean = F.mse_loss(decoder(latent), image)
                    perturbed = F.mse_loss(decoder(latent + distorter(image)), image)
                by_patch.append((float(clean), float(perturbed), float(clean + perturbed) / 2))
        pooled = {
            "max": lambda values: max(values),
            "mean": lambda values: np.mean(values),
            "top_k": lambda values: np.mean(sorted(values)[-2:]),
        }[pooling]
        terms = {name: np.concatenate([part.terms[name] for part in found])[t - 1] for name in network.terms}
        expected = [pooled(values) for values in zip(*by_patch, strict=True)]
        assert [terms["clean_error"], terms["perturbed_error"], terms["mean_error"]] == pytest.approx(
            expected, rel=1e-4
        )


def test_a_frame_in_which_nothing_moves_scores_nothing_and_says_so():
    network = model(PATCHES)
    network.motion_threshold.fill_(0.01)
    frames = walkers(4)
    frames[2] = frames[1]
    with pytest.warns(UserWarning, match="no patch moves scores 0"):
        (found,) = network.scorer(ScoringOptions()).clip({"frames": frames})
    assert found.terms["perturbed_error"][1] == 0
    assert found.terms["perturbed_error"][0] > 0
    assert found.maps[1].max() == 0


def test_an_image_s_scores_are_of_the_padded_image():
    network = model()
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1)).astype(np.uint8)
    (found,) = network.scorer(ScoringOptions()).clip({"frames": images})
    padded = torch.zeros(5, 1, 32, 32)
    padded[:, :, 2:30, 2:30] = torch.from_numpy(images).movedim(-1, 1) / 255
    with torch.no_grad():
        expected = (network.eval().decoder(network.encoder(padded)) - padded).square().mean((1, 2, 3))
    np.testing.assert_allclose(found.terms["clean_error"], expected, rtol=1e-4)
    assert found.frames.tolist() == list(range(5))


def test_only_patches_that_move_are_trained_on(tmp_path, store_clips):
    clips = store_clips({"train/1": walkers(30, speed=2, top=1)})  # in the upper row of patches alone
    network = model(PATCHES)
    items = network.dataset({"frames": clips}, 1, 0, None)
    facts = network.facts()
    assert 0 < facts["motion_threshold"] < 0.1
    assert (facts["rows_left_out"], facts["columns_left_out"]) == (0, 0)
    assert 29 <= len(items) <= 2 * 29
    bright = items.items.flatten(1).amax(1) == 220  # or the thing has just left the patch
    assert bright.float().mean() > 0.6
    fewer = model(PATCHES, most_patches=10).dataset({"frames": clips}, 1, 0, None)
    assert len(fewer) == 10


def test_every_third_frame_is_every_third_however_the_clip_is_read(store_clips):
    clips = store_clips({"train/1": np.random.default_rng(0).integers(0, 256, (200, 16, 24, 1)).astype(np.uint8)})
    items = model(PATCHES, motion_threshold=0.0).dataset({"frames": clips}, 3, 0, None)
    array = clips["train/1"].array()
    assert len(items) == 6 * len(range(1, 200, 3))
    assert torch.equal(items.items[6 * 30], torch.from_numpy(array[1 + 3 * 30, :8, :8]))


def test_bad_frames_are_refused_with_a_remedy(store_clips):
    still = store_clips({"train/1": np.zeros((6, 16, 24, 1), np.uint8)})
    with pytest.raises(TrainingError, match="nothing moves"):
        model(PATCHES).dataset({"frames": still}, 1, 0, None)
    moving = store_clips({"train/1": walkers(6)})
    with pytest.raises(TrainingError, match="24x16 are smaller than a patch of 30x30"):
        model(patch=30).dataset({"frames": moving}, 1, 0, None)
    with pytest.raises(TrainingError, match=r"motion_threshold, 0\.9000; lower it"):
        model(PATCHES, motion_threshold=0.9).dataset({"frames": moving}, 1, 0, None)
    large = store_clips({"train/1": np.zeros((6, 48, 64, 1), np.uint8)})
    with pytest.raises(TrainingError, match=r"images of 64x48, .* at most 32x32"):
        model(IMAGES).dataset({"frames": large}, 1, 0, None)


class Kill(Callback):
    """Kills its own process in the middle of the second epoch: nothing is cleaned up."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_training_goes_on_to_the_same_two_networks(tmp_path, store_clips):
    whole, clips = trained(tmp_path / "whole", store_clips)
    given = ("alps", PATCHES, SIZE, TRAINING, 0, {"frames": clips}, tmp_path / "killed")
    process = multiprocessing.get_context("fork").Process(target=train, args=(*given, [Kill()]))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("*/resume.ckpt"))
    resumed = train(*given)
    for name, value in whole.checkpoint.state.items():
        assert torch.equal(value, resumed.checkpoint.state[name]), name
    assert resumed.history["epoch"].tolist() == whole.history["epoch"].tolist()

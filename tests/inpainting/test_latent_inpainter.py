from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vad_pipeline.inpainting.latent_inpainter import (
    AutoencoderTraining,
    Config,
    DenoiserTraining,
    InpainterError,
    LatentInpaintingPipeline,
    compvis_schedule,
    latent_mask,
    masked_latent,
    new_autoencoder,
    new_denoiser,
    reconstruction_loss,
    sampling_steps,
    to_pixels,
    to_unit,
)

TINY = Config(autoencoder=(16, 16, 16), codes=16, denoiser=(32, 32, 32))


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    made = LatentInpaintingPipeline(new_autoencoder(TINY), new_denoiser(TINY), compvis_schedule())
    made.set_progress_bar_config(disable=True)
    return made


def batch(count=4, size=32, seed=0):
    random = np.random.default_rng(seed)
    hole = np.zeros((count, size, size), bool)
    hole[:, 8:20, 10:24] = True
    images = torch.from_numpy(random.integers(0, 255, (count, size, size, 3), dtype=np.uint8))
    return {"image": images, "object": torch.from_numpy(hole), "hole": torch.from_numpy(hole)}


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_schedule_is_compvis_s():
    betas = torch.linspace(0.0015**0.5, 0.0205**0.5, 1000) ** 2
    schedule = compvis_schedule()
    assert torch.allclose(schedule.betas, betas, rtol=1e-5)
    assert sampling_steps(schedule, 50)[:2] == [981, 961]


@pytest.mark.parametrize("count", [1, 3, 9, 30, 37, 105, 600, 1000])  # most end at step 1000, which there is not
def test_all_steps_of_the_sampler_are_steps_of_the_schedule(count):
    schedule = compvis_schedule()
    steps = sampling_steps(schedule, count)
    assert steps == sorted(set(steps), reverse=True)
    assert len(steps) >= min(count, 999)
    assert 1 <= min(steps) <= max(steps) <= 999
    latent = torch.ones(1, 3, 2, 2)
    assert schedule.step(latent, steps[0], latent, eta=0.0).prev_sample.isfinite().all()


def test_more_steps_than_the_schedule_has_are_refused():
    with pytest.raises(InpainterError, match="1001 steps of a noise schedule of 1000; set 1000 or less"):
        sampling_steps(compvis_schedule(), 1001)


def test_the_pipeline_asks_its_network_at_the_sampler_s_steps(pipeline, monkeypatch):
    asked, predict = [], pipeline.unet.forward
    monkeypatch.setattr(pipeline.unet, "forward", lambda x, step: asked.append(step) or predict(x, step))
    pipeline(to_unit(batch(1)["image"]), batch(1)["hole"][:, None].float(), generators(0), 7)
    assert asked == [995, 853, 711, 569, 427, 285, 143, 1]


def test_known_pixels_come_back_bit_for_bit_and_holes_are_filled(pipeline):
    image = to_unit(batch()["image"])
    hole = batch()["hole"][:, None].float()
    filled = pipeline(image, hole, generators(0, 1, 2, 3), 3)
    assert torch.equal(filled[(hole == 0).expand_as(filled)], image[(hole == 0).expand_as(image)])
    assert (filled != image)[(hole == 1).expand_as(filled)].float().mean() > 0.9
    assert np.array_equal(to_pixels(image), batch()["image"].numpy())


def test_what_is_filled_in_depends_on_a_picture_s_own_seed_and_not_on_the_hole_s_old_content(pipeline):
    image, hole = to_unit(batch()["image"]), batch()["hole"][:, None].float()
    first = pipeline(image, hole, generators(0, 1, 2, 3), 3)
    emptied = torch.where(hole > 0, torch.rand_like(image), image)
    assert torch.allclose(pipeline(emptied, hole, generators(0, 1, 2, 3), 3), first, atol=1e-5)
    other = pipeline(image, hole, generators(9, 1, 2, 3), 3)
    assert not torch.allclose(other[0], first[0], atol=1e-3)
    assert torch.allclose(other[1:], first[1:], atol=1e-4)


def test_the_masked_picture_is_black_in_the_hole_before_it_is_encoded(pipeline):
    image, hole = to_unit(batch()["image"]), batch()["hole"][:, None]
    black = image.clone()
    black[hole.expand_as(black)] = -1
    assert torch.equal(masked_latent(pipeline.vqvae, image, hole), pipeline.vqvae.encode(black).latents)
    cells = latent_mask(hole, (8, 8))
    assert cells.shape == (4, 1, 8, 8)
    assert cells.unique().tolist() == [-1, 1]
    assert float(cells[0, 0, 3, 3]) == 1
    assert float(cells[0, 0, 0, 0]) == -1


def test_a_saved_pipeline_is_the_same_pipeline(pipeline, tmp_path):
    pipeline.vqvae.register_to_config(scaling_factor=0.7)
    pipeline.save_pretrained(tmp_path)
    again = LatentInpaintingPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert again.vqvae.config.scaling_factor == 0.7
    image, hole = to_unit(batch()["image"]), batch()["hole"][:, None].float()
    one, other = (p(image, hole, generators(0, 1, 2, 3), 2) for p in (pipeline, again))
    assert torch.allclose(one, other, atol=1e-5)


def test_the_reconstruction_loss_against_a_slow_loop():
    random = torch.Generator().manual_seed(0)
    decoded, image = torch.rand(2, 3, 4, 5, generator=random), torch.rand(2, 3, 4, 5, generator=random)
    weight = 1 + 4 * (torch.rand(2, 1, 4, 5, generator=random) > 0.5).float()
    sums = {"pixels": [], "across": [], "down": []}
    for b in range(2):
        for c in range(3):
            error = (decoded - image)[b, c]
            for y in range(4):
                for x in range(5):
                    w = float(weight[b, 0, y, x])
                    sums["pixels"].append(w * abs(float(error[y, x])))
                    if x:
                        sums["across"].append(w * abs(float(error[y, x] - error[y, x - 1])))
                    if y:
                        sums["down"].append(w * abs(float(error[y, x] - error[y - 1, x])))
    expected = sum(np.mean(values) for values in sums.values())
    assert float(reconstruction_loss(decoded, image, weight)) == pytest.approx(expected, rel=1e-5)


def steps(module, count, rate=2e-3):
    optimizer = torch.optim.Adam((p for p in module.parameters() if p.requires_grad), lr=rate)
    losses = []
    module.log = module.log_dict = lambda *_, **__: None
    module.trainer = SimpleNamespace(estimated_stepping_batches=count, global_step=0, callback_metrics={})
    for _ in range(count):
        torch.manual_seed(0)
        loss = module.training_step(batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def test_both_networks_learn_one_batch():
    torch.manual_seed(0)
    losses = steps(AutoencoderTraining(TINY, 1e-3), 40)
    assert losses[-1] < 0.9 * losses[0]
    losses = steps(DenoiserTraining(TINY, new_autoencoder(TINY), 1e-3), 40)
    assert losses[-1] < 0.7 * losses[0]


def test_the_averaged_denoiser_follows_the_trained_one_and_only_the_trained_one_gets_gradients():
    torch.manual_seed(0)
    module = DenoiserTraining(replace(TINY, ema=0.5), new_autoencoder(TINY), 1e-3)
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trained
    assert all(name.startswith("unet.") for name in trained)
    assert not any("vqvae" in name for name in module.state_dict())
    expected = module.unet.conv_in.weight.detach() + 1  # the first step's weights as they are
    for count in range(40):
        with torch.no_grad():
            module.unet.conv_in.weight += 1
        module.on_train_batch_end(None, None, 0)
        if count:
            decay = min(0.5, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * module.unet.conv_in.weight.detach()
        torch.testing.assert_close(module.averaged.module.conv_in.weight, expected, atol=1e-4, rtol=0)
    lag = (module.unet.conv_in.weight - module.averaged.module.conv_in.weight).mean()
    assert float(lag) == pytest.approx(1, abs=1e-3)  # decay / (1 - decay)

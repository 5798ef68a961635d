from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.anomalies.conftest import walking_square
from vad_pipeline.anomalies.masks import Masks, object_rows
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.fitting.loaders import training_loader
from vad_pipeline.inpainting import fit_inpainter as module
from vad_pipeline.inpainting.fit_inpainter import InpainterFit, fit_inpainter, held_out_errors, pipeline_of
from vad_pipeline.inpainting.latent_inpainter import Config, LatentInpaintingPipeline
from vad_pipeline.inpainting.object_crops import ObjectCrops, places_of

TINY = Config(autoencoder=(16, 16, 16), codes=16, denoiser=(32, 32, 32))
MASKS = Masks(min_area=30, dilate=2)
SHORT = InpainterFit(epochs=1, autoencoder_epochs=1, crops=8, batch_size=4, accelerator="cpu", held_out=0.34)


@pytest.fixture
def scenes(store_clips):
    frames = store_clips({f"train/{i:02d}": walking_square(20, i, colours=3) for i in range(3)})
    objects = store_clips({c: np.stack(list(object_rows(s, MASKS, 0, None))) for c, s in frames.items()})
    return frames, objects


def crops_of(scenes, seed=0, count=8):
    return ObjectCrops(*scenes, MASKS, 32, seed, count)


def test_crops_are_cut_around_objects_and_have_a_hole(scenes):
    crops = crops_of(scenes)
    batch = crops.__getitems__(range(60))
    assert batch["image"].shape == (60, 32, 32, 3)
    assert batch["image"].dtype == torch.uint8
    assert batch["object"].dtype == batch["hole"].dtype == torch.bool
    shares = batch["hole"].float().mean(dim=(1, 2))
    assert shares.min() > 0
    assert shares.max() < 1
    assert (batch["object"].flatten(1).any(dim=1)).float().mean() > 0.8
    assert len(places_of(scenes[1])) >= 55


def test_a_crop_depends_on_seed_and_number_alone(scenes):
    first, again, other = (crops_of(scenes, seed).__getitems__([3, 7]) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["image"], other["image"])
    assert torch.equal(crops_of(scenes)[7]["image"], first["image"][1])


def test_every_epoch_has_new_crops(scenes):
    loader = training_loader(crops_of(scenes), 4, None)
    loader.sampler.set_epoch(0)
    first = torch.cat([batch["image"] for batch in loader])
    loader.sampler.set_epoch(1)
    second = torch.cat([batch["image"] for batch in loader])
    assert len(first) == len(second) == 8
    assert not torch.equal(first, second)


def test_clips_without_any_object_still_give_crops(store_clips):
    frames = store_clips({"train/01": walking_square(4)})
    objects = store_clips({"train/01": np.zeros((4, 50, 70), bool)})
    batch = ObjectCrops(frames, objects, MASKS, 32, 0, 4).__getitems__(range(4))
    assert batch["hole"].flatten(1).any(dim=1).all()


def test_a_fit_is_reused_and_its_pipeline_is_saved_as_diffusers_reads_it(scenes, tmp_path):
    frames, objects = scenes
    first = fit_inpainter(frames, objects, TINY, MASKS, 32, SHORT, 0, tmp_path)
    assert not first.reused
    names = set(first.history["name"])
    assert {"train_autoencoder_loss", "val_autoencoder_object_mse", "train_denoiser_loss", "val_denoiser_loss"} <= names
    again = fit_inpainter(frames, objects, TINY, MASKS, 32, SHORT, 0, tmp_path)
    assert again.reused
    pipeline = pipeline_of(first.checkpoint)
    (folder,) = [path for path in tmp_path.rglob("pipeline") if path.is_dir()]
    saved = LatentInpaintingPipeline.from_pretrained(folder)
    assert all(torch.equal(a, b) for a, b in zip(pipeline.unet.parameters(), saved.unet.parameters(), strict=True))
    assert saved.vqvae.config.scaling_factor == pytest.approx(first.checkpoint.about["scaling_factor"])
    errors = held_out_errors(first.checkpoint, frames, objects)
    assert set(errors) == {"object_psnr", "object_median_psnr"}
    assert errors["object_median_psnr"] < 12  # an object of 200 on a ground of about 90 gray levels
    assert first.checkpoint.about["held_out"] == ["train/01"]


def test_an_interrupted_fit_goes_on_and_ends_like_an_uninterrupted_one(scenes, tmp_path, monkeypatch):
    """Cut off in the denoiser's second epoch, where its average of weights and how many steps that is of must go on."""
    frames, objects = scenes
    longer = replace(SHORT, epochs=2)
    whole = fit_inpainter(frames, objects, TINY, MASKS, 32, longer, 0, tmp_path / "whole")
    made = []

    step = module.DenoiserTraining.training_step

    def interrupted(self, batch, number):
        if self.current_epoch == 1:
            raise RuntimeError("the power fails")
        made.append(number)
        return step(self, batch, number)

    def done_again(self, *_):
        raise AssertionError("the finished step is done again")

    monkeypatch.setattr(module.DenoiserTraining, "training_step", interrupted)
    with pytest.raises(RuntimeError, match="the power fails"):
        fit_inpainter(frames, objects, TINY, MASKS, 32, longer, 0, tmp_path / "cut")
    assert made == [0, 1]
    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setattr(module.AutoencoderTraining, "__init__", done_again)
        resumed = fit_inpainter(frames, objects, TINY, MASKS, 32, longer, 0, tmp_path / "cut")
    assert whole.checkpoint.state.keys() == resumed.checkpoint.state.keys()
    assert all(torch.equal(whole.checkpoint.state[k], resumed.checkpoint.state[k]) for k in whole.checkpoint.state)


def test_bad_sizes_and_missing_clips_are_named(scenes, tmp_path):
    frames, objects = scenes
    with pytest.raises(TrainingError, match=r"crops of 30 pixels; set crop to a multiple of 16"):
        fit_inpainter(frames, objects, TINY, MASKS, 30, SHORT, 0, tmp_path)
    with pytest.raises(TrainingError, match=r"no training clips; the raw data need clips of normal footage"):
        fit_inpainter(frames.split("test"), objects, TINY, MASKS, 32, SHORT, 0, tmp_path)

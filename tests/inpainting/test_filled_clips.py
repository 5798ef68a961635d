import json
import shutil

import numpy as np
import pytest
import torch

from vad_pipeline.anomalies.pool import Run
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.inpainting import filled_clips as module
from vad_pipeline.inpainting.filled_clips import (
    Inpainter,
    Inpainting,
    fill_telea,
    filled_rows,
    inpainter_of,
    spatial_jobs,
)
from vad_pipeline.inpainting.fit_inpainter import not_fitted, pipeline_of
from vad_pipeline.inpainting.latent_inpainter import (
    Config,
    InpainterError,
    LatentInpaintingPipeline,
    compvis_schedule,
    new_autoencoder,
    new_denoiser,
)

TINY = Config(autoencoder=(16, 16, 16), codes=16, denoiser=(32, 32, 32))
RUN = Run("train/01", 4, 10)


def holes(count=6, height=50, width=70, seed=0):
    random = np.random.default_rng(seed)
    mask = np.zeros((count, height, width), bool)
    for t in range(count):
        for _ in range(2):
            top, left = random.integers(0, height - 12), random.integers(0, width - 12)
            mask[t, top : top + 12, left : left + 9] = True
    return mask


def inverted(images, masks, seeds):
    """An inpainter that is told from the original everywhere: it inverts the picture."""
    assert images.shape[1:] == (32, 32, 3)
    assert images.dtype == np.uint8
    assert masks.shape == images.shape[:3]
    assert masks.dtype == bool
    assert len(set(seeds)) == len(images)
    return 255 - images


INVERTER = Inpainter("", inverted, 32)


def filled(store_clips, fill, colours=1, batch=4, start=0, stop=None, seed=0):
    frames = np.random.default_rng(1).integers(0, 255, (12, 50, 70, colours), dtype=np.uint8)
    stored = store_clips({"train/01": frames, "train/01@4": holes()})
    inpainter = Inpainter("", fill, 32)
    rows = list(filled_rows(stored["train/01"], stored["train/01@4"], RUN, inpainter, batch, seed, start, stop))
    return frames[4:10], np.stack(rows)


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("fill", [inverted, fill_telea], ids=["inverted", "telea"])
def test_outside_the_hole_every_pixel_stays_bit_for_bit(store_clips, fill, colours):
    before, after = filled(store_clips, fill, colours)
    assert after.shape == before.shape
    assert np.array_equal(after[~holes()], before[~holes()])
    assert (after[holes()] != before[holes()]).mean() > 0.9


def test_inside_the_hole_is_what_the_inpainter_says(store_clips):
    before, after = filled(store_clips, inverted, colours=3)
    assert np.array_equal(after[holes()], 255 - before[holes()])


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_does_not_change_what_is_filled_in(store_clips, batch):
    assert np.array_equal(filled(store_clips, inverted, batch=batch)[1], filled(store_clips, inverted, batch=4)[1])


def test_a_chunk_equals_the_same_rows_of_the_whole(store_clips):
    whole = filled(store_clips, inverted)[1]
    assert np.array_equal(filled(store_clips, inverted, start=2, stop=5)[1], whole[2:5])


def test_a_hole_larger_than_the_crop_is_filled_at_its_own_size(store_clips):
    mask = np.zeros((1, 50, 70), bool)
    mask[0, 2:48, 2:68] = True
    smooth = np.linspace(0, 200, 50 * 70).reshape(1, 50, 70, 1).astype(np.uint8)
    stored = store_clips({"train/01": smooth, "train/01@0": mask})
    run = Run("train/01", 0, 1)
    (row,) = filled_rows(stored["train/01"], stored["train/01@0"], run, INVERTER, 1, 0, 0, None)
    assert np.abs(row[mask[0]].astype(int) - (255 - smooth[0][mask[0]])).max() < 12
    assert np.array_equal(row[~mask[0]], smooth[0][~mask[0]])


def test_masks_of_another_size_are_refused_by_name(store_clips):
    stored = store_clips({"train/01": np.zeros((12, 50, 70, 1), np.uint8), "train/01@4": holes(height=25, width=35)})
    with pytest.raises(ValueError, match="clip train/01@4: masks of 35x25, frames of 70x50; make the masks anew"):
        list(filled_rows(stored["train/01"], stored["train/01@4"], RUN, INVERTER, 4, 0, 0, None))


def test_a_mask_that_leaves_nothing_of_the_frame_is_refused(store_clips):
    stored = store_clips({"train/01": np.zeros((12, 50, 70, 1), np.uint8), "train/01@4": np.ones((6, 50, 70), bool)})
    with pytest.raises(ValueError, match="clip train/01@4, frame 0: the mask covers the whole frame"):
        list(filled_rows(stored["train/01"], stored["train/01@4"], RUN, INVERTER, 4, 0, 0, None))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("pipeline")
    LatentInpaintingPipeline(new_autoencoder(TINY), new_denoiser(TINY), compvis_schedule()).save_pretrained(folder)
    return folder


def config_of(source, **settings):
    settings = {"crop": 32, "steps": 2, "accelerator": "cpu", "precision": "32"} | settings
    return Inpainting(source=str(source), **settings)


def test_a_saved_pipeline_of_ours_fills_holes_and_equal_seeds_fill_equally(saved, store_clips):
    fill = inpainter_of(config_of(saved), not_fitted("")[0]).fill
    before, after = filled(store_clips, fill)
    assert np.array_equal(after[~holes()], before[~holes()])
    assert np.array_equal(filled(store_clips, fill)[1], after)
    assert not np.array_equal(filled(store_clips, fill, seed=1)[1], after)


def test_other_weights_steps_or_seeds_are_other_pseudo_anomalies(saved, store_clips, tmp_path):
    stored = store_clips({"train/01": np.zeros((12, 50, 70, 1), np.uint8), "train/01@4": holes()})

    def fingerprint(config, seed=0):
        inpainter = inpainter_of(config, not_fitted("")[0])
        return spatial_jobs(stored, stored, [RUN], inpainter, config, seed)["train/01@4"].fingerprint

    first = fingerprint(config_of(saved))
    assert fingerprint(config_of(saved)) == first
    other = shutil.copytree(saved, tmp_path / "other")
    settings = json.loads((other / "scheduler" / "scheduler_config.json").read_text())
    (other / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings | {"beta_end": 0.03}))
    different = [
        fingerprint(config_of(other)),
        fingerprint(config_of(saved).__class__(**{**vars(config_of(saved)), "steps": 3})),
        fingerprint(config_of(saved), seed=1),
        fingerprint(config_of("telea")),
    ]
    assert len({first, *different}) == 5


def fitted_on(crop):
    vqvae, unet = new_autoencoder(TINY), new_denoiser(TINY)
    state = {f"vqvae.{k}": v for k, v in vqvae.state_dict().items()}
    state |= {f"unet.{k}": v for k, v in unet.state_dict().items()}
    return Checkpoint("latent_inpainter", vars(TINY), {}, {"crop": crop, "scaling_factor": 1.0}, state)


def crop_of(source, fitted=None, **settings):
    return inpainter_of(config_of(source, **settings), fitted or not_fitted("")[0]).crop


def test_every_source_fills_crops_of_the_size_that_it_was_trained_on(saved, tmp_path):
    assert crop_of("fit", fitted_on(48), crop=None) == 48
    assert crop_of("telea", crop=None) == 64
    assert crop_of(saved, crop=None) == 256  # it does not say
    pipeline_of(fitted_on(80)).save_pretrained(tmp_path / "fitted_elsewhere")
    assert crop_of(tmp_path / "fitted_elsewhere", crop=None) == 80
    assert crop_of(tiny_stable_diffusion(tmp_path), crop=None) == 32  # 16 cells of 2 pixels
    assert [crop_of(source, crop=96) for source in (saved, "telea")] == [96, 96]


def test_other_crops_are_other_pseudo_anomalies(saved, store_clips):
    stored = store_clips({"train/01": np.zeros((12, 50, 70, 1), np.uint8), "train/01@4": holes()})
    jobs = []
    for crop in (None, 64, 256):
        config = config_of(saved, crop=crop)
        inpainter = inpainter_of(config, not_fitted("")[0])
        jobs.append(spatial_jobs(stored, stored, [RUN], inpainter, config, 0)["train/01@4"])
    unsaid, other, said = jobs
    assert unsaid.fingerprint == said.fingerprint != other.fingerprint
    assert unsaid.parameters["crop"] == 256


def test_a_folder_that_lacks_a_component_is_named(saved, tmp_path):
    incomplete = shutil.copytree(saved, tmp_path / "incomplete")
    shutil.rmtree(incomplete / "unet")
    with pytest.raises(
        InpainterError, match=r"incomplete is not a complete diffusers inpainting pipeline .*it lacks unet"
    ):
        inpainter_of(config_of(incomplete), not_fitted("")[0])


def test_without_a_network_the_error_says_how_to_fetch_a_pipeline_elsewhere(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(module.AutoPipelineForInpainting, "from_pretrained", unreachable)
    with pytest.raises(InpainterError, match=r"hf download someone/inpainting --local-dir FOLDER.*to the folder"):
        inpainter_of(config_of("someone/inpainting"), not_fitted("")[0])


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InpainterError, match=r"no checkpoint at .*last.ckpt; correct inpainting.source"):
        inpainter_of(config_of(tmp_path / "last.ckpt"), not_fitted("")[0])


def test_stable_diffusion_s_kin_fill_holes(tmp_path, store_clips):
    fill = inpainter_of(config_of(tiny_stable_diffusion(tmp_path)), not_fitted("")[0]).fill
    before, after = filled(store_clips, fill, batch=3)
    assert np.array_equal(after[~holes()], before[~holes()])
    assert (after[holes()] != before[holes()]).mean() > 0.5


def tiny_stable_diffusion(folder):
    """A randomly initialised Stable Diffusion inpainting pipeline, as diffusers saves one."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    words = folder / "words"
    words.mkdir()
    (words / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    text = CLIPTextConfig(
        vocab_size=4, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    pipeline = StableDiffusionInpaintPipeline(
        vae=AutoencoderKL(
            block_out_channels=(16, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=8,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77),
        unet=UNet2DConditionModel(
            sample_size=16,
            in_channels=9,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=8,
            norm_num_groups=8,
        ),
        scheduler=DDIMScheduler(steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder / "pipeline")
    return folder / "pipeline"

"""Whether the latent inpainter of conf/scenes learns what walkers look like: slow, on the built-in scenes."""

from pathlib import Path

import numpy as np
import pytest
from kedro.config import OmegaConfigLoader

from vad_pipeline.anomalies.masks import Masks, hole_jobs, object_jobs
from vad_pipeline.anomalies.pool import Pool, runs_of
from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.inpainting.filled_clips import Inpainting, inpainter_of, spatial_jobs
from vad_pipeline.inpainting.fit_inpainter import InpainterFit, fit_inpainter, held_out_errors
from vad_pipeline.inpainting.latent_inpainter import Config
from vad_pipeline.settings import CONFIG_LOADER_ARGS
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs
from vad_pipeline.sources.scenes import NOISE_SIGMA

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.mark.slow
def test_the_autoencoder_knows_objects_and_the_denoiser_fills_holes_with_something_else(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))

    def stored(jobs):
        pool.fill(jobs, Parallel(), "")
        return Clips(
            {c: Clip(c, j.fingerprint, *pool.header(j.fingerprint), j.fps, j.source, pool) for c, j in jobs.items()}
        )

    loader = OmegaConfigLoader(str(CONF), env="scenes", **CONFIG_LOADER_ARGS)
    defaults = loader["parameters"]["pseudo_anomalies"]
    source = FrameExtraction("scenes", scenes={"train_clips": 4, "test_clips": 0, "frames": 40})
    frames = stored(frame_jobs(source))
    masks = Masks(**defaults["masks"])
    objects = stored(object_jobs(frames, masks))
    # a quarter of the default's steps for the autoencoder, a twelfth for the denoiser
    crops = defaults["training"]["crops"] // 2
    short = {"autoencoder_epochs": 2, "epochs": 1, "crops": crops, "held_out": 0.25, "accelerator": "cpu"}
    short = {**defaults["training"], **short}
    fitted = fit_inpainter(frames, objects, Config(**defaults["model"]), masks, 64, InpainterFit(**short), 0, tmp_path)
    errors = held_out_errors(fitted.checkpoint, frames, objects)
    assert errors["object_psnr"] > errors["object_median_psnr"] + 2

    held_out = {clip: frames[clip] for clip in fitted.checkpoint.about["held_out"]}
    runs = runs_of({clip: len(c) for clip, c in held_out.items()}, Pool(size=16), 0)
    holes = stored(hole_jobs(objects, runs, masks, 0))
    config = Inpainting(steps=5, accelerator="cpu")
    spatial = stored(spatial_jobs(frames, holes, runs, inpainter_of(config, fitted.checkpoint), config, 0))
    (run,) = runs
    before = frames[run.clip].array()[run.start : run.stop].astype(int)
    hole = holes[run.name].array()
    difference = np.abs(spatial[run.name].array() - before).mean(axis=-1)
    assert difference[hole].mean() > 2 * NOISE_SIGMA
    assert difference[~hole].max() == 0

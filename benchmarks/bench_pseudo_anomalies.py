"""Spatial pseudo-anomalies: crops around objects in batches, against frame by frame at full size.

    python benchmarks/bench_pseudo_anomalies.py [FRAMES] [STEPS]

The same latent inpainter (random weights, of the default size), the same holes and as many steps. Bar: 4 times. Then
anonymous memory of a clip of 2,000 frames against one of 200. Bar: within 10%.
"""

import sys
import tempfile
from functools import partial

import numpy as np
import torch
from measure import compare, machine, peak_anonymous_mib

from vad_pipeline.anomalies.masks import Masks, components, hole_of_frame, object_rows
from vad_pipeline.anomalies.pool import Run
from vad_pipeline.clips.clip import Clip
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.fitting.devices import multiplies_bf16
from vad_pipeline.inpainting.filled_clips import Inpainter, fill_latent, filled_rows
from vad_pipeline.inpainting.fit_inpainter import CROP
from vad_pipeline.inpainting.latent_inpainter import (
    Config,
    LatentInpaintingPipeline,
    compvis_schedule,
    new_autoencoder,
    new_denoiser,
)
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs

HEIGHT, WIDTH = 240, 360  # Ped2's
MULTIPLE = 16  # full frames are padded to it
BATCH = 32  # crops


def pipeline(config: Config) -> LatentInpaintingPipeline:
    torch.manual_seed(0)
    made = LatentInpaintingPipeline(new_autoencoder(config).eval(), new_denoiser(config).eval(), compvis_schedule())
    made.set_progress_bar_config(disable=True)
    return made


def stored(pool: ClipPool, clip: str, array: np.ndarray) -> Clip:
    name = clip.replace("/", "_")
    np.save(pool.path(name), array)
    return Clip(clip, name, array.shape, str(array.dtype), None, "", pool)


def frame_by_frame(fill: partial, frames: np.ndarray, holes: np.ndarray) -> None:
    """What a plain script does: every frame by itself, whole."""
    for t, (frame, hole) in enumerate(zip(frames, holes, strict=True)):
        pad = [(0, -n % MULTIPLE) for n in hole.shape]
        filled = fill(np.pad(frame, [*pad, (0, 0)], mode="edge")[None], np.pad(hole, pad)[None], [t])
        np.where(hole[..., None], filled[0, : hole.shape[0], : hole.shape[1]], frame)


def of_length(n: int) -> None:
    """Run in a process of its own: holes of a clip of n frames, filled and thrown away."""
    fill = partial(
        fill_latent,
        pipeline(Config(autoencoder=(16, 16, 16), codes=16, denoiser=(32, 32, 32))),
        steps=1,
        device=torch.device("cpu"),
        bf16=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        pool = ClipPool(folder)
        np.lib.format.open_memmap(pool.path("long"), mode="w+", dtype=np.uint8, shape=(n, 128, 192, 1)).flush()
        mask = np.lib.format.open_memmap(pool.path("holes"), mode="w+", dtype=bool, shape=(n, 128, 192))
        mask[:, 40:60, 50:60] = True
        mask.flush()
        clips = [Clip("train/01", "long", (n, 128, 192, 1), "uint8", None, "", pool)]
        clips += [Clip("train/01@0", "holes", (n, 128, 192), "bool", None, "", pool)]
        for _ in filled_rows(clips[0], clips[1], Run("train/01", 0, n), Inpainter("", fill, CROP), BATCH, 0, 0, None):
            pass


def main() -> None:
    count, steps = (int(value) for value in (*sys.argv[1:], "24", "10")[:2])
    print(machine())
    source = {"train_clips": 1, "test_clips": 1, "frames": max(60, count), "height": HEIGHT, "width": WIDTH}
    job = frame_jobs(FrameExtraction("scenes", scenes=source))["train/01"]
    assert job.rows is not None
    with tempfile.TemporaryDirectory() as folder:
        pool = ClipPool(folder)
        pool.fill({"train/01": job}, Parallel(backend="sequential"), "scenes")
        whole = Clip("train/01", job.fingerprint, *pool.header(job.fingerprint), job.fps, job.source, pool)
        objects = list(object_rows(whole, Masks(), 0, None))
        chosen = np.linspace(0, len(objects) - 1, count).astype(int)
        random = np.random.default_rng(0)
        holes = np.stack([hole_of_frame(objects[t], Masks(), random) for t in chosen])
        clips = stored(pool, "train/a", whole.array()[chosen]), stored(pool, "train/a@0", holes)
        bf16 = multiplies_bf16(torch.device("cpu"))
        fill = partial(fill_latent, pipeline(Config()), steps=steps, device=torch.device("cpu"), bf16=bf16)
        parts = sum(len(components(hole)) for hole in holes)
        inpainter = Inpainter("", fill, CROP)
        print(f"{count} frames of {WIDTH}x{HEIGHT}, {parts} holes, {steps} steps, {'bf16' if bf16 else 'float32'}")
        compare(
            "frame by frame at full size against crops in batches",
            lambda: frame_by_frame(fill, clips[0].array(), holes),
            lambda: list(filled_rows(*clips, Run("train/a", 0, count), inpainter, BATCH, 0, 0, None)),
            repeats=3,
        )
    short, long = (peak_anonymous_mib([__file__, "length", str(n)]) for n in (200, 2000))
    print(f"anonymous memory, 2,000 frames against 200: {long:.0f} MiB / {short:.0f} MiB: {long / short:.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["length"]:
        of_length(int(sys.argv[2]))
    else:
        main()

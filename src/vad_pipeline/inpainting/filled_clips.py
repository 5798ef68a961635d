"""Spatial pseudo-anomalies: holes in normal frames filled by an inpainter (paper Eq. 2, spec 6.4).

Each hole is filled in a square crop around it, many crops at a time; what lies outside the hole stays bit for bit.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from diffusers.pipelines.auto_pipeline import AutoPipelineForInpainting
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.anomalies.crops import Square, cut, paste, square_around
from vad_pipeline.anomalies.masks import components
from vad_pipeline.anomalies.pool import Run, frame_seed
from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import fingerprint, step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import to_gray
from vad_pipeline.fitting.checkpoint import Checkpoint, state_hash
from vad_pipeline.fitting.devices import device_check, device_of, multiplies_bf16
from vad_pipeline.inpainting.compvis_inpainter import read_compvis
from vad_pipeline.inpainting.fit_inpainter import CROP, pipeline_of
from vad_pipeline.inpainting.latent_inpainter import InpainterError, LatentInpaintingPipeline, to_pixels, to_unit

TELEA_RADIUS = 3  # pixels
PUBLIC_CROP = 256  # pixels, that CompVis' inpainting_big and most public weights were trained on

Fill = Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Inpainting:
    """What fills the holes, and how.

    Attributes:
        source: ``fit`` trains a small latent inpainter on the training clips; ``telea`` is OpenCV's inpainting; a
            folder or a hub id names any diffusers inpainting pipeline; a ``.ckpt`` file is CompVis' ``inpainting_big``.
        crop: pixels of the square that is filled; holes that need a larger one are scaled to it. None takes what suits
            the source: the crops that were fitted, 64; for ``telea`` 64; for a pipeline the size that it says it was
            trained on, else 256; for a ``.ckpt`` 256. Where frames are smaller, their mirror image goes on.
        steps: of the sampler; a latent inpainter takes a few more where they do not divide 1000 (``sampling_steps``).
        batch: crops at a time.
        prompt: for pipelines that read one.
        precision: ``auto`` computes in bfloat16 where the processor multiplies in it.
        accelerator: Lightning's names of devices.
    """

    source: str = "fit"
    crop: int | None = Field(default=None, ge=16)
    steps: int = Field(default=20, ge=1)
    batch: int = Field(default=32, ge=1)
    prompt: str = ""
    precision: Literal["auto", "32", "bf16"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"


@dataclass(frozen=True)
class Inpainter:
    """Something that fills holes.

    Attributes:
        fingerprint: of everything that decides what it fills in, but for ``crop``.
        fill: of crops uint8 (N, S, S, 3), holes bool (N, S, S) and one seed for each, the filled crops.
        crop: S, pixels.
    """

    fingerprint: str
    fill: Fill
    crop: int


def inpainter_of(config: Inpainting, fitted: Checkpoint) -> Inpainter:
    """The inpainter that a configuration names.

    Args:
        config: which one.
        fitted: what was fitted, for ``source: fit``.

    Raises:
        InpainterError: the source is missing, incomplete or of another kind.
        TrainingError: no such device.
    """
    device_check(config.accelerator)
    if config.source == "telea":
        return Inpainter(step_fingerprint("", "telea", (fill_telea,), ("cv2",)), fill_telea, config.crop or CROP)
    if config.source == "fit":
        weights = state_hash(fitted.state)
        pipeline: Any = pipeline_of(fitted)
        made_by: Callable = pipeline_of
    elif config.source.endswith(".ckpt"):
        path = Path(config.source)
        if not path.is_file():
            raise InpainterError(f"no checkpoint at {path}; correct inpainting.source")
        weights = _file_hash(path)
        pipeline, made_by = LatentInpaintingPipeline(*read_compvis(path)), read_compvis
    else:
        weights, pipeline, made_by = config.source, load_pipeline(config.source), load_pipeline
        if Path(config.source).is_dir():
            files = sorted(path for path in Path(config.source).rglob("*") if path.is_file())
            weights = fingerprint(*(f"{path.name} {_file_hash(path)}" for path in files))
    device = device_of(config.accelerator)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and multiplies_bf16(device))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    if isinstance(pipeline, LatentInpaintingPipeline):
        fill = partial(fill_latent, pipeline, steps=config.steps, device=device, bf16=bf16)
    else:
        fill = partial(fill_with_any, pipeline, steps=config.steps, prompt=config.prompt)
    settings = {"weights": weights, "steps": config.steps, "prompt": config.prompt, "bf16": bf16}
    identity = step_fingerprint("", settings, (made_by, fill), ("torch", "diffusers"))
    return Inpainter(identity, fill, config.crop or trained_size(pipeline))


def trained_size(pipeline: Any) -> int:
    """Pixels of the square pictures that a latent inpainting pipeline was trained on; 256 where it does not say.

    Its U-Net's configuration says it in cells of the latent: 64 of 8 pixels, so 512, for Stable Diffusion.
    """
    cells = getattr(getattr(pipeline, "unet", None), "config", {}).get("sample_size")
    return cells * pipeline.vae_scale_factor if isinstance(cells, int) else PUBLIC_CROP


def load_pipeline(source: str) -> Any:
    """A diffusers inpainting pipeline of a folder or from the hub: ours, or any that diffusers knows.

    Raises:
        InpainterError: it cannot be had; the message says what to do.
    """
    try:
        if Path(source).is_dir():
            index = json.loads((Path(source) / "model_index.json").read_text())
            parts = [name for name, value in index.items() if isinstance(value, list) and value[0]]
            missing = [name for name in parts if not (Path(source) / name).is_dir()]
            if missing:
                raise FileNotFoundError(f"it lacks {', '.join(missing)}")
            if index["_class_name"] == LatentInpaintingPipeline.__name__:
                return LatentInpaintingPipeline.from_pretrained(source)
        return AutoPipelineForInpainting.from_pretrained(source, safety_checker=None)
    except Exception as error:  # what diffusers and the hub raise is of many kinds
        if Path(source).is_dir():
            raise InpainterError(
                f"inpainting.source: {source} is not a complete diffusers inpainting pipeline ({error}); save it again "
                "with save_pretrained, or copy what is missing"
            ) from error
        raise InpainterError(
            f"inpainting.source: {source} is neither a folder here nor to be had from the hub ({error}); fetch it "
            f"where there is a network (`hf download {source} --local-dir FOLDER`) and set inpainting.source to the "
            "folder, or use fit or telea, which need none"
        ) from error


def fill_telea(images: np.ndarray, holes: np.ndarray, _: Sequence[int]) -> np.ndarray:
    """Holes filled by OpenCV's fast marching (Telea 2004), a smooth continuation of their surroundings."""
    filled = [
        cv2.inpaint(image, hole.astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA)
        for image, hole in zip(images, holes, strict=True)
    ]
    return np.stack(filled)


def fill_latent(
    pipeline: LatentInpaintingPipeline,
    images: np.ndarray,
    holes: np.ndarray,
    seeds: Sequence[int],
    steps: int,
    device: torch.device,
    bf16: bool,
) -> np.ndarray:
    """Holes filled by a latent inpainter; noise depends on a crop's seed alone."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    unit = to_unit(torch.from_numpy(images).to(device))
    mask = torch.from_numpy(holes).to(device)[:, None].float()
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        filled = pipeline(unit, mask, generators, steps)
    return to_pixels(filled)


def fill_with_any(
    pipeline: Any, images: np.ndarray, holes: np.ndarray, seeds: Sequence[int], steps: int, prompt: str
) -> np.ndarray:
    """Holes filled by a pipeline of diffusers, at the size of the crops."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    result = pipeline(
        prompt=[prompt] * len(images),
        image=torch.from_numpy(images).movedim(-1, 1).float() / 255,
        mask_image=torch.from_numpy(holes)[:, None].float(),
        height=images.shape[1],
        width=images.shape[2],
        num_inference_steps=steps,
        generator=generators,
        output_type="np",
    )
    return np.rint(np.asarray(result.images) * 255).clip(0, 255).astype(np.uint8)


def spatial_jobs(
    frames: Clips, holes: Clips, runs: Sequence[Run], inpainter: Inpainter, config: Inpainting, seed: int
) -> dict[str, ClipJob]:
    """Jobs that fill the holes of every run: uint8 (T, H, W, C), named like the holes.

    Args:
        frames: normal clips, uint8 (T, H, W, C).
        holes: bool (T, H, W), a clip for each run.
        runs: which frames the holes are in.
        inpainter: fills them.
        config: says how many crops at a time.
        seed: of the noise.
    """
    deciding = {"inpainter": inpainter.fingerprint, "crop": inpainter.crop, "batch": config.batch, "seed": seed}
    return {
        run.name: ClipJob(
            fingerprint=step_fingerprint(
                f"{frames[run.clip].fingerprint} {holes[run.name].fingerprint} {run}",
                deciding,
                (filled_rows,),
                ("cv2",),
            ),
            rows=partial(filled_rows, frames[run.clip], holes[run.name], run, inpainter, config.batch, seed),
            length=run.stop - run.start,
            fps=frames[run.clip].fps,
            source=frames[run.clip].source,
            parameters={**asdict(config), "crop": inpainter.crop},
        )
        for run in runs
    }


def filled_rows(
    frames: Clip, holes: Clip, run: Run, inpainter: Inpainter, batch: int, seed: int, start: int, stop: int | None
) -> Iterator[np.ndarray]:
    """Rows ``start`` to ``stop`` of a run with their holes filled, ``batch`` crops at a time, each uint8 (H, W, C).

    Raises:
        ValueError: the holes are of another size than the frames, or a hole leaves nothing of a frame.
    """
    pictures, masks = frames.array(), holes.array()
    if masks.shape[1:] != pictures.shape[1:3]:
        raise ValueError(
            f"clip {run.name}: masks of {masks.shape[2]}x{masks.shape[1]}, frames of {pictures.shape[2]}x"
            f"{pictures.shape[1]}; make the masks anew from these frames"
        )
    waiting: list[np.ndarray] = []
    queue: list[tuple[np.ndarray, np.ndarray, Square, np.ndarray, int]] = []
    for row in range(start, len(masks) if stop is None else stop):
        picture, hole = np.array(pictures[run.start + row]), np.asarray(masks[row])
        if hole.all():
            raise ValueError(f"clip {run.name}, frame {row}: the mask covers the whole frame; lower its size")
        waiting.append(picture)
        for i, part in enumerate(components(hole)):
            top, left, height, width = part.box
            own = np.zeros_like(hole)
            own[top : top + height, left : left + width] = part.mask
            number = np.random.SeedSequence([*frame_seed(seed, run.clip, run.start + row), i]).generate_state(1)
            queue.append((picture, hole, square_around(part.box, inpainter.crop, *hole.shape), own, int(number[0])))
        if max(len(queue), len(waiting)) >= batch:
            _fill(queue, inpainter, batch)
            yield from waiting
            waiting, queue = [], []
    _fill(queue, inpainter, batch)
    yield from waiting


def _fill(
    queue: Sequence[tuple[np.ndarray, np.ndarray, Square, np.ndarray, int]], inpainter: Inpainter, batch: int
) -> None:
    """Fill crops, a batch at a time, and write them into their pictures."""
    # all are cut before any is filled, because a crop may show another hole
    original = [np.repeat(cut(p, s, inpainter.crop), 3 // p.shape[-1], axis=-1) for p, _, s, _, _ in queue]
    holes = [cut(hole, square, inpainter.crop) for _, hole, square, _, _ in queue]
    for first in range(0, len(queue), batch):
        now = slice(first, first + batch)
        seeds = [seed for *_, seed in queue[now]]
        filled = inpainter.fill(np.stack(original[now]), np.stack(holes[now]), seeds)
        for (picture, _, square, own, _), crop in zip(queue[now], filled, strict=True):
            if picture.shape[-1] == 1:
                crop = to_gray(crop)[..., None]
            paste(picture, crop, square, own)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Fitting a latent inpainter to the normal frames at hand: autoencoder first, denoiser second; finished work reused."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from diffusers.models.autoencoders.vq_model import VQModel
from filelock import FileLock
from lightning.pytorch.callbacks import Callback
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.anomalies import crops, masks
from vad_pipeline.anomalies.masks import Masks
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.fingerprint import fingerprint, step_fingerprint
from vad_pipeline.clips.held_out import split_held_out, with_parts
from vad_pipeline.fitting.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from vad_pipeline.fitting.devices import TrainingError, device_check, torch_threads
from vad_pipeline.fitting.fit import HISTORY_COLUMNS, PLACE, RESUME, FitSettings, Fitted, Trained, fit
from vad_pipeline.fitting.loaders import ordered_loader, training_loader
from vad_pipeline.inpainting.latent_inpainter import (
    AutoencoderTraining,
    Config,
    DenoiserTraining,
    LatentInpaintingPipeline,
    compvis_schedule,
    new_autoencoder,
    new_denoiser,
    to_unit,
)
from vad_pipeline.inpainting.object_crops import ObjectCrops

NAME = "latent_inpainter"
CROP = 64  # pixels, where none are named
PIPELINE = "pipeline"  # folder of what save_pretrained writes
STATISTICS_BATCHES = 16  # of crops, of which the latents' standard deviation is taken


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class InpainterFit(FitSettings):
    """How the inpainter is fitted; ``epochs`` and ``learning_rate`` are the denoiser's. See ``FitSettings``.

    Attributes:
        autoencoder_epochs: of the first step.
        autoencoder_learning_rate: of the first step, at the start.
        batch_size: crops per step.
        crops: per epoch; every epoch cuts new ones.
        held_out: share of the training clips on which errors are measured.
    """

    epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    autoencoder_epochs: int = Field(default=10, ge=1)
    autoencoder_learning_rate: float = Field(default=4e-3, gt=0)
    batch_size: int = Field(default=8, ge=1)
    crops: int = Field(default=2000, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)


def fit_inpainter(
    frames: Clips,
    objects: Clips,
    config: Config,
    holes: Masks,
    size: int,
    training: InpainterFit,
    seed: int,
    folder: Path,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Fit both networks, or return them where that was done before.

    Args:
        frames: normal clips, uint8 (T, H, W, C).
        objects: their moving objects, bool (T, H, W).
        config: of the networks.
        holes: how holes are made of objects.
        size: pixels of the crops, the same as for sampling; a multiple of 16.
        training: how.
        seed: of weights, crops and noise.
        folder: working directory; one folder in it belongs to one combination of all of the above, code included. There
            ``pipeline`` is what diffusers' ``from_pretrained`` reads.
        callbacks: further Lightning callbacks.

    Raises:
        TrainingError: no clips, no such device, or the loss became NaN.
        CheckpointError: what an interrupted fit left is damaged.
    """
    device_check(training.accelerator)
    if not frames:
        raise TrainingError(f"{NAME}: no training clips; the raw data need clips of normal footage in the train split")
    if size % 16:
        raise TrainingError(f"{NAME}: crops of {size} pixels; set crop to a multiple of 16")
    folder = folder / _fingerprint(frames, objects, config, holes, size, training, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        finished = folder / "finished.safetensors"
        reused = finished.exists()
        if not reused:
            _fit(frames, objects, config, holes, size, training, seed, folder, callbacks)
    return Trained(read_checkpoint(finished), pd.read_parquet(folder / "history.parquet"), reused)


def not_fitted(source: str) -> tuple[Checkpoint, pd.DataFrame]:
    """What stands in the place of a fitted inpainter where another one is used: its name, no weights, no history."""
    return Checkpoint(NAME, {}, {}, {"source": source}, {}), pd.DataFrame(columns=list(HISTORY_COLUMNS))


def pipeline_of(checkpoint: Checkpoint) -> LatentInpaintingPipeline:
    """The diffusers pipeline of a fitted inpainter."""
    config: Config = TypeAdapter(Config).validate_python(checkpoint.config)
    vqvae, unet = new_autoencoder(config), new_denoiser(config)
    vqvae.load_state_dict(_part(checkpoint.state, "vqvae."))
    unet.load_state_dict(_part(checkpoint.state, "unet."))
    vqvae.register_to_config(scaling_factor=checkpoint.about["scaling_factor"])
    pipeline = LatentInpaintingPipeline(vqvae.eval(), unet.eval(), compvis_schedule("v_prediction"))
    # so that a saved pipeline, too, says at which size it is to be used
    unet.register_to_config(sample_size=checkpoint.about["crop"] // pipeline.vae_scale_factor)
    return pipeline


def _fit(
    frames: Clips,
    objects: Clips,
    config: Config,
    holes: Masks,
    size: int,
    training: InpainterFit,
    seed: int,
    folder: Path,
    callbacks: Sequence[Callback],
) -> None:
    fitted, held = split_held_out({"frames": frames, "objects": objects}, training.held_out)
    cropped = ObjectCrops(fitted["frames"], fitted["objects"], holes, size, seed, training.crops)
    loaders = {"train_dataloaders": training_loader(cropped, training.batch_size, None)}
    if held["frames"]:
        measured = ObjectCrops(held["frames"], held["objects"], holes, size, seed, min(training.crops, 256))
        loaders["val_dataloaders"] = ordered_loader(measured, training.batch_size)

    lightning.seed_everything(seed, verbose=False)
    settings = FitSettings(
        training.autoencoder_epochs,
        training.autoencoder_learning_rate,
        training.precision,
        training.accelerator,
        training.devices,
        training.strategy,
        training.threads,
    )
    autoencoder, first = _step(
        folder / "autoencoder",
        lambda: AutoencoderTraining(config, settings.learning_rate),
        loaders,
        settings,
        seed,
        callbacks,
    )
    vqvae = new_autoencoder(config)
    vqvae.load_state_dict(_part(autoencoder, "vqvae."))
    with torch_threads(training.threads):  # its sums, too, depend on them
        scale = _latent_scale(vqvae.eval(), cropped, training.batch_size)
    vqvae.register_to_config(scaling_factor=scale)

    lightning.seed_everything(seed + 1, verbose=False)
    denoiser, second = _step(
        folder / "denoiser",
        lambda: DenoiserTraining(config, vqvae, training.learning_rate),
        loaders,
        training,
        seed,
        callbacks,
    )
    history = pd.concat([first, second], ignore_index=True)
    state = {f"vqvae.{k}": v for k, v in vqvae.state_dict().items()}
    state |= {f"unet.{k}": v for k, v in _part(denoiser, "averaged.module.").items()}
    seconds = sum(json.loads((folder / step / "seconds.json").read_text()) for step in ("autoencoder", "denoiser"))
    about = {
        "seed": seed,
        "training": training.stated(),
        "crop": size,
        "scaling_factor": scale,
        "held_out": list(held["frames"]),
        "errors": {str(row["name"]): float(row["value"]) for row in _last(history)},
        "seconds": seconds,
        "torch": torch.__version__,
    }
    checkpoint = Checkpoint(NAME, asdict(config), {}, about, state)
    pipeline_of(checkpoint).save_pretrained(folder / PIPELINE)
    history.to_parquet(folder / "history.parquet", index=False)
    write_checkpoint(checkpoint, folder / "finished.safetensors")


def _step(
    folder: Path,
    make: Callable[[], lightning.LightningModule],
    loaders: dict,
    settings: FitSettings,
    seed: int,
    callbacks: Sequence[Callback],
) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """One of the two fits: its state and history; taken from the folder where an interrupted run finished it."""
    folder.mkdir(exist_ok=True)
    weights, history = folder / "weights.pt", folder / "history.parquet"
    if not weights.exists():
        result: Fitted = fit(f"{NAME} ({folder.name})", make(), loaders, settings, seed, folder, callbacks)
        result.history.to_parquet(history, index=False)
        (folder / "seconds.json").write_text(json.dumps(round(result.seconds, 1)))
        temporary = weights.with_suffix(".partial")
        torch.save(result.state, temporary)
        temporary.replace(weights)
        (folder / RESUME).unlink(missing_ok=True)
    return torch.load(weights, map_location="cpu", weights_only=True), pd.read_parquet(history)


def _latent_scale(vqvae: VQModel, cropped: ObjectCrops, batch_size: int) -> float:
    """One over the standard deviation of the autoencoder's latents."""
    latents = []
    with torch.inference_mode():
        for batch, _ in zip(ordered_loader(cropped, batch_size), range(STATISTICS_BATCHES), strict=False):
            latents.append(vqvae.encode(to_unit(batch["image"])).latents.flatten())
    return 1 / max(float(torch.cat(latents).std()), 1e-6)


def _part(state: dict[str, torch.Tensor], start: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def _last(history: pd.DataFrame) -> list[dict]:
    """What was measured on held-out crops after the last epoch of each step."""
    measured = history[history["name"].str.startswith("val_")]
    return measured.sort_values("epoch").groupby("name", as_index=False).last().to_dict("records")


def _fingerprint(
    frames: Clips, objects: Clips, config: Config, holes: Masks, size: int, training: InpainterFit, seed: int
) -> str:
    settings = {k: v for k, v in asdict(training).items() if k not in PLACE}
    parameters = {"model": asdict(config), "masks": asdict(holes), "crop": size, "training": settings, "seed": seed}
    data = fingerprint(*(clip.fingerprint for clips in (frames, objects) for clip in clips.values()))
    code = (AutoencoderTraining, DenoiserTraining, ObjectCrops, training_loader, _latent_scale)
    return step_fingerprint(data, parameters, code, ("torch", "diffusers", "cv2"))


def held_out_errors(checkpoint: Checkpoint, frames: Clips, objects: Clips) -> dict[str, float]:
    """dB inside moving objects of held-out frames; nothing where nothing was fitted or held out.

    ``object_psnr`` is of the autoencoder, ``object_median_psnr`` of the picture without objects, the clip's median.
    """
    if not checkpoint.state or not checkpoint.about["held_out"]:
        return {}
    vqvae = pipeline_of(checkpoint).vqvae
    size = checkpoint.about["crop"]
    held = with_parts({"frames": frames, "objects": objects}, checkpoint.about["held_out"])
    errors: dict[str, list[float]] = {"object_psnr": [], "object_median_psnr": []}
    for clip in checkpoint.about["held_out"]:
        array, found = (held[stream][clip].array() for stream in ("frames", "objects"))
        background = masks.temporal_median(array)
        for t in range(0, len(array), 10):
            for part in masks.components(found[t]):
                square = crops.square_around(part.box, size, *array.shape[1:3])
                pieces = [crops.cut(picture, square, size) for picture in (array[t], background)]
                inside = crops.cut(found[t], square, size)
                image = to_unit(torch.from_numpy(np.repeat(pieces[0], 3 // pieces[0].shape[-1], axis=-1))[None])
                with torch.inference_mode():
                    decoded = vqvae(image).sample.clamp(-1, 1)[0].movedim(0, -1).numpy() * 127.5 + 127.5
                decoded = decoded.mean(axis=-1, keepdims=True) if pieces[0].shape[-1] == 1 else decoded
                for name, picture in (("object_psnr", decoded), ("object_median_psnr", pieces[1])):
                    difference = (picture - pieces[0].astype(np.float32))[inside] / 255
                    errors[name].append(float(np.square(difference).mean()))
    return {name: -10 * float(np.log10(np.mean(values))) for name, values in errors.items() if values}

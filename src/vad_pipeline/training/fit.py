"""Training of any detector with Lightning: seeded, resumable at an epoch's end, finished work reused."""

import inspect
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import lightning
import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.io.clips import Clips
from vad_pipeline.models import MODELS, layers
from vad_pipeline.models.contract import ScoringOptions
from vad_pipeline.sources.raw_clip import fingerprint
from vad_pipeline.sources.resize import FrameSize
from vad_pipeline.training.checkpoint import Checkpoint, CheckpointError, read_checkpoint, write_checkpoint
from vad_pipeline.training.windows import Windows, ordered_loader, training_loader

HISTORY_COLUMNS = ("epoch", "name", "value")
RESUME = "resume.ckpt"  # state at the end of the last finished epoch


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Training:
    """How a model is trained; defaults are the MNAD family's (spec 1.5).

    Attributes:
        epochs: passes over the windows; the last one's weights are the result.
        batch_size: windows per step.
        learning_rate: at the start of the schedule.
        window_stride: frames between the starts of two windows.
        held_out: share of the training clips kept for validation curves and calibration.
        precision: Lightning's: 32-true, or bf16-mixed where the processor is good at it.
        accelerator, devices, strategy: Lightning's; a strategy that does not start the script again (ddp_spawn).
            With several devices set ddp_spawn or ddp_notebook.
    """

    epochs: int = Field(default=60, ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    window_stride: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: int | str = 1
    strategy: str = "auto"


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        checkpoint: the model after its last epoch.
        history: table epoch, name, value.
        reused: whether it was finished before.
    """

    checkpoint: Checkpoint
    history: pd.DataFrame
    reused: bool


def split_held_out(train: Clips, share: float) -> tuple[Clips, Clips]:
    """Training clips and held-out normal clips, the latter spread evenly over the former's order.

    At least one clip is held out where the share is positive and there are two clips or more.
    """
    n = min(max(1, round(share * len(train))), len(train) - 1) if share > 0 else 0
    names = list(train)
    held = {names[int((i + 0.5) * len(names) / n)] for i in range(n)}
    return (
        Clips({name: train[name] for name in names if name not in held}),
        Clips({name: train[name] for name in names if name in held}),
    )


def train(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    streams: Mapping[str, Clips],
    folder: Path,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a model on normal clips, or return it where that was done before.

    Args:
        name: of the model in the registry.
        config: its configuration.
        size: of the frames.
        training: how.
        seed: of weights, sampling and augmentation.
        streams: stream -> clips; those of the ``train`` split are used.
        folder: working directory; one folder in it belongs to one combination of all of the above, code included.
        callbacks: further Lightning callbacks.

    Raises:
        TrainingError: no training clips, no such device, or the loss became NaN.
        CheckpointError: what an interrupted training left is damaged.
        WindowError: a clip is shorter than the window.
    """
    device_check(training.accelerator)
    streams = {stream: streams[stream].split("train") for stream in MODELS[name].streams}
    if not streams["frames"]:
        raise TrainingError(f"{name}: no training clips; the raw data need clips of normal footage in the train split")
    multiple = MODELS[name].size_multiple
    if size.height % multiple or size.width % multiple:
        raise TrainingError(
            f"{name}: frames of {size.width}x{size.height}; it halves them several times, so set {name}.frames to a "
            f"height and a width that are multiples of {multiple}"
        )
    fitted, held_out = _split_streams(streams, training.held_out)
    folder = folder / training_fingerprint(name, config, size, training, seed, streams)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # of two runs that want the same training, the second waits and takes the result
        finished = folder / "finished.safetensors"
        reused = finished.exists()
        if not reused:
            checkpoint, history = _fit(name, config, size, training, seed, fitted, held_out, folder, callbacks)
            history.to_parquet(folder / "history.parquet", index=False)
            write_checkpoint(checkpoint, finished)
            (folder / RESUME).unlink(missing_ok=True)
    checkpoint = _calibrated(read_checkpoint(finished), config, held_out, training)
    return Trained(checkpoint, pd.read_parquet(folder / "history.parquet"), reused)


def _fit(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    fitted: Mapping[str, Clips],
    held_out: Mapping[str, Clips],
    folder: Path,
    callbacks: Sequence[Callback],
) -> tuple[Checkpoint, pd.DataFrame]:
    """Train from the start, or from the end of the last epoch that an interrupted training finished."""
    lightning.seed_everything(seed, verbose=False)
    model = MODELS[name](config, colours=size.channels, learning_rate=training.learning_rate, epochs=training.epochs)  # type: ignore[call-arg]
    window = model.window(config)
    loaders: dict[str, Any] = {
        "train_dataloaders": training_loader(
            Windows(fitted, window.length, training.window_stride), training.batch_size, seed
        )
    }
    if held_out["frames"]:
        windows = Windows(held_out, window.length, training.window_stride)
        loaders["val_dataloaders"] = ordered_loader(windows, training.batch_size)

    resume = folder / RESUME
    keeper = ModelCheckpoint(
        dirpath=folder, filename=resume.stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        max_epochs=training.epochs,
        accelerator=training.accelerator,
        devices=training.devices,
        strategy=training.strategy,
        precision=training.precision,
        callbacks=[_SeedEpochs(seed), _StopOnNaN(name, folder), _History(), keeper, TQDMProgressBar(10), *callbacks],
        default_root_dir=folder,
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, **loaders, ckpt_path=_resumable(resume), weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt

    # read back rather than taken from this process: with several devices it is not the one that trained
    saved = torch.load(resume, map_location="cpu", weights_only=True)
    history = saved["callbacks"][_History.__name__]
    clips = [clip for split in (fitted, held_out) for stream in split.values() for clip in stream.values()]
    checkpoint = Checkpoint(
        model=name,
        config=asdict(config),
        frames=asdict(size),
        about={
            "seed": seed,
            "training": asdict(training),
            "data": fingerprint(*sorted(clip.fingerprint for clip in clips)),
            "held_out": list(held_out["frames"]),
            "seconds": round(history["seconds"], 1),
            "torch": torch.__version__,
        },
        state=saved["state_dict"],
    )
    return checkpoint, pd.DataFrame(history["rows"], columns=list(HISTORY_COLUMNS))


def training_fingerprint(
    name: str, config: Any, size: FrameSize, training: Training, seed: int, streams: Mapping[str, Clips]
) -> str:
    """What a training depends on: parameters, data, the code of the model and its layers, torch."""
    # where it runs does not decide what comes out
    settings = {k: v for k, v in asdict(training).items() if k not in ("accelerator", "devices", "strategy")}
    model = {k: v for k, v in asdict(config).items() if k not in MODELS[name].scoring_only}
    parts = [name, json.dumps([model, asdict(size), settings, seed], sort_keys=True)]
    parts += [f"{stream}:{clip}:{c.fingerprint}" for stream in streams for clip, c in streams[stream].items()]
    return fingerprint(*parts, *module_sources(sys.modules[MODELS[name].__module__], layers), torch.__version__)


def device_of(accelerator: str) -> torch.device:
    """The torch device that a Lightning accelerator stands for."""
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    if accelerator == "mps":
        return torch.device("mps")
    return torch.device("cpu")


def device_check(accelerator: str) -> None:
    """Make sure that the device is there.

    Raises:
        TrainingError: it is not.
    """
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise TrainingError(
            f"accelerator: {accelerator} is asked for, but torch {torch.__version__} sees no CUDA device; install the "
            "CUDA build of torch (see README) or set accelerator: cpu"
        )
    if accelerator == "mps" and not torch.backends.mps.is_available():
        raise TrainingError("accelerator: mps is asked for, but this is no Apple GPU; set accelerator: cpu")


def _calibrated(trained: Checkpoint, config: Any, held_out: Mapping[str, Clips], training: Training) -> Checkpoint:
    """The trained weights under a configuration that may differ in what only scoring reads, and calibrated for it."""
    model = replace(trained, config=asdict(config)).build()
    model.calibrate(lambda: _arrays(held_out), ScoringOptions(device_of(training.accelerator)))
    return replace(trained, config=asdict(config), state=model.state_dict())


def module_sources(module: ModuleType, package: ModuleType) -> list[str]:
    """Source text of a module and of the imported modules of a package."""
    inside = [found for key, found in sorted(sys.modules.items()) if key.startswith(f"{package.__name__}.")]
    return [inspect.getsource(found) for found in (module, *inside)]


def _split_streams(streams: Mapping[str, Clips], share: float) -> tuple[dict[str, Clips], dict[str, Clips]]:
    _, held = split_held_out(streams["frames"], share)
    return (
        {name: Clips({c: clips[c] for c in clips if c not in held}) for name, clips in streams.items()},
        {name: Clips({c: clips[c] for c in clips if c in held}) for name, clips in streams.items()},
    )


def _arrays(streams: Mapping[str, Clips]) -> Iterator[dict[str, np.ndarray]]:
    for clip in streams["frames"]:
        yield {name: clips[clip].array() for name, clips in streams.items()}


def _resumable(path: Path) -> Path | None:
    """The state of an interrupted training, if there is one.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}, left by an interrupted training, is damaged ({type(error).__name__}); delete it to train from "
            "the start"
        ) from error
    return path


class _SeedEpochs(Callback):
    """Random numbers of an epoch depend on (seed, epoch) alone, so that a resumed run draws the same."""

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_epoch_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        state = np.random.SeedSequence([self.seed, trainer.current_epoch]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0]) % 2**63)


class _StopOnNaN(Callback):
    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not isfinite(float(outputs["loss"])):
            kept = (
                f"the state after epoch {trainer.current_epoch - 1} is kept in {self.folder / RESUME}"
                if trainer.current_epoch
                else "there is no finished epoch to keep"
            )
            raise TrainingError(
                f"{self.name}: the loss is {float(outputs['loss'])} at epoch {trainer.current_epoch}, step "
                f"{trainer.global_step}; {kept}; lower learning_rate or set precision: 32-true"
            )


class _History(Callback):
    """Losses per epoch; travels with the state, so that a resumed training has all of it."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.seconds = 0.0
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        for name, value in sorted(trainer.callback_metrics.items()):
            self.rows.append([trainer.current_epoch, name, float(value)])
        for rate in {group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups}:
            self.rows.append([trainer.current_epoch, "learning_rate", float(rate)])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds + time.monotonic() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]
        self._start = time.monotonic()

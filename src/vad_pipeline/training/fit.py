"""Fitting of any Lightning module: seeded, resumable at an epoch's end."""

import inspect
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.models import layers
from vad_pipeline.models.contract import Detector
from vad_pipeline.training.checkpoint import CheckpointError

HISTORY_COLUMNS = ("epoch", "name", "value")
RESUME = "resume.ckpt"  # state at the end of the last finished epoch


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what to do."""


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class FitSettings:
    """How long and where a module is fitted.

    Attributes:
        epochs: passes over the data; the last one's weights are the result.
        learning_rate: at the start of the schedule.
        precision: Lightning's: 32-true, or bf16-mixed where the processor is good at it.
        accelerator, devices, strategy: Lightning's; a strategy that does not start the script again (ddp_spawn).
            With several devices set ddp_spawn or ddp_notebook.
    """

    epochs: int = Field(default=60, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: int | str = 1
    strategy: str = "auto"


# where it runs does not decide what comes out
PLACE = frozenset({"accelerator", "devices", "strategy"})


@dataclass(frozen=True)
class Fitted:
    """The result of a fit.

    Attributes:
        state: weights and buffers after the last epoch.
        history: table epoch, name, value.
        seconds: of fitting, those before an interruption included.
    """

    state: dict[str, torch.Tensor]
    history: pd.DataFrame
    seconds: float


def fit(
    name: str,
    module: lightning.LightningModule,
    loaders: Mapping[str, Any],
    settings: FitSettings,
    seed: int,
    folder: Path,
    callbacks: Sequence[Callback] = (),
) -> Fitted:
    """Fit a module from the start, or from the end of the last epoch that an interrupted fit finished.

    Args:
        name: for messages.
        module: with its initial weights.
        loaders: ``train_dataloaders`` and, where there is something to validate on, ``val_dataloaders``.
        settings: how.
        seed: the random numbers of an epoch follow from it and the epoch's number.
        folder: keeps the state at an epoch's end; the caller deletes ``RESUME`` when the result is safe.
        callbacks: further Lightning callbacks.

    Raises:
        TrainingError: the loss became NaN.
        CheckpointError: what an interrupted fit left is damaged.
    """
    resume = folder / RESUME
    keeper = ModelCheckpoint(
        dirpath=folder, filename=resume.stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=settings.strategy,
        precision=settings.precision,
        callbacks=[_SeedEpochs(seed), _StopOnNaN(name, folder), _History(), keeper, TQDMProgressBar(10), *callbacks],
        default_root_dir=folder,
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, **loaders, ckpt_path=_resumable(resume), weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt

    # read back rather than taken from this process: with several devices it is not the one that fitted
    saved = torch.load(resume, map_location="cpu", weights_only=True)
    history = saved["callbacks"][_History.__name__]
    table = pd.DataFrame(history["rows"], columns=list(HISTORY_COLUMNS))
    return Fitted(saved["state_dict"], table, history["seconds"])


def device_of(accelerator: str) -> torch.device:
    """The torch device that a Lightning accelerator stands for."""
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    if accelerator == "mps":
        return torch.device("mps")
    return torch.device("cpu")


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself, so that computing in it is worth while."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()


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


def model_sources(kind: type[Detector]) -> list[str]:
    """Source text of what decides a model's results: the modules of its classes, those it names, imported layers."""
    classes = (c for c in kind.__mro__ if issubclass(c, Detector) and c is not Detector)
    own = dict.fromkeys(sys.modules[c.__module__] for c in classes)
    inside = [found for key, found in sorted(sys.modules.items()) if key.startswith(f"{layers.__name__}.")]
    return [inspect.getsource(module) for module in (*own, *kind.code, *inside)]


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

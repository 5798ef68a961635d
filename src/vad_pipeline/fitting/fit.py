"""Fitting of any Lightning module: seeded, resumable at an epoch's end."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError
from vad_pipeline.fitting.devices import Precision, TrainingError, device_of, torch_threads, usable_precision
from vad_pipeline.fitting.progress_bar import FitProgress
from vad_pipeline.fitting.quiet import quiet

HISTORY_COLUMNS = ("epoch", "name", "value")
RESUME = "resume.ckpt"  # state at the end of the last finished epoch


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class FitSettings:
    """How long and where a module is fitted.

    Attributes:
        epochs: passes over the data; the last one's weights are the result.
        learning_rate: at the start of the schedule.
        precision: Lightning's; bf16-mixed is 32-true on processors that would imitate it.
        accelerator, devices, strategy: Lightning's; a strategy that does not start the script again (ddp_spawn).
            With several devices set ddp_spawn or ddp_notebook.
        threads: that torch computes with on a CPU; null takes all cores (or OMP_NUM_THREADS), which pays where a step
            takes long and nothing else runs. Threads that wait for a core that something else keeps busy cost many
            times what they bring.
    """

    epochs: int = Field(default=60, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    precision: Precision = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    threads: int | None = Field(default=None, ge=1)

    @property
    def computed_in(self) -> Precision:
        """The precision on this machine."""
        return usable_precision(self.precision, device_of(self.accelerator))

    def stated(self) -> dict[str, Any]:
        """The settings as a checkpoint states them, with the precision that was computed in."""
        return asdict(self) | {"precision": self.computed_in}


# where it runs does not decide what comes out
PLACE = frozenset({"accelerator", "devices", "strategy", "threads"})


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

    The module may optimise by hand, with several optimisers; ``optimizer_names`` then tells their rates apart in the
    history.

    Args:
        name: for messages.
        module: with its initial weights.
        loaders: ``train_dataloaders`` and, where there is something to validate on, ``val_dataloaders``.
        settings: how.
        seed: the random numbers of an epoch follow from it and the epoch's number.
        folder: keeps the state at an epoch's end; the caller deletes ``RESUME`` when the result is safe.
        callbacks: further Lightning callbacks.

    Raises:
        TrainingError: the loss, or anything that was logged in a step, became NaN.
        CheckpointError: what an interrupted fit left is damaged.
    """
    resume = folder / RESUME
    keeper = ModelCheckpoint(
        dirpath=folder, filename=resume.stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    begun = read_resumable(resume) is not None
    with torch_threads(settings.threads), quiet():
        trainer = lightning.Trainer(
            max_epochs=settings.epochs,
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision=settings.computed_in,
            callbacks=[_SeedEpochs(seed), _StopOnNaN(name, folder), _History(), keeper, FitProgress(name), *callbacks],
            default_root_dir=folder,
            logger=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, **loaders, ckpt_path=resume if begun else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt

    # read back rather than taken from this process: with several devices it is not the one that fitted
    saved = torch.load(resume, map_location="cpu", weights_only=True)
    history = saved["callbacks"][_History.__name__]
    table = pd.DataFrame(history["rows"], columns=list(HISTORY_COLUMNS))
    return Fitted(saved["state_dict"], table, history["seconds"])


def read_resumable(path: Path) -> dict[str, Any] | None:
    """The state of an interrupted fit, if there is one.

    Raises:
        CheckpointError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}, left by an interrupted training, is damaged ({type(error).__name__}); delete it to train from "
            "the start"
        ) from error


class _SeedEpochs(Callback):
    """Random numbers of an epoch depend on (seed, epoch) alone, so that a resumed run draws the same."""

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_epoch_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        state = np.random.SeedSequence([self.seed, trainer.current_epoch]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0]) % 2**63)


class _StopOnNaN(Callback):
    """Stops at the first step whose loss is not finite, or that logs a NaN, before an epoch's end keeps it."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        self.logged: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        log = module.log

        def remembered(name: str, value: Any, *args: Any, **kwargs: Any) -> None:
            if isinstance(value, torch.Tensor | float) and trainer.training:
                self.logged[name] = torch.as_tensor(value).detach()
            log(name, value, *args, **kwargs)

        module.log = remembered  # type: ignore[method-assign]  # log_dict calls it, too

    def on_fit_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        vars(module).pop("log", None)

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, _: BaseException) -> None:
        vars(module).pop("log", None)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        wrong = {name: float(value) for name, value in self.logged.items() if bool(value.isnan().any())}
        if loss is not None and not isfinite(float(loss)):
            wrong = {"the loss": float(loss)}
        self.logged.clear()
        if not wrong:
            return
        name, value = next(iter(wrong.items()))
        kept = (
            f"the state after epoch {trainer.current_epoch - 1} is kept in {self.folder / RESUME}"
            if trainer.current_epoch
            else "there is no finished epoch to keep"
        )
        raise TrainingError(
            f"{self.name}: {name} is {value} at epoch {trainer.current_epoch}, step {batch_idx}; {kept}; lower "
            "learning_rate or set precision: 32-true"
        )


class _History(Callback):
    """Losses per epoch; travels with the state, so that a resumed training has all of it."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] = []
        self.seconds = 0.0
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        for name, value in sorted(trainer.callback_metrics.items()):
            self.rows.append([trainer.current_epoch, name, float(value)])
        several = len(trainer.optimizers) > 1  # a single one needs no name
        names = getattr(module, "optimizer_names", ()) if several else ()
        names = names or range(len(trainer.optimizers))
        for name, optimizer in zip(names, trainer.optimizers, strict=True):
            label = f"learning_rate_{name}" if several else "learning_rate"
            for rate in {group["lr"] for group in optimizer.param_groups}:
                self.rows.append([trainer.current_epoch, label, float(rate)])

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.seconds + time.monotonic() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]
        self._start = time.monotonic()


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


Batch = dict[str, torch.Tensor]

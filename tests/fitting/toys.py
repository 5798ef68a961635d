"""What ``fit`` and ``fit_in_one_pass`` are shown: small enough to be fitted, and killed, in a moment."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset

from vad_pipeline.fitting.fit import FitSettings, Fitted, fit
from vad_pipeline.fitting.loaders import training_loader
from vad_pipeline.fitting.one_pass import fit_in_one_pass


class Points(Dataset):
    """Points (3,) near (2, 2, 2), a batch at a time."""

    def __init__(self, n: int = 20):
        self.points = 2 + 0.1 * torch.randn(n, 3, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.points)

    def __getitems__(self, numbers: Sequence[int]) -> Tensor:
        return self.points[[number % len(self) for number in numbers]]


class ToyGAN(lightning.LightningModule):
    """Two networks, each with an optimiser and a schedule of its own, optimised by hand.

    Args:
        spoilt: a loss, and the epoch and the batch at which it is logged as NaN.
    """

    optimizer_names = ("generator", "discriminator")

    def __init__(self, spoilt: tuple[str, int, int] | None = None):
        super().__init__()
        self.automatic_optimization = False
        self.spoilt = spoilt
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        self.discriminator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def training_step(self, batch: Tensor, index: int) -> None:
        of_generator, of_discriminator = self.optimizers()
        made = self.generator(torch.randn(len(batch), 2))
        real, fake = self.discriminator(batch), self.discriminator(made.detach())
        losses = {"discriminator_loss": F.softplus(-real).mean() + F.softplus(fake).mean()}
        of_discriminator.zero_grad()
        self.manual_backward(losses["discriminator_loss"])
        of_discriminator.step()
        losses["generator_loss"] = F.softplus(-self.discriminator(made)).mean()
        of_generator.zero_grad()
        self.manual_backward(losses["generator_loss"])
        of_generator.step()
        if self.spoilt and self.spoilt[1:] == (self.current_epoch, index):
            losses[self.spoilt[0]] = losses[self.spoilt[0]] * float("nan")
        logged = {name: loss.detach() for name, loss in losses.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch))

    def on_train_epoch_end(self) -> None:
        for schedule in self.lr_schedulers():
            schedule.step()

    def configure_optimizers(self) -> Any:
        rates = ((self.generator, 1e-2), (self.discriminator, 4e-2))
        chosen = [torch.optim.Adam(network.parameters(), rate) for network, rate in rates]
        return chosen, [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5) for optimizer in chosen]


class KillAt(Callback):
    """SIGKILL of its own process after a batch of an epoch: nothing is cleaned up, nothing is written any more."""

    def __init__(self, epoch: int, batch: int):
        self.at = (epoch, batch)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def fit_module(
    module: Callable[[], lightning.LightningModule], folder: Path, callbacks: Sequence[Callback] = ()
) -> tuple[lightning.LightningModule, Fitted]:
    """Four epochs of five batches."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    fitted, settings = module(), FitSettings(epochs=4, accelerator="cpu", threads=1)
    loaders = {"train_dataloaders": training_loader(Points(), 4, seed=0)}
    return fitted, fit("toy", fitted, loaders, settings, 0, folder, callbacks)


class Bank(nn.Module):
    """Keeps half of the rows of every clip, drawn at random; ``kill_at`` is the clip in the middle of which it dies."""

    items: Tensor

    def __init__(self, kill_at: float | None = None):
        super().__init__()
        self.kill_at = kill_at
        self.register_buffer("items", torch.empty(0, 3))

    def learn(self, clip: Mapping[str, np.ndarray]) -> dict[str, float]:
        rows = torch.from_numpy(np.array(clip["frames"]))
        self.items = torch.cat([self.items, rows[torch.randperm(len(rows))[: len(rows) // 2]]])
        if float(rows[0, 0]) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"items": float(len(self.items))}


def learn_bank(folder: Path, kill_at: float | None = None, keep_every: float = 0.0) -> tuple[Bank, Fitted]:
    """Six clips, of 4, 6, ... 14 rows that are the clip's number; a clip that is opened is noted in ``opened``."""
    folder.mkdir(parents=True, exist_ok=True)

    def opened(number: int) -> dict[str, np.ndarray]:
        with open(folder / "opened", "a") as log:
            log.write(f"{number}\n")
        rows = np.full((4 + 2 * number, 3), number, np.float32)
        rows[:, 1] = np.arange(len(rows))
        return {"frames": rows}

    bank = Bank(kill_at)
    clips = {f"train/{number}": partial(opened, number) for number in range(6)}
    return bank, fit_in_one_pass("toy", bank, bank.learn, clips, 0, folder, keep_every)

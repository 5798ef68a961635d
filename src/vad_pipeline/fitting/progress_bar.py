"""One line of progress for a whole fit."""

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

REFRESHED = 0.25  # seconds between two drawings of the line


class FitProgress(ProgressBar):
    """A bar over all steps of all epochs, where Lightning's begins anew with every epoch and has others beside it.

    Where standard error is no terminal, one line is written at the end.

    Args:
        name: of what is fitted.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self._shown: tuple[Progress, TaskID] | None = None
        self._drawn = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[epoch]}"))
        # drawn by hand: a thread that draws may hold a lock at the moment when a loader forks its workers
        progress = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), auto_refresh=False
        )
        steps = int(trainer.num_training_batches) * int(trainer.max_epochs or 1)
        done = int(trainer.num_training_batches) * trainer.current_epoch
        progress.start()
        self._shown = progress, progress.add_task(f"training {self.name}", total=steps, completed=done, epoch="")

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._draw(epoch=f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._draw(completed=trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the line as it is and the terminal to others."""
        if self._shown is not None:
            self._shown[0].stop()
        self._shown = None

    def _draw(self, **what: Any) -> None:
        if self._shown is None:
            return
        progress, task = self._shown
        progress.update(task, **what)
        if time.monotonic() - self._drawn > REFRESHED:
            progress.refresh()
            self._drawn = time.monotonic()

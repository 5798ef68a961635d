import io
import logging
import warnings

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from vad_pipeline.fitting.quiet import quiet


class Line(lightning.LightningModule):
    """A module as small as can be, whose validation step gets nothing to validate on."""

    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch):
        return (self.slope - batch).square().mean()

    def validation_step(self, batch):
        return None

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder):
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[ModelCheckpoint(dirpath=folder)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(2, 1)))


def messages_of(fitting, folder):
    (folder / "lock").touch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitting(folder)
    return [str(warning.message) for warning in caught]


def test_a_fit_in_a_folder_that_is_not_empty_and_without_held_out_clips_warns_of_neither(tmp_path):
    about = ("Checkpoint directory", "You defined a `validation_step`")

    def named(messages):
        return {text for text in about if any(message.startswith(text) for message in messages)}

    assert named(messages_of(fit, tmp_path)) == set(about), "Lightning stopped warning: shorten the list of noise"
    assert named(messages_of(quiet()(fit), tmp_path)) == set()


def test_other_warnings_are_shown():
    with pytest.warns(UserWarning, match="the rate is odd"), quiet():
        warnings.warn("the rate is odd", stacklevel=1)


def test_what_lightning_logs_goes_to_the_project_s_log_and_to_no_console_of_its_own(tmp_path, monkeypatch, caplog):
    said = io.StringIO()
    monkeypatch.setattr(logging.getLogger("lightning"), "handlers", [logging.StreamHandler(said)])
    fit(tmp_path)
    assert "GPU available" in said.getvalue(), "Lightning stopped talking: nothing needs to be quiet"
    said.truncate(0)
    caplog.clear()
    quiet()(fit)(tmp_path)
    assert said.getvalue() == ""
    assert "GPU available" in caplog.text
    assert logging.getLogger("lightning").handlers

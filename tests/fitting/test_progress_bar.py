"""One line for a whole fit."""

import copy
import pickle

import lightning
import pytest
import torch

from tests.fitting.test_quiet import Line
from vad_pipeline.fitting.progress_bar import FitProgress


class Stumbling(Line):
    def training_step(self, batch):
        raise ValueError("a stumble")


def fit(module, epochs=3):
    bar = FitProgress("line")
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[bar],
        enable_model_summary=False,
    )  # fmt: skip
    data = torch.utils.data.DataLoader(torch.ones(4, 1))
    trainer.fit(module, data, data)
    return bar


def test_all_epochs_and_their_validation_are_one_line(capfd):
    fit(Line())
    lines = [line for line in capfd.readouterr().err.splitlines() if "━" in line]
    assert len(lines) == 1
    assert lines[0].startswith("training line ")
    assert "epoch 3 of 3" in lines[0]


def test_an_error_leaves_the_terminal_to_what_comes_after(capfd):
    with pytest.raises(ValueError, match="a stumble"):
        fit(Stumbling())
    assert capfd.readouterr().err.splitlines()[-1].startswith("training line ")


def test_it_can_be_sent_to_another_process():
    bar = fit(Line(), epochs=1)
    assert pickle.loads(pickle.dumps(copy.copy(bar))).name == "line"

"""What goes to the file, and how warnings read."""

import logging
import warnings

import pytest
import yaml
from kedro.framework.project import LOGGING

from tests.conftest import PROJECT
from vad_pipeline.evaluation import metrics
from vad_pipeline.terminal.log_file import ONLY_FILE, log_to_file


@pytest.fixture
def project(tmp_path):
    """A project of nothing but its logging, which is put back at the end."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "logging.yml").write_text((PROJECT / "conf" / "logging.yml").read_text())
    with warnings.catch_warnings():
        formatter, handlers, level = warnings.formatwarning, logging.root.handlers[:], logging.root.level
        yield tmp_path
        warnings.formatwarning = formatter
    LOGGING.configure(yaml.safe_load((PROJECT / "conf" / "logging.yml").read_text()))
    logging.root.handlers[:], logging.root.level = handlers, level


def test_the_file_gets_what_the_terminal_does_not(project, capsys, monkeypatch):
    monkeypatch.delenv("KEDRO_LOGGING_CONFIG", raising=False)
    file = log_to_file(project)
    logging.getLogger("kedro.io.data_catalog").info("Loading data from frames")
    logging.getLogger("kedro.pipeline.node").error("Node train failed with error")
    logging.getLogger(ONLY_FILE).error("the run stopped")
    logging.getLogger("vad_pipeline.any").warning("a clip called [red] is short")
    written = file.read_text()
    for said in ("Loading data from frames", "Node train failed", "the run stopped", "called [red]"):
        assert said in written
    out = capsys.readouterr().out
    assert "called [red] is short" in out
    for said in ("Loading data", "failed", "stopped"):
        assert said not in out


def test_another_logging_configuration_is_left_alone(project, monkeypatch):
    monkeypatch.setenv("KEDRO_LOGGING_CONFIG", "elsewhere.yml")
    assert log_to_file(project) is None
    assert not (project / "logs").exists()


def test_our_own_warnings_are_sentences_and_others_keep_their_place(project):
    log_to_file(project)
    assert warnings.formatwarning("clip 3 is short", UserWarning, metrics.__file__, 7) == "clip 3 is short"
    assert "numpy.py:7: UserWarning: odd" in warnings.formatwarning("odd", UserWarning, "/lib/numpy.py", 7)

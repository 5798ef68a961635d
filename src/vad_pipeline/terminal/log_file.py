"""The file that gets what the terminal leaves out."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import LOGGING

import vad_pipeline

PACKAGE = Path(vad_pipeline.__file__).parent
FILE = Path("logs") / "kedro.log"  # in the project, git-ignored
ONLY_FILE = "vad_pipeline.only_file"  # name of a logger that the terminal never sees
# Kedro's accounts of what failed: the command line says the same in a sentence
FAILURES = ("kedro.runner", "kedro.pipeline.node", "kedro.validation.parameter_validator")
VIZ = "kedro_viz.integrations.kedro.run_hooks"  # that runs of a part leave no events for its view of past runs


def log_to_file(project: Path) -> Path | None:
    """Set up logging as conf/logging.yml says, with a file of everything beside it.

    Args:
        project: the project's folder.

    Returns:
        The file; None where KEDRO_LOGGING_CONFIG names another configuration, which is left as it is, or where the
        file cannot be written.
    """
    warnings.formatwarning = _sentence
    if os.environ.get("KEDRO_LOGGING_CONFIG"):
        return None
    file = project / FILE
    config: dict[str, Any] = yaml.safe_load((project / "conf" / "logging.yml").read_text(encoding="utf-8"))
    try:
        file.parent.mkdir(exist_ok=True)
        file.open("a").close()
    except OSError:  # a project that was installed by somebody else
        LOGGING.configure(config)
        return None
    config["formatters"] = {"full": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}}
    config["handlers"]["file"] = {
        "class": "logging.handlers.RotatingFileHandler",
        "filename": str(file),
        "maxBytes": 10_000_000,
        "backupCount": 3,
        "encoding": "utf-8",
        "formatter": "full",
    }
    config["root"]["handlers"].append("file")
    alone = {"level": "INFO", "handlers": ["file"], "propagate": False}
    config["loggers"] |= dict.fromkeys((ONLY_FILE, *FAILURES, VIZ), alone)
    LOGGING.configure(config)  # Kedro hands it on to the processes of a ParallelRunner
    return file


def log_traceback(error: Exception) -> None:
    """Leave the whole traceback in the file."""
    logging.getLogger(ONLY_FILE).error("the run stopped", exc_info=error)


_FORMAT = warnings.formatwarning


def _sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Our own warnings are worded for whoever runs the pipeline; others keep the place where they arose."""
    return (
        str(message) if Path(filename).is_relative_to(PACKAGE) else _FORMAT(message, category, filename, lineno, line)
    )

"""Kedro project settings."""

from pathlib import Path

from omegaconf.resolvers import oc

from vad_pipeline.config_loader import LocalLastConfigLoader
from vad_pipeline.hooks import MlflowTracking
from vad_pipeline.pipelines.missing_inputs import MissingInputs
from vad_pipeline.pipelines.training_alone import Session
from vad_pipeline.terminal.closing_box import ClosingBox
from vad_pipeline.terminal.unread_parameters import UnreadParameters

PROJECT = Path(__file__).resolve().parents[2]


def absolute(path: str) -> str:
    """A path relative to the project made absolute; URLs such as ``s3://bucket/data`` stay as they are."""
    return path if "://" in path else str(PROJECT / Path(path).expanduser())


CONFIG_LOADER_CLASS = LocalLastConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "scenes",
    "config_patterns": {"mlflow": ["mlflow*"]},
    "merge_strategy": {"parameters": "soft"},
    "custom_resolvers": {"oc.env": oc.env, "absolute": absolute},
}

HOOKS = (ClosingBox(), MlflowTracking(), MissingInputs(), UnreadParameters())
SESSION_CLASS = Session

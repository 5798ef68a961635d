"""A system that was handed over as an MLflow model: frames in, scores out, served or registered.

MLflow's model holds the folder and names this module, whose ``_load_pyfunc`` it calls: there is no pickle in it. What
serves it needs this package installed.
"""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.handed_over import SYSTEM_FILE, HandedOver, read_description
from vad_pipeline.detection.reading import Reading
from vad_pipeline.fitting.checkpoint import CheckpointError
from vad_pipeline.sources.images import read_mask

CHAMPION = "champion"  # the alias of the version that is in use
EXAMPLE = 64, 96  # rows and columns of the example's frames
LIBRARIES = "mlflow", "numpy", "torch"


class ServedDetector:
    """What MLflow calls; requests are answered one by one, for a detector goes through one video at a time."""

    def __init__(self, detector: Detector):
        self.detector = detector
        self._lock = threading.Lock()

    def predict(self, frames: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Scores of a video: frames uint8 (T, H, W, 1|3) at the trained rate to ``Detector.score``'s table."""
        with self._lock:
            return self.detector.score(np.asarray(frames))


def _load_pyfunc(folder: str) -> ServedDetector:
    """MLflow's entry point."""
    return ServedDetector(Detector.load(folder))


def save_model(folder: Path, path: Path) -> None:
    """Write an MLflow model of a folder that was handed over, for `mlflow models serve`.

    Raises:
        CheckpointError: the folder is none, or see ``Detector.load``.
    """
    import mlflow

    mlflow.pyfunc.save_model(path, **_described(folder))


def register(
    folder: Path, tracking_uri: str, experiment: str, name: str | None = None, champion: bool = False
) -> tuple[str, int]:
    """Log a folder that was handed over to a store of MLflow, and register it.

    Args:
        folder: as ``hand_over`` writes it.
        tracking_uri: of the store.
        experiment: id of the experiment whose run it is logged in.
        name: of the registered model; None is the data set's.
        champion: let the alias ``champion`` point to it.

    Returns:
        The registered model's name and the new version.

    Raises:
        CheckpointError: the folder is none, or see ``Detector.load``.
        MlflowException: the store refuses it.
    """
    import mlflow
    from mlflow import MlflowClient

    handed = read_description(folder)
    name = name or handed.dataset
    described = _described(folder)
    client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
    with _store(tracking_uri):
        run = client.create_run(experiment, run_name=f"{handed.system} handed over")
        with mlflow.start_run(run.info.run_id):
            logged = mlflow.pyfunc.log_model(name=handed.system, registered_model_name=name, **described)
            mlflow.log_metrics(
                {
                    "threshold_level": handed.threshold.level,
                    "false_alarms_per_hour": handed.threshold.per_hour,
                }
            )
    number = str(logged.registered_model_version)
    for key, value in _tags(handed).items():
        client.set_model_version_tag(name, number, key, value)
    if champion:
        client.set_registered_model_alias(name, CHAMPION, number)
    return name, int(number)


def _described(folder: Path) -> dict[str, Any]:
    """What MLflow is told: the folder, how it is loaded, what goes in and comes out, an example."""
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import Schema, TensorSpec

    if not (folder / SYSTEM_FILE).is_file():
        raise CheckpointError(f"{folder}: no system that was handed over; `kedro hand-over` writes one")
    detector = Detector.load(folder)
    height, width = _size(detector.reading or Reading())
    example = np.zeros((detector.shortest + 1, height, width, 1), np.uint8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")  # frames have all
        scores = infer_signature(model_output=detector.score(example)).outputs
    frames = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, -1))])
    return {
        "loader_module": __name__,
        "data_path": str(folder),
        "signature": ModelSignature(inputs=frames, outputs=scores),
        "input_example": example,
        "pip_requirements": [f"{library}=={version(library).partition('+')[0]}" for library in LIBRARIES],
    }


def _size(reading: Reading) -> tuple[int, int]:
    """Of the example's frames: small, but a region of interest has the camera's size."""
    return EXAMPLE if reading.region is None else read_mask(reading.region).shape[:2]  # type: ignore[return-value]


def _tags(handed: HandedOver) -> dict[str, str]:
    return {
        "system": handed.system,
        "dataset": handed.dataset,
        "false_alarms_per_hour": f"{handed.threshold.per_hour:.6g}",
        "threshold": f"{handed.threshold.level:.6g}",
        "vad_pipeline": handed.version,
    }


@contextmanager
def _store(tracking_uri: str) -> Iterator[None]:
    """The store for MLflow's functions that take none; what was set before comes back."""
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    variable = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
        if variable is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = variable

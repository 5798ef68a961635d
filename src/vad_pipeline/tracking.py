"""Live curves: what a training logs to the MLflow run that the tracking hook opened."""

import contextlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from mlflow import MlflowClient


RUNS_VARIABLE = "VAD_MLFLOW_RUNS"  # while a tracked run lasts: JSON, {tracking_uri, runs: {namespace: run id}}


ODD = re.compile(r"[^/\w.\- :]")  # what MLflow takes in no name


Point = tuple[str, float, int]  # name, value, step


logger = logging.getLogger(__name__)


def log(client: "MlflowClient", run_id: str, points: Sequence[Point] = (), parameters: Mapping[str, str] = {}) -> None:
    """In batches; names made of what MLflow takes, values of parameters cut at its limit of 6000 characters."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    metrics = [Metric(ODD.sub("_", name)[:250], value, now, step) for name, value, step in points]
    params = [Param(ODD.sub("_", n)[:250], v if len(v) <= 6000 else f"{v[:5997]}...") for n, v in parameters.items()]
    for i in range(0, max(len(metrics), len(params)), 100):
        client.log_batch(run_id, metrics=metrics[i : i + 100], params=params[i : i + 100])


@contextlib.contextmanager
def only_warning(uri: str, consequence: str) -> Iterator[None]:
    """Whatever fails in the store costs one warning, with its address and the remedy."""
    try:
        yield
    except Exception as error:
        text = re.sub(r"//[^/@\s]+@", "//***@", f"MLflow store {uri}: {type(error).__name__}: {error}")  # no passwords
        remedy = "check MLFLOW_TRACKING_URI or tracking_uri in conf/base/mlflow.yml, or set VAD_TRACKING=off"
        logger.warning("%s; %s. To mend it, %s.", text, consequence, remedy)


def live_curves(namespace: str) -> "Callback | None":
    """A Lightning callback that logs each epoch's metrics to the namespace's MLflow run; None where nothing is tracked.

    It logs on global rank zero only and can be pickled. Metrics of ``a.row`` go to the run of ``a`` as ``row.<name>``.
    """
    handed = json.loads(os.environ.get(RUNS_VARIABLE) or "{}")
    top, dot, rest = namespace.partition(".")
    run_id = handed.get("runs", {}).get(top)
    if run_id is None:
        return None
    from lightning.pytorch import Callback, LightningModule, Trainer

    # Lightning's MLFlowLogger sets MLFLOW_TRACKING_URI for the process, which would win over the next run's mlflow.yml
    class LiveCurves(Callback):
        """Logs ``trainer.callback_metrics`` with the epoch, from 0, as step; a store that fails is asked no more."""

        gave_up = False

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if not trainer.is_global_zero or self.gave_up:
                return
            from mlflow import MlflowClient

            values = ((rest + dot + name, float(value)) for name, value in trainer.callback_metrics.items())
            points = [(name, value, trainer.current_epoch) for name, value in values if math.isfinite(value)]
            self.gave_up = True
            with only_warning(handed["tracking_uri"], f"no live curves of {namespace}"):
                log(MlflowClient(handed["tracking_uri"]), run_id, points)
                self.gave_up = False

        def __reduce__(self) -> tuple[Any, ...]:  # spawned workers get it by pickle, which cannot find a local class
            return live_curves, (namespace,)

    return LiveCurves()

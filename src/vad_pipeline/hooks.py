"""MLflow tracking: one run per `kedro run`, one child run per top-level namespace of its nodes.

The hook works in the main process only, at the beginning and the end of a run, so every runner of Kedro's is safe with
it. What to log is found on disk: outputs marked ``metadata: {mlflow: metrics | history | artifact}`` in the catalog,
whose files this run wrote. Runs are addressed by id, there is no global active run. ``mlflow`` (1.7 s) is imported when
a tracked run begins, never before. How to use it: docs/tracking.md.
"""

import atexit
import contextlib
import json
import logging
import math
import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, DataCatalog, Version
from kedro.pipeline import Pipeline
from kedro.validation.utils import get_typed_fields
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from vad_pipeline.tracking import ODD, RUNS_VARIABLE, Point, log, only_warning

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
MARKS = "metrics", "history", "artifact"
FACTS = ("dataset", "protocol", "seed")  # tags that parameters of these names decide
PARENT = ""  # the namespace of nodes without one
SQLITE = "sqlite:///"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrackingConfig:
    """conf/<env>/mlflow.yml."""

    experiment: str
    enabled: bool = True
    tracking_uri: str = "sqlite:///mlflow.db"
    artifact_location: str | None = None
    tags: dict[str, str | int | float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """A dataset on disk that a node of the run writes; ``before`` is what lay there when the run began."""

    name: str
    namespace: str
    mark: str | None
    path: str
    version: Version | None
    fs: Any
    before: dict[str, Any]

    def produced(self) -> bool:
        """Whether the run wrote it: files that were not there before or are not the same."""
        self.fs.invalidate_cache()
        now = self.fs.find(self.path, detail=True)
        return bool(now) and now != self.before


@dataclass(frozen=True)
class TrackedRun:
    """What the hook remembers between the beginning and the end of a `kedro run`."""

    client: "MlflowClient"
    uri: str
    runs: dict[str, str]
    outputs: list[Output]
    catalog: DataCatalog
    pid: int = field(default_factory=os.getpid)


class MlflowTracking:
    """Kedro's hook. A store that cannot be used costs one warning, never the run."""

    _context: KedroContext
    _run: TrackedRun | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remember where the configuration is; it is read when a run begins."""
        self._context = context

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Open the parent run and its children and log their parameters."""
        self._end("KILLED", "interrupted")  # a run before this one in a notebook: Kedro does not tell
        config = tracking_config(self._context)
        if not config.enabled:
            return
        outputs, uri = outputs_on_disk(pipeline, catalog), config.tracking_uri
        with only_warning(uri, "this run is not tracked"):
            with one_at_a_time(uri):
                client, experiment = open_store(config)
            tags = {**config.tags, **run_tags(run_params, self._context)}
            runs = open_runs(client, experiment, tags, pipeline, catalog)
            self._run = TrackedRun(client, uri, runs, outputs, catalog)
            os.environ[RUNS_VARIABLE] = json.dumps({"tracking_uri": uri, "runs": runs})
            atexit.unregister(self._end)
            atexit.register(self._end, "KILLED", "interrupted")  # Ctrl-C and sys.exit() miss on_pipeline_error

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Log what was produced and close the runs."""
        self._end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: BaseException) -> None:
        """Log what was produced so far and mark what did not get ready as FAILED."""
        self._end("FAILED" if isinstance(error, Exception) else "KILLED", f"{type(error).__name__}: {error}")

    def _end(self, status: str, error: str | None = None) -> None:
        run, self._run = self._run, None
        if run is None or run.pid != os.getpid():
            return
        produced: list[Output] = []
        os.environ.pop(RUNS_VARIABLE, None)
        with only_warning(run.uri, "results of this run are missing there"):
            produced = [output for output in run.outputs if output.produced()]
            log_outputs(run, produced)
        with only_warning(run.uri, "the end of this run is not recorded there"):
            for namespace, run_id in run.runs.items():
                outputs = [output for output in run.outputs if output.namespace == namespace]
                ready = namespace != PARENT and outputs and all(output in produced for output in outputs)
                if error and not ready:
                    run.client.set_tag(run_id, "kedro.error", error[:5000])
                run.client.set_terminated(run_id, "FINISHED" if ready else status)
            logger.info("Tracked in MLflow: run %s", run.runs[PARENT])


def tracking_config(context: KedroContext) -> TrackingConfig:
    """mlflow.yml, over which VAD_TRACKING and MLFLOW_TRACKING_URI win; relative SQLite paths are in the project."""
    try:
        section = dict(context.config_loader["mlflow"])
    except (KeyError, MissingConfigException):
        section = {"experiment": "", "enabled": False}
    variables = {"enabled": "VAD_TRACKING", "tracking_uri": "MLFLOW_TRACKING_URI"}
    section |= {key: os.environ[variable] for key, variable in variables.items() if os.environ.get(variable)}
    uri = section.get("tracking_uri", TrackingConfig.tracking_uri)
    if uri.startswith(SQLITE):
        section["tracking_uri"] = SQLITE + (context.project_path / uri.removeprefix(SQLITE)).as_posix()
    return TrackingConfig(**section)


def outputs_on_disk(pipeline: Pipeline, catalog: DataCatalog) -> list[Output]:
    """The files that the pipeline may write. Raises ValueError where a catalog entry's mark cannot work."""
    outputs = []
    for node in pipeline.nodes:
        top = (node.namespace or PARENT).partition(".")[0]
        for name in node.outputs:
            dataset = catalog.get(name)
            mark = (getattr(dataset, "metadata", None) or {}).get("mlflow")
            path = getattr(dataset, "_filepath", None) or getattr(dataset, "_path", None)
            if mark not in (None, *MARKS) or (mark and path is None):
                raise ValueError(f"catalog entry {name}: metadata.mlflow is {mark}; it takes {MARKS} and a filepath")
            if path is None:
                continue
            version = None
            if isinstance(dataset, AbstractVersionedDataset) and (saved := dataset.resolve_save_version()):
                version, path = Version(saved, saved), dataset._get_versioned_path(saved)
            fs = getattr(dataset, "_fs", None) or fsspec.core.url_to_fs(str(path))[0]
            outputs.append(Output(name, top, mark, str(path), version, fs, fs.find(str(path), detail=True)))
    return outputs


@contextlib.contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Lets one process at a time open, and so create, a SQLite store; raises at once where it cannot be opened."""
    if not uri.startswith(SQLITE):
        yield
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")  # SQLite's own locks end with the process; the file stays, empty
    with contextlib.closing(sqlite3.connect(lock, timeout=120, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with contextlib.closing(sqlite3.connect(path)) as store:
            store.execute("PRAGMA schema_version")  # MLflow itself would retry for minutes
        yield


def open_store(config: TrackingConfig) -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment, which is created where it is missing."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # forked workers inherit no connection
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default waits minutes for a dead server
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client, uri, location = MlflowClient(config.tracking_uri), config.tracking_uri, config.artifact_location
    if location is None and uri.startswith(SQLITE):
        location = Path(uri.removeprefix(SQLITE)).with_name("mlartifacts").as_uri()
    try:
        return client, client.create_experiment(config.experiment, location)
    except MlflowException:  # it exists
        if (experiment := client.get_experiment_by_name(config.experiment)) is None:
            raise
        return client, experiment.experiment_id


def open_runs(
    client: "MlflowClient", experiment: str, tags: Mapping[str, Any], pipeline: Pipeline, catalog: DataCatalog
) -> dict[str, str]:
    """Create parent and children with parameters. Returns namespace -> run id, the parent first."""
    inputs: dict[str, list[str]] = {PARENT: ["parameters"]}
    for node in pipeline.nodes:
        inputs.setdefault((node.namespace or PARENT).partition(".")[0], []).extend(node.inputs)
    runs: dict[str, str] = {}
    for namespace in sorted(inputs):
        parameters = namespace_parameters(namespace, inputs[namespace], catalog)
        own = {key: parameters[key] for key in FACTS if key in parameters}
        if namespace == PARENT:
            tags = {key: str(value) for key, value in {**tags, **own}.items() if value is not None}
            parameters |= {key: tags[key] for key in ("pipeline", "env", *FACTS) if key in tags}
            title = f"{tags['pipeline']} {time.strftime('%m-%d %H:%M')}"  # its column is narrow
        else:
            title, own["mlflow.parentRunId"] = namespace, runs[PARENT]
        runs[namespace] = client.create_run(experiment, tags={**tags, **own}, run_name=title).info.run_id
        log(client, runs[namespace], parameters=parameters)
    return runs


def run_tags(run_params: Mapping[str, Any], context: KedroContext) -> dict[str, Any]:
    """What says how a run came about, and in MLflow's own tags what its UI shows as source and user."""
    tags = {
        "kedro.save_version": run_params["run_id"],
        "pipeline": " + ".join(run_params.get("pipeline_names") or ["__default__"]),
        "env": run_params.get("env") or context.config_loader.default_run_env,  # type: ignore[attr-defined]
        "mlflow.source.name": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "mlflow.source.type": "LOCAL",
    }
    with contextlib.suppress(Exception):  # containers may have no user name
        tags["mlflow.user"] = getuser()
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
    project = context.project_path
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # no git here, or no commit
        done = subprocess.run(describe, cwd=project, capture_output=True, text=True, timeout=10, check=True)
        tags["git_commit"] = done.stdout.strip()
    return tags


def namespace_parameters(namespace: str, inputs: Sequence[str], catalog: DataCatalog) -> dict[str, str]:
    """What nodes read; a namespace's own parameters lose its prefix, so that models share names and compare."""
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    for name in (name for name in inputs if name == "parameters" or name.startswith("params:")):
        value, full = catalog[name].load(), name.removeprefix("params:")
        if name == "parameters":  # the sections in it are logged where they are read
            shared |= {key: str(plain) for key, plain in value.items() if isinstance(plain, str | int | float)}
        elif namespace and full.startswith(f"{namespace}."):
            own |= flat(full.removeprefix(f"{namespace}."), value)
        else:
            shared |= flat(full, value)
    return shared | own


def flat(name: str, value: Any) -> dict[str, str]:
    """Nested mappings, dataclasses and pydantic models as dotted names.

    >>> flat("train", {"epochs": 3, "optimiser": {"lr": 0.1}})
    {'train.epochs': '3', 'train.optimiser.lr': '0.1'}
    """
    fields = value if isinstance(value, Mapping) else get_typed_fields(value)
    if not fields:
        return {name: str(value)}
    return {key: text for part, inner in fields.items() for key, text in flat(f"{name}.{part}", inner).items()}


def log_outputs(run: TrackedRun, outputs: Sequence[Output]) -> None:
    """Log the marked ones of the outputs. One that cannot be read costs a warning and the others are logged."""
    for output in outputs:
        top, _, name = output.name.partition(".")
        run_id, name = (run.runs[top], name) if name and top in run.runs else (run.runs[PARENT], output.name)
        if output.mark == "artifact":
            log_artifact(run.client, run_id, name, output)
        elif output.mark is not None:
            try:
                data = run.catalog.get(output.name, version=output.version).load()  # type: ignore[union-attr]
                points = points_of(output, name[: name.rfind(".") + 1], data)
            except Exception as error:
                logger.warning("%s is not logged to MLflow: %s: %s", output.name, type(error).__name__, error)
                continue
            if output.mark == "history":  # live curves may have logged some: MLflow would keep both
                names = {point[0] for point in points}
                live = {(name, old.step) for name in names for old in run.client.get_metric_history(run_id, name)}
                points = [point for point in points if (point[0], point[2]) not in live]
            log(run.client, run_id, points)


def points_of(output: Output, prefix: str, data: Any) -> list[Point]:
    """Metrics (name -> number) or history (table epoch, name, value) as points, without what is no finite number."""
    history = output.mark == "history"
    rows = zip(data["name"], data["value"], data["epoch"], strict=True) if history else ((*m, 0) for m in data.items())
    points, odd = [], set()
    for name, value, step in rows:
        if isinstance(value, Real) and math.isfinite(value):
            points.append((ODD.sub("_", f"{prefix}{name}")[:250], float(value), int(step)))
        else:
            odd.add(str(name))
    if odd:
        logger.warning("%s: not logged to MLflow, no finite numbers: %s", output.name, ", ".join(sorted(odd)))
    return points


def log_artifact(client: "MlflowClient", run_id: str, name: str, output: Output) -> None:
    """A file whose stem is the dataset's name goes to the top, others and folders into a folder of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(output.path)
        if not isinstance(output.fs, LocalFileSystem):
            path = Path(folder) / path.name
            output.fs.get(output.path, str(path), recursive=True)
        if path.is_dir():
            client.log_artifacts(run_id, str(path), name)
        else:
            client.log_artifact(run_id, str(path), None if path.stem == name else name)

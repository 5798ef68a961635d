import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, SharedMemoryDataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import ParallelRunner, SequentialRunner
from pydantic import ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from tests.conftest import PROJECT
from tests.processes import start
from vad_pipeline.hooks import MlflowTracking, tracking_config
from vad_pipeline.tracking import RUNS_VARIABLE, live_curves

CATALOG = {
    "{model}.metrics": {"type": "json.JSONDataset", "metadata": {"mlflow": "metrics"}},
    "{model}.history": {"type": "pandas.ParquetDataset", "metadata": {"mlflow": "history"}},
    "{model}.card": {"type": "json.JSONDataset", "metadata": {"mlflow": "artifact"}},
    "{model}.unmarked": {"type": "json.JSONDataset"},
    "summary": {"type": "json.JSONDataset", "metadata": {"mlflow": "artifact"}},
}


@dataclass(frozen=True)
class Optimiser:
    lr: float = 0.1


@checked_dataclass(frozen=True)
class Settings:
    width: int = 4
    optimiser: Optimiser = field(default_factory=Optimiser)
    note: str = "short"


def train(settings: Settings, seed: int) -> tuple[dict[str, float], pd.DataFrame, dict[str, int], dict[str, int]]:
    history = pd.DataFrame({"epoch": [0, 1, 2], "name": "loss", "value": [3.0, 2.0, 1.0]})
    return {"auc": settings.width / 10}, history, {"width": settings.width}, {"seed": seed}


def summarise(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    return {"best": max(first["auc"], second["auc"])}


def fail(*_: Any) -> None:
    raise RuntimeError("out of patience")


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def with_nan(*_: Any) -> dict[str, Any]:
    return {"auc": 0.5, "gap": float("nan"), "text": "high"}


def model(namespace: str, function: Callable[..., Any] = train) -> Pipeline:
    outputs = ["metrics", "history", "card", "unmarked"]
    node = Node(function, ["params:model", "params:seed"], outputs, name="train")
    return Pipeline([node], namespace=namespace, parameters={"params:seed"})


def summary(function: Callable[..., Any] = summarise) -> Pipeline:
    return Pipeline([Node(function, ["a.metrics", "b.metrics"], "summary", name="summarise")])


class Bench:
    """Runs pipelines with the hook as a KedroSession would, on folders and a store of its own."""

    def __init__(self, root: Path, hook: MlflowTracking | None = None, **config: Any):
        self.root, self.uri = root, f"sqlite:///{root / 'mlflow.db'}"
        self.hook = hook or MlflowTracking()
        settings = {"experiment": "toy", "tracking_uri": self.uri} | config
        self.context = SimpleNamespace(config_loader={"mlflow": settings}, project_path=root)

    def catalog(self, version: str, kind: type = DataCatalog, versioned: bool = True, **params: Any) -> Any:
        config = {
            name: entry | {"versioned": versioned, "filepath": str(self.root / "data" / _path(name, entry))}
            for name, entry in CATALOG.items()
        }
        catalog = kind.from_config(config, save_version=version)
        values = {"seed": 7, "dataset": "toy", "a.model": Settings(), "b.model": Settings(width=8)} | params
        for name, value in values.items():
            catalog[f"params:{name}"] = value
        catalog["parameters"] = {key: value for key, value in values.items() if "." not in key}
        return catalog

    def run(self, pipeline: Pipeline, version: str = "v1", runner: Any = None, **options: Any) -> None:
        kind = SharedMemoryDataCatalog if isinstance(runner, ParallelRunner) else DataCatalog
        catalog = self.catalog(version, kind, **options)
        self.begin(pipeline, catalog, version)
        try:
            (runner or SequentialRunner()).run(pipeline, catalog)
        except Exception as error:
            self.hook.on_pipeline_error(error=error)
            raise
        self.hook.after_pipeline_run()

    def begin(self, pipeline: Pipeline, catalog: Any, version: str) -> None:
        self.hook.after_context_created(context=self.context)
        run_params = {"run_id": version, "pipeline_names": ["toys"], "env": "small", "from_nodes": ["train"]}
        self.hook.before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def runs(self, version: str = "v1") -> dict[str, Any]:
        """The runs of one `kedro run` by name, the parent's under its pipeline's."""
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found = self.client.search_runs(experiments, f"tags.`kedro.save_version` = '{version}'")
        return {run.info.run_name.split(" ")[0]: run for run in found}

    def curve(self, run: Any, name: str) -> dict[int, float]:
        points = self.client.get_metric_history(run.info.run_id, name)
        assert len({point.step for point in points}) == len(points), "a step was logged twice"
        return {point.step: point.value for point in points}

    def artifacts(self, run: Any) -> dict[str, Path]:
        root = Path(run.info.artifact_uri.removeprefix("file://"))
        return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}


def _path(name: str, entry: dict[str, Any]) -> str:
    return name.replace(".", "/") + (".parquet" if "Parquet" in entry["type"] else ".json")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creating MLflow's tables takes seconds: the tests copy them."""
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("VAD_TRACKING", raising=False)
        bench = Bench(root, experiment="other")
        bench.run(Pipeline([]), "an empty run")
    return root / "mlflow.db"


@pytest.fixture
def bench(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("VAD_TRACKING", "on")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    yield Bench(tmp_path)
    assert RUNS_VARIABLE not in os.environ


def test_a_run_has_one_parent_and_a_child_per_top_level_namespace(bench):
    bench.run(model("a") + model("b") + summary())
    runs = bench.runs()
    assert set(runs) == {"toys", "a", "b"}
    parent = runs["toys"].info.run_id
    assert [runs[name].data.tags.get("mlflow.parentRunId") for name in ("toys", "a", "b")] == [None, parent, parent]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert bench.client.get_experiment(runs["a"].info.experiment_id).name == "toy"


def test_nested_namespaces_share_the_run_of_the_top_level_and_keep_their_names_apart(bench):
    pipeline = Pipeline([model("a")], namespace="rows", parameters={"params:seed"})
    bench.run(pipeline, **{"rows.a.model": Settings(width=2)})
    runs = bench.runs()
    assert set(runs) == {"toys", "rows"}
    assert runs["rows"].data.metrics == {"a.auc": 0.2, "a.loss": 1.0}
    assert runs["rows"].data.params["a.model.width"] == "2"


def test_each_child_has_the_parameters_of_its_nodes_without_the_namespace(bench):
    bench.run(model("a") + model("b"))
    runs = bench.runs()
    assert runs["a"].data.params == {
        "model.width": "4",
        "model.optimiser.lr": "0.1",
        "model.note": "short",
        "seed": "7",
    }
    assert runs["b"].data.params["model.width"] == "8"
    assert runs["toys"].data.params == {"pipeline": "toys", "env": "small", "dataset": "toy", "seed": "7"}


def test_a_parameter_longer_than_mlflow_takes_is_cut(bench):
    bench.run(model("a"), **{"a.model": Settings(note="x" * 7000)})
    assert bench.runs()["a"].data.params["model.note"] == "x" * 5997 + "..."


def test_runs_are_tagged_with_what_is_needed_to_find_their_data(bench):
    commands = ("init -q", "commit -q --allow-empty -m x", "add .")
    for command in commands:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *command.split()], cwd=bench.root, check=True
        )
    bench.run(model("a"), protocol="clean")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=bench.root, capture_output=True, text=True, check=True)
    for run in bench.runs().values():
        expected = {
            "kedro.save_version": "v1",
            "dataset": "toy",
            "seed": "7",
            "env": "small",
            "protocol": "clean",
            "pipeline": "toys",
            "git_commit": commit.stdout.strip() + "-dirty",
        }
        assert expected.items() <= run.data.tags.items()


def test_metrics_history_and_artifacts_go_to_the_run_of_their_namespace(bench):
    bench.run(model("a") + model("b") + summary())
    runs = bench.runs()
    assert {name: run.data.metrics.get("auc") for name, run in runs.items()} == {"toys": None, "a": 0.4, "b": 0.8}
    assert bench.curve(runs["a"], "loss") == {0: 3.0, 1: 2.0, 2: 1.0}
    files = {name: bench.artifacts(run) for name, run in runs.items()}
    assert {name: list(found) for name, found in files.items()} == {
        "toys": ["summary.json"],
        "a": ["card.json"],
        "b": ["card.json"],
    }
    assert json.loads(files["b"]["card.json"].read_text()) == {"width": 8}


def test_what_is_not_a_finite_number_is_left_out_and_named(bench, caplog):
    bench.run(Pipeline([Node(with_nan, "params:model", "metrics", name="score")], namespace="a"))
    assert bench.runs()["a"].data.metrics == {"auc": 0.5}
    assert "a.metrics: not logged to MLflow, no finite numbers: gap, text" in caplog.text


@pytest.mark.parametrize("versioned", [True, False])
def test_only_what_this_run_produced_is_logged(bench, versioned):
    bench.run(model("a") + model("b"), "v1", versioned=versioned)
    bench.run(model("b"), "v2", versioned=versioned, **{"b.model": Settings(width=6)})
    later = summary() + Pipeline([Node(len, "b.card", "b.unmarked", name="count")])
    bench.run(later, "v3", versioned=versioned)
    assert bench.runs("v1")["b"].data.metrics["auc"] == 0.8
    assert set(bench.runs("v2")) == {"toys", "b"}
    assert bench.runs("v2")["b"].data.metrics["auc"] == 0.6
    (third,) = bench.runs("v3").values()
    assert third.data.metrics == {}
    assert json.loads(bench.artifacts(third)["summary.json"].read_text()) == {"best": 0.6}


@pytest.mark.parametrize("versioned", [True, False])
def test_what_an_earlier_run_left_is_not_taken_for_a_result_of_one_that_failed(bench, versioned):
    bench.run(model("a"), "v1", versioned=versioned)
    with pytest.raises(RuntimeError):
        bench.run(model("a", fail), "v2", versioned=versioned)
    failed = bench.runs("v2")["a"]
    assert failed.info.status == "FAILED"
    assert failed.data.metrics == {}
    assert bench.artifacts(failed) == {}


def test_a_failing_run_is_marked_and_keeps_what_was_there(bench):
    with pytest.raises(RuntimeError):
        bench.run(model("a") + model("b") + summary(fail))
    runs = bench.runs()
    assert {name: run.info.status for name, run in runs.items()} == {"toys": "FAILED", "a": "FINISHED", "b": "FINISHED"}
    assert runs["toys"].data.tags["kedro.error"] == "RuntimeError: out of patience"
    assert runs["a"].data.metrics == {"auc": 0.4, "loss": 1.0}


def test_the_child_that_failed_is_marked_and_the_one_that_was_ready_is_not(bench):
    with pytest.raises(RuntimeError):
        bench.run(model("a") + Pipeline([Node(fail, "a.card", "b.metrics", name="fail", namespace="b")]))
    runs = bench.runs()
    assert (runs["a"].info.status, runs["b"].info.status) == ("FINISHED", "FAILED")
    assert "kedro.error" in runs["b"].data.tags
    assert "kedro.error" not in runs["a"].data.tags


def test_an_interrupted_run_is_marked_killed_when_python_ends(bench):
    code = (
        "import pathlib; from tests import test_hooks as t; "
        f"t.Bench(pathlib.Path({str(bench.root)!r})).run(t.model('a') + t.model('b', t.interrupt))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    runs = bench.runs()
    assert {name: run.info.status for name, run in runs.items()} == {"toys": "KILLED", "a": "FINISHED", "b": "KILLED"}
    assert runs["a"].data.metrics["auc"] == 0.4


def test_an_interrupted_run_in_a_notebook_is_closed_by_the_next(bench):
    with pytest.raises(KeyboardInterrupt):
        bench.run(model("a", interrupt))
    assert bench.runs()["a"].info.status == "RUNNING"
    bench.run(model("a"), "v2")
    assert bench.runs()["a"].info.status == "KILLED"
    assert bench.runs("v2")["a"].info.status == "FINISHED"


def test_two_runs_at_once_do_not_mix(bench):
    other = Bench(bench.root)
    first, second = bench.catalog("v1"), other.catalog("v2", **{"a.model": Settings(width=9)})
    bench.begin(model("a"), first, "v1")
    other.begin(model("a"), second, "v2")
    SequentialRunner().run(model("a"), second)
    SequentialRunner().run(model("a"), first)
    bench.hook.after_pipeline_run()
    other.hook.after_pipeline_run()
    assert [bench.runs(version)["a"].data.metrics["auc"] for version in ("v1", "v2")] == [0.4, 0.9]
    assert json.loads(bench.artifacts(bench.runs("v2")["a"])["card.json"].read_text()) == {"width": 9}


def test_two_processes_may_create_the_store_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("VAD_TRACKING", "on")
    bench = Bench(tmp_path)
    started = [start(bench.run, model(name), name) for name in ("a", "b")]
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    assert bench.runs("a")["a"].data.metrics["auc"] == 0.4
    assert bench.runs("b")["b"].data.metrics["auc"] == 0.8


def test_nodes_in_worker_processes_are_tracked_by_the_main_process(bench):
    bench.run(model("a") + model("b") + summary(), runner=ParallelRunner(max_workers=2))
    runs = bench.runs()
    assert set(runs) == {"toys", "a", "b"}
    assert runs["b"].data.metrics == {"auc": 0.8, "loss": 1.0}


@pytest.mark.parametrize("switch", ["variable", "file"])
def test_switched_off_it_neither_imports_mlflow_nor_writes(bench, monkeypatch, caplog, switch):
    (bench.root / "mlflow.db").unlink()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    if switch == "variable":
        monkeypatch.setenv("VAD_TRACKING", "off")
    else:
        monkeypatch.delenv("VAD_TRACKING")
        bench.context.config_loader["mlflow"]["enabled"] = False
    bench.run(model("a"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not list(bench.root.glob("mlflow*"))
    assert live_curves("a") is None


@pytest.mark.parametrize(
    "uri", ["sqlite:///{root}/text/mlflow.db", "sqlite:///{root}/text", "http://me:pw@127.0.0.1:9"]
)
def test_a_store_that_cannot_be_opened_costs_one_warning(bench, caplog, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (bench.root / "text").write_text("this is no database, and long enough to tell" * 10)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(root=bench.root))
    bench.run(model("a"))
    assert (bench.root / "data" / "a" / "card.json" / "v1" / "card.json").exists()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert uri.format(root=bench.root).replace("me:pw", "***") in warning
    assert "this run is not tracked" in warning
    assert "tracking_uri in conf/base/mlflow.yml, or set VAD_TRACKING=off" in warning
    assert "pw" not in warning


def test_a_marked_dataset_that_cannot_be_read_does_not_take_the_others_with_it(bench, caplog):
    catalog = bench.catalog("v1")
    bench.begin(model("a"), catalog, "v1")
    SequentialRunner().run(model("a"), catalog)
    (bench.root / "data" / "a" / "history.parquet" / "v1" / "history.parquet").write_text("broken")
    bench.hook.after_pipeline_run()
    assert bench.runs()["a"].data.metrics == {"auc": 0.4}
    assert "a.history is not logged to MLflow" in caplog.text


def test_a_wrong_mark_or_setting_stops_the_run_before_it_begins(bench):
    catalog = bench.catalog("v1")
    catalog["a.metrics"] = type(catalog["a.metrics"])(filepath="x.json", metadata={"mlflow": "metric"})
    with pytest.raises(ValueError, match=r"catalog entry a.metrics: metadata.mlflow is metric; it takes \('metrics'"):
        bench.begin(model("a"), catalog, "v1")
    bench.context.config_loader["mlflow"]["experimint"] = "toy"
    with pytest.raises(ValidationError, match="experimint"):
        bench.begin(model("a"), bench.catalog("v2"), "v2")
    assert bench.runs("v1") == bench.runs("v2") == {}


def test_a_relative_sqlite_path_lies_in_the_project(bench):
    bench.context.config_loader["mlflow"] = {"experiment": "toy"}
    assert tracking_config(bench.context).tracking_uri == f"sqlite:///{bench.root}/mlflow.db"


def test_live_curves_log_each_epoch_and_history_adds_only_what_they_lack(bench):
    import lightning
    import torch

    class Line(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.slope = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch: torch.Tensor) -> torch.Tensor:
            self.log("loss", float(self.current_epoch + 1))
            self.log("undefined", float("nan"))
            return (self.slope - batch).square().mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(*_: Any) -> tuple[dict[str, float], pd.DataFrame, dict[str, int], dict[str, int]]:
        callback = live_curves("a")
        assert callback is not None
        (run,) = (run for name, run in bench.runs().items() if name == "a")
        pickled = pickle.loads(pickle.dumps(callback))
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
        trainer = lightning.Trainer(max_epochs=2, callbacks=[pickled], enable_model_summary=False, **quiet)
        trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(2, 1)))
        assert bench.curve(run, "loss") == {0: 1.0, 1: 2.0}
        history = {"epoch": [0, 1, 2, 0], "name": ["loss", "loss", "loss", "rate"], "value": [1.0, 2.0, 3.0, 0.1]}
        return {"auc": 0.5}, pd.DataFrame(history), {}, {}

    bench.run(model("a", fit))
    run = bench.runs()["a"]
    assert bench.curve(run, "loss") == {0: 1.0, 1: 2.0, 2: 3.0}
    assert run.data.metrics == {"auc": 0.5, "loss": 3.0, "rate": 0.1}
    assert live_curves("a") is None


def test_a_run_of_the_project_itself_is_tracked(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("VAD_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bench.uri)
    before = {path.name for path in PROJECT.iterdir()}
    bootstrap_project(PROJECT)
    tiny = {"train_clips": 1, "test_clips": 1, "frames": 12, "height": 32, "width": 48}
    with KedroSession.create(PROJECT, runtime_params={"frame_extraction": {"scenes": tiny}}) as session:
        session.run(pipeline_names=["frame_extraction"])
        version = session.store["session_id"]
    (run,) = bench.runs(version).values()
    assert bench.client.get_experiment(run.info.experiment_id).name == "scenes"
    assert run.data.params["frame_extraction.scenes.height"] == "32"
    told = {"dataset": "scenes", "env": "scenes", "seed": "0", "pipeline": "frame_extraction"}
    assert told.items() <= run.data.tags.items()
    card = json.loads(bench.artifacts(run)["data_card.json"].read_text())
    assert card["splits"]["train"] == {"clips": 1, "frames": 12}
    assert {path.name for path in PROJECT.iterdir()} == before

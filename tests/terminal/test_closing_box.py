"""The box at the end of a run."""

import io

import pandas as pd
import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline
from rich.console import Console

from vad_pipeline.terminal.closing_box import ClosingBox, print_box

TABLE = pd.DataFrame(
    {"row": ["net", "frame difference (no learning)"], "micro_auc": [65.22, 60.0], "published": [97.0, float("nan")]}
)

MEASURED = {
    "micro_auc_low": 0.5,
    "micro_auc_high": 0.75,
    "threshold_level": 1.25,
    "false_alarms_per_hour_lowest": 6.0,
    "held_out_seconds": 600.0,
}


def learn(folder):
    if not (folder / "abc").exists():
        (folder / "abc").mkdir()
        (folder / "abc" / "finished.safetensors").touch()
    return {"weights": 1}, TABLE, MEASURED, "<p>"


def ran(tmp_path, capsys, table=TABLE):
    """What the hook prints of a run of a toy system."""

    def measure(folder):
        checkpoint, _, metrics, report = learn(folder)
        return checkpoint, table, metrics, report

    pipeline = Pipeline(
        [Node(measure, "net.working_directory", ["net.checkpoint", "net.table", "net.metrics", "net.report"])]
    )
    entries = {
        "net.working_directory": {"type": "vad_pipeline.io.working_directory.WorkingDirectoryDataset"},
        "net.checkpoint": {"type": "json.JSONDataset"},
        "net.table": {"type": "pandas.ParquetDataset", "versioned": True},
        "net.metrics": {"type": "json.JSONDataset"},
        "net.report": {"type": "text.TextDataset", "versioned": True},
    }
    for name, entry in entries.items():
        entry["filepath"] = str(tmp_path / name)
    catalog = DataCatalog.from_config(entries, save_version="v1")
    catalog["params:dataset"] = "scenes"
    hook = ClosingBox()
    hook.before_pipeline_run(pipeline=pipeline, catalog=catalog)
    for node in pipeline.nodes:
        for name, data in node.run({"net.working_directory": catalog.load("net.working_directory")}).items():
            catalog.save(name, data)
    hook.after_pipeline_run(run_params={"pipeline_names": ["net"]}, pipeline=pipeline, catalog=catalog)
    return capsys.readouterr().out


def test_it_shows_the_headline_beside_the_baselines_and_the_report(tmp_path, capsys):
    out = ran(tmp_path, capsys)
    assert "net on scenes" in out
    assert "micro AUC  65.2 %  (95% interval 50.0 to 75.0)" in out
    assert "frame difference" in out
    assert "60.0 %  (no learning)" in out
    assert "net alarms" in out
    assert "at the lowest 6 false alarms an hour, above a score of 1.25, by 10 minutes of held-out normal" in out
    assert f"{tmp_path}/net.report/v1/net.report" in out
    assert len(out.splitlines()) < 10


def test_of_a_comparison_its_table_and_report_come_first_with_every_models_interval(tmp_path, capsys):
    of_all = pd.DataFrame(
        {
            "row": ["best", "net", "brightness (no learning)", "cited"],
            "micro_auc": [90.0, 65.0, 60.0, float("nan")],
            "micro_auc_low": [80.0, float("nan"), float("nan"), float("nan")],
            "micro_auc_high": [95.0, float("nan"), float("nan"), float("nan")],
            "frames_scored": [4, 4, float("nan"), float("nan")],
        }
    )
    left = {"net.table": TABLE, "net.report": "<p>", "model_comparison.table": of_all, "model_comparison.report": "<p>"}

    def measure(start):
        return tuple(left.values())

    pipeline = Pipeline([Node(measure, "start", list(left))])
    kinds = {"table": "pandas.ParquetDataset", "report": "text.TextDataset"}
    entries = {
        name: {"type": kinds[name.rpartition(".")[2]], "filepath": str(tmp_path / name), "versioned": True}
        for name in left
    }
    catalog = DataCatalog.from_config(entries, save_version="v1")
    for name, data in left.items():
        catalog.save(name, data)
    ClosingBox().after_pipeline_run(run_params={}, pipeline=pipeline, catalog=catalog)
    out = capsys.readouterr().out
    assert "scene_exemplars + lgn_net on" in out
    assert "micro AUC  90.0 %  (95% interval 80.0 to 95.0)" in out
    assert "65.2" not in out, "a model's own table says nothing new"
    assert "cited" not in out
    assert out.index("model_comparison.report") < out.index("net.report/")


def test_it_tells_a_training_from_one_that_was_finished_before(tmp_path, capsys):
    assert "1 in this run" in ran(tmp_path / "a", capsys)
    again = ran(tmp_path / "b", capsys)
    assert "1 in this run" in again
    for path in (tmp_path / "b").glob("net.[!w]*/v1"):
        path.rename(path.with_name("v0"))
    assert "none: finished ones of earlier runs were used again" in ran(tmp_path / "b", capsys)


def test_without_labels_it_claims_no_figure(tmp_path, capsys):
    out = ran(tmp_path, capsys, TABLE[:1].assign(micro_auc=float("nan")))
    assert "no labels, nothing to measure" in out
    assert "nan" not in out


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_path_stays_whole(terminal):
    console = Console(file=io.StringIO(), width=60, force_terminal=terminal, color_system=None)
    path = "/data/[bold]/" + "a" * 80 + "/report.html"
    print_box("net", [("report", path)], console)
    assert path in console.file.getvalue()

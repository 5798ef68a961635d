import os
import time

import cv2
import pandas as pd
import pytest
import torch
from kedro.io import SharedMemoryDataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import ParallelRunner

from tests.pipelines.conftest import Project
from tests.processes import FORKED
from vad_pipeline.fitting.checkpoint import read_checkpoint
from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.pipelines.side_by_side import SideBySide
from vad_pipeline.tracking import RUNS_VARIABLE

TINY = {
    "jobs": 2,
    "frame_extraction": {"scenes": {"train_clips": 2, "test_clips": 1, "frames": 16, "height": 32, "width": 48}},
    "lgn_net": {
        "frames": {"height": 32, "width": 48},
        "model": {"width": 0.0625},
        "training": {"epochs": 1, "window_stride": 2, "accelerator": "cpu"},
    },
    "lgn_net_ablation": {"seeds": [0], "training": {"epochs": 1, "window_stride": 2, "accelerator": "cpu"}},
}
ROWS = [f"lgn_net_ablation__{row}" for row in ("full", "attached_read")]
DETECTOR = ["lgn_net.scores", "lgn_net.checkpoint", "lgn_net.maps"]


def run(project, runner=None):
    """Two rows of a table, which write into one working directory."""
    project.run("lgn_net_ablation", params=TINY, runner=runner, to_outputs=[f"{row}.metrics" for row in ROWS])


def trained(project):
    """Weights of every finished training, by the folder that names what it depends on."""
    found = project.data_root.rglob("finished.safetensors")
    return {path.parent.name: read_checkpoint(path).state for path in found}


def assert_equal(states, others):
    assert set(states) == set(others)
    for name, state in states.items():
        assert set(state) == set(others[name])
        assert all(torch.equal(value, others[name][key]) for key, value in state.items()), name


@pytest.fixture(scope="module")
def one_after_the_other(shared_project):
    run(shared_project)
    return shared_project


@pytest.mark.slow
def test_rows_side_by_side_are_bit_identical_to_one_after_the_other(one_after_the_other, tmp_path):
    project = Project(tmp_path / "data")
    run(project, SideBySide())
    weights = trained(one_after_the_other)
    assert len(weights) == len(ROWS)
    assert_equal(weights, trained(project))
    for row in ROWS:
        scores = one_after_the_other.load(f"{row}.scores", params=TINY)
        assert len(scores) > 0
        pd.testing.assert_frame_equal(scores, project.load(f"{row}.scores", params=TINY), check_exact=True)
        metrics = (p.load(f"{row}.metrics", params=TINY) for p in (one_after_the_other, project))
        assert next(metrics) == next(metrics)


@pytest.mark.slow
def test_a_detector_under_kedro_s_own_parallel_runner_is_bit_identical(one_after_the_other, tmp_path, monkeypatch):
    project = Project(tmp_path / "data")
    one_after_the_other.run("lgn_net", params=TINY, to_outputs=DETECTOR)
    monkeypatch.setenv("KEDRO_MP_CONTEXT", FORKED.get_start_method())
    project.run("lgn_net", params=TINY, to_outputs=DETECTOR, runner=ParallelRunner(max_workers=2))
    (scores, checkpoint, maps), others = (
        [p.load(name, params=TINY) for name in DETECTOR] for p in (one_after_the_other, project)
    )
    pd.testing.assert_frame_equal(scores, others[0], check_exact=True)
    assert_equal({"": checkpoint.state}, {"": others[1].state})
    assert list(maps) == list(others[2])
    assert all((maps[clip].array() == others[2][clip].array()).all() for clip in maps)


def look_around(began):
    """What a node finds in its process; it waits, so that no process does the work of two."""
    with torch_threads(None):
        all_cores = torch.get_num_threads(), cv2.getNumThreads()
    time.sleep(max(0.0, began + 1 - time.time()))
    return {
        "pid": os.getpid(),
        "threads": (torch.get_num_threads(), cv2.getNumThreads()),
        "all_cores": all_cores,
        "runs": os.environ.get(RUNS_VARIABLE),
    }


def test_processes_are_as_many_as_jobs_and_have_a_thread_each_and_the_runs_to_log_to(monkeypatch):
    monkeypatch.setenv(RUNS_VARIABLE, '{"runs": {}}')
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    catalog = SharedMemoryDataCatalog()
    catalog["params:jobs"], catalog["params:began"] = 2, time.time() + 5
    nodes = [Node(look_around, "params:began", f"seen_{i}", name=f"look_{i}") for i in range(4)]
    runner = SideBySide()  # what nodes hand on in memory is there as long as it is
    found = [seen.load() for seen in runner.run(Pipeline(nodes), catalog).values()]
    assert len(found) == 4
    pids = {seen.pop("pid") for seen in found}
    assert len(pids) == 2
    assert os.getpid() not in pids
    expected = {"threads": (1, 1), "all_cores": (1, 1), "runs": '{"runs": {}}'}
    assert found == [expected] * 4
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_number_of_jobs_that_is_none_is_refused():
    catalog = SharedMemoryDataCatalog()
    catalog["params:jobs"], catalog["params:began"] = 0, time.time()
    with pytest.raises(ValueError, match="jobs: 0; set it to a number of processes"):
        SideBySide().run(Pipeline([Node(look_around, "params:began", "seen", name="look")]), catalog)

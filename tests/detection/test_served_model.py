"""A handed-over system as an MLflow model."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.detection.test_detector import picture_rows
from tests.detection.untrained import leave
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.hand_over import hand_over
from vad_pipeline.detection.reading import Reading
from vad_pipeline.detection.served_model import register, save_model
from vad_pipeline.fitting.checkpoint import CheckpointError

PICTURES = picture_rows(18, 2, 4)


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    hand_over(leave(folder, "conv3d_ae"), folder / "entrance", Reading(), false_alarms_per_hour=120)
    return folder / "entrance"


@pytest.fixture(scope="module")
def saved(handed):
    save_model(handed, handed.with_name("mlflow"))
    return handed.with_name("mlflow")


def test_mlflow_predicts_what_the_detector_scores_and_nothing_is_pickled(handed, saved):
    import mlflow

    model = mlflow.pyfunc.load_model(str(saved))
    expected = Detector.load(handed).score(PICTURES)
    pd.testing.assert_frame_equal(model.predict(PICTURES), expected)
    pd.testing.assert_frame_equal(model.predict(PICTURES), expected, obj="a second request")
    assert model.metadata.get_output_schema().input_names() == list(expected.columns)
    assert len(model.predict(model.input_example)) > 0
    assert not [path for path in saved.rglob("*") if path.suffix in (".pkl", ".pickle", ".pt", ".pth")]
    with pytest.raises(CheckpointError, match="`kedro hand-over` writes one"):
        save_model(handed.parent, saved.with_name("none"))


def test_a_registered_version_has_the_data_set_s_name_its_rate_and_the_alias(handed, tmp_path):
    import mlflow
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'store.db'}"
    client, before = MlflowClient(uri, uri), mlflow.get_tracking_uri()
    experiment = client.create_experiment("entrance", (tmp_path / "artifacts").as_uri())
    assert register(handed, uri, experiment, champion=True) == ("entrance", 1)
    assert mlflow.get_tracking_uri() == before
    champion = client.get_model_version_by_alias("entrance", "champion")
    rate = Detector.load(handed).threshold.per_hour
    assert champion.version == 1
    assert champion.tags["system"] == "conv3d_ae"
    assert champion.tags["dataset"] == "entrance"
    assert float(champion.tags["false_alarms_per_hour"]) == pytest.approx(rate)
    assert client.get_run(champion.run_id).data.metrics["false_alarms_per_hour"] == pytest.approx(rate)


@pytest.mark.slow
def test_mlflow_serves_it(handed, saved, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(sys.executable).parent
    command = [folder / "mlflow", "models", "serve", "-m", saved, "--env-manager=local", "-h127.0.0.1", f"-p{port}"]
    environment = os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping")
                break
            except urllib.error.URLError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": PICTURES.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            served = pd.DataFrame(json.load(answer)["predictions"])
    finally:
        server.terminate()
        server.wait()
    expected = Detector.load(handed).score(PICTURES)
    assert served["frame"].tolist() == expected["frame"].tolist()
    np.testing.assert_allclose(served["anomaly"], expected["anomaly"], atol=1e-6)

import base64
import json
import re

import numpy as np
import pytest
from kedro.framework.project import pipelines

from vad_pipeline.detection.detector import Detector
from vad_pipeline.evaluation.metrics import micro_auc
from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.pipeline_registry import EXPERIMENTS, PSEUDO_ANOMALIES
from vad_pipeline.pipelines import detector

TINY = {
    "frame_extraction": {"scenes": {"train_clips": 3, "test_clips": 2, "frames": 30, "height": 32, "width": 48}},
    "lgn_net": {
        "frames": {"height": 32, "width": 48},
        "model": {"width": 0.0625},
        "training": {"epochs": 1, "window_stride": 4, "accelerator": "cpu"},
    },
}


@pytest.fixture(scope="module")
def ran(shared_project):
    shared_project.run("lgn_net", params=TINY)
    return shared_project


def test_lgn_net_runs_from_nothing_to_a_report_and_a_second_run_trains_nothing(ran, monkeypatch):
    metrics = ran.load("lgn_net.metrics", params=TINY)
    scored = ran.load("lgn_net.scored_frames", params=TINY)
    assert metrics["micro_auc"] == pytest.approx(micro_auc(scored["label"], -scored["regularity"]))
    assert metrics["frames_scored"] == 2 * (30 - 4)
    fps = ran.load("frames", params=TINY)["test/01"].fps
    np.testing.assert_allclose(scored["second"], scored["frame"] / fps)
    scores = ran.load("lgn_net.scores", params=TINY)
    assert set(scores["clip"]) == {"test/01", "test/02", "train/02"}, "test clips and the held-out normal clip"
    maps = ran.load("lgn_net.maps", params=TINY)
    assert maps["test/01"].shape == (26, 8, 12)
    history = ran.load("lgn_net.history", params=TINY)
    assert {"train_loss", "val_psnr"} <= set(history["name"])
    html = ran.load("lgn_net.report", params=TINY)
    threshold = Detector.load(ran.data_root / "06_models" / "scenes" / "lgn_net").threshold
    assert metrics["threshold_level"] == threshold.level
    assert metrics["false_alarms_per_hour_lowest"] == threshold.lowest_per_hour
    assert f"at the lowest {threshold.lowest_per_hour:.3g} false alarms an hour, above a score of" in html
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert len(images) == 6
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)
    assert not re.search(r'(src|href)="http', html), "a report fetches nothing"
    for name in ("frame difference", "foreground area", "brightness"):
        assert name in html

    def forbidden(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("lightning.Trainer.fit", forbidden)
    checkpoint = ran.load("lgn_net.checkpoint", params=TINY)
    pool = ran.data_root / "03_primary" / "scenes" / "clips"
    stamps = {path: path.stat().st_mtime_ns for path in pool.glob("*.npy")}
    ran.run("lgn_net", params=TINY)
    assert {path: path.stat().st_mtime_ns for path in pool.glob("*.npy")} == stamps
    again = ran.load("lgn_net.checkpoint", params=TINY)
    for name, value in checkpoint.state.items():
        np.testing.assert_array_equal(again.state[name].numpy(), value.numpy())


def test_scoring_with_a_checkpoint_of_another_configuration_is_refused(ran):
    other = TINY | {"lgn_net": TINY["lgn_net"] | {"model": {"width": 0.0625, "items": 7}}}
    with pytest.raises(Exception, match=r"model.items: 10 in the checkpoint, 7 in the parameters"):
        ran.run("lgn_net", params=other, node_names=["lgn_net.score"])


def test_unlabelled_videos_of_any_name_get_scores_curves_and_a_report(project, tmp_path, capsys):
    import cv2

    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for split, clips in (("training", ("01", "02")), ("testing", (name := "$1$ <b> [red]录",))):
        for clip in clips:
            folder = root / split / "frames" / clip
            folder.mkdir(parents=True)
            for t in range(14):
                image = rng.integers(90, 110, (32, 48), np.uint8)
                image[10:20, 2 * t : 2 * t + 6] = 200
                cv2.imwrite(str(folder / f"{t:03d}.png"), image)
    params = TINY | {"frame_extraction": {"source": "frame_folders", "frame_folders": {"root": str(root)}}}
    with pytest.warns(UserWarning, match="undefined"):
        project.run("lgn_net", params=params)
    scored = project.load("lgn_net.scored_frames", params=params)
    assert len(scored) == 10
    assert scored["label"].isna().all()
    assert scored["second"].isna().all(), "images without a rate have no times"
    assert scored["regularity"].between(0, 1).all()
    assert set(scored["clip"]) == {f"test/{name}"}
    html = project.load("lgn_net.report", params=params)
    assert len(re.findall("data:image/png", html)) == 3
    for empty in (">ROC<", "–", "<table", "<b>"):
        assert empty not in html, empty
    assert "Nothing is measured: that takes labels" in html
    (file,) = project.data_root.glob("08_reporting/scenes/lgn_net/metrics.json/*/metrics.json")
    assert json.loads(file.read_text(), parse_constant=pytest.fail)["micro_auc"] is None
    assert "no labels, nothing to measure" in capsys.readouterr().out


def test_an_experiment_runs_its_rows_once_and_shares_trainings(project, monkeypatch):
    params = TINY | {
        "lgn_net_ablation": {
            "seeds": [0],
            "training": {"epochs": 1, "window_stride": 6, "accelerator": "cpu", "precision": "32-true"},
        }
    }
    trainings = []
    import lightning

    fit = lightning.Trainer.fit
    monkeypatch.setattr("lightning.Trainer.fit", lambda self, *a, **k: (trainings.append(1), fit(self, *a, **k))[1])
    project.run("lgn_net_ablation", params=params)
    assert len(trainings) == 8, (
        "five networks, attached reading, the other update, tempered; the rest differs in scoring alone"
    )
    table = project.load("lgn_net_ablation.table", params=params)
    assert len(table) == 11 + 3
    rows = table.set_index("row")["micro_auc"]
    assert rows.notna().all()
    assert rows["PSNR alone (lambda = 1, Fig. 10)"] != rows["memory distance alone (lambda = 0, Fig. 10)"]
    scores = project.load("lgn_net_ablation__full.scores", params=params)
    assert set(scores["seed"]) == {0}
    drawn = {path.name for path in (project.data_root / "08_reporting/scenes/lgn_net_ablation").iterdir()}
    assert drawn == {"table.parquet", "roc.png", "gap.png"}
    project.run("lgn_net_ablation", params=params)
    assert len(trainings) == 8, "finished rows are skipped"


def test_every_node_has_a_name_and_every_model_a_namespace_of_its_own():
    pipeline = detector.create_pipeline("lgn_net")
    assert {node.name for node in pipeline.nodes} == {
        "score_trivial_baselines",
        *(f"lgn_net.{name}" for name in ("resize_frames", "train", "score", "evaluate", "report")),
    }
    assert pipeline.inputs() >= {"frames", "labels"}


def test_all_pipelines_can_be_made_and_the_default_ends_with_a_report(project):
    pipelines.set_requested(None)
    others = {"frame_extraction", "optical_flow", "flownet_training", "transfer", "clip_comparison"}
    others |= {"model_comparison", "run_time", "lgn_net_sweeps", "image_anomalies", "score_video"}
    assert set(pipelines) == {"__default__", *others, *PSEUDO_ANOMALIES, *SYSTEMS, *EXPERIMENTS}
    made = {"model_comparison.report", "scene_exemplars.report", "lgn_net.report"}
    assert made <= pipelines["__default__"].all_outputs()
    (compares,) = (node for node in pipelines["__default__"].nodes if node.name == "compare_models")
    assert {"scene_exemplars.report", "lgn_net.report"} <= set(compares.inputs), "it links reports that are there"

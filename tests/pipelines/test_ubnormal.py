import pytest

from vad_pipeline.evaluation.metrics import micro_auc


def test_the_validation_split_is_evaluated_with_a_model_of_the_normal_training_videos(
    project, ubnormal_release, monkeypatch
):
    release = ubnormal_release(project.data_root / "01_raw" / "UBnormal", n_frames=20)
    training = {"epochs": 1, "batch_size": 2, "accelerator": "cpu", "precision": "32-true"}
    params = {
        "frame_extraction": {"height": None},
        "conv3d_ae": {
            "frames": {"height": 16, "width": 32},
            "model": {"width": 0.0625},
            "training": training,
            "scoring": {"accelerator": "cpu"},
        },
    }
    # of the abnormal video, 9 of its 20 frames have no score at either end
    tracks = release / "Scene2/abnormal_scene_2_scenario_3_annotations/abnormal_scene_2_scenario_3_tracks.txt"
    tracks.write_text("3,9,10\n")
    project.run("conv3d_ae", env="ubnormal", params=params)
    scored = project.load("conv3d_ae.scored_frames", env="ubnormal", params=params)
    assert set(scored["clip"]) == {"val/abnormal_scene_2_scenario_3", "val/normal_scene_2_scenario_1_fog"}
    abnormal = scored[scored["clip"] == "val/abnormal_scene_2_scenario_3"]
    assert abnormal["frame"].tolist() == list(range(8, 13))
    assert abnormal["label"].tolist() == [0, 1, 1, 0, 0]
    metrics = project.load("conv3d_ae.metrics", env="ubnormal", params=params)
    assert metrics["frames_scored"] == 10
    assert metrics["micro_auc"] == pytest.approx(micro_auc(scored["label"], -scored["regularity"]))
    with pytest.raises(ValueError, match="eval_split: the data have no clips of 'validation', only of train, val"):
        project.run("conv3d_ae", env="ubnormal", params=params | {"eval_split": "validation"})

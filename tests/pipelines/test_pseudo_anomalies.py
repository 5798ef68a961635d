import numpy as np
import pytest

TINY_FIT = {"epochs": 1, "autoencoder_epochs": 1, "crops": 8, "batch_size": 4, "accelerator": "cpu"}
TINY = {
    "frame_extraction": {"scenes": {"train_clips": 2, "test_clips": 1, "frames": 18, "height": 48, "width": 64}},
    "optical_flow": {"frames": {"height": 24, "width": 32}},
    "pseudo_anomalies": {
        "masks": {"min_area": 16},
        "pool": {"size": None},
        "inpainting": {"crop": 32, "steps": 2, "accelerator": "cpu"},
        "model": {"autoencoder": [16, 16, 16], "codes": 16, "denoiser": [32, 32, 32]},
        "training": TINY_FIT,
    },
}


def pool_stamps(project):
    return {path: path.stat().st_mtime_ns for path in project.data_root.rglob("clips/*.npy")}


def test_one_command_makes_pseudo_anomalies_of_a_fresh_clone_and_a_second_run_recomputes_nothing(project):
    project.run("pseudo_anomalies", params=TINY)
    frames, holes, spatial, temporal = (
        project.load(name, params=TINY)
        for name in ("frames", "pseudo_anomalies.holes", "pseudo_anomalies.spatial", "pseudo_anomalies.temporal")
    )
    assert list(spatial) == list(temporal) == ["train/01@0", "train/02@0"]
    for clip in ("train/01", "train/02"):
        before, after, hole = frames[clip].array(), spatial[f"{clip}@0"].array(), holes[f"{clip}@0"].array()
        assert after.shape == before.shape == (18, 48, 64, 3)
        assert np.array_equal(after[~hole], before[~hole])
        assert (after != before).any(axis=(1, 2, 3)).all()
        assert temporal[f"{clip}@0"].shape == (17, 24, 32, 2)
    table = project.load("pseudo_anomalies.table", params=TINY)
    assert table.groupby("kind").size().to_dict() == {"spatial": 36, "temporal": 34}
    metrics = project.load("pseudo_anomalies.metrics", params=TINY)
    assert 0 < metrics["mask_share_mean"] <= 0.5
    assert "object_psnr" in metrics
    html = project.load("pseudo_anomalies.report", params=TINY)
    assert "a latent diffusion model fitted to these clips" in html
    assert html.count("data:image/png;base64") >= 1

    stamps = pool_stamps(project)
    project.run("pseudo_anomalies", params=TINY)
    assert pool_stamps(project) == stamps


def test_a_pool_of_runs_and_telea_make_fewer_and_need_no_fit(project):
    params = {**TINY, "pseudo_anomalies": {**TINY["pseudo_anomalies"], "pool": {"size": 6, "run": 6}}}
    params["pseudo_anomalies"]["inpainting"] = {"source": "telea", "crop": 32}
    project.run("pseudo_anomalies", params=params)
    spatial = project.load("pseudo_anomalies.spatial", params=params)
    assert len(spatial) == 1
    (run,) = spatial.values()
    assert run.shape == (6, 48, 64, 3)
    assert project.load("pseudo_anomalies.history", params=params).empty
    assert "OpenCV (Telea)" in project.load("pseudo_anomalies.report", params=params)


def test_flow_of_another_estimator_alone_is_no_flow_to_mix(project):
    from vad_pipeline.anomalies.flow_mixup import FlowMixup
    from vad_pipeline.clips.clip import Clips
    from vad_pipeline.pipelines.pseudo_anomalies.nodes import mix_flow

    params = {**TINY, "pseudo_anomalies": {**TINY["pseudo_anomalies"], "inpainting": {"source": "telea", "crop": 32}}}
    project.run("pseudo_anomalies", params=params, to_outputs=["pseudo_anomalies.holes"])
    holes = project.load("pseudo_anomalies.holes", params=params)
    with pytest.raises(ValueError, match=r"flow_tvl1 lacks train/01 and 1 other clips; put tvl1 among optical_flow"):
        mix_flow(Clips({}), holes, FlowMixup(), 0)


def test_the_table_of_inpainters_trains_each_row_on_its_own_pseudo_anomalies(project):
    training = {"epochs": 1, "batch_size": 4, "window_stride": 1, "accelerator": "cpu", "precision": "32-true"}
    params = {
        **TINY,
        "conv3d_ae": {"frames": {"height": 16, "width": 32}, "model": {"width": 0.0625}},
        "pseudo_anomalies_ablation": {"seeds": [0], "training": training},
    }
    project.run("pseudo_anomalies_ablation", params=params)
    table = project.load("pseudo_anomalies_ablation.table", params=params)
    assert table["row"].tolist()[:3] == [
        "normal windows only",
        "holes filled by Telea",
        "holes filled by latent diffusion",
    ]
    scores = [
        project.load(f"pseudo_anomalies_ablation__{row}.scores", params=params)["psnr"].to_numpy()
        for row in ("normal_only", "telea", "latent_diffusion")
    ]
    assert not np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[1], scores[2])

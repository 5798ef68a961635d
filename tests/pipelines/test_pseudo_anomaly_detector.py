import numpy as np
import pytest

TRAINING = {"epochs": 1, "batch_size": 4, "window_stride": 3, "accelerator": "cpu", "precision": "32-true"}
SCORING = {"batch": 4, "accelerator": "cpu"}
PARAMS = {
    "protocol": "paper",
    "frame_extraction": {"scenes": {"train_clips": 2, "test_clips": 2, "frames": 24, "height": 48, "width": 64}},
    "optical_flow": {"frames": {"height": 16, "width": 32}},
    "pseudo_anomalies": {
        "masks": {"min_area": 16},
        "pool": {"size": None},
        "inpainting": {"source": "telea", "crop": 32},
    },
    "pseudo_anomaly_detector": {
        "spatial": {
            "frames": {"height": 32, "width": 48},
            "model": {"width": 0.0625},
            "training": TRAINING,
            "scoring": SCORING,
        },
        "temporal": {"model": {"width": 0.0625}, "training": TRAINING, "scoring": SCORING},
        "discriminator": {"training": {"epochs": 1, "accelerator": "cpu"}, "scoring": SCORING},
    },
}
TERMS = ["psnr", "flow_error", "pseudo_probability"]


@pytest.fixture
def load(project):
    project.run("pseudo_anomaly_detector", params=PARAMS)

    def load(name):
        return project.load(f"pseudo_anomaly_detector.{name}", params=PARAMS)

    return load


@pytest.mark.slow
def test_one_command_trains_three_parts_and_fuses_them_and_transfer_scores_without_fitting(project, load, monkeypatch):
    check_what_it_found(load)
    stamps = pool_stamps(project)
    project.run("pseudo_anomaly_detector", params=PARAMS)
    assert pool_stamps(project) == stamps
    check_transfer(project, load, monkeypatch)


def pool_stamps(project):
    return {path: path.stat().st_mtime_ns for path in project.data_root.rglob("*/clips/*.npy")}


def check_what_it_found(load):
    scores = load("scores")
    assert set(scores.columns) == {"clip", "frame", "worst_place", "worst_flow", *TERMS}
    tested = scores[scores["clip"].str.startswith("test")]
    for clip in ("test/01", "test/02"):
        assert tested.loc[tested["clip"] == clip, "frame"].tolist() == list(range(8, 17))
    assert np.isfinite(scores[TERMS].to_numpy()).all()
    for part, term in zip(("spatial", "temporal", "discriminator"), TERMS, strict=True):
        own = load(f"{part}.scores").merge(scores, on=["clip", "frame"], suffixes=("", "_fused"))
        assert len(own) == len(scores)
        assert np.array_equal(own[term], own[f"{term}_fused"])
        assert load(f"{part}.checkpoint").about["seed"] == 0

    table = load("table").set_index("row")
    metrics = load("metrics")
    assert table.index[:5].tolist() == [
        "spatial",
        "temporal",
        "discriminator",
        "fused, without discriminator",
        "fused",
    ]
    assert {"fused, weights by inverse spread", "foreground area (no learning)"} <= set(table.index)
    assert table.loc["fused", "micro_auc"] == pytest.approx(100 * metrics["micro_auc"])
    for row, term in zip(("spatial", "temporal", "discriminator"), TERMS, strict=True):
        assert table.loc[row, "micro_auc"] == pytest.approx(100 * metrics[f"micro_auc_term_{term}"])
    assert metrics["micro_auc_oracle"] >= metrics["micro_auc"] - 1e-12
    assert metrics["micro_auc_oracle_no_discriminator"] >= metrics["micro_auc_no_discriminator"] - 1e-12
    assert table.loc["fused", "micro_auc_oracle"] == pytest.approx(100 * metrics["micro_auc_oracle"])
    assert np.isnan(table.loc["spatial", "micro_auc_oracle"])
    spread = [metrics[f"{term}_weight_inverse_spread"] for term in TERMS]
    assert sum(spread) == pytest.approx(1)
    html = load("report")
    assert "fused, without discriminator" in html
    assert "training of the part conv3d_ae" in html
    assert "probability of being a spatial pseudo-anomaly" in html


def check_transfer(project, load, monkeypatch):
    baseline = {"frames": {"height": 32, "width": 48}, "training": TRAINING, "scoring": SCORING}
    params = PARAMS | {name: baseline | {"model": {"width": 0.0625}} for name in ("lntra_patch", "lntra_skip_frame")}
    for name in ("lntra_patch", "lntra_skip_frame"):
        project.run(name, params=params)
    trained = project.load("lntra_patch.scores", params=params)

    def never(*_, **__):
        raise AssertionError("a transferred model is not trained")

    monkeypatch.setattr("lightning.Trainer.fit", never)
    # the same clips under another data set's name, so that scores are those of the run that trained
    elsewhere = params | {"frame_extraction": {"source": "scenes", **PARAMS["frame_extraction"]}, "source": "scenes"}
    project.run("transfer", env="ped2_small", params=elsewhere)
    table = project.load("transfer.table", env="ped2_small", params=elsewhere).set_index("row")
    assert table.index[:3].tolist() == ["lntra_patch", "lntra_skip_frame", "pseudo_anomaly_detector"]
    assert set(table["source"][:3]) == {"scenes"}
    assert table["version"][:3].str.match(r"\d{4}-").all()
    again = project.load("transfer__lntra_patch.scores", env="ped2_small", params=elsewhere)
    tested = trained[trained["clip"].str.startswith("test")].reset_index(drop=True)
    assert np.allclose(again["psnr"], tested["psnr"])
    assert table.loc["pseudo_anomaly_detector", "micro_auc"] == pytest.approx(100 * load("metrics")["micro_auc"])
    with pytest.raises(ValueError, match="own data set"):
        project.run("transfer", params=params | {"source": "scenes"})
    with pytest.raises(ValueError, match=r"avenue, but a model of scenes was loaded"):
        project.run("transfer", env="ped2_small", params=elsewhere | {"transfer": {"source": "avenue"}})

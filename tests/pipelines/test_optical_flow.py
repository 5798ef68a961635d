import numpy as np
import pytest

TINY = {
    "frame_extraction": {"scenes": {"train_clips": 2, "test_clips": 1, "frames": 10, "height": 48, "width": 64}},
    "optical_flow": {"frames": {"height": 48, "width": 64}, "flownet": {"accelerator": "cpu"}},
}


def test_flow_fills_its_store_and_a_second_run_recomputes_nothing(shared_project):
    shared_project.run("optical_flow", params=TINY)
    flow = shared_project.load("flow_tvl1", params=TINY)
    assert list(flow) == ["test/01", "train/01", "train/02"]
    assert flow["train/01"].shape == (9, 48, 64, 2)
    assert flow["train/01"].dtype == "float16"
    assert shared_project.load("flow_flownet", params=TINY)["train/01"].shape == (9, 48, 64, 2)
    assert shared_project.load("flow_dis", params=TINY)["train/01"].shape == (9, 48, 64, 2)
    metrics = shared_project.load("optical_flow.metrics", params=TINY)
    assert metrics["pairs"] == 3 * 9
    assert metrics["tvl1_warp_error"] < metrics["no_motion_warp_error"]
    assert metrics["dis_warp_error_moving"] < metrics["no_motion_warp_error_moving"]
    html = shared_project.load("optical_flow.report", params=TINY)
    assert "TV-L1" in html
    assert "FlowNet" in html
    assert "DIS" in html
    pool = shared_project.data_root / "03_primary" / "scenes" / "clips"
    stamps = {path: path.stat().st_mtime_ns for path in pool.glob("*.npy")}
    shared_project.run("optical_flow", params=TINY)
    assert {path: path.stat().st_mtime_ns for path in pool.glob("*.npy")} == stamps


def test_one_estimator_alone_leaves_the_other_store_empty(shared_project):
    params = TINY | {"optical_flow": TINY["optical_flow"] | {"estimators": ["tvl1"]}}
    shared_project.run("optical_flow", params=params)
    assert len(shared_project.load("flow_flownet", params=params)) == 0
    assert len(shared_project.load("flow_dis", params=params)) == 0
    assert "FlowNet" not in shared_project.load("optical_flow.report", params=params)


def test_an_unknown_estimator_is_named(shared_project):
    params = TINY | {"optical_flow": TINY["optical_flow"] | {"estimators": ["tvl1", "raft"]}}
    with pytest.raises(Exception, match=r"optical_flow.estimators: raft; choose some of tvl1, flownet, dis"):
        shared_project.run("optical_flow", params=params)


def of_textures(textures):
    training = {
        "epochs": 1,
        "pairs": 8,
        "held_out": 4,
        "batch_size": 4,
        "precision": "32-true",
        "workers": 0,
        "accelerator": "cpu",
    }
    return TINY | {
        "flownet_training": {
            "textures": textures,
            "network": {"width": 0.0625},
            "rendered": {"height": 64, "width": 64},
            "training": training,
        }
    }


@pytest.mark.parametrize("textures", ["procedural", "frames"])
def test_flownet_training_measures_its_weights_and_finds_them_again(shared_project, textures, monkeypatch):
    params = of_textures(textures)
    shared_project.run("flownet_training", params=params)
    metrics = shared_project.load("flownet_training.metrics", params=params)
    history = shared_project.load("flownet_training.history", params=params).set_index("name")["value"]
    assert history["train_epe"] > 0
    assert metrics == pytest.approx({name: history[name] for name in ("val_epe", "val_zero_epe")})
    checkpoint = shared_project.load("flownet_training.checkpoint", params=params)
    assert checkpoint.about["textures"] == ("procedural" if textures == "procedural" else "4 frames")

    def forbidden(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("lightning.Trainer.fit", forbidden)
    shared_project.run("flownet_training", params=params)
    again = shared_project.load("flownet_training.checkpoint", params=params)
    for name, value in checkpoint.state.items():
        np.testing.assert_array_equal(again.state[name].numpy(), value.numpy())


def test_optical_flow_takes_the_weights_of_a_training(shared_project):
    shared_project.run("flownet_training", params=of_textures("procedural"))
    models = shared_project.data_root / "06_models" / "scenes" / "flownet_training"
    path = sorted(models.glob("checkpoint.safetensors/*/*"))[-1]
    flow = TINY["optical_flow"] | {
        "estimators": ["tvl1", "flownet"],
        "flownet": {"checkpoint": str(path), "accelerator": "cpu"},
    }
    shared_project.run("optical_flow", params=TINY | {"optical_flow": flow})
    assert len(shared_project.load("flow_flownet", params=TINY)) == 3
    assert shared_project.load("optical_flow.metrics", params=TINY)["disagreement"] > 0
    assert "FlowNet" in shared_project.load("optical_flow.report", params=TINY)

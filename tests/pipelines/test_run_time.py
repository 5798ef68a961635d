import logging

import pytest
import torch

from tests.pipelines.conftest import TINY_SCENES

FEW = TINY_SCENES | {"run_time": {"systems": ["frame_pred", "lgn_net"], "frames": 3, "warm_up": 1}}
TRAINED = FEW | {"frame_pred": {"training": {"epochs": 1}, "frames": {"height": 32, "width": 48}}}
OURS = ["reading_ms", "network_ms", "end_to_end_ms", "fps"]


def test_systems_are_timed_untrained_and_trained_beside_what_papers_print(shared_project):
    shared_project.run("run_time", params=FEW)
    table = shared_project.load("run_time.table", params=FEW).set_index("row")
    ours = table[table["network_ms"].notna()]
    assert list(ours.index[:1]) + list(ours.index[-1:]) == ["frame_pred", "lgn_net"]
    assert (ours[OURS] > 0).all(axis=None)
    assert (ours["end_to_end_ms"] >= ours["network_ms"]).all()
    assert set(ours["weights"]) == {"untrained"}
    assert set(ours["frames"]) == {"64x96 gray"}
    assert len(ours) == 2 * (1 + torch.cuda.is_available()), "each on the processor, and on a GPU where there is one"
    assert ours.loc[["lgn_net"], "published_ms"].iloc[0] == pytest.approx(1000 / 19)

    cited = table[table["network_ms"].isna()]["published_ms"]
    of_valt_gan = cited[cited.index.str.contains("valt_gan, Table III")].rename(lambda row: row.partition(" (valt")[0])
    assert of_valt_gan.to_dict() == {
        "FFP+MC": 46,
        "CDD-AE": 60,
        "MemAE": 38,
        "Msm-net": 50,
        "VALT-GAN (Ours)": 36,
    }
    assert cited["AnoPCN (lgn_net, Sec. IV-G (text))"] == 100
    assert (shared_project.data_root / "08_reporting/scenes/run_time/milliseconds.png").exists()

    shared_project.run("frame_pred", params=TRAINED, to_outputs=["frame_pred.checkpoint"])
    shared_project.run("run_time", params=FEW)
    again = shared_project.load("run_time.table", params=FEW).set_index("row")
    assert again.loc["frame_pred", "weights"] == "trained"
    assert again.loc["frame_pred", "frames"] == "32x48 gray", "the checkpoint's own size"
    assert again.loc["lgn_net", "weights"] == "untrained"


def test_a_memory_that_has_learnt_nothing_is_left_out_and_the_log_says_how_to_fill_it(shared_project, caplog):
    params = FEW | {"run_time": FEW["run_time"] | {"systems": ["scene_exemplars", "frame_pred"]}}
    with caplog.at_level(logging.WARNING, logger="vad_pipeline"):
        shared_project.run("run_time", params=params)
    table = shared_project.load("run_time.table", params=params)
    assert set(table.loc[table["network_ms"].notna(), "row"]) == {"frame_pred"}
    assert "kedro run --pipeline=scene_exemplars" in caplog.text


def test_data_without_clips_to_score_are_an_error(shared_project):
    with pytest.raises(ValueError, match="no clips of 'val'; set eval_split"):
        shared_project.run("run_time", params=FEW | {"eval_split": "val"})

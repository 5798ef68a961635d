import numpy as np
import pytest

from vad_pipeline.experiments.experiments import EXPERIMENTS
from vad_pipeline.models.msti_net import Config

TRAINING = {"epochs": 1, "batch_size": 4, "window_stride": 4, "accelerator": "cpu", "precision": "32-true"}
PARAMS = {
    "frame_extraction": {"scenes": {"train_clips": 2, "test_clips": 1, "frames": 12, "height": 48, "width": 64}},
    "msti_net": {
        "frames": {"height": 16, "width": 32},
        "model": {"width": 0.0625, "variant": "A"},
        "scoring": {"accelerator": "cpu"},
    },
    "msti_net_ablation": {"seeds": [0], "training": TRAINING | {"held_out": 0.5}},
}
ROWS = ("A", "E")


@pytest.fixture(scope="module")
def ran(shared_project):
    outputs = [f"msti_net_ablation__{row}.metrics" for row in ROWS]
    shared_project.run("msti_net_ablation", params=PARAMS, to_outputs=outputs)
    return lambda name: shared_project.load(f"msti_net_ablation__{name}", params=PARAMS)


def test_a_row_of_the_ablation_reads_flow_as_its_own_variant_does_whatever_the_parameters_say(ran):
    assert len(ran("A.flow")) == 0
    flow = ran("E.flow")
    assert {clip: stored.shape for clip, stored in flow.items()} == dict.fromkeys(ran("E.frames"), (11, 16, 32, 2))


def test_every_row_scores_the_frames_after_the_fourth(ran):
    for row in ROWS:
        scores = ran(f"{row}.scores")
        assert scores.loc[scores["clip"].str.startswith("test"), "frame"].tolist() == list(range(4, 12))
        assert np.isfinite(scores[["psnr", "memory_distance"]].to_numpy()).all()
        assert ran(f"{row}.metrics")["frames_scored"] == 8
    assert not np.allclose(ran("A.scores")["psnr"], ran("E.scores")["psnr"])


def test_the_rows_are_those_of_table_ii():
    rows = EXPERIMENTS["msti_net_ablation"].rows
    assert [row.overrides for row in rows] == [{"variant": variant} for variant in "ABCDE"]
    assert [row.published for row in rows] == [f"msti_net/{variant}" for variant in "ABCDE"]
    assert Config().variant == "E"

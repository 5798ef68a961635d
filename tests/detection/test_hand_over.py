"""A trained system handed over: one folder that runs elsewhere, as it was."""

import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.detection.test_detector import picture_rows
from tests.detection.untrained import leave
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.hand_over import HandOverError, hand_over
from vad_pipeline.detection.reading import Reading
from vad_pipeline.detection.thresholds import ThresholdError
from vad_pipeline.fitting.checkpoint import CheckpointError
from vad_pipeline.flow.flownet_checkpoint import EMBEDDED
from vad_pipeline.sources.raw_clip import SourceError

PICTURES = picture_rows(20, 2, 4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return leave(tmp_path_factory.mktemp("models"), "conv3d_ae")


@pytest.fixture
def handed(source, tmp_path):
    """A folder that was moved after it was written."""
    hand_over(source, tmp_path / "written", Reading(), false_alarms_per_hour=60, hold=2)
    return (tmp_path / "written").rename(tmp_path / "entrance")


def test_a_folder_says_its_threshold_and_scores_as_the_training_does(source, handed):
    original, given = Detector.load(source, None, None, 60, 2), Detector.load(handed)
    assert given.threshold == original.threshold
    assert given.threshold.hold == 2
    pd.testing.assert_frame_equal(given.score(PICTURES), original.score(PICTURES))
    readme = (handed / "README.md").read_text()
    assert f"above {given.threshold.level:.6g} for 2 frames in a row" in readme
    assert "trained on entrance" in readme


def test_another_rate_is_computed_from_the_held_out_scores(source, handed):
    assert (
        Detector.load(handed, false_alarms_per_hour=300).threshold
        == Detector.load(source, None, None, 300, 2).threshold
    )
    assert Detector.load(handed, hold=1).threshold == Detector.load(source, None, None, 60, 1).threshold
    with pytest.raises(ThresholdError, match="at the lowest"):
        Detector.load(handed, false_alarms_per_hour=0.5)


def test_what_was_looked_at_and_at_which_height_goes_with_it(source, tmp_path):
    region = np.zeros((32, 64), np.uint8)
    region[:, 16:] = 255
    cv2.imwrite(str(tmp_path / "region.png"), region)
    hand_over(source, tmp_path / "entrance", Reading(16, tmp_path / "region.png"))
    (tmp_path / "region.png").unlink()
    native = np.repeat(np.repeat(PICTURES, 2, axis=1), 2, axis=2)
    read = PICTURES.copy()
    read[:, :, :8] = 0
    given = Detector.load(tmp_path / "entrance")
    pd.testing.assert_frame_equal(given.score(native), Detector.load(source).score(read))
    with pytest.raises(SourceError, match=r"region_of_interest\.png is 64x32, the pictures are 32x16"):
        given.score(PICTURES)


def test_weights_that_a_recipe_names_go_with_it(tmp_path):
    weights = shutil.copy(EMBEDDED, tmp_path / "own.safetensors")
    source = leave(tmp_path / "models", "msti_net", flownet=str(weights))
    expected = Detector.load(source).score(PICTURES[:8])
    hand_over(source, tmp_path / "entrance", Reading())
    (tmp_path / "own.safetensors").unlink()
    pd.testing.assert_frame_equal(Detector.load(tmp_path / "entrance").score(PICTURES[:8]), expected)
    with pytest.raises(HandOverError, match=r"own\.safetensors is missing, which the flow that msti_net reads takes"):
        hand_over(source, tmp_path / "again", Reading())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entrance", "models"]


def test_an_earlier_hand_over_is_replaced_and_anything_else_is_left_alone(source, handed):
    assert hand_over(source, handed, Reading()).threshold.hold == 1
    assert Detector.load(handed).threshold.hold == 1
    assert [path.name for path in handed.parent.iterdir()] == ["entrance"]
    (handed.parent / "mine").mkdir()
    (handed.parent / "mine" / "letter.txt").touch()
    with pytest.raises(HandOverError, match="mine is there and no system that was handed over; name another folder"):
        hand_over(source, handed.parent / "mine", Reading())


def test_without_held_out_footage_nothing_is_written(tmp_path):
    source = leave(tmp_path / "models", "conv3d_ae", clips=())
    with pytest.raises(ThresholdError, match="no held-out normal footage"):
        hand_over(source, tmp_path / "entrance", Reading())
    assert not (tmp_path / "entrance").exists()


def damage(folder, name):
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def rewrite(folder, **changed):
    path = folder / "system.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: rewrite(folder, format=2), "a system of format 2, handed over by version .* reads format 1"),
        (lambda folder: (folder / "system.json").write_text("{"), r"system\.json is damaged"),
        (lambda folder: rewrite(folder, threshold={}), r"system\.json is damaged \(threshold\.level: Field required\)"),
        (lambda folder: (folder / "system.json").unlink(), r"no system is called 'entrance'.* has a system\.json"),
        (lambda folder: (folder / "checkpoint.safetensors").unlink(), r"checkpoint\.safetensors is missing; copy"),
        (
            lambda folder: damage(folder, "checkpoint.safetensors"),
            r"checkpoint\.safetensors is damaged or was replaced",
        ),
        (lambda folder: rewrite(folder, files={}), r"checkpoint\.safetensors has no hash"),
        (
            lambda folder: rewrite(folder, region_of_interest="../a.png"),
            "'../a.png' is no name of a file in the folder",
        ),
        (
            lambda folder: rewrite(folder, system="net_of_tomorrow"),
            "whose system net_of_tomorrow this version does not",
        ),
    ],
    ids=["format", "no json", "incomplete", "no system.json", "missing", "damaged", "no hash", "outside", "system"],
)
def test_a_folder_that_is_not_whole_is_refused_in_one_sentence(handed, harm, said):
    harm(handed)
    with pytest.raises(CheckpointError, match=said):
        Detector.load(handed)

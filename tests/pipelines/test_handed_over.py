"""A video scored by a folder that was handed over, with what the folder says and not what the environment does."""

import cv2
import numpy as np
import pandas as pd
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from tests.conftest import PROJECT
from tests.detection.test_detector import picture_rows
from tests.detection.untrained import leave
from vad_pipeline.detection.detector import Detector
from vad_pipeline.pipelines.score_video.nodes import ScoreVideo, detect
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.terminal.hand_over import hand_over


def test_a_folder_that_the_command_wrote_brings_threshold_height_and_region_to_a_score(
    tmp_path, write_video, monkeypatch
):
    leave(tmp_path / "06_models" / "scenes", "conv3d_ae")
    monkeypatch.setenv("VAD_DATA_ROOT", str(tmp_path))
    arguments = ["conv3d_ae", f"--out={tmp_path / 'entrance'}", "--false-alarms-per-hour=60", "--hold=2"]
    done = CliRunner().invoke(hand_over, arguments, obj=bootstrap_project(PROJECT))
    assert done.exit_code == 0, done.output
    assert "conv3d_ae, trained on entrance, is in" in done.output
    assert done.output.splitlines()[-1] == f"kedro score new.mp4 --model={tmp_path / 'entrance'}"
    frames = [np.repeat(np.repeat(row[..., 0], 2, axis=0), 2, axis=1) for row in picture_rows(20, 2, 4)]
    video = write_video(tmp_path / "new.mkv", frames, fps=10)
    handed = tmp_path / "entrance"
    detected = score(tmp_path, video, handed)
    detector, (found,) = detected.detector, detected.found
    assert detector.threshold == Detector.load(handed).threshold
    assert detector.threshold.hold == 2
    region = np.zeros((32, 64), np.uint8)
    region[:, 16:] = 255
    cv2.imwrite(str(tmp_path / "region.png"), region)
    elsewhere = {"region_of_interest": str(tmp_path / "region.png")}
    (other,) = score(tmp_path, video, handed, height=8, source="videos", videos=elsewhere).found
    pd.testing.assert_frame_equal(other.scores, found.scores)


def score(folder, video, model, **extraction):
    wanted = ScoreVideo(models="", folder=str(folder / "found"), video=str(video), model=str(model), annotated=False)
    return detect(wanted, FrameExtraction(**({"source": "scenes"} | extraction)))

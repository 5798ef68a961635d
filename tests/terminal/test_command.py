"""`kedro run` as it is typed: exit code, last line, and how much stands before it."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.conftest import PROJECT
from tests.processes import kedro as forked_kedro


def variables(tmp_path, environment):
    return (
        os.environ | {"VAD_DATA_ROOT": str(tmp_path), "VAD_TRACKING": "off", "VAD_PARALLEL": "sequential"} | environment
    )


def kedro(tmp_path, *arguments, **environment):
    """Runs a command of Kedro's in the project; returns exit code and lines of both outputs together."""
    code, output = forked_kedro(*arguments, folder=PROJECT, environment=variables(tmp_path, environment))
    return code, output.splitlines()


def kedro_from_nothing(tmp_path, *arguments):
    """The same in a process that imports all itself, and prints what libraries say when they are imported."""
    done = subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=PROJECT,
        env=variables(tmp_path, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (
            ["--pipeline=frame_extraction", "--env=my_camera"],
            "/01_raw/my_camera/train is missing; put your videos there or correct frame_extraction.videos in your conf "
            "environment",
        ),
        (
            ["--pipeline=frame_extraction", "--params=frame_extraction.source=scene"],
            "known are: scenes, ucsd, ubnormal",
        ),
        (["--params=lgn_net.model.widht=1"], "lgn_net.model.widht: there is no such parameter; did you mean width?"),
        (["--env=pedd2"], "did you mean ped2? there are fashion_mnist, mnist, my_camera, ped2, ped2_small, scenes, "),
        (["--pipeline=score_video", "--params=video=no.mp4"], "no.mp4 is missing; name a video, or a folder of videos"),
        (["--pipeline=clip_comparison"], "run `kedro run --pipeline=conv3d_ae` and `kedro run --pipeline=lntra_patch`"),
    ],
)
def test_the_last_line_says_what_to_do(tmp_path, arguments, last):
    code, lines = kedro(tmp_path, "run", *arguments)
    assert code == 1
    assert last in lines[-1]
    assert lines[-2] == ""
    assert not any("Traceback" in line for line in lines)
    assert len(lines) < 8


def test_verbose_brings_the_traceback_and_the_file_has_it_anyway(tmp_path):
    arguments = "run", "--pipeline=frame_extraction", "--env=my_camera"
    code, lines = kedro(tmp_path, *arguments, "--verbose")
    assert code == 1
    assert any("Traceback" in line for line in lines)
    assert "is missing; put your videos there" in lines[-1]
    assert kedro(tmp_path, *arguments, VAD_VERBOSE="1")[1] == lines
    log = (PROJECT / "logs" / "kedro.log").read_text(encoding="utf-8")
    assert f"{tmp_path}/01_raw/my_camera/train is missing" in log
    assert "Traceback" in log


SMALL = (
    "--params=frame_extraction.scenes.train_clips=3,frame_extraction.scenes.test_clips=2,frame_extraction.scenes.frames=30,"
    "frame_extraction.scenes.height=48,frame_extraction.scenes.width=64,lgn_net.frames.height=48,lgn_net.frames.width=64,"
    "lgn_net.model.width=0.0625,lgn_net.training.epochs=2,lgn_net.training.window_stride=4,"
    "scene_exemplars.frames.height=120,scene_exemplars.frames.width=160"
)


@pytest.mark.slow
def test_a_run_says_little_and_ends_with_the_box(tmp_path, write_video):
    code, lines = kedro_from_nothing(tmp_path, "run", SMALL)
    assert code == 0
    assert len(lines) < 45
    assert [line.split()[:2] for line in lines if "━" in line] == [
        ["frames", "━" * 40],
        ["masks", "━" * 40],
        ["frames", "━" * 40],
        ["frames", "━" * 40],
        ["training", "lgn_net"],
        ["scene_exemplars:", "clips"],
        *2 * [["scoring", "test"], ["scoring", "train"], ["maps", "━" * 40]],
    ]
    for noise in ("Loading data", "Saving data", "torchvision", "litlogger", "Warning", "WARNING", "GPU", "Epoch"):
        assert not any(noise in line for line in lines), noise
    assert "scene_exemplars + lgn_net on scenes" in lines[-12]
    assert "2 in this run" in lines[-6]
    assert f"{tmp_path}/08_reporting/scenes/model_comparison/report.html/" in lines[-5]
    reports = tmp_path / "08_reporting" / "scenes"
    said = {
        name: next(reports.glob(f"{name}/report.html/*/report.html")).read_text()
        for name in ("scene_exemplars", "lgn_net")
    }
    assert "one pass over the clips, seed 0" in said["scene_exemplars"]
    assert "2 epochs, batch" in said["lgn_net"]
    assert ["Learning curves" in page for page in said.values()] == [False, True]
    assert "none: finished ones of earlier runs were used again" in kedro(tmp_path, "run", SMALL)[1][-6]
    new_videos_are_scored_by_what_was_trained(tmp_path, write_video)


def new_videos_are_scored_by_what_was_trained(folder, write_video):
    video = write_video(folder / "new.mkv", list(np.random.default_rng(0).integers(0, 255, (12, 48, 64), np.uint8)))
    code, lines = kedro(folder, "score", str(video))
    assert code == 0, lines
    assert lines[-5].startswith("scene_exemplars: at most")
    assert lines[-3] == "new.mkv: 8 frames scored, 0 events"
    assert lines[-2].endswith("this video is 64x48 at 10: it is gray where colour was learnt"), "the checkpoint knows"
    found = folder / "08_reporting" / "scenes" / "score_video"
    assert {path.name for path in (found / "scene_exemplars" / "new").iterdir()} == {
        "annotated.mp4",
        "events",
        "events.csv",
        "report.html",
        "scores.csv",
        "scores.parquet",
    }
    (folder / "several").mkdir()
    shutil.copy(video, folder / "several")
    (folder / "several" / "other.mp4").write_bytes(b"no video")
    code, lines = kedro(folder, "run", "--pipeline=score_video", f"--params=video={folder / 'several'},model=lgn_net")
    assert code == 1
    assert "other.mp4: cannot be opened as a video" in lines[-1], "and the others are scored and saved"
    (table,) = (found / "scores.parquet").glob("*/scores.parquet")
    assert pd.read_parquet(table)["clip"].tolist() == ["new"] * 8


def test_commands_start_without_torch():
    code = "import sys, vad_pipeline.cli; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

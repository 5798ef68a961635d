import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from kedro.io import DatasetError

from tests.pipelines.conftest import PROJECT, TINY_SCENES


def scenes(**changes):
    return {"frame_extraction": {"scenes": TINY_SCENES["frame_extraction"]["scenes"] | changes}}


def test_the_built_in_scenes_become_frames_labels_masks_and_a_card(project):
    project.parallel = "loky"  # as users have it
    project.run("frame_extraction")
    frames, masks, labels = project.load("frames"), project.load("masks"), project.load("labels")
    assert list(frames) == ["test/01", "test/02", "train/01", "train/02"]
    assert frames["train/01"].shape == (24, 48, 64, 3)
    assert frames["train/01"].array().dtype == np.uint8
    assert sorted(labels["clip"].unique()) == ["test/01", "test/02"]
    for clip in ("test/01", "test/02"):
        shown = masks[clip].array().any(axis=(1, 2))
        np.testing.assert_array_equal(shown, labels.loc[labels["clip"] == clip, "label"] == 1)
    card = project.load("data_card")
    assert card["splits"] == {"train": {"clips": 2, "frames": 48}, "test": {"clips": 2, "frames": 48}}
    assert card["abnormal_frames"] == labels["label"].sum() > 0
    assert card["frames_where_mask_and_label_disagree"] == 0
    assert len(project.load("clip_table")) == 4


def test_an_unchanged_rerun_recomputes_nothing_and_one_more_clip_computes_one(project):
    project.run("frame_extraction")
    pool = project.data_root / "02_intermediate" / "scenes" / "clips"
    stamps = {path: path.stat().st_mtime_ns for path in pool.glob("*.npy")}
    size = sum(project.files().values())
    project.run("frame_extraction")
    assert {path: path.stat().st_mtime_ns for path in pool.glob("*.npy")} == stamps
    assert sum(project.files().values()) - size < 1_000_000
    project.run("frame_extraction", params=scenes(train_clips=3))
    added = set(pool.glob("*.npy")) - set(stamps)
    frames = project.load("frames", params=scenes(train_clips=3))
    assert len(frames) == 5
    new = {frames["train/03"].fingerprint}
    assert {path.stem for path in added} - new <= {clip.fingerprint for clip in project.load("masks").values()}
    assert new <= {path.stem for path in added}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_two_environments_on_one_data_root_do_not_mix(project, tmp_path):
    frames = project.data_root / "01_raw" / "UCSDped2"
    for split, clip in (("Train", "Train001"), ("Test", "Test001")):
        (frames / split / clip).mkdir(parents=True)
        for i in range(1, 4):
            cv2.imwrite(str(frames / split / clip / f"{i:03d}.tif"), np.full((10, 14), 40 * i, np.uint8))
    (frames / "Test" / "UCSDped2.m").write_text("TestVideoFile{end+1}.gt_frame = [2:3];\n")
    project.run("frame_extraction")
    scenes_files = project.files()
    project.run("frame_extraction", env="ped2_small", params={})
    project.run("frame_extraction", env="ped2", params={})
    loaded = {env: project.load("frames", env=env, params={}) for env in (None, "ped2_small", "ped2")}
    assert "train/01" in loaded[None]
    assert list(loaded["ped2_small"]) == ["test/Test001", "train/Train001"]
    pools = {env: clips[next(iter(clips))].pool.url for env, clips in loaded.items()}
    assert len(set(pools.values())) == 3
    assert {path: size for path, size in project.files().items() if path in scenes_files} == scenes_files
    assert project.load("labels", env="ped2_small", params={})["label"].tolist() == [0, 1, 1]


def test_an_unknown_setting_stops_the_run_before_it_starts(project):
    with pytest.raises(Exception, match="framerate") as stopped:
        project.run("frame_extraction", params={"frame_extraction": {"framerate": 3}})
    assert "Unexpected keyword argument" in str(stopped.value)
    with pytest.raises(Exception, match="flames"):
        project.run("frame_extraction", params=scenes(flames=3))


def test_an_unknown_source_stops_the_run_and_lists_the_known(project):
    with pytest.raises(Exception, match=r"unknown source 'webcam'; known are: scenes, ucsd, .*, videos"):
        project.run("frame_extraction", params={"frame_extraction": {"source": "webcam"}})


def test_missing_raw_data_say_what_to_put_where(project):
    with pytest.raises(Exception, match=r"UCSDped2 not found in .*01_raw; unpack UCSD_Anomaly_Dataset.tar.gz there"):
        project.run("frame_extraction", env="ped2", params={})


def test_a_broken_clip_stops_the_run_but_keeps_the_finished_ones(project):
    root = project.data_root / "01_raw" / "mine" / "training" / "frames"
    for clip in ("01", "02"):
        (root / clip).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(root / clip / f"{i}.jpg"), np.full((24, 32), 50 * i, np.uint8))
    broken = root / "02" / "1.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    params = {"frame_extraction": {"source": "frame_folders", "frame_folders": {"root": str(root.parents[1])}}}
    with pytest.raises(DatasetError, match=r"02/1.jpg: cannot be decoded"):
        project.run("frame_extraction", params=params)
    with pytest.raises(DatasetError):
        project.load("frames", params=params)
    broken.write_bytes(whole)
    project.run("frame_extraction", params=params)
    assert len(project.load("frames", params=params)) == 2


def test_frame_extraction_starts_without_torch():
    code = (
        "import sys; from kedro.framework.startup import bootstrap_project; "
        f"bootstrap_project({str(PROJECT)!r}); from kedro.framework.project import pipelines; "
        "pipelines.set_requested(['frame_extraction']); pipelines['frame_extraction']; "
        "import json; print(json.dumps(sorted(m for m in ('torch', 'lightning', 'diffusers') if m in sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert json.loads(done.stdout.splitlines()[-1]) == []

from dataclasses import replace

import numpy as np
import pytest

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, raw_clips
from vad_pipeline.sources.raw_clip import SourceError, Span
from vad_pipeline.sources.ubnormal import UbnormalConfig, read_tracks, read_ubnormal


def extraction(root, **settings):
    return FrameExtraction("ubnormal", ubnormal={"root": str(root), "lists": str(root / "scripts"), **settings})


def test_normal_videos_train_and_both_kinds_are_evaluated(ubnormal_release, carry_out):
    release = ubnormal_release()
    config = extraction(release)
    clips = raw_clips(config)
    assert list(clips) == [
        "train/normal_scene_1_scenario_2",
        "train/normal_scene_1_scenario_10",
        "val/abnormal_scene_2_scenario_3",
        "val/normal_scene_2_scenario_1_fog",
        "test/abnormal_scene_1_scenario_5",
        "test/normal_scene_1_scenario_4",
    ]
    frames = carry_out(frame_jobs(config))
    assert frames["val/abnormal_scene_2_scenario_3"].shape == (6, 16, 24, 3)
    assert frames["val/abnormal_scene_2_scenario_3"].fps == 30
    labels = label_table(config, frames)
    by_clip = {clip: part["label"].tolist() for clip, part in labels.groupby("clip")}
    assert by_clip == {
        "val/abnormal_scene_2_scenario_3": [0, 1, 1, 1, 1, 0],
        "val/normal_scene_2_scenario_1_fog": [0] * 6,
        "test/abnormal_scene_1_scenario_5": [1, 0, 0, 0, 0, 0],
        "test/normal_scene_1_scenario_4": [0] * 6,
    }


def test_splits_and_height_are_chosen(ubnormal_release, carry_out):
    chosen = extraction(ubnormal_release(), splits=["train", "val"])
    frames = carry_out(frame_jobs(replace(chosen, height=8)))
    assert {clip.split("/")[0] for clip in frames} == {"train", "val"}
    small = frames["train/normal_scene_1_scenario_2"]
    assert small.shape == (6, 8, 12, 3)
    np.testing.assert_allclose(small.array()[:, 4, 6, 0], 30 * np.arange(6), atol=3)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda root: (root / "scripts/normal_training_video_names.txt").unlink(), "normal_training_video_names.txt"),
        (lambda root: (root / "scripts/normal_training_video_names.txt").write_text(""), "lists no video"),
        (lambda root: (root / "Scene1/normal_scene_1_scenario_2.mp4").unlink(), "normal_scene_1_scenario_2.mp4"),
        (lambda root: (root / "scripts/normal_training_video_names.txt").write_text("oops"), "Scene/oops.mp4"),
    ],
)
def test_what_is_missing_is_named(ubnormal_release, damage, named):
    release = ubnormal_release()
    damage(release)
    with pytest.raises(SourceError, match=named):
        read_ubnormal(UbnormalConfig(str(release), str(release / "scripts")))


def test_a_single_track_is_a_span_and_every_object_has_its_own(ubnormal_release):
    release = ubnormal_release()
    tracks = release / "Scene2/abnormal_scene_2_scenario_3_annotations/abnormal_scene_2_scenario_3_tracks.txt"
    assert read_tracks(tracks) == (Span(1, 3), Span(2, 5))
    assert read_tracks(
        release / "Scene1/abnormal_scene_1_scenario_5_annotations/abnormal_scene_1_scenario_5_tracks.txt"
    )
    tracks.unlink()
    with pytest.raises(SourceError, match="labels an abnormal video"):
        read_tracks(tracks)


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize("text", ["", "1,2\n", "1,5,4\n", "1,-1,4\n", "1,0.5,4\n", "1;2;3\n", "1,nan,4\n"])
def test_tracks_that_cannot_be_read_are_never_taken_for_none(tmp_path, text):
    path = tmp_path / "a_tracks.txt"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"a_tracks\.txt.*object,first,last"):
        read_tracks(path)

"""The height at which clips are read, whatever the source."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table, mask_jobs, raw_clips
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.reading_size import frames_at_height, masks_at_height

NOISE = np.random.default_rng(0).integers(0, 256, (4, 48, 72, 3), dtype=np.uint8)
BOX = np.zeros((48, 72), np.uint8)
BOX[12:30, 24:60] = 255


@pytest.fixture
def extraction(tmp_path, write_image, write_video):
    """Writes a release of a source, frames 48x72 of noise, and says how to read it."""

    def scenes():
        return FrameExtraction(
            "scenes", scenes={"train_clips": 1, "test_clips": 1, "frames": 8, "height": 48, "width": 72}
        )

    def ucsd():
        for clip in ("Train/Train001", "Test/Test001"):
            for t, frame in enumerate(NOISE, start=1):
                write_image(tmp_path / "UCSDped2" / clip / f"{t:03d}.tif", frame[..., 0])
                write_image(tmp_path / "UCSDped2/Test/Test001_gt" / f"{t:03d}.bmp", BOX if t > 2 else 0 * BOX)
        (tmp_path / "UCSDped2/Test/UCSDped2.m").write_text("TestVideoFile{end+1}.gt_frame = [3:4];")
        return FrameExtraction("ucsd", ucsd={"root": str(tmp_path)})

    def frame_folders():
        for clip in ("training/frames/01", "testing/frames/01"):
            for t, frame in enumerate(NOISE):
                write_image(tmp_path / clip / f"{t}.png", frame)
        return FrameExtraction("frame_folders", frame_folders={"root": str(tmp_path)})

    def videos():
        write_video(tmp_path / "a.mkv", list(NOISE))
        return FrameExtraction("videos", videos={"train": str(tmp_path / "a.mkv")})

    def ubnormal():
        for kind in ("training", "validation", "test"):
            for name in (f"normal_{kind}", f"abnormal_{kind}"):
                listed = tmp_path / "scripts" / f"{name}_video_names.txt"
                listed.parent.mkdir(exist_ok=True)
                listed.write_text("normal_scene_1_scenario_1")
        write_video(tmp_path / "Scene1/normal_scene_1_scenario_1.mp4", list(NOISE))
        return FrameExtraction(
            "ubnormal",
            ubnormal={"root": str(tmp_path), "lists": str(tmp_path / "scripts"), "splits": ["train"]},
        )

    made = {each.__name__: each for each in (scenes, ucsd, frame_folders, videos, ubnormal)}
    return lambda source: made[source]()


SOURCES = pytest.mark.parametrize("source", ["scenes", "ucsd", "frame_folders", "videos", "ubnormal"])


@SOURCES
def test_frames_are_averaged_to_the_height_and_the_width_follows(extraction, carry_out, source):
    native = extraction(source)
    small = carry_out(frame_jobs(replace(native, height=16)))
    for clip, stored in carry_out(frame_jobs(native)).items():
        frames = stored.array()
        blocks = frames.reshape(len(frames), 16, 3, 24, 3, -1).mean(axis=(2, 4))
        assert small[clip].shape == blocks.shape
        np.testing.assert_allclose(small[clip].array(), blocks, atol=0.51)


@SOURCES
def test_without_a_height_frames_are_those_of_the_source(extraction, carry_out, source):
    config = extraction(source)
    stored = carry_out(frame_jobs(config))
    for clip, raw in raw_clips(config).items():
        np.testing.assert_array_equal(stored[clip].array(), np.stack(list(raw.frames())))


@SOURCES
def test_each_height_has_clips_of_its_own(extraction, source):
    config = extraction(source)
    made = [frame_jobs(replace(config, height=height)) for height in (None, 48, 16)]
    fingerprints = {job.fingerprint for jobs in made for job in jobs.values()}
    assert len(fingerprints) == 3 * len(made[0])


@pytest.mark.parametrize("source", ["scenes", "ucsd"])
def test_masks_fit_the_frames_and_labels_stay(extraction, carry_out, source):
    native, small = (replace(extraction(source), height=height) for height in (None, 16))
    frames = carry_out(frame_jobs(small))
    masks = carry_out(mask_jobs(small, frames))
    assert masks
    whole = carry_out(mask_jobs(native, carry_out(frame_jobs(native))))
    for clip, stored in masks.items():
        assert stored.dtype == "bool"
        assert stored.shape == frames[clip].shape[:3]
        np.testing.assert_array_equal(stored.array(), whole[clip].array()[:, 1::3, 1::3])
    assert any(stored.array().any() for stored in masks.values())
    labels = label_table(small, frames)
    assert labels["label"].any()
    assert labels.equals(label_table(native, frames))


def test_masks_of_another_shape_are_found_at_any_height(extraction, tmp_path, write_image):
    config = replace(extraction("ucsd"), height=16)
    write_image(tmp_path / "UCSDped2/Test/Test001_gt/002.bmp", np.zeros((48, 90), np.uint8))
    shapes = {clip: type("Stored", (), {"shape": (4, 16, 24, 1)}) for clip in raw_clips(config)}
    job = mask_jobs(config, shapes)["test/Test001"]
    with pytest.raises(SourceError, match="mask 2 is 30x16, the frames are 24x16"):
        list(job.rows(0, None))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_odd_size_keeps_its_proportions_and_channels(channels):
    (frame,) = frames_at_height([np.zeros((47, 63, channels), np.uint8)], 20)
    assert frame.shape == (20, 27, channels)
    (sliver,) = frames_at_height([np.zeros((100, 1, channels), np.uint8)], 10)
    assert sliver.shape == (10, 1, channels)


def test_a_picture_may_be_read_larger_than_it_is():
    (frame,) = frames_at_height([np.full((8, 12, 1), 7, np.uint8)], 16)
    assert frame.shape == (16, 24, 1)
    assert (frame == 7).all()
    (mask,) = masks_at_height([np.eye(2, dtype=bool)], 4)
    np.testing.assert_array_equal(mask, np.eye(2, dtype=bool).repeat(2, axis=0).repeat(2, axis=1))


def test_a_height_of_zero_is_refused():
    with pytest.raises(ValidationError, match="height"):
        FrameExtraction("scenes", height=0)

"""What decodes is read, and what is passed over is said, once."""

import logging

import numpy as np
import pytest

from tests.sources.recordings import COUNT, number_of, record
from vad_pipeline.sources.frame_folders import FrameFoldersConfig, read_frame_folders
from vad_pipeline.sources.images import list_images
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.videos import VideosConfig, read_videos

CODECS = {
    "a.mp4": "libx264",
    "b.MTS": "libx264",
    "c.m2ts": "libx264",
    "d.wmv": "wmv2",
    "e.3gp": "mpeg4",
    "f.flv": "flv",
    "g.vob": "mpeg2video",
    "h.gif": "gif",
    "i.mjpeg": "mjpeg",
    "j.asf": "msmpeg4",
    "k.m2v": "mpeg2video",
    "l.ogv": "theora",
}
GRAY = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize("name", [name for name in CODECS if name != "l.ogv"])
def test_what_decodes_is_read(tmp_path, name):
    record(tmp_path / name, CODECS[name], rate=25)
    (raw,) = read_videos(VideosConfig(str(tmp_path)))
    pairs = list(raw.timed())
    assert [number_of(image) for image, _ in pairs] == list(range(COUNT))
    np.testing.assert_allclose([second for _, second in pairs], np.arange(COUNT) / 25, atol=0.011)  # gif has 1/100 s


def test_every_suffix_beside_an_mp4_is_a_clip(tmp_path, write_video):
    for name in CODECS:
        write_video(tmp_path / "some.avi", [np.zeros((16, 16, 3), np.uint8)] * 2).rename(tmp_path / name)
    assert [raw.clip for raw in read_videos(VideosConfig(str(tmp_path)))] == [f"train/{c}" for c in "abcdefghijkl"]


def test_what_is_passed_over_beside_videos_is_said_once(tmp_path, write_video, caplog):
    write_video(tmp_path / "a.avi", [np.zeros((16, 16, 3), np.uint8)] * 2)
    (tmp_path / "m.mp4").mkdir()
    for name in ("notes.txt", "a.srt", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert [raw.clip for raw in read_videos(VideosConfig(str(tmp_path)))] == ["train/a"]
    assert [r.getMessage() for r in caplog.records] == [f"{tmp_path}; passed over: a.srt, m.mp4 (a folder), notes.txt"]


def test_a_folder_of_nothing_that_is_read_says_what_it_holds(tmp_path):
    (tmp_path / "m.mp4").mkdir()
    with pytest.raises(
        SourceError, match=r"holds no video .* put your videos there; passed over: m\.mp4 \(a folder\)$"
    ):
        read_videos(VideosConfig(str(tmp_path)))
    with pytest.raises(SourceError, match=r"no images \(.*; passed over: m\.mp4 \(a folder\)$"):
        list_images(tmp_path)


def test_what_is_passed_over_beside_images_is_said_once(tmp_path, write_image, caplog):
    for name in ("1.jpg", "2.webp", "3.pgm"):
        write_image(tmp_path / name, GRAY)
    (tmp_path / "4.jpg").mkdir()
    (tmp_path / "5.heic").write_text("x")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [path.name for path in list_images(tmp_path)] == ["1.jpg", "2.webp", "3.pgm"]
    assert [r.getMessage() for r in caplog.records] == [f"{tmp_path}; passed over: 4.jpg (a folder), 5.heic"]


def test_a_video_among_folders_of_images_is_said(tmp_path, write_image, caplog):
    write_image(tmp_path / "training/frames/01/0.jpg", GRAY)
    (tmp_path / "training/frames/02.mp4").write_text("x")
    with caplog.at_level(logging.WARNING):
        assert [raw.clip for raw in read_frame_folders(FrameFoldersConfig(str(tmp_path)))] == ["train/01"]
    assert "02.mp4" in caplog.text


def test_of_many_the_first_are_named(tmp_path, write_image, caplog):
    write_image(tmp_path / "1.jpg", GRAY)
    for number in range(25):
        (tmp_path / f"{number:02}.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        list_images(tmp_path)
    assert caplog.text.strip().endswith("09.txt and 15 more")

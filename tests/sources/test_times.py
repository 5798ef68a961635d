"""A frame's time is its own: whatever the rate does, and wherever the file's clock starts."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from tests.sources.recordings import COUNT, copied, number_of, packets_of, record
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs, label_table
from vad_pipeline.sources.raw_clip import RawClip, SecondsSpan, SourceError
from vad_pipeline.sources.videos import read_timed_video

PHONE = [*(i / 30 for i in range(20)), *(20 / 30 + i / 10 for i in range(40))]
PAUSE = [i / 10 + (5 if i >= 30 else 0) for i in range(COUNT)]
EVEN = [i / 30 for i in range(COUNT)]


def read(path, stride=1, truncated="error"):
    """Numbers of the pictures and their seconds."""
    pairs = list(read_timed_video(path, stride, None, truncated))
    return [number_of(image) for image, _ in pairs], np.array([second for _, second in pairs])


@pytest.fixture
def labelled(tmp_path, carry_out):
    """Numbers of the pictures that a label in seconds selects."""

    def selected(path, start, end, stride=1):
        (tmp_path / "labels.csv").write_text(f"clip,start_second,end_second,kind\n{path.stem},{start},{end},cart\n")
        settings = {"train": str(path), "test": str(path), "labels": str(tmp_path / "labels.csv")}
        config = FrameExtraction("videos", videos={**settings, "frame_stride": stride})
        frames = carry_out(frame_jobs(config))
        table = label_table(config, frames)
        array = frames[f"test/{path.stem}"].array()
        assert table["kind"].tolist() == ["cart" if label else "" for label in table["label"]]
        return [number_of(array[t]) for t in table.loc[table["label"] == 1, "frame"]]

    return selected


@pytest.mark.parametrize(
    ("name", "times", "start", "end", "expected"),
    [
        ("phone.mp4", PHONE, 1.0, 2.0, range(24, 34)),
        ("phone.mkv", PHONE, 1.0, 2.0, range(24, 34)),
        ("pause.mp4", PAUSE, 8.5, 9.5, range(35, 45)),
        ("pause.mkv", PAUSE, 8.5, 9.5, range(35, 45)),
        ("pause.mp4", PAUSE, 2.85, 8.05, (29, 30)),
        ("even.mp4", EVEN, 0.5, 1.0, range(15, 30)),
        ("even.ts", EVEN, 0.5, 1.0, range(15, 30)),
    ],
)
def test_labels_in_seconds_select_what_is_shown_then(tmp_path, labelled, name, times, start, end, expected):
    path = record(tmp_path / name, times=times, base=Fraction(1, 600))
    assert labelled(path, start, end) == list(expected)


def test_a_live_recording_without_a_duration_has_its_times(tmp_path, labelled):
    path = record(tmp_path / "live.webm", "libvpx", PAUSE, container_options={"live": "1"})
    assert labelled(path, 8.5, 9.5) == list(range(35, 45))
    assert labelled(path, 0.5, 1.5) == list(range(5, 15))


@pytest.mark.parametrize("stride", [2, 3, 7])
def test_kept_frames_keep_their_times(tmp_path, labelled, stride):
    path = record(tmp_path / "phone.mp4", times=PHONE, base=Fraction(1, 600))
    assert labelled(path, 1.0, 2.0, stride) == [n for n in range(24, 34) if n % stride == 0]
    assert labelled(path, 4.5, 4.6, stride) == ([59] if 59 % stride == 0 else [])


def test_seconds_count_from_the_first_picture_of_a_late_or_cut_file(tmp_path, labelled):
    whole = record(tmp_path / "whole.ts", "mpeg2video", g="10")
    late = copied(whole, tmp_path / "late.ts", shift=3.0)
    assert labelled(late, 0.5, 1.0) == list(range(15, 30))
    cut = copied(record(tmp_path / "whole.mkv", "mpeg4", g="10", bf="0"), tmp_path / "cut.mkv", first=20)
    numbers, seconds = read(cut)
    assert (numbers[0], seconds[0]) == (20, 0.0)
    assert labelled(cut, 0.5, 1.0) == list(range(35, 50))


def test_times_are_stored_with_the_clip_and_survive_being_taken_from_the_pool(tmp_path, carry_out):
    path = record(tmp_path / "phone.mp4", times=PHONE, base=Fraction(1, 600))
    config = FrameExtraction("videos", videos={"train": str(path), "frame_stride": 2}, height=48)
    for _ in range(2):
        clip = carry_out(frame_jobs(config))["train/phone"]
        assert clip.shape == (30, 48, 80, 3)
        np.testing.assert_allclose(clip.times(), PHONE[::2], atol=1e-6)
        np.testing.assert_allclose(clip.part("train/phone@10", 10, 20).times(), PHONE[20:40:2], atol=1e-6)


@pytest.mark.parametrize("fps", [None, 8.0])
def test_images_have_times_only_where_their_rate_is_given(tmp_path, write_image, carry_out, fps):
    for number in range(4):
        write_image(tmp_path / f"training/frames/01/{number}.png", np.zeros((8, 8), np.uint8))
    config = FrameExtraction("frame_folders", frame_folders={"root": str(tmp_path), "fps": fps})
    times = carry_out(frame_jobs(config))["train/01"].times()
    assert (times is None) if fps is None else (times.tolist() == [0, 0.125, 0.25, 0.375])


def test_frames_of_a_models_size_keep_their_times(tmp_path, carry_out):
    path = record(tmp_path / "phone.mp4", times=PHONE, base=Fraction(1, 600))
    frames = carry_out(frame_jobs(FrameExtraction("videos", videos={"train": str(path)})))
    small = carry_out(resize_jobs(frames, FrameSize(32, 48)))["train/phone"]
    np.testing.assert_allclose(small.times(), PHONE, atol=1e-6)


def raw(**settings):
    return RawClip("test/a", "a", lambda: iter(()), "a.mp4", **settings)


def test_a_span_in_seconds_begins_with_its_start_and_ends_before_its_end():
    seconds = np.array([0.0, 0.1, 0.2, 0.1 + 0.2, 0.9])
    labels, kinds = raw(spans=(SecondsSpan(0.3, 0.9, "cart"), SecondsSpan(0, 0.05))).labels(5, seconds)
    assert labels.tolist() == [1, 0, 0, 1, 0]
    assert kinds == ["", "", "", "cart", ""]


@pytest.mark.parametrize(("end", "fits"), [(1.0, True), (1.1, False)])
def test_a_span_in_seconds_may_not_outlast_the_clip(end, fits):
    clip, seconds = raw(spans=(SecondsSpan(0.5, end),), fps=10.0), np.arange(10) / 10
    if fits:
        assert clip.labels(10, seconds)[0].tolist() == [0] * 5 + [1] * 5
    else:
        with pytest.raises(
            SourceError, match=r"clip test/a: .* second 0\.5 to 1\.1 leaves .* ends after 1\.00 seconds"
        ):
            clip.labels(10, seconds)


def test_seconds_without_times_are_refused():
    with pytest.raises(SourceError, match=r"it is not known when its frames are shown .*by their numbers"):
        raw(spans=(SecondsSpan(0, 1),)).labels(3)


def with_empty_chunks(path, slots, index=True):
    """Takes the bytes of some of an AVI's pictures away: their chunks stay, with a size of 0."""
    content, packets = bytearray(path.read_bytes()), packets_of(path)
    for slot in slots:
        position, size = packets[slot]
        padded = size + size % 2
        struct.pack_into("<I", content, position - 4, 0)
        struct.pack_into("<4sI", content, position, b"JUNK", padded - 8)
    start = content.index(b"idx1", packets[-1][0])
    for slot in slots:
        struct.pack_into("<I", content, start + 8 + 16 * slot + 12, 0)
    path.write_bytes(content if index else content[:start])
    return path


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_an_empty_chunk_of_an_avi_repeats_the_picture_before(tmp_path, codec, index):
    path = with_empty_chunks(record(tmp_path / "a.avi", codec, g="1"), (10, 11, 20, 57, 58, 59), index)
    numbers, seconds = read(path)
    expected = list(range(COUNT))
    expected[10:12], expected[20], expected[57:] = [9, 9], 19, [56, 56, 56]
    assert numbers == expected
    np.testing.assert_allclose(seconds, EVEN, atol=1e-9)
    assert read(path, stride=7)[0] == expected[::7]


def test_pictures_dropped_while_an_avi_was_written_are_repeated(tmp_path, labelled):
    slots = [i for i in range(COUNT) if i not in range(31, 37)]
    path = record(tmp_path / "a.avi", "mpeg4", [slot / 30 for slot in slots], count=54, base=Fraction(1, 30), bf="0")
    numbers, seconds = read(path)
    assert numbers == [*range(31), *[30] * 6, *range(31, 54)]
    np.testing.assert_allclose(seconds, EVEN, atol=1e-9)
    assert labelled(path, 1.0, 1.3) == [30] * 7 + [31, 32]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_an_avi_shows_reordered_pictures_evenly(tmp_path, codec):
    numbers, seconds = read(record(tmp_path / "a.avi", codec, bf="2"))
    assert numbers == list(range(COUNT))
    np.testing.assert_allclose(seconds, EVEN, atol=1e-9)

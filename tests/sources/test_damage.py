"""A damaged packet costs a packet; what is missing is said, where that is an error."""

from fractions import Fraction

import numpy as np
import pytest

from tests.sources.recordings import COUNT, copied, number_of, overwrite, packets_of, record
from tests.sources.test_times import PAUSE, PHONE
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.videos import read_timed_video

CODECS = {"libx264": "a.mp4", "libx265": "a.mp4", "mpeg4": "a.avi", "mjpeg": "a.avi"}
QUIET = {"libx265": {"x265-params": "log-level=none"}}


def read(path, truncated="error"):
    pairs = list(read_timed_video(path, 1, None, truncated))
    return [image for image, _ in pairs], np.array([second for _, second in pairs])


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_packet_costs_a_packet(tmp_path, codec, noise):
    path = record(tmp_path / CODECS[codec], codec, **QUIET.get(codec, {}))
    position, size = packets_of(path)[30]
    overwrite(path, position, size, noise)
    images, seconds = read(path, "keep")
    assert len(images) == 59
    assert [number_of(image) for image in images[:25]] == list(range(25))
    steps = np.round(np.diff(seconds) * 30).astype(int).tolist()
    assert sorted(steps) == [1] * 57 + [2]  # the times of the others are their own
    lost = steps.index(2) + 1
    with pytest.raises(SourceError, match=rf"{path.name}: frame {lost} \(second {lost / 30:.2f}\) cannot be decoded"):
        read(path)


def test_several_damaged_packets_cost_as_many(tmp_path):
    path = record(tmp_path / "a.mp4", "mpeg4", g="10")
    for packet in (12, 30, 44):
        overwrite(path, *packets_of(path)[packet], noise=True)
    images, seconds = read(path, "keep")
    assert len(images) == 57
    numbers = [round(second * 30) for second in seconds]
    assert set(range(COUNT)) - set(numbers) == {12, 30, 44}
    # right again from the next key frame on
    assert all(number_of(image) == n for image, n in zip(images, numbers, strict=True) if not {n // 10} & {1, 3, 4})


def test_a_picture_that_the_decoder_leaves_out_without_a_word_is_missed(tmp_path):
    path = record(tmp_path / "a.mp4", "libx265", **QUIET["libx265"])
    position, size = packets_of(path)[30]
    overwrite(path, position + size // 2, size - size // 2)
    assert len(read(path, "keep")[0]) == 59
    with pytest.raises(SourceError, match=r"a\.mp4: frame \d+ \(second \d\.\d\d\) cannot be decoded; copy the file"):
        read(path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "mpeg4"), ("a.mkv", "mjpeg"), ("a.webm", "libvpx"), ("a.mpg", "mpeg2video"), ("a.ts", "mpeg2video")],
)
def test_a_jump_in_time_is_an_error_that_names_frame_and_second(tmp_path, name, codec):
    path = record(tmp_path / name, codec, g="6", container_options={"cluster_time_limit": "500"} if "m" in name else {})
    size = path.stat().st_size
    overwrite(path, size // 2, size // 12)
    kept, seconds = read(path, "keep")
    assert 35 <= len(kept) < COUNT
    assert seconds[-1] == pytest.approx(59 / 30, abs=0.01)
    with pytest.raises(
        SourceError, match=r"frame \d+ \(second \d\.\d\d\).*; copy the file again, or set videos\.trunc"
    ):
        read(path)


@pytest.mark.parametrize("times", [PHONE, PAUSE, np.cumsum(np.random.default_rng(0).uniform(0.02, 0.2, COUNT))])
@pytest.mark.parametrize(
    ("name", "codec", "live"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mkv", "libx264", {}),
        ("a.mkv", "mpeg4", {}),
        ("a.webm", "libvpx", {}),
        ("a.webm", "libvpx", {"live": "1"}),
    ],
)
def test_uneven_rates_and_pauses_are_no_damage(tmp_path, name, codec, live, times):
    path = record(tmp_path / name, codec, times, base=Fraction(1, 1000), container_options=live)
    images, seconds = read(path)
    assert [number_of(image) for image in images] == list(range(COUNT))
    np.testing.assert_allclose(seconds, np.subtract(times, times[0]), atol=0.002)


@pytest.mark.parametrize("times", [PHONE, PAUSE, np.cumsum(np.random.default_rng(0).uniform(0.02, 0.2, COUNT))])
def test_uneven_rates_of_a_transport_stream_are_no_damage(tmp_path, times):
    path = record(tmp_path / "a.ts", "libx264", times, base=Fraction(1, 1000))
    assert [number_of(image) for image in read(path)[0]] == list(range(COUNT))


@pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mpeg2video"), ("a.ts", "libx264"), ("a.mkv", "libx264")])
def test_a_recording_that_starts_between_key_frames_is_no_damage(tmp_path, name, codec):
    whole = record(tmp_path / f"whole{name[1:]}", codec, g="12")
    path = copied(whole, tmp_path / name, first=7)
    numbers = [number_of(image) for image in read(path)[0]]
    assert numbers[-30:] == list(range(30, COUNT))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_long_loss_in_a_transport_stream_is_no_pause(tmp_path, codec):
    path = record(tmp_path / "a.ts", codec, g="6")
    size = path.stat().st_size
    overwrite(path, size // 3, size // 3)
    assert len(read(path, "keep")[0]) < 50
    with pytest.raises(SourceError, match=r"frame \d+ \(second \d\.\d\d\)"):
        read(path)


def test_a_live_recording_that_cannot_be_read_to_its_end_is_an_error(tmp_path):
    path = record(tmp_path / "a.webm", "libvpx", container_options={"live": "1"}, g="6", b="2M")
    size = path.stat().st_size
    overwrite(path, size // 2, size)
    assert 10 < len(read(path, "keep")[0]) < 50
    with pytest.raises(SourceError, match=r"a\.webm: .*frame \d+ \(second \d\.\d\d\)"):
        read(path)

"""Live sources: the newest pictures at a rate, gaps said, connections made again, and no password shown."""

import time

import numpy as np
import pytest

from tests.detection.live.servers import free_port, http_of_ffmpeg, motion_jpeg, needs_rtsp, rtsp, wait_until, web
from vad_pipeline.detection.live import source as live
from vad_pipeline.detection.live.address import Address, address_of, redacted
from vad_pipeline.detection.live.sink import jpeg
from vad_pipeline.detection.live.source import LiveSource
from vad_pipeline.sources.raw_clip import SourceError


@pytest.fixture
def video(tmp_path, write_video):
    """One second at 20 frames a second; each picture's gray says its number."""
    return write_video(tmp_path / "a.mkv", [np.full((16, 24), 10 * n, np.uint8) for n in range(20)], fps=20)


def numbers(arrivals):
    return [int(arrival.picture[0, 0, 0]) // 10 for arrival in arrivals]


def all_of(source, seconds=20.0):
    """What arrives until the source ends."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        arrival = source.next(0.1)
        if arrival is not None:
            found.append(arrival)
        elif source.state == "ended":
            return found
    raise AssertionError("the source goes on")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:s@/cr#t?@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("http://host/video?user=a&password=secret", "http://host/video?***"),
        ("rtsp://host/live", "rtsp://host/live"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_password(url, shown):
    assert redacted(url) == str(address_of(url)) == shown
    assert "cr" not in repr(address_of(url))


def test_a_source_that_is_none_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"nothing\.mp4 is missing; name a file, a URL such as rtsp"):
        address_of(str(tmp_path / "nothing.mp4"))
    with pytest.raises(SourceError, match=r"/dev/video4711: this machine has no such camera"):
        address_of("4711")


def test_a_file_is_shown_as_if_live_at_the_wanted_rate(video):
    began = time.monotonic()
    with LiveSource(address_of(str(video)), 10.0, 100) as source:
        found = all_of(source)
    assert numbers(found) == list(range(0, 20, 2))
    assert [arrival.second for arrival in found] == pytest.approx([n / 10 for n in range(10)], abs=0.2)
    assert [arrival.gap for arrival in found] == [True] + 9 * [False]
    assert found[-1].due - began > 0.8, "in its own time"
    assert (source.received, source.dropped, source.state) == (10, 0, "ended")


def test_whoever_is_slow_loses_what_waits_at_once_and_is_told_of_the_gap(video):
    with LiveSource(address_of(str(video)), None, 4) as source:
        first = source.next(5.0)
        wait_until(lambda: source.state == "ended")
        rest = all_of(source)
    assert numbers([first]) == [0]
    assert source.received == 20 == 1 + len(rest) + source.dropped
    assert rest[0].gap
    assert not any(arrival.gap for arrival in rest[1:])
    assert numbers(rest) == list(range(20 - len(rest), 20)), "the newest, one after the other"


def test_jitter_costs_no_picture(monkeypatch):
    """Pictures that come up to a fifth of their time early or late are all taken."""
    rng = np.random.default_rng(0)
    seconds = [0.0, *(n / 10 + rng.uniform(-0.02, 0.02) for n in range(1, 200))]
    source = LiveSource(Address("rtsp://nowhere", "stream"), 10.0, 1000)
    monkeypatch.setattr(source, "_timed", lambda: ((np.zeros((2, 2, 1), np.uint8), s) for s in seconds))
    source._read()
    assert source.received == 200


def test_what_a_picture_does_not_suit_reaches_whoever_reads(video):
    def refuse(picture):
        raise SourceError("the region of interest is 4x4")

    with LiveSource(address_of(str(video)), None, 4, refuse) as source, pytest.raises(SourceError, match="4x4"):
        source.next(5.0)


def test_a_source_that_never_starts_is_named_without_its_password():
    source = LiveSource(Address(f"rtsp://admin:secret@127.0.0.1:{free_port()}/live", "stream"), None, 4, patience=0.2)
    with source, pytest.raises(SourceError, match=r"127\.0\.0\.1:\d+/live: no picture within 0 seconds") as failed:
        source.next(20.0)
    assert "secret" not in str(failed.value)
    assert failed.value.__cause__ is None or "secret" not in str(failed.value.__cause__)


def test_an_rtsp_camera_is_read_and_read_again_after_it_was_gone(monkeypatch):
    needs_rtsp()
    monkeypatch.setattr(live, "FIRST_PAUSE", 0.2)
    port = free_port()
    with rtsp(port) as url:
        source = LiveSource(address_of(url), 10.0, 100)
        source.__enter__()
        found = [arrival for _ in range(8) if (arrival := source.next(10.0)) is not None]
    assert found[0].gap
    assert not any(arrival.gap for arrival in found[1:])
    assert {arrival.picture.shape for arrival in found} == {(48, 64, 3)}
    steps = np.diff([arrival.second for arrival in found])
    assert steps.mean() == pytest.approx(0.1, abs=0.03), "every second one of twenty a second"
    wait_until(lambda: source.state == "lost")
    assert source.trouble
    with rtsp(port):
        wait_until(lambda: source.state == "live")
        later = [arrival for _ in range(30) if (arrival := source.next(10.0)) is not None]
        source.__exit__(None, None, None)
    assert sum(arrival.gap for arrival in later) == 1
    assert source.reconnections >= 1
    assert later[-1].second > found[-1].second


def test_a_wrong_password_stops_at_once_and_is_not_repeated():
    needs_rtsp()
    with rtsp(free_port(), "admin", "right") as url:
        wrong = url.replace("://", "://admin:secret@")
        with LiveSource(address_of(wrong), None, 4) as source, pytest.raises(SourceError) as failed:
            source.next(20.0)
        assert "127.0.0.1" in str(failed.value)
        assert "user or password is refused" in str(failed.value)
        assert "secret" not in str(failed.value)
        with LiveSource(address_of(url.replace("://", "://admin:right@")), None, 4) as source:
            assert source.next(20.0) is not None


def test_a_stream_over_http_comes_in_its_own_time(tmp_path, video):
    with http_of_ffmpeg(free_port(), video) as url, LiveSource(address_of(url), None, 100) as source:
        found = [source.next(20.0) for _ in range(16)]
    assert not any(arrival.gap for arrival in found[1:])
    assert found[-1].due - found[0].due == pytest.approx(0.75, abs=0.4), "15 pictures of a twentieth of a second each"


def test_a_web_camera_that_changes_its_size_says_so():
    pictures = [jpeg(np.full((16, 24, 3), 50, np.uint8))] * 4 + [jpeg(np.full((32, 48, 3), 50, np.uint8))] * 6
    with web(motion_jpeg(pictures, 0.05)) as url, LiveSource(address_of(url), None, 100, patience=20) as source:
        found = [source.next(10.0) for _ in range(7)]
    shapes = [arrival.picture.shape[:2] for arrival in found]
    assert shapes[0] == (16, 24)
    assert shapes[-1] == (32, 48)
    changed = shapes.index((32, 48))
    assert [arrival.gap for arrival in found] == [n in (0, changed) for n in range(7)]


def test_closing_does_not_wait_for_a_camera_that_hangs():
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with LiveSource(Address(f"http://127.0.0.1:{silent.getsockname()[1]}/", "stream"), None, 4) as source:
            assert source.next(0.2) is None
            assert source.state == "connecting"
        assert time.monotonic() - began < 8

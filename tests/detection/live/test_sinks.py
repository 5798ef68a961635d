"""Sinks: what is found reaches a folder, a program, a web address and a broker, and none of them holds up watching."""

import base64
import errno
import io
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler

import av
import pandas as pd
import pytest

from tests.detection.live.conftest import frames, health, report
from tests.detection.live.servers import broker, free_port, wait_until, web
from vad_pipeline.detection.annotated_video import AnnotatedVideo
from vad_pipeline.detection.live.folder import Folder
from vad_pipeline.detection.live.json_lines import JsonLines
from vad_pipeline.detection.live.mqtt import Mqtt
from vad_pipeline.detection.live.sentences import Sentences
from vad_pipeline.detection.live.sink import Delivery, Sink
from vad_pipeline.detection.live.webhook import Webhook

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def told(sink, *messages):
    for message in messages:
        {"Frame": sink.frame, "Report": sink.report, "Health": sink.health}[type(message).__name__](message)


def an_event(sink, number=1, start=0):
    """Two seconds, an alarm of one second, and its end."""
    second = start / 10
    told(sink, *frames(20, start), report("alarm", number, second + 2, second + 2, second + 2))
    told(sink, *frames(10, start + 20, alarm=True), report("event", number, second + 2, second + 3, second + 2.5))


def test_a_folder_gets_a_line_a_picture_and_a_clip_that_begins_before_the_alarm(tmp_path, threshold):
    folder = Folder(tmp_path, threshold, before=1.0)
    an_event(folder)
    told(folder, health())
    folder.close()
    lines = pd.read_csv(tmp_path / "events.csv")
    assert lines["start"].tolist() == ["2026-05-01T12:00:02.000+00:00"]
    assert lines["end"].tolist() == ["2026-05-01T12:00:03.000+00:00"]
    assert lines[["x", "y", "width", "height"]].iloc[0].tolist() == [4, 6, 20, 10]
    assert lines["picture"][0] == "events/2026-05-01T12-00-02.000.jpg"
    assert (tmp_path / lines["picture"][0]).read_bytes()[:2] == b"\xff\xd8"
    with av.open(str(tmp_path / lines["clip"][0])) as clip:
        assert clip.streams.video[0].codec_context.name == "h264"
        seconds = [float(frame.pts * clip.streams.video[0].time_base) for frame in clip.decode(video=0)]
    assert seconds == pytest.approx([n / 10 for n in range(21)], abs=2e-3), "from 0.9 s, one second before 1.9, to 2.9"
    assert json.loads((tmp_path / "health.json").read_text())["state"] == "live"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "events.csv", "health.json"]


def test_a_clip_is_no_longer_than_asked_and_a_second_watch_adds_to_the_csv(tmp_path, threshold):
    an_event(Folder(tmp_path, threshold, before=0.5, longest=0.4))
    again = Folder(tmp_path, threshold, before=0.5, longest=0.4)
    an_event(again, 2, 100)
    lines = pd.read_csv(tmp_path / "events.csv")
    assert len(lines) == 2
    with av.open(str(tmp_path / lines["clip"][1])) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 6 + 5


def test_a_full_disk_costs_the_clip_and_keeps_the_line(tmp_path, threshold, monkeypatch, caplog):
    def full(*_):
        raise NO_SPACE

    folder = Folder(tmp_path, threshold)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(AnnotatedVideo, "write", full)
        an_event(folder)
    assert "the clip 2026-05-01T12-00-02.000.mp4 is dropped (No space left on device)" in caplog.text
    lines = pd.read_csv(tmp_path / "events.csv")
    assert lines["start"].tolist() == ["2026-05-01T12:00:02.000+00:00"]
    assert pd.isna(lines["clip"][0])
    assert [path.suffix for path in (tmp_path / "events").iterdir()] == [".jpg"]
    an_event(folder, 2, 100)
    assert pd.read_csv(tmp_path / "events.csv")["clip"][1].endswith(".mp4"), "there is room again"


def test_no_clip_is_begun_where_the_disk_is_nearly_full(tmp_path, threshold, monkeypatch, caplog):
    monkeypatch.setattr("vad_pipeline.detection.live.folder.RESERVE", 1 << 62)
    with caplog.at_level(logging.WARNING):
        an_event(Folder(tmp_path, threshold))
    assert "no room on the disk" in caplog.text
    assert len(pd.read_csv(tmp_path / "events.csv")) == 1


def test_a_line_that_could_not_be_written_comes_with_the_next(tmp_path, threshold, monkeypatch):
    folder = Folder(tmp_path, threshold)

    def full(*_):
        raise NO_SPACE

    with monkeypatch.context() as patched:
        patched.setattr("vad_pipeline.detection.live.folder.fsync", full)
        with pytest.raises(OSError, match="No space"):
            an_event(folder)
    assert (tmp_path / "events.csv").read_text() == ""
    an_event(folder, 2, 100)
    assert pd.read_csv(tmp_path / "events.csv")["start"].str[17:19].tolist() == ["02", "12"]


def test_programs_get_lines_of_json_and_people_get_sentences():
    lines, sentences = io.StringIO(), io.StringIO()
    for sink in (JsonLines(lines), Sentences(sentences)):
        told(sink, report("alarm"), report("event"), health("lost"))
    alarm, event, state = map(json.loads, lines.getvalue().splitlines())
    assert (alarm["kind"], alarm["end"], alarm["box"]) == ("alarm", None, [4, 6, 20, 10])
    assert (event["kind"], event["seconds"], event["camera"]) == ("event", 1.0, "entrance")
    assert (state["kind"], state["state"]) == ("health", "lost")
    assert sentences.getvalue().splitlines() == [
        "12:00:02 ALARM 1: motion, p 0.01",
        "12:00:03 event 1 is over, 1.0 s from 12:00:02; its peak at 12:00:02: motion, p 0.01",
        "12:00:00 lost, 10.0 frames a second, 0 dropped, 0.1 s behind, 1 events",
    ]


def test_a_web_address_gets_the_event_with_its_picture_and_a_failing_one_is_tried_again():
    answers, got = [500, 503, 200, 404], []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers[len(got) - 1])
            self.end_headers()

        def log_message(self, *args):
            pass

    with web(Hook) as url:
        sink = Webhook(f"{url}/hook?token=secret")
        sink.report(report("alarm"))
        assert len(got) == 3
        assert base64.b64decode(got[2].pop("picture"))[:2] == b"\xff\xd8"
        assert got[2] == report("alarm").record()
        with pytest.raises(OSError, match=r"^404 Not Found$"):
            sink.report(report())
        assert len(got) == 4, "what the other side does not know is not tried again"
    with pytest.raises(OSError, match="ConnectionError") as failed:
        sink.report(report())
    assert "secret" not in str(failed.value) + sink.name
    with pytest.raises(ValueError, match="no web address"):
        Webhook("ftp://host")


def test_a_broker_gets_alarms_pictures_and_the_retained_health():
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    port, got = free_port(), {}
    with broker(port) as url:
        sink = Mqtt(f"{url}/yard/entrance", "entrance")
        sink.health(health())
        listener = Client(CallbackAPIVersion.VERSION2)
        listener.on_message = lambda client, data, message: got.__setitem__(message.topic, message.payload)
        listener.on_connect = lambda client, *_: client.subscribe("yard/#", 1)
        listener.connect("127.0.0.1", port)
        listener.loop_start()
        wait_until(lambda: "yard/entrance/health" in got)
        told(sink, report("alarm"), report("event"))
        wait_until(lambda: len(got) == 4)
        sink.close()
        listener.loop_stop()
    assert json.loads(got["yard/entrance/health"])["state"] == "live"
    assert json.loads(got["yard/entrance/alarm"]) == report("alarm").record()
    assert json.loads(got["yard/entrance/event"]) == report("event").record()
    assert got["yard/entrance/picture"][:2] == b"\xff\xd8"
    with pytest.raises(ValueError, match=r"mqtt: tcp://\*\*\*@host is no broker") as failed:
        Mqtt("tcp://user:secret@host", "entrance")
    assert "secret" not in str(failed.value)


class Slow(Sink):
    name = "the slow one"

    def __init__(self):
        self.go, self.reports, self.frames = threading.Event(), [], 0

    def frame(self, frame):
        self.frames += 1

    def report(self, report):
        self.go.wait(10)
        self.reports.append(report.number)


def test_a_slow_sink_holds_up_nobody_and_loses_pictures_before_events():
    sink = Slow()
    delivery = Delivery(sink, most=8)
    began = time.monotonic()
    for number in range(1, 6):
        delivery.put(report("event", number))
        for frame in frames(10):
            delivery.put(frame)
    assert time.monotonic() - began < 5
    sink.go.set()
    delivery.close()
    assert sink.reports == [1, 2, 3, 4, 5]
    assert sink.frames < 20
    assert delivery.undelivered == 0


def test_a_sink_that_fails_is_told_of_once_and_goes_on(caplog):
    class Failing(Sink):
        name = "the failing one"
        closed = False

        def report(self, report):
            raise RuntimeError("no answer")

        def close(self):
            self.closed = True

    sink = Failing()
    with caplog.at_level(logging.WARNING):
        delivery = Delivery(sink)
        for number in range(3):
            delivery.put(report("event", number))
        delivery.close()
    assert delivery.undelivered == 3
    assert sink.closed
    assert caplog.text.count("the failing one did not take what was found (no answer)") == 1

"""Real servers on loopback that tests start and end; where a program is missing, its tests are skipped and say so."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

INSTALL = "`make system-packages` installs it"
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's, which has GStreamer's bindings
RTSP = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
port, user, password = sys.argv[1:]
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=port)
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=20/1"
    " ! jpegenc ! rtpjpegpay name=pay0 )"
)
if user:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    factory.add_role_from_structure(Gst.Structure.new_from_string(
        "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"))
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_until(there, seconds: float = 15.0) -> None:
    """Returns once ``there()`` is true."""
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, f"not there within {seconds} seconds"
        time.sleep(0.02)


def needs_rtsp() -> None:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip(f"GStreamer's RTSP server is missing; {INSTALL}")


@contextmanager
def rtsp(port: int, user: str = "", password: str = "") -> Iterator[str]:
    """A bouncing ball, 64x48 at 20 frames a second, at ``/live``."""
    server = subprocess.Popen(
        [SYSTEM_PYTHON, "-c", RTSP, str(port), user, password], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield f"rtsp://127.0.0.1:{port}/live"
    finally:
        server.kill()
        server.wait()


@contextmanager
def http_of_ffmpeg(port: int, video: Path) -> Iterator[str]:
    """A file as an MPEG transport stream, served once, as fast as it is taken."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip(f"ffmpeg is missing; {INSTALL}")
    url = f"http://127.0.0.1:{port}/live.ts"
    command = [
        program,
        "-loglevel",
        "error",
        "-i",
        str(video),
        "-c:v",
        "mpeg2video",
        "-f",
        "mpegts",
        "-listen",
        "1",
        url,
    ]
    server = subprocess.Popen(command)
    try:
        yield url
    finally:
        server.kill()
        server.wait()


@contextmanager
def broker(port: int) -> Iterator[str]:
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if program is None:
        pytest.skip(f"mosquitto is missing; {INSTALL}")
    server = subprocess.Popen([program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:

        def answers() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                return True
            return False

        wait_until(answers)
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@contextmanager
def web(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def motion_jpeg(pictures: list[bytes], pause: float) -> type[BaseHTTPRequestHandler]:
    """A handler that sends JPEGs as web cameras do, one every ``pause`` seconds."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--cut")
            self.end_headers()
            with suppress(OSError):
                for picture in pictures:
                    head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(pause)

        def log_message(self, *args: object) -> None:
            pass

    return Camera

"""Pictures of a live source, at the rate that a detector reads: the newest ones, never late, without gaps unsaid.

A thread reads and decodes, as FFmpeg's buffers must not fill, and keeps what is due. Where the detector does not keep
up, what waits is dropped all at once and the next picture says that something is missing: a window then begins anew, so
none ever spans a gap. A connection that breaks is made again, after longer and longer pauses.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vad_pipeline.detection.detector import Picture, at_rate
from vad_pipeline.detection.live.address import TIMEOUT, Address
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.video_file import upright
from vad_pipeline.sources.videos import read_timed_video

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a connection is made again
JITTER = 0.25  # of a picture's time, by which it may be early and still be the next one that is due
ASTRAY = 5.0  # seconds by which a stream's own clock may differ from ours before ours counts
UNTIMED = ("mpjpeg", "mjpeg")  # FFmpeg's names of streams whose pictures carry no times


@dataclass(frozen=True)
class Arrival:
    """A picture as it came.

    Attributes:
        picture: uint8 (H, W, 1|3), RGB.
        second: since the source was opened.
        due: when it was there to be taken, by ``time.monotonic``.
        gap: pictures before it are missing, or were of another size.
    """

    picture: Picture
    second: float
    due: float
    gap: bool


class LiveSource:
    """Reads a live source in a thread, while it is entered as a context.

    Args:
        address: of the source.
        fps: pictures a second that are wanted; None takes all.
        waiting: pictures that may wait before all of them are dropped.
        prepared: what is done to each wanted picture, in the thread (height, region of interest).
        patience: seconds to wait for the first picture.

    Attributes:
        state: ``connecting``, ``live``, ``lost`` or ``ended``.
        trouble: what broke the connection last, in words.
        received: pictures that were wanted and came.
        dropped: of them, those that were dropped.
        reconnections: after the first connection.
    """

    def __init__(
        self,
        address: Address,
        fps: float | None,
        waiting: int,
        prepared: Callable[[Picture], Picture] = lambda picture: picture,
        patience: float = 60.0,
    ):
        self.address, self.fps, self.patience = address, fps, patience
        self.state, self.trouble = "connecting", ""
        self.received = self.dropped = self.reconnections = 0
        self._prepared, self._most = prepared, waiting
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._failed: Exception | None = None
        self._gap = True
        self._shape: tuple[int, ...] | None = None
        self._opened = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"reads {address}", daemon=True)

    def __enter__(self) -> "LiveSource":
        self._opened = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join(2.0)  # a read that hangs ends with the process

    def next(self, timeout: float) -> Arrival | None:
        """The next picture; None where none came in time, or the source has ended (``state``).

        Raises:
            SourceError: it cannot be read: refused, not there within ``patience``, or a region of another size.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._failed or self.state == "ended", timeout)
            if self._waiting:
                return self._waiting.popleft()
            if self._failed is not None:
                raise self._failed
            return None

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            before = self.received
            try:
                self._read()
                if self.address.kind == "file":
                    return self._end("ended")
                reason = "the stream ended"
            except (av.HTTPUnauthorizedError, av.HTTPForbiddenError):
                return self._fail(f"{self.address}: user or password is refused; correct them in the address")
            except av.FFmpegError as error:
                reason = error.strerror or type(error).__name__  # its text alone: the whole holds the address
            except Exception as error:  # what the pictures do not suit, or a fault of ours: the thread cannot raise it
                return self._fail(error)
            if not self.received and time.monotonic() - self._opened > self.patience:
                return self._fail(
                    f"{self.address}: no picture within {self.patience:.0f} seconds ({reason}); is it switched on, and "
                    "the address right?"
                )
            pause = FIRST_PAUSE if self.received > before else min(2 * pause, LONGEST_PAUSE)
            with self._changed:
                self.state, self.trouble, self._gap = "lost" if self.received else "connecting", reason, True
                self._changed.notify()
            left = self._opened + self.patience - time.monotonic()
            self._closed.wait(pause if self.received else max(0.0, min(pause, left)))
            self.reconnections += bool(self.received)

    def _end(self, state: str) -> None:
        with self._changed:
            self.state = state
            self._changed.notify()

    def _fail(self, why: str | Exception) -> None:
        self._failed = SourceError(why) if isinstance(why, str) else why
        self._end("ended")

    def _read(self) -> None:
        """Hand on pictures of one connection until it ends."""
        began = time.monotonic() - self._opened
        slack = 0.0 if self.fps is None else JITTER / self.fps
        for item, second in at_rate(self._timed(), self.fps, slack):
            if self._closed.is_set():
                return
            picture = self._prepared(item if isinstance(item, np.ndarray) else upright(item, self._reformatter))
            self._put(picture, began + second)

    def _timed(self) -> Iterator[tuple[Picture | av.VideoFrame, float]]:
        """Pictures or frames not yet converted, and their second since this connection was begun."""
        if self.address.kind == "file":
            began = time.monotonic()
            for picture, second in read_timed_video(Path(self.address.url), 1, None, "keep"):
                if self._closed.wait(max(0.0, began + second - time.monotonic())):
                    return
                yield picture, second
            return
        self._reformatter = VideoReformatter()
        url, options = self.address.url, self.address.options
        began = time.monotonic()
        with av.open(url, format=self.address.format, options=options, timeout=TIMEOUT) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise SourceError(f"{self.address}: no video in the stream; name another path of the camera")
            untimed, rtsp = container.format.name in UNTIMED, container.format.name == "rtsp"
            offset: float | None = None
            last = -1.0
            for packet in container.demux(stream):
                for frame in _decoded(packet):
                    now = time.monotonic() - began
                    own = None if untimed or frame.pts is None else float(frame.pts * (stream.time_base or 0))
                    if own is not None and offset is None:
                        offset = now - own
                    second = now if own is None or offset is None else own + offset
                    if second < last or abs(second - now) > ASTRAY:  # its clock was set, or runs at another pace
                        second, offset = max(now, last), None if own is None else max(now, last) - own
                    last = second
                    # what comes in pieces of several seconds, as over HTTP, is shown as it was filmed
                    if not rtsp and second > now and self._closed.wait(second - now):
                        return
                    yield frame, second

    def _put(self, picture: Picture, second: float) -> None:
        with self._changed:
            self.received += 1
            self.state = "live"
            if len(self._waiting) >= self._most:
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._gap = True
            changed = self._shape is not None and picture.shape != self._shape
            self._shape = picture.shape
            self._waiting.append(Arrival(picture, second, time.monotonic(), self._gap or changed))
            self._gap = False
            self._changed.notify()


def _decoded(packet: av.Packet) -> list[av.VideoFrame]:
    """Frames of a packet; none of a damaged one, which costs what it holds and no more."""
    try:
        return packet.decode()  # type: ignore[return-value]
    except av.InvalidDataError:
        return []

"""Pictures that are missing from a video: whether, where, and what to do about it."""

import re
from array import array
from pathlib import Path

import av
import numpy as np

from vad_pipeline.sources.raw_clip import SourceError

# Formats whose packets lie one behind the other with little between them, so that skipped bytes are seen.
PACKED = ("matroska,webm", "flv")
MUCH = 256  # bytes; what lies between two sound packets is less, or is no reason for a jump in time
# Formats of streams that run evenly: a jump in time is a loss, unless the file has no bytes for what would be missing.
EVEN = ("mpeg", "mpegts")
LEAST = 188  # bytes of a picture: one packet of a transport stream
ONE_PICTURE_EACH = ("h264", "hevc")  # every packet of these becomes a picture


class Damage:
    """Watches a video while it is decoded and stops at the first picture that is missing, if that is an error.

    Args:
        path: of the file, for messages.
        container, stream: that are decoded.
        fatal: whether to stop.
    """

    def __init__(
        self,
        path: Path,
        container: "av.container.InputContainer",
        stream: "av.video.stream.VideoStream",
        fatal: bool,
    ):
        self._path, self._container, self._stream, self._fatal = path, container, stream, fatal
        self._waiting: set[int] = set()  # times of packets whose picture has not been seen
        self._broken: dict[int, str] = {}  # times of packets that cannot be decoded, and why
        self._packets = 0
        self._frames = 0
        self._times = array("q")  # of the pictures, in order
        self._first: int | None = None
        self._end = 0.0
        self._behind: int | None = None  # the byte behind the last packet
        self._hole: int | None = None  # time of the first packet behind skipped bytes
        self._sizes: dict[int, int] = {}  # position -> size of every packet, where evenness is checked
        self._positions: dict[int, int] = {}  # time -> position of the stream's packets
        self._stopped: av.FFmpegError | None = None

    def passed(self, packet: av.Packet) -> None:
        """A packet of another stream was read."""
        if packet.size and packet.pos is not None:
            self._behind = packet.pos + packet.size
            if self._container.format.name in EVEN:
                self._sizes[packet.pos] = packet.size

    def received(self, packet: av.Packet) -> None:
        """A packet of the stream was read."""
        self._packets += 1
        time = _time(packet)
        if time is not None and not packet.is_discard:
            self._waiting.add(time)
        if packet.pos is None:
            return
        if time is not None and self._container.format.name in EVEN:
            self._sizes[packet.pos] = packet.size
            self._positions[time] = packet.pos
        packed = self._container.format.name in PACKED
        if packed and self._behind is not None and packet.pos - self._behind > MUCH:
            self._hole = time
        self._behind = packet.pos + packet.size

    def broken(self, packet: av.Packet | None, error: av.FFmpegError) -> None:
        """A packet cannot be decoded; which picture is missing shows once later ones are there."""
        time = None if packet is None else _time(packet)
        if time is None:
            self._say(f"decoding stops after {self._frames} frames ({error.strerror})")
        else:
            self._broken[time] = str(error.strerror)

    def stopped(self, error: av.FFmpegError) -> None:
        """The file cannot be read on."""
        self._stopped = error

    def check_frame(self, frame: av.VideoFrame, number: int) -> None:
        """A picture was decoded, the file's ``number``-th, counted from 0.

        Raises:
            SourceError: it is damaged, or one before it is missing.
        """
        before = self._times[-1] if self._times else None
        self._frames += 1
        if frame.pts is None:
            return
        if self._first is None:
            self._first = frame.pts
        elif frame.is_corrupt:  # not the first, which may lack what was before the recording
            self._say(f"{self._place(number, frame.pts)} is damaged")
        self._times.append(frame.pts)
        self._waiting.discard(frame.pts)
        self._check_broken(number, frame.pts)
        if self._stream.time_base is not None:
            self._end = max(self._end, float((frame.pts + (frame.duration or 0)) * self._stream.time_base))
        lost = sorted(time for time in self._waiting if self._first < time < frame.pts)
        if lost:
            self._waiting.difference_update(lost)
            if self._one_picture_each and not frame.interlaced_frame:
                self._say(f"{self._place(number, lost[0])} cannot be decoded")
        if self._hole is not None and frame.pts >= self._hole:
            self._hole = None
            if before is not None and frame.pts - before > 1.5 * self._usual(frame):
                self._say(f"pictures are missing: the time jumps to {self._place(number, frame.pts)}")

    def check_end(self, shown: int, repeated: int) -> None:
        """All was decoded.

        Args:
            shown: pictures.
            repeated: those of them behind the last one that was decoded.

        Raises:
            SourceError: there is none, or the end is missing.
        """
        if shown == 0:
            raise SourceError(f"{self._path}: no frame can be decoded; copy the file again or remove it")
        if self._stopped is not None:
            self._say(f"decoding stops after {shown} frames ({self._stopped.strerror})")
        self._check_broken(shown, None)
        if self._one_picture_each:
            late = [time for time in self._waiting if self._first is not None and time > self._first]
            if late:
                self._say(f"{self._place(shown, min(late))} cannot be decoded")
        self._check_even()
        rate = float(self._stream.average_rate or 5)
        end = self._end + repeated / rate
        promised = self._promised_end()
        if promised is not None and end < promised - 2.5 / rate:  # encoders drop a last frame or two
            self._say(f"its header promises {promised:.1f} seconds, the {shown} frames end after {end:.1f}")
        if self._container.format.name == "avi" and len(self._stream.index_entries) > self._packets:
            self._say(f"its index lists {len(self._stream.index_entries)} pictures, {self._packets} are found")
        size, last = self._container.size, self._times[-1] if self._times else None
        rest = size - (self._behind or size)
        # a header that promises nothing was written before the recording ended; indices behind it are small
        if promised is None and self._container.format.name == PACKED[0] and rest > max(1024, size / 20):
            self._say(f"nothing can be read behind {self._place(shown - 1, last)}")

    @property
    def _one_picture_each(self) -> bool:
        # avi knows no times of pictures, only the order of packets
        return self._stream.codec_context.name in ONE_PICTURE_EACH and self._container.format.name != "avi"

    def _check_broken(self, number: int, before: int | None) -> None:
        for time in sorted(time for time in self._broken if before is None or time < before):
            self._waiting.discard(time)
            self._say(f"{self._place(number, time)} cannot be decoded ({self._broken.pop(time)})")

    def _check_even(self) -> None:
        """Stops at the first jump of a stream that runs evenly otherwise."""
        if self._container.format.name not in EVEN or len(self._times) < 3:
            return
        gaps = np.diff(self._times)
        usual = float(np.median(gaps))
        jumps = np.flatnonzero(gaps > 1.6 * usual)
        others = gaps[gaps <= 1.6 * usual]
        if len(jumps) > 0.1 * len(gaps) or (others < 0.6 * usual).any():
            return
        for number in (jumps + 1).tolist():
            before, after = self._times[number - 1], self._times[number]
            if not self._is_pause(before, after, round((after - before) / usual) - 1):
                self._say(f"pictures are missing: the time jumps to {self._place(number, after)}")

    def _is_pause(self, before: int, after: int, missing: int) -> bool:
        """Whether there are too few bytes between two pictures for those that would be missing."""
        if before not in self._positions or after not in self._positions:
            return False
        start, stop = self._positions[before], self._positions[after]
        claimed = sum(size for position, size in self._sizes.items() if start <= position < stop)
        return stop - start - claimed < LEAST * missing

    def _promised_end(self) -> float | None:
        """Second at which the header says that the last frame ends, None where it says nothing.

        The number of frames serves for avi only, whose duration FFmpeg guesses anew for a truncated file: a trimmed mp4
        or mov counts the frames before the cut too, a mkv or webm counts none.
        """
        container, stream = self._container, self._stream
        if container.format.name == "avi" and stream.frames and stream.average_rate:
            return float(stream.frames / stream.average_rate)
        if "mp4" in container.format.name and stream.duration is not None and stream.time_base is not None:
            return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        # mkv and webm; what other formats state is FFmpeg's estimate, not a promise
        clock = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
        return None if clock is None else int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])

    def _usual(self, frame: av.VideoFrame) -> float:
        """How long a picture is shown, in units of the stream's time."""
        if frame.duration:
            return frame.duration
        rate, base = self._stream.average_rate, self._stream.time_base
        return float(1 / (rate * base)) if rate and base else 0.0

    def _place(self, number: int, time: int | None) -> str:
        base = self._stream.time_base
        start = time if self._first is None else self._first
        if time is None or start is None or base is None or time < start:
            return f"frame {number}"
        return f"frame {number} (second {float((time - start) * base):.2f})"

    def _say(self, what: str) -> None:
        if self._fatal:
            raise SourceError(
                f"{self._path}: {what}; copy the file again, or set videos.truncated: keep to use what can be decoded"
            )


def _time(packet: av.Packet) -> int | None:
    return packet.pts if packet.pts is not None else packet.dts

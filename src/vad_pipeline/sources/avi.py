"""What AVI leaves to its readers: when pictures are shown, and pictures that are shown twice."""

import heapq
import struct
from pathlib import Path

import av


class AviPictures:
    """Puts the pictures of an AVI into its slots, which are of equal length.

    A chunk of zero bytes says that its slot shows the picture before it (Microsoft's AVI RIFF File Reference); FFmpeg
    counts the slot and hands out no packet. AVI knows the order of decoding only, so the slots of packets are dealt out
    to the pictures in the order in which these are shown.
    """

    def __init__(self, path: Path, stream: "av.video.stream.VideoStream"):
        self._path, self._stream = path, stream
        self._waiting: list[int] = []  # slots of packets whose picture was not shown yet
        self._received: set[int] = set()
        self._shown: int | None = None
        self._last: tuple[int, int] | None = None  # position and size of the last packet

    def received(self, packet: av.Packet) -> None:
        """A packet of the stream was read."""
        if packet.dts is not None:
            heapq.heappush(self._waiting, packet.dts)
            self._received.add(packet.dts)
        self._last = None if packet.pos is None else (packet.pos, packet.size)

    def place(self, frame: av.VideoFrame) -> tuple[int, float | None]:
        """How often the picture before this one is shown again, and this one's second on the file's clock."""
        slot = self._slot(frame)
        if slot is None or self._stream.time_base is None:
            return 0, None
        first = slot if self._shown is None else self._shown + 1
        repeated = sum(between not in self._received for between in range(first, slot))
        self._received = {received for received in self._received if received > slot}
        self._shown = slot
        return repeated, float(slot * self._stream.time_base)

    def _slot(self, frame: av.VideoFrame) -> int | None:
        if not self._stream.codec_context.has_b_frames and frame.pts is not None:
            return frame.pts
        return heapq.heappop(self._waiting) if self._waiting else None

    def trailing(self) -> int:
        """Empty slots behind the last packet: chunks of zero bytes up to the end of the file or its index."""
        if self._last is None:
            return 0
        empty, position = 0, sum(self._last)
        with open(self._path, "rb") as file:
            while True:
                position += position % 2  # chunks start at even bytes
                file.seek(position)
                header = file.read(8)
                if len(header) < 8 or header[:4] == b"idx1":
                    return empty
                name, size = struct.unpack("<4sI", header)
                if name in (b"RIFF", b"LIST"):
                    position += 12
                    continue
                number, kind = name[:2], name[2:]
                if size == 0 and kind in (b"dc", b"db") and number == b"%02d" % self._stream.index:
                    empty += 1
                position += 8 + size

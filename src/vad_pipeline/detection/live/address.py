"""What is watched: a stream's URL, a camera of this machine, or a file; and how that may be shown to others."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vad_pipeline.sources.raw_clip import SourceError

HIDDEN = "***"
TIMEOUT = 10.0  # seconds without a byte, after which a connection counts as lost


@dataclass(frozen=True)
class Address:
    """Where pictures come from.

    Attributes:
        url: as FFmpeg opens it, with user and password: never to be shown.
        kind: a ``stream`` of the network, a ``device`` of this machine, or a ``file``, which is shown as if live.
    """

    url: str
    kind: Literal["stream", "device", "file"]

    def __repr__(self) -> str:
        return f"Address({self})"

    def __str__(self) -> str:
        return redacted(self.url)

    @property
    def format(self) -> str | None:
        """FFmpeg's name of the reader, where the address alone does not decide it."""
        return "v4l2" if self.kind == "device" else None

    @property
    def options(self) -> dict[str, str]:
        """FFmpeg's options: over TCP, as pictures that lost packets look like events."""
        if self.kind == "stream" and self.url.lower().startswith("rtsp"):
            return {"rtsp_transport": "tcp", "timeout": str(int(TIMEOUT * 1e6))}
        return {}


def address_of(source: str) -> Address:
    """What a user wrote.

    Args:
        source: ``rtsp://user:password@host/path``, ``http://..``; a device, ``/dev/video0`` or ``0``; a video file.

    Raises:
        SourceError: it is none of them.
    """
    if "://" in source:
        return Address(source, "stream")
    if source.isdecimal() or source.startswith("/dev/"):
        device = Path(f"/dev/video{source}" if source.isdecimal() else source)
        if not device.exists():
            raise SourceError(f"{device}: this machine has no such camera; name another, a URL or a file")
        return Address(str(device), "device")
    if not Path(source).is_file():
        raise SourceError(
            f"{source} is missing; name a file, a URL such as rtsp://user:password@host/path, or a device such as "
            "/dev/video0"
        )
    return Address(source, "file")


def redacted(url: str) -> str:
    """A URL without user, password and query, in which cameras and services keep their keys.

    >>> redacted("rtsp://admin:se/cr@t@10.0.0.7:554/live?key=1")
    'rtsp://***@10.0.0.7:554/live?***'
    >>> redacted("videos/a.mp4")
    'videos/a.mp4'
    """
    if "://" not in url:
        return url
    scheme, _, rest = url.partition("://")
    # up to the last @: a password may hold any character, and to hide too much hurts nobody
    rest = re.sub(r"^.*@", f"{HIDDEN}@", rest, flags=re.DOTALL)
    place, asked, _ = rest.partition("?")
    return f"{scheme}://{place}{f'?{HIDDEN}' if asked else ''}"

"""Recordings of 60 numbered pictures; what is read of them can be told by the numbers."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HEIGHT, WIDTH, COUNT = 96, 160, 60
MILLISECOND = Fraction(1, 1000)


def picture(number: int) -> np.ndarray:
    """(96, 160, 3): the number as a bar code of eight bits above a ramp."""
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    image[48:] = np.linspace(60, 200, WIDTH).astype(np.uint8)[None, :, None]
    for bit in range(8):
        image[8:40, 20 * bit : 20 * bit + 20] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: np.ndarray) -> int:
    """What the bar code says."""
    bars = image[16:32].mean(axis=(0, 2)).reshape(8, 20)[:, 5:15].mean(axis=1) > 128
    return sum(1 << bit for bit in range(8) if bars[bit])


def record(
    path: Path,
    codec: str = "libx264",
    times=None,
    count: int = COUNT,
    rate: int = 30,
    base: Fraction = MILLISECOND,
    pix_fmt: str = "",
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encodes the pictures 0 to ``count`` - 1, evenly or at ``times`` in seconds; ``options`` are the encoder's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = pix_fmt or {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.options = options
        if times is not None:
            stream.codec_context.time_base = base
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            if times is not None:
                frame.time_base, frame.pts = base, round(times[number] / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copied(source: Path, path: Path, first: int = 0, shift: float = 0.0, **container_options: str) -> Path:
    """The packets from the ``first`` on in another file, all times later by ``shift`` seconds."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in list(given.demux(video=0))[first:]:
            if packet.dts is not None:
                later = round(shift / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, stream
                container.mux(packet)
    return path


def packets_of(path: Path) -> list[tuple[int, int]]:
    """(position, size) of each packet's bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def overwrite(path: Path, start: int, size: int, noise: bool = False) -> Path:
    """Zeros, or noise, in place of some bytes."""
    content = bytearray(path.read_bytes())
    content[start : start + size] = np.random.default_rng(0).bytes(size) if noise else bytes(size)
    path.write_bytes(content)
    return path

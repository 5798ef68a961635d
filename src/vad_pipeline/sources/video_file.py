"""The pictures of a video file: upright, each with its second, and what is missing of them.

Seconds count from the first picture that is shown, whatever the rate does and wherever the file's own clock starts.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from vad_pipeline.sources.avi import AviPictures
from vad_pipeline.sources.damage import Damage
from vad_pipeline.sources.raw_clip import SourceError

MATRIX = SideDataType.DISPLAYMATRIX
PROBED = 200  # packets that tell streams of several pictures from thumbnails


def frame_rate(path: Path) -> float | None:
    """Frames per second as the container states it, on average; None where it does not."""
    with open_video(path) as container:
        rate = video_stream(path, container).average_rate
        return float(rate) if rate else None


def duration(path: Path) -> float | None:
    """Seconds as the container states them; None where it does not."""
    with open_video(path) as container:
        stream = video_stream(path, container)
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return container.duration / av.time_base if container.duration else None


def pictures_near(path: Path, second: float, passed: int = 100) -> Iterator[tuple[np.ndarray, float]]:
    """Pictures from about a second of the recording on, to have a look at: what is damaged is passed over.

    Args:
        path: of the file.
        second: from its start.
        passed: pictures that are decoded, at most, to come nearer to the second than the last key frame before it.

    Yields:
        The picture, as ``pictures`` has it; and when it is shown, on the file's own clock.

    Raises:
        SourceError: the file cannot be opened as a video.
    """
    reformatter = VideoReformatter()
    with open_video(path) as container:
        stream = video_stream(path, container)
        stream.codec_context.thread_count = 1
        rate, base = float(stream.average_rate or stream.guessed_rate or 25), stream.time_base
        wanted = second + (float(stream.start_time * base) if stream.start_time and base else 0.0)
        if second > 0 and base:
            with contextlib.suppress(av.FFmpegError):  # a container that cannot be sought is read from its start
                container.seek(int(wanted / base), stream=stream)
        now, skipped, reached = -1 / rate, 0, False
        with contextlib.suppress(av.FFmpegError):
            for frame in container.decode(stream):
                now = now + 1 / rate if frame.pts is None or base is None else float(frame.pts * base)
                reached = reached or now >= wanted - 0.5 / rate or skipped == passed
                if reached:
                    yield upright(frame, reformatter), now
                skipped += 1


def pictures(path: Path, truncated: str) -> Iterator[tuple[np.ndarray, float]]:
    """Every picture, upright, uint8 (H, W, 3) RGB, or (H, W, 1) where the video itself is gray; and its second.

    More than 8 bits are scaled to 8. A damaged packet costs what it holds and no more.

    Args:
        path: of the file.
        truncated: ``error`` to stop where something is missing, ``keep`` to go on without it.

    Raises:
        SourceError: the video cannot be decoded, or pictures are missing and that is an error.
    """
    reformatter = VideoReformatter()  # kept: to set one up, with threads of its own, costs more than a frame's colours
    image: np.ndarray | None = None
    for frame, second in _shown(path, truncated):
        if frame is not None:
            image = upright(frame, reformatter)
        assert image is not None
        yield image, second


def open_video(path: Path) -> "av.container.InputContainer":
    """The file, with at least one video stream.

    Raises:
        SourceError: it cannot be opened as a video.
    """
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise SourceError(
            f"{path}: cannot be opened as a video ({error.strerror}); the file is truncated or no video, "
            "copy it again or remove it"
        ) from error
    if not container.streams.video:
        container.close()
        raise SourceError(f"{path}: no video stream; remove the file")
    return container


def video_stream(path: Path, container: "av.container.InputContainer") -> "av.video.stream.VideoStream":
    """The recording rather than its thumbnail or preview: of the streams of several pictures, the one of the largest.

    FFmpeg's own choice settles what is left open; on its own it prefers what is marked as default, and muxers mark the
    first.
    """
    streams = container.streams.video
    if len(streams) == 1:
        return streams[0]
    counts = Counter[int]()
    with open_video(path) as probed, contextlib.suppress(av.FFmpegError):
        packets = probed.demux(*probed.streams.video)
        counts.update(packet.stream_index for packet in islice(packets, PROBED) if packet.size)
    best = container.streams.best("video")
    return max(streams, key=lambda s: (counts[s.index] > 1, s.width * s.height, s == best, -s.index))


def _shown(path: Path, truncated: str) -> Iterator[tuple[av.VideoFrame | None, float]]:
    """Frames as they are shown and their seconds; None repeats the frame before."""
    with open_video(path) as container:
        stream = video_stream(path, container)
        stream.codec_context.thread_count = 1  # clips are decoded in parallel, not frames
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        damage = Damage(path, container, stream, truncated == "error")
        avi = AviPictures(path, stream) if container.format.name == "avi" else None
        start, second, number = None, -1 / rate, 0
        for frame in _decoded(container, stream, damage, avi):
            damage.check_frame(frame, number)
            if avi is not None:
                repeated, now = avi.place(frame)
                yield from ((None, second + (i + 1) / rate) for i in range(repeated))
                number += repeated
            else:
                # not the frame's own time base: of those that the decoder held back it is another
                now = None if frame.pts is None or stream.time_base is None else float(frame.pts * stream.time_base)
            if now is None:
                now = second + 1 / rate + (start or 0.0)
            start = now if start is None else start
            second = now - start
            number += 1
            yield frame, second
        if avi is not None:
            trailing = avi.trailing()
            yield from ((None, second + (i + 1) / rate) for i in range(trailing))
            number += trailing
        damage.check_end(number, trailing if avi is not None else 0)


def _decoded(
    container: "av.container.InputContainer",
    stream: "av.video.stream.VideoStream",
    damage: Damage,
    avi: AviPictures | None,
) -> Iterator[av.VideoFrame]:
    """Frames as the decoder hands them out; of a packet that it cannot decode, ``damage`` is told."""
    packets = container.demux()  # the other streams too: whether bytes are missing shows between all of them
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            damage.stopped(error)
            packet = None
        if packet is not None and packet.stream_index != stream.index:
            damage.passed(packet)
            continue
        if packet is not None and packet.size:
            damage.received(packet)
            if avi is not None:
                avi.received(packet)
        try:
            # after the last packet, the frames that the decoder held back to put them in order
            yield from stream.codec_context.decode(packet if packet is not None and packet.size else None)
        except av.EOFError:
            pass
        except av.FFmpegError as error:
            damage.broken(packet, error)
        if packet is None or not packet.size:
            return


def upright(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """The frame turned and mirrored as its display matrix says, uint8 (H, W, 1|3)."""
    gray = frame.format.name.startswith("gray")
    image = reformatter.reformat(frame, format="gray" if gray else "rgb24", threads=1).to_ndarray()
    bits = max(component.bits for component in frame.format.components)
    if bits > 8:
        image = _never_wrapped(image, frame, bits, reformatter)
    image = image[..., None] if gray else image
    matrix = next((side for side in frame.side_data if isinstance(side, SideData) and side.type == MATRIX), None)
    if matrix is None:
        return image
    # the pixel at (x, y) is shown at (a x + c y, b x + d y), ISO 14496-12, 8.3.2
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _never_wrapped(image: np.ndarray, frame: av.VideoFrame, bits: int, reformatter: VideoReformatter) -> np.ndarray:
    """FFmpeg's 8 bits, but black or white where values beyond the range came out at its other end."""
    if image.ndim == 3:
        wide = reformatter.reformat(frame, format="rgb48le", threads=1).to_ndarray().astype(np.uint16) >> 8  # no wrap
        return np.where(np.abs(wide.astype(np.int16) - image) > 127, wide, image).astype(np.uint8)
    if bits >= 16:
        return image  # every value is in range
    plane = frame.planes[0]
    order = ">u2" if frame.format.is_big_endian else "<u2"
    stored = np.frombuffer(memoryview(plane), order).reshape(plane.height, -1)[:, : plane.width]
    return np.where(stored >= 1 << bits, np.uint8(255), image)

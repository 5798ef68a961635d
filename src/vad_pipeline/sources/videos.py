"""One's own videos: a file, or folders of files, that ffmpeg can decode (mp4, avi, mkv, mov, webm ..).

Labels, optionally, in a CSV with a line per abnormal event: ``clip,start_frame,end_frame`` or
``clip,start_second,end_second``, optionally ``kind``; clip is the file's name without ending, frames are the file's
own, counted from 0, end inclusive; in seconds, the frames shown from start up to, not including, end.
"""

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from math import ceil, inf
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pandas as pd
from av.video.reformatter import VideoReformatter
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import files_fingerprint, fingerprint
from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources.images import read_image
from vad_pipeline.sources.raw_clip import RawClip, SourceError, Span

SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"})


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VideosConfig:
    """Videos of one's own.

    Attributes:
        train: a video of normal footage, or a folder of them.
        test: a video, or a folder of them, to be scored; None to train only.
        labels: CSV of abnormal events in the test videos; None for unlabelled data.
        frame_stride: keep every n-th frame.
        region_of_interest: image of the frames' size, black where nothing shall be looked at; those pixels become 0.
        truncated: what to do with a video that breaks off or ends before its header says so: stop with an ``error``, or
            ``keep`` what decodes. The header of a mpg or ts says nothing.
        fingerprint: what makes a clip new: ``stat`` (path, size and time of its file) or ``content``.
    """

    train: str
    test: str | None = None
    labels: str | None = None
    frame_stride: int = Field(default=1, ge=1)
    region_of_interest: str | None = None
    truncated: Literal["error", "keep"] = "error"
    fingerprint: Literal["stat", "content"] = "stat"


def read_videos(config: VideosConfig) -> list[RawClip]:
    """One clip per video.

    Raises:
        SourceError: a path is missing or holds no video, two videos share a name, or the labels name an unknown clip.
    """
    files = {f"train/{p.stem}": p for p in list_videos(Path(config.train))}
    if config.test is not None:
        files |= {f"test/{p.stem}": p for p in list_videos(Path(config.test))}
    rates = {clip: frame_rate(path) for clip, path in files.items()}
    spans = _read_labels(Path(config.labels), rates, config.frame_stride) if config.labels else {}
    mask = None if config.region_of_interest is None else Path(config.region_of_interest)
    settings: list[object] = [config.frame_stride, config.truncated]
    if mask is not None:
        if not mask.is_file():
            raise SourceError(f"region_of_interest: {mask} is missing; set it to null to look everywhere")
        settings.append(files_fingerprint([mask], content=True))
    clips = []
    for clip, path in files.items():
        rate = rates[clip]
        clips.append(
            RawClip(
                clip=clip,
                fingerprint=fingerprint(files_fingerprint([path], config.fingerprint == "content"), *settings),
                frames=partial(read_video, path, config.frame_stride, mask, config.truncated),
                source=str(path),
                fps=rate / config.frame_stride if rate else None,
                spans=() if clip.startswith("train/") else spans.get(clip, () if config.labels else None),
            )
        )
    return clips


def list_videos(path: Path) -> list[Path]:
    """The video itself, or the videos of a folder in numeric order."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(
            f"{path} is missing; put your videos there or correct frame_extraction.videos in your conf environment"
        )
    videos = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not videos:
        raise SourceError(f"{path} holds no video ({', '.join(sorted(SUFFIXES))}); put your videos there")
    seen: dict[str, Path] = {}
    for video in videos:
        if video.stem in seen:
            raise SourceError(f"{video} and {seen[video.stem]} would be the same clip {video.stem!r}; rename one")
        seen[video.stem] = video
    return sorted(videos, key=lambda video: natural_key(video.stem))


def frame_rate(path: Path) -> float | None:
    """Frames per second as the container states it, None where it does not."""
    with _open(path) as container:
        rate = container.streams.video[0].average_rate
        return float(rate) if rate else None


def read_video(path: Path, stride: int, mask: Path | None, truncated: str) -> Iterator[np.ndarray]:
    """Every ``stride``-th frame, upright, uint8 (H, W, 3) RGB, or (H, W, 1) where the video itself is gray.

    Raises:
        SourceError: the video cannot be decoded, ends early, changes its size, or the region of interest is of
            another size.
    """
    region: np.ndarray | None = None if mask is None else np.any(read_image(mask), axis=-1)
    shape: tuple[int, ...] | None = None
    reformatter = VideoReformatter()  # kept: to set one up, with threads of its own, costs more than a frame's colours
    for number, frame in enumerate(_decode(path, truncated)):
        if number % stride:
            continue
        image = _upright(frame, reformatter)
        if shape is None:
            shape = image.shape
            if region is not None and region.shape != shape[:2]:
                raise SourceError(
                    f"{mask} is {region.shape[1]}x{region.shape[0]}, {path} is {shape[1]}x{shape[0]}; "
                    "draw the region of interest on a frame of the video"
                )
        elif image.shape != shape:
            raise SourceError(
                f"{path}: frame {number} is {image.shape[1]}x{image.shape[0]}, the first is "
                f"{shape[1]}x{shape[0]}; re-encode the video at one size"
            )
        yield image if region is None else image * region[..., None]


def _decode(path: Path, truncated: str) -> Iterator[av.VideoFrame]:
    decoded, end = 0, 0.0
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # clips are decoded in parallel, not frames
        try:
            for frame in container.decode(stream):
                decoded += 1
                if frame.pts is not None and frame.time_base is not None:
                    end = max(end, float((frame.pts + (frame.duration or 0)) * frame.time_base))
                yield frame
        except av.FFmpegError as error:
            if truncated == "error":
                what = f"decoding stops after {decoded} frames ({error.strerror})"
                raise SourceError(_truncated(path, what)) from error
            with contextlib.suppress(av.FFmpegError):  # frames that the decoder held back to put them in order
                for frame in stream.codec_context.decode(None):
                    decoded += 1
                    yield frame
        if decoded == 0:
            raise SourceError(f"{path}: no frame can be decoded; copy the file again or remove it")
        promised = _promised_end(container)
        slack = 2.5 / float(stream.average_rate or 5)  # encoders drop a last frame or two
        if truncated == "error" and promised is not None and end < promised - slack:
            what = f"its header promises {promised:.1f} seconds, the {decoded} frames end after {end:.1f}"
            raise SourceError(_truncated(path, what))


def _promised_end(container: "av.container.InputContainer") -> float | None:
    """Second at which the header says that the last frame ends, None where it says nothing.

    The number of frames serves for avi only, whose duration FFmpeg guesses anew for a truncated file: a trimmed mp4 or
    mov counts the frames before the cut too, a mkv or webm counts none.
    """
    stream = container.streams.video[0]
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if "mp4" in container.format.name and stream.duration is not None and stream.time_base is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    # mkv and webm; what other formats state is FFmpeg's estimate, not a promise
    clock = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    return None if clock is None else int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])


def _upright(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """The frame turned as its display matrix says, uint8 (H, W, 1|3); a mirrored video stays mirrored."""
    gray = frame.format.name.startswith("gray")
    image = reformatter.reformat(frame, format="gray" if gray else "rgb24", threads=1).to_ndarray()
    # both PyAV and numpy turn counterclockwise
    return np.rot90(image[..., None] if gray else image, k=round(frame.rotation / 90))


def _truncated(path: Path, what: str) -> str:
    return f"{path}: {what}; copy the file again, or set videos.truncated: keep to use what can be decoded"


def _open(path: Path) -> "av.container.InputContainer":
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


def _read_labels(path: Path, rates: dict[str, float | None], stride: int) -> dict[str, tuple[Span, ...]]:
    if not path.is_file():
        raise SourceError(f"{path} is missing; set videos.labels to null for unlabelled data")
    try:
        # index_col: pandas takes the clip column for an index where lines end in a comma
        table = pd.read_csv(
            path, dtype={"clip": str, "kind": str}, index_col=False, skipinitialspace=True, skip_blank_lines=False
        )
    except ValueError as error:  # pandas' own errors and UnicodeDecodeError are ValueErrors
        text = str(error).strip()
        raise SourceError(f"{path}: cannot be read as a CSV ({text}); save it as comma-separated UTF-8") from error
    table.columns = table.columns.str.strip()
    unit = next((u for u in ("frame", "second") if {f"start_{u}", f"end_{u}"} <= set(table.columns)), None)
    if "clip" not in table.columns or unit is None:
        raise SourceError(
            f"{path}: has columns {', '.join(table.columns)}; needs clip, start_frame, end_frame or clip, "
            "start_second, end_second, and optionally kind, separated by commas"
        )
    spans: dict[str, list[Span]] = {}
    for number, row in enumerate(table.to_dict("records"), start=2):
        if all(map(pd.isna, row.values())):
            continue
        place = f"{path}, line {number}"
        name = "" if pd.isna(row["clip"]) else row["clip"].strip().removeprefix("test/")
        clip = f"test/{name}"
        if clip not in rates:
            known = ", ".join(c.removeprefix("test/") for c in rates if c.startswith("test/")) or "none"
            raise SourceError(f"{place}: no test video {name!r}; there are: {known}")
        first, last = _event(row, unit, rates[clip], place)
        kind = str(row["kind"]).strip() if "kind" in row and not pd.isna(row["kind"]) else ""
        found = spans.setdefault(clip, [])
        # source frame n is stored as frame n / stride where that is whole
        start, stop = ceil(first / stride), last // stride + 1
        if start < stop:
            found.append(Span(start, stop, kind))
    return {clip: tuple(found) for clip, found in spans.items()}


def _event(row: dict[Any, Any], unit: str, rate: float | None, place: str) -> tuple[int, int]:
    """First and last frame of the event, both of them in it."""
    texts = row[f"start_{unit}"], row[f"end_{unit}"]
    start, end = (float(pd.to_numeric(text, errors="coerce")) for text in texts)
    if unit == "frame":
        if not (0 <= start <= end and start.is_integer() and end.is_integer()):
            raise SourceError(
                f"{place}: an event from frame {texts[0]} to {texts[1]}; both are whole numbers counted from 0, "
                "and the end is not before the start"
            )
        return int(start), int(end)
    if not 0 <= start < end < inf:
        raise SourceError(f"{place}: an event from second {texts[0]} to {texts[1]}; the end must come after the start")
    if rate is None:
        raise SourceError(f"{place}: the video states no frame rate; label it in frames")
    # rounded first: second 0.28 at 25 frames a second is frame 7, not 7.000000000000001
    return ceil(round(start * rate, 6)), ceil(round(end * rate, 6)) - 1

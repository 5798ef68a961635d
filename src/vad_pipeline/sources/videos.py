"""One's own videos: a file, or folders of files, that ffmpeg can decode (mp4, avi, mkv, mov, webm ..).

Labels, optionally, in a CSV with a line per abnormal event: ``clip,start_frame,end_frame`` or
``clip,start_second,end_second``, optionally ``kind``; clip is the file's name without ending, frames are the file's
own, counted from 0, end inclusive; in seconds from the first picture, the frames shown from start up to, not including,
end.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import files_fingerprint, fingerprint
from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources.event_labels import read_events
from vad_pipeline.sources.images import read_mask
from vad_pipeline.sources.passed_over import passed_over, say_passed_over
from vad_pipeline.sources.raw_clip import RawClip, SourceError
from vad_pipeline.sources.video_file import frame_rate, pictures

# fmt: off
SUFFIXES = (  # the usual ones first: messages list them
    ".avi", ".mkv", ".mov", ".mp4", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".3gp", ".flv",
    ".vob", ".ogv", ".gif", ".mjpeg", ".mjpg", ".asf", ".3g2", ".f4v", ".divx", ".ogm", ".qt", ".mpe", ".m1v", ".m2v",
    ".mpv", ".mod", ".tod", ".trp", ".mxf", ".dv", ".rm", ".rmvb", ".wtv", ".nut", ".y4m", ".ivf", ".dav", ".h264",
    ".264", ".h265", ".hevc", ".265",
)
# fmt: on


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VideosConfig:
    """Videos of one's own.

    Attributes:
        train: a video of normal footage, or a folder of them.
        test: a video, or a folder of them, to be scored; None to train only.
        labels: CSV of abnormal events in the test videos; None for unlabelled data.
        frame_stride: keep every n-th frame.
        region_of_interest: image of the frames' size, black where nothing shall be looked at (``images.read_mask``);
            those pixels become 0.
        truncated: what to do with a video that is damaged, breaks off or ends before its header says so: stop with an
            ``error``, or ``keep`` what decodes. The header of a mpg or ts says nothing.
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
    tests = [clip for clip in files if clip.startswith("test/")]
    spans = read_events(Path(config.labels), tests, config.frame_stride) if config.labels else {}
    mask = None if config.region_of_interest is None else Path(config.region_of_interest)
    settings: list[object] = [config.frame_stride, config.truncated]
    if mask is not None:
        if not mask.is_file():
            raise SourceError(f"region_of_interest: {mask} is missing; set it to null to look everywhere")
        settings.append(files_fingerprint([mask], content=True))
    clips = []
    for clip, path in files.items():
        rate = rates[clip]
        settled = (path, config.frame_stride, mask, config.truncated)
        clips.append(
            RawClip(
                clip=clip,
                fingerprint=fingerprint(files_fingerprint([path], config.fingerprint == "content"), *settings),
                frames=partial(read_video, *settled),
                timed=partial(read_timed_video, *settled),
                source=str(path),
                fps=rate / config.frame_stride if rate else None,
                spans=() if clip.startswith("train/") else spans.get(clip, () if config.labels else None),
            )
        )
    return clips


def list_videos(path: Path) -> list[Path]:
    """The video itself, or the videos of a folder in numeric order; what else the folder holds is said once."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(
            f"{path} is missing; put your videos there or correct frame_extraction.videos in your conf environment"
        )
    named = (p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    videos = sorted(p for p in named if not p.is_dir())
    if not videos:
        raise SourceError(f"{path} holds no video ({', '.join(SUFFIXES)}); put your videos there{passed_over(path)}")
    say_passed_over(path, videos)
    seen: dict[str, Path] = {}
    for video in videos:
        if video.stem in seen:
            raise SourceError(f"{video} and {seen[video.stem]} would be the same clip {video.stem!r}; rename one")
        seen[video.stem] = video
    return sorted(videos, key=lambda video: natural_key(video.stem))


def read_video(path: Path, stride: int, mask: Path | None, truncated: str) -> Iterator[np.ndarray]:
    """The frames of ``read_timed_video`` alone."""
    return (image for image, _ in read_timed_video(path, stride, mask, truncated))


def read_timed_video(path: Path, stride: int, mask: Path | None, truncated: str) -> Iterator[tuple[np.ndarray, float]]:
    """Every ``stride``-th frame, upright, uint8 (H, W, 3) RGB, or (H, W, 1) where the video itself is gray; and its
    second from the first.

    Raises:
        SourceError: the video cannot be decoded, ends early, changes its size, or the region of interest is of
            another size.
    """
    region: np.ndarray | None = None if mask is None else read_region(mask)
    shape: tuple[int, ...] | None = None
    for number, (image, second) in enumerate(pictures(path, truncated)):
        if number % stride:
            continue
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
        yield image if region is None else image * region[..., None], second


def read_region(path: Path) -> np.ndarray:
    """A region of interest, bool (H, W), True where to look.

    Raises:
        SourceError: it is no image, or nothing in it is to be looked at.
    """
    region = read_mask(path)
    if not region.any():
        raise SourceError(f"region_of_interest: {path} is black all over; draw white where to look")
    return region

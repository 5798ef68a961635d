"""Readers of raw data, one per layout. A source turns its configuration into raw clips that decode when asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vad_pipeline.sources import (
    digits,
    frame_folders,
    idx_images,
    scenes,
    ubnormal,
    ucsd,
    videos,
)
from vad_pipeline.sources.raw_clip import RawClip


@dataclass(frozen=True)
class Source:
    """A registered source.

    Attributes:
        config: its configuration class.
        read: configuration -> raw clips.
        libraries: the installed packages that decide which pixels come out.
    """

    config: type
    read: Callable[[Any], list[RawClip]]
    libraries: tuple[str, ...]


SOURCES: dict[str, Source] = {
    "scenes": Source(scenes.ScenesConfig, scenes.read_scenes, ("cv2", "numpy")),
    "ucsd": Source(ucsd.UcsdConfig, ucsd.read_ucsd, ("PIL",)),
    "ubnormal": Source(ubnormal.UbnormalConfig, ubnormal.read_ubnormal, ("av", "PIL")),
    "frame_folders": Source(frame_folders.FrameFoldersConfig, frame_folders.read_frame_folders, ("PIL",)),
    "videos": Source(videos.VideosConfig, videos.read_videos, ("av", "PIL")),
    "idx_images": Source(idx_images.IdxImagesConfig, idx_images.read_idx_images, ("numpy",)),
    "digits": Source(digits.DigitsConfig, digits.read_digits, ("sklearn",)),
}

"""Readers of raw data, one per layout. A source turns its configuration into raw clips that decode when asked."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from vad_pipeline.sources import (
    frame_folders,
    images,
    scene_actors,
    scene_picture,
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
        modules: the code that decides which pixels come out; a change to it makes every clip new.
        libraries: the installed packages that do so.
    """

    config: type
    read: Callable[[Any], list[RawClip]]
    modules: tuple[ModuleType, ...]
    libraries: tuple[str, ...]


SOURCES: dict[str, Source] = {
    "scenes": Source(
        scenes.ScenesConfig,
        scenes.read_scenes,
        (scenes, scene_actors, scene_picture),
        ("cv2", "numpy"),
    ),
    "ucsd": Source(ucsd.UcsdConfig, ucsd.read_ucsd, (images,), ("PIL",)),
    "ubnormal": Source(ubnormal.UbnormalConfig, ubnormal.read_ubnormal, (videos, images), ("av", "PIL")),
    "frame_folders": Source(frame_folders.FrameFoldersConfig, frame_folders.read_frame_folders, (images,), ("PIL",)),
    "videos": Source(videos.VideosConfig, videos.read_videos, (videos, images), ("av", "PIL")),
}

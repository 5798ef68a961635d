"""Raw data to frames, labels and masks."""

from collections.abc import Iterator
from dataclasses import field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources import SOURCES
from vad_pipeline.sources.raw_clip import RawClip, SourceError
from vad_pipeline.sources.reading_size import frames_at_height, masks_at_height


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FrameExtraction:
    """Which source to read, with one section of settings per source; only the chosen one's counts.

    Attributes:
        source: name of a registered source.
        height: pixels to which frames are brought by averaging, and masks by their nearest pixels, the width in
            proportion; None reads them as they are.
        scenes, ucsd, ubnormal, frame_folders, videos, idx_images, digits: that source's own settings, see its
            configuration class.
    """

    source: str
    height: int | None = Field(default=None, ge=1)
    scenes: dict[str, Any] = field(default_factory=dict)
    ucsd: dict[str, Any] = field(default_factory=dict)
    ubnormal: dict[str, Any] = field(default_factory=dict)
    frame_folders: dict[str, Any] = field(default_factory=dict)
    videos: dict[str, Any] = field(default_factory=dict)
    idx_images: dict[str, Any] = field(default_factory=dict)
    digits: dict[str, Any] = field(default_factory=dict)

    @field_validator("source")
    @classmethod
    def _registered(cls, source: str) -> str:
        if source not in SOURCES:
            raise ValueError(f"unknown source {source!r}; known are: {', '.join(SOURCES)}")
        return source


def raw_clips(config: FrameExtraction) -> dict[str, RawClip]:
    """The source's clips in numeric-aware order, nothing decoded yet.

    Raises:
        SourceError: the raw data are missing or cannot be used.
        ValidationError: a setting of the source is unknown or of the wrong type.
    """
    source = SOURCES[config.source]
    clips = source.read(source.config(**getattr(config, config.source)))
    return {raw.clip: raw for raw in sorted(clips, key=lambda raw: (_split_order(raw.clip), natural_key(raw.clip)))}


def frame_jobs(config: FrameExtraction) -> dict[str, ClipJob]:
    """Jobs that decode every clip to uint8 (T, H, W, C) at the height asked for."""
    return {
        clip: ClipJob(
            fingerprint=_fingerprint(config, raw.fingerprint, "frames", raw.timed or raw.frames, frames_at_height),
            rows=partial(_frames if raw.timed is None else _timed_frames, raw, config.height),
            timed=raw.timed is not None,
            fps=raw.fps,
            source=raw.source,
            parameters={"source": config.source, "height": config.height},
        )
        for clip, raw in raw_clips(config).items()
    }


def mask_jobs(config: FrameExtraction, frames: Clips) -> dict[str, ClipJob]:
    """Jobs that read the masks bool (T, H, W) of every clip that has them; each is checked against its frames."""
    return {
        clip: ClipJob(
            fingerprint=_fingerprint(
                config,
                raw.fingerprint + raw.masks_fingerprint,
                ["masks", frames[clip].shape],
                raw.masks,
                masks_at_height,
            ),
            rows=partial(_checked_masks, raw, config.height, frames[clip].shape),
            fps=raw.fps,
            source=raw.source,
            parameters={"source": config.source, "height": config.height},
        )
        for clip, raw in raw_clips(config).items()
        if raw.masks is not None
    }


def label_table(config: FrameExtraction, frames: Clips) -> pd.DataFrame:
    """Columns clip, frame (0-based), label {0, 1} and kind, a row for every frame of every labelled test clip.

    Raises:
        SourceError: labels and frames of a clip do not fit each other.
    """
    parts = []
    for clip, raw in raw_clips(config).items():
        if not raw.labelled or clip.startswith("train/"):
            continue
        labels, kinds = raw.labels(len(frames[clip]), frames[clip].times())
        parts.append(pd.DataFrame({"clip": clip, "frame": np.arange(len(labels)), "label": labels, "kind": kinds}))
    if not parts:
        return pd.DataFrame({"clip": [], "frame": [], "label": [], "kind": []}).astype(
            {"clip": str, "frame": np.int64, "label": np.int8, "kind": str}
        )
    return pd.concat(parts, ignore_index=True)


def _fingerprint(config: FrameExtraction, of_input: str, step: Any, rows: object, resized: object) -> str:
    libraries = SOURCES[config.source].libraries
    if config.height is None:
        return step_fingerprint(of_input, step, (rows,), libraries)
    return step_fingerprint(of_input, [step, config.height], (rows, resized), (*libraries, "cv2"))


def _frames(raw: RawClip, height: int | None, start: int, stop: int | None) -> Iterator[np.ndarray]:
    frames = islice(raw.frames(), start, stop)
    return frames if height is None else frames_at_height(frames, height)


def _timed_frames(raw: RawClip, height: int | None, start: int, stop: int | None) -> Iterator[tuple[np.ndarray, float]]:
    assert raw.timed is not None
    for frame, second in islice(raw.timed(), start, stop):
        yield frame if height is None else next(frames_at_height([frame], height)), second


def _checked_masks(
    raw: RawClip, height: int | None, shape: tuple[int, ...], start: int, stop: int | None
) -> Iterator[np.ndarray]:
    assert raw.masks is not None
    masks = raw.masks() if height is None else masks_at_height(raw.masks(), height)
    count = 0
    for count, mask in enumerate(masks, start=1):
        if mask.shape != shape[1:3]:
            raise SourceError(
                f"clip {raw.clip}: mask {count} is {mask.shape[1]}x{mask.shape[0]}, the frames are "
                f"{shape[2]}x{shape[1]} ({raw.source}); masks and frames must be of one release"
            )
        if count > shape[0]:
            break
        yield mask
    if count != shape[0]:
        more = "more than " if count > shape[0] else ""
        raise SourceError(
            f"clip {raw.clip}: {more}{min(count, shape[0])} masks for {shape[0]} frames ({raw.source}); masks and "
            "frames must be of one release"
        )


def _split_order(clip: str) -> int:
    return ("train", "val", "test").index(clip.split("/", 1)[0])

"""UBnormal in its official layout (spec 8.2), for training on its normal videos only.

``Scene1/normal_scene_1_scenario_1.mp4 ..``, ``Scene1/abnormal_scene_1_scenario_1_annotations/
abnormal_scene_1_scenario_1_tracks.txt`` with a row ``object,first,last`` per abnormal object (frames counted from 0,
last inclusive), and the lists of the splits' videos, which lie in the folder ``scripts`` of the official repository.
Acsintoae et al., UBnormal: New Benchmark for Supervised Open-Set Video Anomaly Detection, CVPR 2022.

Left open and chosen here: abnormal training videos are left out; a ``_new_tracks.txt`` is not looked at, as in the
official script for frame-level labels; the masks of objects are not read.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import files_fingerprint
from vad_pipeline.sources.raw_clip import RawClip, SourceError, Span
from vad_pipeline.sources.video_file import frame_rate
from vad_pipeline.sources.videos import read_timed_video, read_video

Split = Literal["train", "val", "test"]
LISTED = {"train": "training", "val": "validation", "test": "test"}  # as the lists are named


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UbnormalConfig:
    """UBnormal in its official layout.

    Attributes:
        root: folder that holds ``Scene1``, ``Scene2`` ..
        lists: folder that holds ``normal_training_video_names.txt`` and the others.
        splits: which to read.
        fingerprint: what makes a clip new: ``stat`` (path, size and time of its file) or ``content``.
    """

    root: str
    lists: str
    splits: tuple[Split, ...] = ("train", "val", "test")
    fingerprint: Literal["stat", "content"] = "stat"


def read_ubnormal(config: UbnormalConfig) -> list[RawClip]:
    """One clip per listed video: normal ones of the training split, normal and abnormal ones of the others.

    Raises:
        SourceError: a list, a video or the tracks of an abnormal video are missing or cannot be read.
    """
    clips = []
    for split in config.splits:
        kinds = ("normal",) if split == "train" else ("normal", "abnormal")
        names = [name for kind in kinds for name in _listed(Path(config.lists), f"{kind}_{LISTED[split]}")]
        clips += [_raw_clip(config, split, name) for name in names]
    return clips


def read_tracks(path: Path) -> tuple[Span, ...]:
    """When each abnormal object is seen.

    Raises:
        SourceError: the file is missing, empty, or a row is not ``object,first,last``.
    """
    wanted = "a row per abnormal object: object,first,last, frames counted from 0"
    if not path.is_file():
        raise SourceError(f"{path} is missing: it labels an abnormal video; unpack the annotations beside the video")
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise SourceError(f"{path}: {error}; it must hold {wanted}") from error
    if not rows.size:
        raise SourceError(f"{path} is empty; it must hold {wanted}")
    whole = np.array_equal(rows, np.floor(rows))
    if rows.shape[1] != 3 or not whole or (rows[:, 1] < 0).any() or (rows[:, 1] > rows[:, 2]).any():
        raise SourceError(f"{path}: reads {rows.tolist()}; it must hold {wanted}")
    return tuple(
        Span(int(first), int(last) + 1, said=f"the track from frame {first:g} to {last:g} ({path}, counted from 0)")
        for _, first, last in rows
    )


def _listed(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}_video_names.txt"
    if not path.is_file():
        raise SourceError(
            f"{path} is missing; copy the folder `scripts` of UBnormal's repository there, or correct "
            "frame_extraction.ubnormal.lists"
        )
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise SourceError(f"{path} lists no video; copy it again")
    return names


def _raw_clip(config: UbnormalConfig, split: Split, name: str) -> RawClip:
    parts = name.split("_")  # normal_scene_16_scenario_2
    scene = Path(config.root) / f"Scene{parts[2] if len(parts) > 2 else ''}"
    path = scene / f"{name}.mp4"
    if not path.is_file():
        raise SourceError(f"{path} is missing, although listed for {LISTED[split]}; unpack UBnormal's archive again")
    tracks = scene / f"{name}_annotations" / f"{name}_tracks.txt"
    return RawClip(
        clip=f"{split}/{name}",
        fingerprint=files_fingerprint([path], config.fingerprint == "content"),
        frames=partial(read_video, path, 1, None, "error"),
        timed=partial(read_timed_video, path, 1, None, "error"),
        source=str(path),
        fps=frame_rate(path),
        spans=read_tracks(tracks) if name.startswith("abnormal") else (),
    )

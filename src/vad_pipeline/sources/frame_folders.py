"""Folders of frames in the re-packed layout of FFP, MNAD and LNTRA (spec 8.2).

``{training,testing}/frames/NN/000.jpg ..`` with labels, optionally, in one ``.mat`` (variable ``gt``: per test clip a
2 x E array of [start; end], counted from 1, end inclusive) or one ``.npy`` (a label per test frame, all in a row).
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.io
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import files_fingerprint
from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources.images import list_images, read_frames
from vad_pipeline.sources.passed_over import passed_over, say_passed_over
from vad_pipeline.sources.raw_clip import RawClip, SourceError, Span

FOLDERS = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FrameFoldersConfig:
    """Data sets in folders of images.

    Attributes:
        root: folder that holds ``training`` and ``testing``; ``validation`` is read where it exists.
        labels: ``.mat`` or ``.npy`` file, relative to root or absolute; None for unlabelled data.
        fps: frames per second, where known.
        fingerprint: what makes a clip new: ``stat`` (path, size and time of its files) or ``content``.
    """

    root: str
    labels: str | None = None
    fps: float | None = None
    fingerprint: Literal["stat", "content"] = "stat"


def read_frame_folders(config: FrameFoldersConfig) -> list[RawClip]:
    """The clips below root.

    Raises:
        SourceError: a folder is missing or empty, or the labels do not fit the test clips.
    """
    root = Path(config.root)
    images: dict[str, tuple[Path, ...]] = {}
    for split, folder in FOLDERS.items():
        frames = root / folder / "frames"
        if not frames.is_dir():
            if split == "train":
                raise SourceError(
                    f"{frames} is missing; put one folder of images per clip there ({frames}/01/000.jpg ..), "
                    "or run without --env to use the built-in scenes"
                )
            continue
        clips = [p for p in frames.iterdir() if p.is_dir() and not p.name.startswith(".")]
        if not clips:
            raise SourceError(f"{frames} holds no clips; put one folder of images per clip there{passed_over(frames)}")
        say_passed_over(frames, clips)
        for path in sorted(clips, key=lambda path: natural_key(path.name)):
            images[f"{split}/{path.name}"] = tuple(list_images(path))
    lengths = {clip: len(paths) for clip, paths in images.items() if clip.startswith("test/")}
    labels = _read_labels(root / config.labels, lengths) if config.labels else {}
    return [
        RawClip(
            clip=clip,
            fingerprint=files_fingerprint(paths, content=config.fingerprint == "content"),
            frames=partial(read_frames, paths, clip),
            source=str(paths[0].parent),
            fps=config.fps,
            **(labels.get(clip, {}) if not clip.startswith("train/") else {"spans": ()}),
        )
        for clip, paths in images.items()
    ]


def _read_labels(path: Path, lengths: dict[str, int]) -> dict[str, dict]:
    if not path.is_file():
        raise SourceError(f"{path} is missing; set labels to null for unlabelled data")
    if not lengths:
        raise SourceError(f"{path} labels test clips, but there is no testing/frames; add it or set labels to null")
    if path.suffix == ".mat":
        spans = read_mat_spans(path)
        if len(spans) != len(lengths):
            raise SourceError(
                f"{path}: labels {len(spans)} clips, {len(lengths)} test clips are on disk; "
                "labels and frames must be of one release"
            )
        return {clip: {"spans": s} for clip, s in zip(lengths, spans, strict=True)}
    if path.suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False).reshape(-1)  # (N,) and (1, N) are both in circulation
        except (ValueError, EOFError, OSError) as error:
            raise SourceError(
                f"{path}: no readable array ({error}); save one array of 0 and 1, a label per test frame"
            ) from error
        total = sum(lengths.values())
        if len(values) != total:
            raise SourceError(
                f"{path}: {len(values)} labels for {total} test frames; labels and frames must be of one release"
            )
        if not np.isin(values, (0, 1)).all():
            raise SourceError(f"{path}: labels other than 0 and 1; save 1 for an abnormal frame and 0 for a normal one")
        parts = np.split(values.astype(int), np.cumsum(list(lengths.values()))[:-1])
        return {clip: {"frame_labels": tuple(part.tolist())} for clip, part in zip(lengths, parts, strict=True)}
    raise SourceError(f"{path}: labels are read from .mat or .npy, not {path.suffix!r}")


def read_mat_spans(path: Path) -> list[tuple[Span, ...]]:
    """Spans per clip from key ``gt``; a single event, stored as a plain pair, is a span too.

    Raises:
        SourceError: the file has no such key, or a cell is not of this form.
    """
    wanted = "'gt' must be a cell array with a 2 x E array of [start; end], counted from 1, per test clip"
    try:
        variables = scipy.io.loadmat(path)
    except Exception as error:  # what scipy raises on a damaged file ranges from zlib.error to TypeError
        raise SourceError(
            f"{path}: no readable .mat file ({error}); save it again in MATLAB's format 7 or lower"
        ) from error
    if "gt" not in variables:
        names = ", ".join(name for name in variables if not name.startswith("__")) or "none"
        raise SourceError(f"{path}: no variable 'gt', there are: {names}; {wanted}")
    if variables["gt"].dtype != object:
        raise SourceError(f"{path}: 'gt' is {variables['gt'].dtype} {variables['gt'].shape}; {wanted}")
    clips = []
    for number, cell in enumerate(np.ravel(variables["gt"]), start=1):
        events = np.asarray(cell)
        if events.size in (0, 2):  # normal throughout, or one event, whichever way round it was stored
            events = events.reshape(2, -1)
        whole = events.dtype.kind in "iuf" and np.array_equal(events, np.floor(events))
        if events.ndim != 2 or len(events) != 2 or not whole or (events < 1).any() or (events[0] > events[1]).any():
            raise SourceError(f"{path}: clip {number} of 'gt' is {np.asarray(cell).tolist()}; {wanted}")
        clips.append(tuple(Span(int(start) - 1, int(end)) for start, end in events.T))
    return clips

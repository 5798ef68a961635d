"""MNIST, Fashion-MNIST and whatever else comes in their four idx files.

``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte``, each
as it is or gzipped (``.gz``). An idx file is a magic number, the sizes of the array (both big-endian, 4 bytes each) and
its bytes.

LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998; Xiao et al., Fashion-MNIST, 2017.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import files_fingerprint
from vad_pipeline.sources.classes import LabelledImages, clips_of_classes
from vad_pipeline.sources.raw_clip import RawClip, SourceError

IMAGES, LABELS = 2051, 2049  # magic numbers: unsigned bytes in three dimensions, in one
SIDE = 28  # pixels
CLASSES = 10
FETCH = "fetch it again"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class IdxImagesConfig:
    """MNIST, Fashion-MNIST and other images of 28x28 pixels in ten classes, in idx files.

    Attributes:
        root: folder that holds the four files.
        normal_class: the class learnt from, all others are abnormal; None: all are learnt from, none is labelled.
        fingerprint: what makes images new: ``stat`` (path, size and time of their file) or ``content``.
    """

    root: str
    normal_class: int | None = Field(default=None, ge=0, lt=CLASSES)
    fingerprint: Literal["stat", "content"] = "stat"


def read_idx_images(config: IdxImagesConfig) -> list[RawClip]:
    """A clip of images, uint8 (28, 28, 1), per split and class; of the images only the head of their file is read.

    Raises:
        SourceError: a file is missing, damaged or of another kind, labels and images do not fit each other, a label
            is not one of 0 to 9, or the classes do not do (``clips_of_classes``).
    """
    root, content = Path(config.root), config.fingerprint == "content"
    train, test = (_labelled_images(root, stem, content) for stem in ("train", "t10k"))
    return clips_of_classes(train, test, config.normal_class)


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The array of an idx file, uint8: (n, 28, 28) where ``magic`` is that of images, (n,) where it is that of labels.

    Raises:
        SourceError: the file cannot be read, is of another kind, or is shorter or longer than it says.
    """
    with _opened(path) as file:
        shape = _shape(file, path, magic)
        content = file.read()
    _check_length(path, shape, len(content))
    return np.frombuffer(content, np.uint8).reshape(shape)


def _labelled_images(root: Path, stem: str, content: bool) -> LabelledImages:
    images = _find(root, f"{stem}-images", "idx3-ubyte")
    labels_path = _find(root, f"{stem}-labels", "idx1-ubyte")
    labels = read_idx(labels_path, LABELS)
    with _opened(images) as file:
        shape = _shape(file, images, IMAGES)
        if images.suffix != ".gz":  # how long the content of a gzipped one is shows when it is read
            _check_length(images, shape, images.stat().st_size - file.tell())
    if len(labels) != shape[0]:
        raise SourceError(
            f"{labels_path}: {len(labels)} labels for the {shape[0]} images of {images.name}; both files must be of "
            "one release"
        )
    outside = np.flatnonzero(labels >= CLASSES)
    if len(outside):
        raise SourceError(
            f"{labels_path}: image {outside[0] + 1} (counted from 1) is of class {labels[outside[0]]}, classes are 0 "
            f"to {CLASSES - 1}; {FETCH}, or leave the images of other classes out"
        )
    return LabelledImages(labels, partial(read_idx, images, IMAGES), files_fingerprint([images], content), str(images))


def _find(root: Path, name: str, kind: str) -> Path:
    """The file as it is, or else gzipped; ``train-images.idx3-ubyte`` is what some mirrors make of the name."""
    for written in (f"{name}-{kind}", f"{name}.{kind}"):
        for path in (root / written, root / f"{written}.gz"):
            if path.is_file():
                return path
    raise SourceError(
        f"{root / f'{name}-{kind}'} is missing, also with .gz; put the data set's four idx files into {root}, as they "
        "are or gzipped"
    )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read ({error}); the file is truncated or damaged, {FETCH}") from error


def _shape(file: BinaryIO, path: Path, magic: int) -> tuple[int, ...]:
    """The sizes in the head of the file, which is left at the first byte of the array."""
    dimensions = magic & 0xFF  # as the format has it
    head = file.read(4 * (1 + dimensions))
    if len(head) >= 4 and (found := int.from_bytes(head[:4], "big")) != magic:
        kind = "images" if magic == IMAGES else "labels"
        raise SourceError(
            f"{path}: magic number {found}, that of idx {kind} is {magic}; this is another file, or a gzipped one "
            "whose name does not end with .gz"
        )
    if len(head) < 4 * (1 + dimensions):
        raise SourceError(f"{path}: ends within its head, after {len(head)} bytes; the file is truncated, {FETCH}")
    shape = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4))
    if shape[1:] not in ((), (SIDE, SIDE)):
        raise SourceError(
            f"{path}: images of {shape[2]}x{shape[1]} pixels, this source reads {SIDE}x{SIDE}; put other images into "
            "folders and read them with source: frame_folders"
        )
    return shape


def _check_length(path: Path, shape: tuple[int, ...], length: int) -> None:
    promised = prod(shape)
    if length < promised:
        raise SourceError(
            f"{path}: {length} bytes after the head, which promises {promised}; the file is truncated, {FETCH}"
        )
    if length > promised:
        raise SourceError(
            f"{path}: {length} bytes after the head, which promises {promised}; what trails is no part of it, {FETCH}"
        )

"""Labelled images as clips: each class in turn may be the normal one, and all others are anomalies.

A clip ``train/3`` or ``test/3`` holds the images of one class of one split as frames, in the order of the data. Which
class is normal decides which clips there are and what they are called, never their pixels: ten runs, one per normal
class, share what is stored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from vad_pipeline.clips.fingerprint import fingerprint
from vad_pipeline.sources.raw_clip import RawClip, SourceError, Span

KIND = "class/{}"


@dataclass(frozen=True)
class LabelledImages:
    """One split of a data set of images.

    Attributes:
        labels: int (n,), the class of each image.
        images: reads the images, uint8 (n, H, W); picklable.
        fingerprint: changes whenever ``images()`` would yield other pixels.
        source: where they come from, for error messages and the index.
    """

    labels: np.ndarray
    images: Callable[[], np.ndarray]
    fingerprint: str
    source: str


def clips_of_classes(train: LabelledImages, test: LabelledImages, normal_class: int | None) -> list[RawClip]:
    """A clip of single images, uint8 (H, W, 1), per split and class; nothing is read yet.

    Args:
        train: images to learn from.
        test: images to score.
        normal_class: the class learnt from, the only one with a training clip; test images of other classes are
            abnormal, of kind ``class/<other>``. None: training clips of all classes, test clips unlabelled.

    Raises:
        SourceError: there are no training images, the test images are of fewer than two classes, or none are of the
            normal class.
    """
    _check_classes(train, test, normal_class)
    clips = []
    for split, data in (("train", train), ("test", test)):
        for label in np.unique(data.labels).tolist():
            if split == "train" and normal_class not in (None, label):
                continue
            rows = np.flatnonzero(data.labels == label)
            spans: tuple[Span, ...] | None = ()
            if split == "test" and label != normal_class:
                spans = None if normal_class is None else (Span(0, len(rows), KIND.format(label)),)
            clips.append(
                RawClip(
                    clip=f"{split}/{label}",
                    # the rows stand for the labels: another file of the same labels changes no pixel
                    fingerprint=fingerprint(data.fingerprint, rows.tolist()),
                    frames=partial(_frames, data.images, rows),
                    source=f"{data.source}, class {label}",
                    spans=spans,
                )
            )
    return clips


def _frames(images: Callable[[], np.ndarray], rows: np.ndarray) -> Iterator[np.ndarray]:
    pixels = images()
    for row in rows:
        yield pixels[row][..., None]


def _check_classes(train: LabelledImages, test: LabelledImages, normal_class: int | None) -> None:
    if not len(train.labels):
        raise SourceError(f"{train.source}: there are no training images; give at least one of the normal class")
    classes = np.unique(test.labels).tolist()
    if len(classes) < 2:
        found = f"all of class {classes[0]}" if classes else "of no class"
        raise SourceError(
            f"{test.source}: the {len(test.labels)} test images are {found}; what is normal can only be told from "
            "another class: give test images of at least two"
        )
    for use, data in (("training", train), ("test", test)):
        if normal_class is not None and normal_class not in data.labels:
            known = ", ".join(map(str, np.unique(data.labels).tolist()))
            raise SourceError(
                f"{data.source}: no {use} image is of normal_class {normal_class}; choose one of those it has ({known})"
            )

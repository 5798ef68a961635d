"""The handwritten digits that scikit-learn brings along: images for a fresh clone, nothing is downloaded.

1,797 images of 8x8 pixels, ten classes (UCI's Optical Recognition of Handwritten Digits, its test set; Alpaydin and
Kaynak, 1998). They come as one set: which are test images is drawn here.
"""

from functools import partial
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import fingerprint
from vad_pipeline.sources.classes import LabelledImages, clips_of_classes
from vad_pipeline.sources.raw_clip import RawClip

BRIGHTEST = 16  # of the values as they come


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DigitsConfig:
    """The digits that scikit-learn brings along.

    Attributes:
        normal_class: the digit learnt from, all others are abnormal; None: all are learnt from, none is labelled.
        test_share: share of each digit's images that are test images; at least one is, and one is not.
        seed: another seed draws other test images.
    """

    normal_class: int | None = Field(default=None, ge=0, le=9)
    test_share: float = Field(default=0.3, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


def read_digits(config: DigitsConfig) -> list[RawClip]:
    """A clip of 8x8 images, uint8 (8, 8, 1), per split and digit.

    Raises:
        SourceError: see ``clips_of_classes``; scikit-learn's own data give no occasion for it.
    """
    labels = _bundled().target
    drawn = _drawn(labels, config.test_share, config.seed)
    train, test = (_part(labels, np.flatnonzero(rows)) for rows in (~drawn, drawn))
    return clips_of_classes(train, test, config.normal_class)


def _drawn(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which images are test images, bool (n,): of each digit the same share, whatever the others' number."""
    drawn = np.zeros(len(labels), dtype=bool)
    for digit in np.unique(labels):
        rows = np.flatnonzero(labels == digit)
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        drawn[np.random.default_rng([seed, int(digit)]).permutation(rows)[:count]] = True
    return drawn


def _part(labels: np.ndarray, rows: np.ndarray) -> LabelledImages:
    return LabelledImages(
        labels=labels[rows],
        images=partial(_images, rows),
        fingerprint=fingerprint("digits", rows.tolist()),
        source="scikit-learn's digits",
    )


def _images(rows: np.ndarray) -> np.ndarray:
    """The images of these rows, uint8 (n, 8, 8) in 0..255."""
    return np.round(_bundled().images[rows] * (255 / BRIGHTEST)).astype(np.uint8)


def _bundled() -> Any:
    """``target`` (n,) and ``images``, float (n, 8, 8) in 0..16."""
    from sklearn.datasets import load_digits  # takes seconds, which processes that read other sources need not spend

    return load_digits()

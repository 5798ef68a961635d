"""Patch pseudo-anomalies: a piece of a foreign image jitters through a window of normal frames.

LNTRA (Astrid et al. 2021, Learning Not to Reconstruct Anomalies), as its official code draws them (spec 6.8): the
intruder is stretched over the whole frame, and a mask that moves from frame to frame reveals a part of it,
mask * intruder + (1 - mask) * frame.

The official code fits square frames only (it exchanges rows and columns in places) and lets a centre lie one pixel
beyond the right or lower border; here frames have any shape and centres stay inside.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.resize import to_gray
from vad_pipeline.flow.textures import pattern_pool, texture
from vad_pipeline.sources.images import SUFFIXES, read_image
from vad_pipeline.sources.raw_clip import SourceError

Kind = Literal["smooth_mix_s", "smooth_mix_c", "cutmix", "mixup_patch"]

REFERENCE = 256  # pixels, the shorter side of a frame for which the paper's pixel values hold
SMALLEST = 10  # pixels of such a frame, the shortest side (or standard deviation) of a patch
BORDER = 0.1  # of half a side, over which smooth_mix_s fades out
MIXED = 0.5  # share of the intruder in mixup_patch
POOL = 0  # seed of the patterns that procedural intruders are made of
CONTRAST = (15.0, 60.0)  # grey levels, standard deviation of their patterns; a faint intruder would be no anomaly


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Patch:
    """What patches look like.

    Attributes:
        kind: ``smooth_mix_s``, a rectangle with soft borders, which LNTRA's headline results are of; ``smooth_mix_c``,
            a Gaussian; ``cutmix``, a rectangle; ``mixup_patch``, a half-transparent rectangle.
        alpha: longest side of a patch as a share of the frame's; of a Gaussian, its standard deviation.
        beta: pixels, the largest move from frame to frame in x and in y, in a frame whose shorter side is 256 pixels;
            in other frames it changes in proportion, and so does the smallest side, 10 pixels there.
    """

    kind: Kind = "smooth_mix_s"
    alpha: float = Field(default=0.5, gt=0, le=1)
    beta: int = Field(default=10, ge=0)


def patch_clip(window: np.ndarray, intruder: np.ndarray, config: Patch, rng: np.random.Generator) -> np.ndarray:
    """The window with the patch in every frame, uint8 (T, H, W, C).

    The kinds draw alike: one seed gives all of them the same centres and sides.

    Args:
        window: uint8 (T, H, W, C), C = 1 gray or 3 RGB.
        intruder: uint8 (H', W', C'), C' = 1 or 3, of any size.
        config: what patches look like.
        rng: decides about size and place.

    Raises:
        ValueError: window or intruder is not such an array.

    >>> window, intruder = np.zeros((16, 48, 64, 1), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    >>> patch_clip(window, intruder, Patch(), np.random.default_rng(0)).shape
    (16, 48, 64, 1)
    """
    if window.ndim != 4 or not len(window) or not _is_picture(window[0]):
        raise ValueError(f"a window is uint8 (T, H, W, 1) or (T, H, W, 3), not {window.dtype} {window.shape}")
    frames, height, width, channels = window.shape
    colours = fitted(intruder, height, width, channels).astype(np.float32)
    sides = draw_sides(rng, config, height, width)
    centres = draw_centres(rng, config, frames, height, width)
    patched = np.empty_like(window)
    for t, (y, x) in enumerate(centres.tolist()):
        mask = patch_mask(config.kind, (y, x), sides, height, width)[..., None]
        patched[t] = np.rint(mask * colours + (1 - mask) * window[t])
    return patched


def draw_sides(rng: np.random.Generator, config: Patch, height: int, width: int) -> tuple[int, int]:
    """Height and width of a patch in pixels: each uniform up to ``alpha`` of the frame's, at least the smallest."""
    smallest = max(1, round(SMALLEST * min(height, width) / REFERENCE))
    high, wide = (max(smallest, int(rng.uniform(0, config.alpha) * side)) for side in (height, width))
    return high, wide


def draw_centres(rng: np.random.Generator, config: Patch, frames: int, height: int, width: int) -> np.ndarray:
    """Row and column of the patch's centre in every frame, int64 (frames, 2), always inside.

    The first is uniform over the frame; then each moves from the one before by up to ``beta`` (scaled to the frame) in
    either direction and stops at the border.
    """
    last = np.array([height - 1, width - 1])
    most = round(config.beta * min(height, width) / REFERENCE)
    centres = np.empty((frames, 2), np.int64)
    centre = rng.integers(0, last, endpoint=True)
    for t, move in enumerate(rng.integers(-most, most, (frames, 2), endpoint=True)):
        centres[t] = centre
        centre = np.clip(centre + move, 0, last)
    return centres


def patch_mask(kind: Kind, centre: tuple[int, int], sides: tuple[int, int], height: int, width: int) -> np.ndarray:
    """Share of the intruder in each pixel, float32 (height, width), [0, 1].

    Args:
        kind: see ``Patch``.
        centre: row and column, inside the frame.
        sides: height and width of the patch, pixels; the standard deviations of ``smooth_mix_c``.
        height, width: of the frame, pixels.
    """
    profile = PROFILES[kind]
    down, across = profile(centre[0], sides[0], height), profile(centre[1], sides[1], width)
    mask = np.outer(down, across).astype(np.float32)
    return mask * np.float32(MIXED) if kind == "mixup_patch" else mask


def _soft_border(centre: int, side: int, size: int) -> np.ndarray:
    """1 from half a side before to half a side after the centre, both included; outside, linear to 0."""
    outside = np.maximum(np.abs(np.arange(size) - centre) - side // 2, 0)
    # Pixels are one apart, so that a narrower border than that has no pixel in it, nor can it divide by zero.
    return np.maximum(1 - outside / max(BORDER * (side // 2), 1), 0)


def _gaussian(centre: int, deviation: int, size: int) -> np.ndarray:
    return np.exp(-((np.arange(size) - centre) ** 2) / (2 * deviation**2))


def _hard_border(centre: int, side: int, size: int) -> np.ndarray:
    """1 over a side. As in the official code, one that begins before the frame is moved inside, not cut off."""
    low = max(centre - side // 2, 0)
    at = np.arange(size)
    return ((at >= low) & (at < low + side)).astype(float)


PROFILES = {
    "smooth_mix_s": _soft_border,
    "smooth_mix_c": _gaussian,
    "cutmix": _hard_border,
    "mixup_patch": _hard_border,
}


def fitted(image: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """An image in the colour and size of a frame, uint8 (height, width, channels); colour is converted first.

    Bilinear with corners aligned: the outermost pixels' centres stay the outermost, as in torch's
    ``interpolate(align_corners=True)``, which the official code stretches intruders with.

    Args:
        image: uint8 (H, W, 1) gray or (H, W, 3) RGB.
        height, width: pixels.
        channels: 1 or 3.

    Raises:
        ValueError: the image is not such an array.

    >>> fitted(np.uint8([[[0], [100]]]), 1, 5, 1).ravel().tolist()
    [0, 25, 50, 75, 100]
    """
    if not _is_picture(image):
        raise ValueError(f"an intruder is uint8 (H, W, 1) or (H, W, 3), not {image.dtype} {image.shape}")
    if image.shape[-1] == 3 and channels == 1:
        image = to_gray(image)[..., None]
    stretched = _stretched(_stretched(image, height, axis=0), width, axis=1)
    return np.repeat(np.rint(stretched).astype(np.uint8), channels // image.shape[-1], axis=-1)


def _stretched(image: np.ndarray, size: int, axis: int) -> np.ndarray:
    at = np.linspace(0, image.shape[axis] - 1, size, dtype=np.float32)
    low = at.astype(int)
    high = np.minimum(low + 1, image.shape[axis] - 1)
    share = np.expand_dims(at - low, axis=tuple(other for other in range(image.ndim) if other != axis))
    return image.take(low, axis) * (1 - share) + image.take(high, axis) * share


def _is_picture(image: np.ndarray) -> bool:
    return image.dtype == np.uint8 and image.ndim == 3 and image.size > 0 and image.shape[-1] in (1, 3)


def read_intruders(folder: Path) -> list[Path]:
    """Image files in a folder and the folders in it (CIFAR-100 by class, another data set's clips), sorted.

    Raises:
        SourceError: there are none.
    """
    images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not images:
        raise SourceError(
            f"{folder}: no images ({', '.join(sorted(SUFFIXES))}) to take intruders from; "
            "put some there, or name no folder to have textures drawn"
        )
    return images


def intruder(
    rng: np.random.Generator, height: int, width: int, channels: int, paths: Sequence[Path] | None
) -> np.ndarray:
    """An intruder for ``patch_clip``, uint8 (height, width, channels): a random image of ``paths``, or else a texture.

    Textures are procedural and need no data at hand; the paper takes CIFAR-100, results with textures are our own.

    Args:
        rng: decides everything.
        height, width, channels: of the frames.
        paths: image files; None draws textures.

    Raises:
        SourceError: the image is damaged; the message names the file.
    """
    if paths is None:
        random = Random(int(rng.integers(1 << 63)))
        image = texture(random, height, width, pattern_pool(POOL, held_out=False), None, CONTRAST, flat=0.0)
    else:
        image = read_image(paths[int(rng.integers(len(paths)))])
    return fitted(image, height, width, channels)

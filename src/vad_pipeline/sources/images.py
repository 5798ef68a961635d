"""Still images and folders of them."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vad_pipeline.clips.names import natural_key
from vad_pipeline.sources.passed_over import passed_over, say_passed_over
from vad_pipeline.sources.raw_clip import SourceError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
# kept apart: trainings that draw intruders from a folder depend on what is above
FRAME_SUFFIXES = SUFFIXES | {".jpe", ".jfif", ".dib", ".webp", ".pbm", ".pgm", ".ppm", ".pnm"}
BLACK = 64  # of 255: what JPEG makes of black beside white is darker
NOISE = 16  # what it makes of nothing but black


def list_images(folder: Path) -> list[Path]:
    """Image files of a folder in numeric order; hidden files such as ``._001.tif`` and ``.DS_Store`` are passed over;
    whatever else is there is said once.

    Raises:
        SourceError: the folder holds none, or one frame twice (``001.tif`` beside ``001.jpg``).
    """
    named = [p for p in folder.iterdir() if p.suffix.lower() in FRAME_SUFFIXES and not p.name.startswith(".")]
    images = [path for path in named if not path.is_dir()]
    if not images:
        known = ", ".join(sorted(FRAME_SUFFIXES))
        raise SourceError(
            f"{folder}: no images ({known}); remove the folder or put the clip's frames into it{passed_over(folder)}"
        )
    say_passed_over(folder, images)
    images = sorted(images, key=lambda path: (natural_key(path.stem), path.name))
    for one, other in pairwise(images):
        if one.stem == other.stem:
            raise SourceError(f"{folder}: {one.name} and {other.name} would be the same frame; keep one of them")
    return images


def read_image(path: Path) -> np.ndarray:
    """Decode an image to uint8 (H, W, 1) where it is gray, (H, W, 3) RGB otherwise.

    Pillow rather than OpenCV, which fills the missing part of a truncated JPEG with gray instead of failing.

    Raises:
        SourceError: the file is truncated, is not an image, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as image:
            # Pillow cuts 16-bit colour to its high bytes and calls it RGB; only the raw mode, "RGB;16B", tells
            if image.mode.startswith(("I", "F")) or re.search(r";16[BLN]", str(image.tile)):
                raise SourceError(f"{path}: more than 8 bits a channel; convert the images to 8 bits")
            if image.mode in ("1", "L", "LA"):
                return np.asarray(image.convert("L"))[..., None]
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SourceError(
            f"{path}: cannot be decoded ({error}); the file is truncated or no image, fetch it again"
        ) from error


def read_frames(images: tuple[Path, ...], clip: str) -> Iterator[np.ndarray]:
    """Frames of a clip, each uint8 (H, W, C).

    Raises:
        SourceError: an image is broken, or its size or number of channels is unlike the first one's.
    """
    shape: tuple[int, ...] | None = None
    for path in images:
        frame = read_image(path)
        if shape is None:
            shape = frame.shape
        elif frame.shape != shape:
            raise SourceError(
                f"clip {clip}: {path} is {_size(frame.shape)}, {images[0].name} is {_size(shape)}; "
                "all frames of a clip must have one size and colour mode: resize them or split the folder"
            )
        yield frame


def read_masks(images: tuple[Path, ...]) -> Iterator[np.ndarray]:
    """Masks of a clip, each as ``read_mask`` reads it."""
    return map(read_mask, images)


def read_mask(path: Path) -> np.ndarray:
    """Bool (H, W): True where the image is not black, that is where a channel is at least 64 of 255.

    In a JPEG of two tones the border lies halfway, at 128: it blurs them into each other.

    Raises:
        SourceError: it cannot be read, is transparent somewhere, or is neither black all over nor bright anywhere.
    """
    brightness = read_image(path).max(axis=-1)
    with Image.open(path) as opened:
        if opened.has_transparency_data and np.asarray(opened.convert("RGBA"))[..., 3].min() < 255:
            raise SourceError(f"{path}: is transparent in places, which is neither black nor white; save it without")
        lossy = opened.format in ("JPEG", "WEBP")
    brightest = int(brightness.max())
    if (NOISE if lossy else 0) < brightest < BLACK:
        raise SourceError(
            f"{path}: its brightest value is {brightest} of 255, and black is what is darker than {BLACK}; draw white "
            "(255) where it is not black"
        )
    between = np.mean((brightness >= BLACK) & (brightness < 256 - BLACK))
    return brightness >= (128 if lossy and between < 0.05 else BLACK)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} {'gray' if shape[2] == 1 else 'colour'}"

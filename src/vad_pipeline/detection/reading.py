"""How the pictures of a camera are read: what is looked at, and at which height, as in training."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.reading_size import frames_at_height
from vad_pipeline.sources.videos import read_region


@dataclass(frozen=True)
class Reading:
    """What happens to a camera's picture before a system sees it.

    Attributes:
        height: rows to which it is brought, the width in proportion; None leaves it as it is.
        region: image of the picture's size, black where nothing shall be looked at; None looks everywhere.
    """

    height: int | None = None
    region: Path | None = None


def reading_of(extraction: FrameExtraction) -> Reading:
    """How an environment reads its data; regions of interest are of one's own videos alone."""
    region = extraction.videos.get("region_of_interest") if extraction.source == "videos" else None
    return Reading(extraction.height, Path(region) if region else None)


def reader_of(reading: Reading) -> Callable[[np.ndarray], np.ndarray]:
    """What brings pictures uint8 (H, W, 1|3) to those that training read: blackened, then resized.

    Raises:
        SourceError: the region of interest cannot be read, or, when it gets a picture, is of another size.
    """
    mask = None if reading.region is None else read_region(reading.region)

    def read(picture: np.ndarray) -> np.ndarray:
        if mask is not None:
            if mask.shape != picture.shape[:2]:
                raise SourceError(
                    f"the region of interest {reading.region} is {mask.shape[1]}x{mask.shape[0]}, the pictures are "
                    f"{picture.shape[1]}x{picture.shape[0]}; give pictures of the camera's own size"
                )
            picture = picture * mask[..., None]
        return picture if reading.height is None else next(frames_at_height([picture], reading.height))

    return read

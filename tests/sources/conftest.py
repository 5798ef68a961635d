"""Raw data made on the spot: images, videos, and the jobs of a source carried out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Writes an array as the image its suffix names, making its folder."""

    def write(path: Path, array: np.ndarray, **options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path, **options)
        return path

    return write


@pytest.fixture
def cut_in_half() -> Callable[[Path], None]:
    """Truncates a file, as a copy that was interrupted leaves it."""

    def cut(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return cut


@pytest.fixture
def carry_out(tmp_path: Path) -> Callable[[dict[str, ClipJob]], Clips]:
    """Computes jobs into a pool, as saving them to a clip store does, and returns the stored clips."""
    pool = ClipPool(str(tmp_path / "pool"))

    def fill(jobs: dict[str, ClipJob]) -> Clips:
        pool.fill(jobs, Parallel(backend="sequential"), "test")
        return Clips({clip: stored(clip, job) for clip, job in jobs.items()})

    def stored(clip: str, job: ClipJob) -> Clip:
        seconds = pool.seconds(job.fingerprint) if job.timed else job.seconds
        header = pool.header(job.fingerprint)
        return Clip(clip, job.fingerprint, *header, job.fps, job.source, pool, seconds=seconds)

    return fill

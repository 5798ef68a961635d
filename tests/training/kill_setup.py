"""The clips of the killed trainings, made once in a folder that several processes share."""

from functools import partial
from pathlib import Path

from tests.conftest import rows_of
from tests.training.conftest import moving_square
from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel


def clips_of(folder: Path) -> Clips:
    pool = ClipPool(str(folder))
    arrays = {f"train/{i:02d}": moving_square(14, 3 * i) for i in range(4)}
    jobs = {clip: ClipJob(clip.replace("/", "_"), partial(rows_of, array)) for clip, array in arrays.items()}
    pool.fill(jobs, Parallel(backend="sequential"), "")
    return Clips({c: Clip(c, j.fingerprint, arrays[c].shape, "uint8", None, "", pool) for c, j in jobs.items()})

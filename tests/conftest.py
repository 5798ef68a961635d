"""Fixtures that several folders of tests share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vad_pipeline.io.clip_job import ClipJob
from vad_pipeline.io.clip_pool import ClipPool, Parallel
from vad_pipeline.io.clips import Clip, Clips

PROJECT = Path(__file__).resolve().parents[1]

# Tests' networks are tiny: threads that wait for each other cost more than they bring, many times so on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_tracking_but_where_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests leave the MLflow stores of the project and of the user alone; those of tracking set VAD_TRACKING to on."""
    monkeypatch.setenv("VAD_TRACKING", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.delenv("VAD_MLFLOW_RUNS", raising=False)


@pytest.fixture
def ped2_root() -> Path:
    """The folder that holds UCSDped2; the test is skipped where VAD_PED2 does not name one."""
    root = os.environ.get("VAD_PED2")
    if not root:
        pytest.skip("set VAD_PED2 to the folder that holds UCSDped2")
    return Path(root)


def rows_of(array: np.ndarray, start: int, stop: int | None) -> Iterator[np.ndarray]:
    yield from array[start:stop]


@pytest.fixture
def store_clips(tmp_path: Path) -> Callable[[dict[str, np.ndarray]], Clips]:
    """Puts arrays into a clip pool and returns them as a clip store would load them."""
    from functools import partial

    pool = ClipPool(str(tmp_path / "pool"))

    def store(arrays: dict[str, np.ndarray], fps: float | None = 10.0) -> Clips:
        jobs = {}
        for clip, array in arrays.items():
            name = clip.replace("/", "_") + f"_{array.shape}_{array.dtype}_{hash(array.tobytes()) & 0xFFFFFF:x}"
            jobs[clip] = ClipJob(name.replace(" ", ""), partial(rows_of, array), fps=fps, source="a test")
        pool.fill(jobs, Parallel(backend="sequential"), "test")
        return Clips(
            {
                clip: Clip(clip, job.fingerprint, arrays[clip].shape, str(arrays[clip].dtype), fps, "a test", pool)
                for clip, job in jobs.items()
            }
        )

    return store

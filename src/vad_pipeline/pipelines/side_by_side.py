"""Nodes that do not need each other side by side: rows of a table, parts of a system, a process of one thread each.

kedro run --pipeline=lgn_net_ablation --runner=vad_pipeline.pipelines.side_by_side.SideBySide --params=jobs=2
"""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import cv2
import joblib
from kedro.io import SharedMemoryCatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import ParallelRunner
from kedro.runner.parallel_runner import ParallelRunnerManager
from kedro.runner.runner import AbstractRunner

THREADS_VARIABLE = "OMP_NUM_THREADS"  # read by torch when it is imported, and by fitting/devices.py


class SideBySide(ParallelRunner):
    """Kedro's ParallelRunner with as many processes as the parameter ``jobs`` says, or cores where it is null.

    Results are bit for bit those of one node after the other, where those are computed with one thread: ``threads: 1``,
    or ``OMP_NUM_THREADS=1`` where that is null. Processes are spawned: one forked after torch has computed may hang.
    """

    def __init__(self, is_async: bool = False):
        AbstractRunner.__init__(self, is_async=is_async)  # ParallelRunner's own would fork its manager
        self._manager = ParallelRunnerManager(ctx=get_context("spawn"))
        self._manager.start()
        self._max_workers = 1  # until the parameters are there

    def _run(self, pipeline: Pipeline, catalog: SharedMemoryCatalogProtocol, *args: Any, **options: Any) -> None:  # type: ignore[override]
        """Raises ValueError where ``jobs`` is no number of processes."""
        jobs = catalog.load("params:jobs") if "params:jobs" in catalog else None
        if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
            raise ValueError(f"jobs: {jobs}; set it to a number of processes, or null for as many as there are cores")
        self._max_workers = jobs or joblib.cpu_count()
        with _one_thread_for_children():
            super()._run(pipeline, catalog, *args, **options)

    def _get_executor(self, max_workers: int) -> Executor:
        return ProcessPoolExecutor(max_workers, get_context("spawn"), _begin)


@contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """A variable that processes started inside find before they import torch; this one has read it already."""
    before = os.environ.get(THREADS_VARIABLE)
    os.environ[THREADS_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[THREADS_VARIABLE]
        if before is not None:
            os.environ[THREADS_VARIABLE] = before


def _begin() -> None:
    """Prepare a process; torch finds the variable, OpenCV's threads are its own matter."""
    cv2.setNumThreads(1)

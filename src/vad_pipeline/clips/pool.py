"""The pool behind the clip stores: one ``<fingerprint>.npy`` per clip, written once, complete or absent.

Where frames have times, the same file holds a second array behind the first: the second of each.

A clip is written to a temporary name and renamed when complete, so a reader never sees half of one, a crash loses at
most the clips being written, and two runs filling one pool at once do no more than some work twice.
"""

import contextlib
import errno
import io
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import uuid
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import fsspec
import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vad_pipeline.clips.job import ClipJob


class ClipStoreError(RuntimeError):
    """A clip could not be stored or read; the message says which and what to do."""


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Parallel:
    """How clips are computed in parallel.

    Attributes:
        backend: joblib's: ``loky`` (processes on this machine), ``dask`` or ``ray`` (a cluster), ``sequential``.
        n_jobs: workers; -1 takes every core.
        chunk: rows that a worker computes at a time of a clip whose length is known beforehand.
    """

    backend: Literal["loky", "dask", "ray", "sequential"] = "loky"
    n_jobs: int = -1
    chunk: int = Field(default=2000, ge=1)


@dataclass(frozen=True)
class ClipPool:
    """A folder of clips, on this machine or behind any fsspec URL (remote pools cannot be memory-mapped)."""

    url: str
    storage_options: dict[str, Any] = field(default_factory=dict)

    @property
    def local(self) -> bool:
        return "://" not in self.url or self.url.startswith("file://")

    def _path(self, name: str) -> str:
        return f"{self.url.removeprefix('file://').rstrip('/')}/{name}"

    def path(self, fingerprint: str) -> str:
        """Where the clip with this fingerprint lies or will lie."""
        return self._path(f"{fingerprint}.npy")

    def filesystem(self) -> fsspec.AbstractFileSystem:
        protocol = "file" if self.local else self.url.split("://", 1)[0]
        return fsspec.filesystem(protocol, **self.storage_options)

    def has(self, fingerprint: str) -> bool:
        path = self.path(fingerprint)
        return os.path.exists(path) if self.local else self.filesystem().exists(path)

    def array(self, fingerprint: str) -> np.ndarray:
        """The clip, memory-mapped read-only from a local pool.

        Raises:
            ClipStoreError: the clip is not in the pool (pruned by hand, or a file was deleted).
        """
        path = self.path(fingerprint)
        try:
            if self.local:
                return np.load(path, mmap_mode="r", allow_pickle=False)
            return np.load(io.BytesIO(self.filesystem().cat_file(path)), allow_pickle=False)
        except FileNotFoundError:
            raise ClipStoreError(
                f"clip {fingerprint} is missing from {self.url}; run the pipeline that writes it again"
            ) from None
        except ValueError as error:
            raise ClipStoreError(
                f"{path} is damaged ({error}); delete the file and run the pipeline that writes it again"
            ) from None

    def header(self, fingerprint: str) -> tuple[tuple[int, ...], str]:
        """Shape and dtype of a clip, without reading its pixels."""
        array = self.array(fingerprint)
        return array.shape, str(array.dtype)

    def seconds(self, fingerprint: str) -> np.ndarray | None:
        """When each row of a clip is shown, float64 (T,); None where that was not stored with it."""
        with self.filesystem().open(self.path(fingerprint), "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            end = file.seek(0, os.SEEK_CUR) + math.prod(shape) * dtype.itemsize
            if file.seek(0, os.SEEK_END) == end:
                return None
            file.seek(end)
            return np.load(io.BytesIO(file.read()), allow_pickle=False)

    def publish(self, temporary: str, fingerprint: str) -> None:
        """Make a complete temporary file the clip; atomic for readers."""
        if self.local:
            os.replace(temporary, self.path(fingerprint))
        else:
            self.filesystem().put_file(temporary, self.path(fingerprint))
            os.unlink(temporary)

    def temporary(self, fingerprint: str) -> str:
        """A name of its own for a file being written; beside the clip, so that renaming it is atomic."""
        folder = self._path(".partial") if self.local else os.path.join(tempfile.gettempdir(), "vad_pipeline")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, f"{fingerprint}.{os.getpid()}.{uuid.uuid4().hex[:8]}.npy")

    def fill(self, jobs: Mapping[str, ClipJob], parallel: Parallel, title: str) -> int:
        """Compute the clips that the pool lacks, in parallel.

        Args:
            jobs: clip id -> job.
            parallel: workers.
            title: shown beside the progress bar.

        Returns:
            The number of clips computed.

        Raises:
            ClipStoreError: the disk is full; what is complete stays.
            SourceError: and whatever else a job raises.
        """
        if self.local:
            os.makedirs(self.url.removeprefix("file://"), exist_ok=True)
        missing = {job.fingerprint: (clip, job) for clip, job in jobs.items() if not self.has(job.fingerprint)}
        if not missing:
            return self._taken_over(jobs, 0)
        pieces = [
            _Piece(self, clip, job, start, stop)
            for clip, job in missing.values()
            for start, stop in _chunks(job.length, parallel.chunk)
        ]
        written: dict[str, dict[int, str]] = {fingerprint: {} for fingerprint in missing}
        expected = {f: sum(piece.job.fingerprint == f for piece in pieces) for f in missing}
        done = 0
        try:
            with _progress(title, len(missing)) as advance:
                for piece, temporary in _carry_out(pieces, parallel):
                    fingerprint = piece.job.fingerprint
                    if temporary is not None:
                        written[fingerprint][piece.start] = temporary
                        if len(written[fingerprint]) < expected[fingerprint]:
                            continue
                        self._join(fingerprint, [path for _, path in sorted(written.pop(fingerprint).items())])
                    done += 1
                    advance()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise ClipStoreError(
                f"no space left for {self.url}: {done} of {len(missing)} missing clips were stored and will not be "
                "computed again; free some space (`kedro prune` deletes old versions) and run once more"
            ) from error
        finally:
            for paths in written.values():
                for path in paths.values():
                    Path(path).unlink(missing_ok=True)
        return self._taken_over(jobs, done)

    def _taken_over(self, jobs: Mapping[str, ClipJob], done: int) -> int:
        """Delete files that were offered and not needed."""
        for job in jobs.values():
            if job.file is not None:
                Path(job.file).unlink(missing_ok=True)
        return done

    def _join(self, fingerprint: str, pieces: list[str]) -> None:
        """Append the pieces of a clip that several workers computed, and publish it."""
        target = self.temporary(fingerprint)
        try:
            arrays = [np.load(piece, mmap_mode="r", allow_pickle=False) for piece in pieces]
            shape = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
            with open(target, "wb") as out:
                _write_header(out, arrays[0].dtype, shape)
                for piece, array in zip(pieces, arrays, strict=True):
                    with open(piece, "rb") as rows:
                        rows.seek(array.offset)  # type: ignore[attr-defined]  # np.load with mmap_mode gives a memmap
                        shutil.copyfileobj(rows, out, 1 << 22)
            self.publish(target, fingerprint)
        finally:
            for path in (*pieces, target):
                Path(path).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Piece:
    """Rows ``start`` to ``stop`` of one clip; the whole clip where both bounds are open."""

    pool: ClipPool
    clip: str
    job: ClipJob
    start: int
    stop: int | None


def _chunks(length: int | None, size: int) -> list[tuple[int, int | None]]:
    if length is None or length <= size:
        return [(0, None)]
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _compute(piece: _Piece) -> str | None:
    """Carry out one piece in a worker. A whole clip is published at once (None); of a part the path is returned."""
    import cv2

    cv2.setNumThreads(1)  # the workers are the parallelism
    temporary = piece.pool.temporary(piece.job.fingerprint)
    try:
        if piece.job.file is not None:
            if piece.job.again is not None and not Path(piece.job.file).exists():
                piece.job.again()
            shutil.move(piece.job.file, temporary)
            piece.pool.publish(temporary, piece.job.fingerprint)
            return None
        assert piece.job.rows is not None
        n_rows = write_rows(temporary, piece.job.rows(piece.start, piece.stop), piece.job.timed)
        if n_rows == 0 and piece.job.row_if_none is not None:
            shape, dtype = piece.job.row_if_none
            np.save(temporary, np.empty((0, *shape), dtype))
        elif n_rows == 0:
            raise ClipStoreError(f"clip {piece.clip}: no frames in {piece.job.source}; remove it or repair the file")
        if piece.stop is not None:
            return temporary
        piece.pool.publish(temporary, piece.job.fingerprint)
        return None
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _carry_out(pieces: list[_Piece], parallel: Parallel) -> Iterator[tuple[_Piece, str | None]]:
    """Pieces as they are done: files that are taken over in this process, the rest by the workers."""
    files = [piece for piece in pieces if piece.job.file is not None]
    rows = [piece for piece in pieces if piece.job.file is None]
    workers = min(len(rows), joblib.effective_n_jobs(parallel.n_jobs))
    if parallel.backend == "sequential" or workers <= 1:
        files, rows = pieces, []
    if files:
        yield from _carry_out_here(files)
    if rows:
        yield from _carry_out_by_workers(rows, parallel.backend, workers)


def _carry_out_here(pieces: list[_Piece]) -> Iterator[tuple[_Piece, str | None]]:
    import cv2

    threads = cv2.getNumThreads()
    try:
        for piece in pieces:
            yield piece, _compute(piece)
    finally:
        cv2.setNumThreads(threads)


def _carry_out_by_workers(pieces: list[_Piece], backend: str, workers: int) -> Iterator[tuple[_Piece, str | None]]:
    try:
        with joblib.parallel_config(backend=backend):
            tasks = (joblib.delayed(_numbered)(i, piece) for i, piece in enumerate(pieces))
            for i, result in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(tasks):
                yield pieces[i], result
    finally:
        # loky's workers stay for minutes, and a process of multiprocessing does not end before its children
        if backend == "loky" and multiprocessing.parent_process() is not None:
            get_reusable_executor().shutdown(wait=True)


def _numbered(number: int, piece: _Piece) -> tuple[int, str | None]:
    return number, _compute(piece)


def write_rows(path: str, rows: Iterable[Any], timed: bool = False) -> int:
    """Stream rows of one shape into a ``.npy`` file, holding one at a time.

    Args:
        path: of the file.
        rows: arrays of one shape and type; pairs of one and its second where they are ``timed``.
        timed: the seconds, float64 (T,), are stored behind the rows.

    Returns:
        The number of rows written; 0 leaves a file without a valid header.
    """
    n_rows = 0
    first: np.ndarray | None = None
    seconds = array("d")
    with open(path, "wb") as out:
        for given in rows:
            row = given
            if timed:
                row, second = given
                seconds.append(second)
            if first is None:
                first = row
                _write_header(out, row.dtype, (0, *row.shape))
            elif row.shape != first.shape or row.dtype != first.dtype:
                raise ClipStoreError(
                    f"row {n_rows} is {row.dtype} {row.shape}, the clip's first is {first.dtype} {first.shape}"
                )
            out.write(np.ascontiguousarray(row).data)
            n_rows += 1
        if first is not None:
            if timed:
                np.save(out, np.array(seconds))
            out.seek(0)
            # numpy pads the header so that the first axis can grow in place
            _write_header(out, first.dtype, (n_rows, *first.shape))
    return n_rows


def _write_header(out: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("clips"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)

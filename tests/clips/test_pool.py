import errno
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vad_pipeline.clips import pool as clip_pool
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, ClipStoreError, Parallel, write_rows

SEQUENTIAL = Parallel(backend="sequential")


def counted_rows(n, log, start, stop):
    """Rows whose value is their number; every call leaves a line in the log."""
    with open(log, "a") as file:
        file.write(f"{start}-{stop}\n")
    for i in range(start, n if stop is None else stop):
        yield np.full((3, 4, 1), i % 251, np.uint8)


def job(tmp_path, name, n=5, length=None):
    return ClipJob(name, partial(counted_rows, n, str(tmp_path / f"{name}.log")), length=length)


def calls(tmp_path, name):
    log = tmp_path / f"{name}.log"
    return log.read_text().split() if log.exists() else []


def failing_rows(error, after, start, stop):
    for _ in range(after):
        yield np.zeros((3, 4, 1), np.uint8)
    raise error


def test_streamed_rows_load_as_one_array(tmp_path):
    path = str(tmp_path / "a.npy")
    assert write_rows(path, (np.full((2, 3), i, np.float16) for i in range(1234))) == 1234
    array = np.load(path)
    assert array.shape == (1234, 2, 3)
    assert array.dtype == np.float16
    np.testing.assert_array_equal(array[:, 0, 0], np.arange(1234))


def test_a_stored_clip_is_not_computed_again(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    assert pool.fill({"train/01": job(tmp_path, "a")}, SEQUENTIAL, "") == 1
    assert pool.fill({"train/01": job(tmp_path, "a"), "train/02": job(tmp_path, "b")}, SEQUENTIAL, "") == 1
    assert len(calls(tmp_path, "a")) == 1
    assert len(calls(tmp_path, "b")) == 1


def test_equal_clips_are_computed_and_stored_once(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    assert pool.fill({"train/01": job(tmp_path, "a"), "train/02": job(tmp_path, "a")}, SEQUENTIAL, "") == 1
    assert len(list((tmp_path / "pool").glob("*.npy"))) == 1


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_a_long_clip_computed_in_chunks_equals_the_whole(tmp_path, backend):
    whole, parts = ClipPool(str(tmp_path / "whole")), ClipPool(str(tmp_path / "parts"))
    whole.fill({"train/01": job(tmp_path, "a", 23)}, SEQUENTIAL, "")
    parts.fill({"train/01": job(tmp_path, "a", 23, length=23)}, Parallel(backend=backend, n_jobs=2, chunk=5), "")
    assert calls(tmp_path, "a")[0] == "0-None"
    assert sorted(calls(tmp_path, "a")[1:]) == sorted(["0-5", "5-10", "10-15", "15-20", "20-23"])
    np.testing.assert_array_equal(whole.array("a"), parts.array("a"))
    assert not list((tmp_path / "parts" / ".partial").iterdir())


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_a_failing_clip_leaves_the_finished_ones_and_no_rubbish(tmp_path, backend):
    pool = ClipPool(str(tmp_path / "pool"))
    bad = ClipJob("bad", partial(failing_rows, ValueError("broken frame"), 2))
    with pytest.raises(ValueError, match="broken frame"):
        pool.fill({"train/01": job(tmp_path, "good"), "train/02": bad}, Parallel(backend=backend, n_jobs=1), "")
    assert pool.has("good")
    assert not pool.has("bad")
    assert not list((tmp_path / "pool" / ".partial").iterdir())


def test_a_full_disk_is_named_with_what_is_kept(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    full = ClipJob("full", partial(failing_rows, OSError(errno.ENOSPC, "No space left on device"), 1))
    with pytest.raises(ClipStoreError, match=r"no space left .* 1 of 2 missing clips were stored .*kedro prune"):
        pool.fill({"train/01": job(tmp_path, "good"), "train/02": full}, SEQUENTIAL, "")
    assert pool.has("good")
    assert not pool.has("full")
    assert not list((tmp_path / "pool" / ".partial").iterdir())


def test_a_really_full_file_system_raises_and_recovers(tmp_path, monkeypatch):
    """A quota: writing fails for good after 200 bytes, as on a small disk."""
    pool = ClipPool(str(tmp_path / "pool"))
    real_open = open

    class Quota:
        def __init__(self, file):
            self.file, self.left = file, 200

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.left -= len(bytes(data))
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

    monkeypatch.setattr(clip_pool, "open", lambda *a, **k: Quota(real_open(*a, **k)), raising=False)
    with pytest.raises(ClipStoreError, match="0 of 1 missing clips"):
        pool.fill({"train/01": job(tmp_path, "a", 100)}, SEQUENTIAL, "")
    monkeypatch.undo()
    assert pool.fill({"train/01": job(tmp_path, "a", 100)}, SEQUENTIAL, "") == 1
    assert pool.array("a").shape == (100, 3, 4, 1)


def test_a_clip_without_frames_is_refused(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    empty = ClipJob("empty", partial(counted_rows, 0, str(tmp_path / "log")), source="cam.mp4")
    with pytest.raises(ClipStoreError, match=r"clip train/09: no frames in cam.mp4"):
        pool.fill({"train/09": empty}, SEQUENTIAL, "")
    assert not pool.has("empty")


def test_a_clip_that_may_have_no_rows_is_stored_with_length_zero(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    rows = partial(counted_rows, 0, str(tmp_path / "log"))
    empty = ClipJob("empty", rows, length=0, row_if_none=((3, 4, 2), "float16"))
    assert pool.fill({"train/09": empty}, SEQUENTIAL, "") == 1
    assert pool.header("empty") == ((0, 3, 4, 2), "float16")
    assert not list((tmp_path / "pool" / ".partial").iterdir())


def test_rows_of_unlike_shapes_are_refused(tmp_path):
    rows = [np.zeros((3, 4), np.uint8), np.zeros((3, 5), np.uint8)]
    with pytest.raises(ClipStoreError, match="row 1"):
        write_rows(str(tmp_path / "a.npy"), rows)


def test_a_missing_and_a_damaged_clip_say_what_to_do(tmp_path):
    pool = ClipPool(str(tmp_path))
    with pytest.raises(ClipStoreError, match="run the pipeline that writes it again"):
        pool.array("nothing")
    Path(pool.path("half")).write_bytes(b"\x93NUMPY half a file")
    with pytest.raises(ClipStoreError, match="damaged"):
        pool.array("half")


def test_a_remote_pool_stores_and_loads(tmp_path):
    pool = ClipPool("memory://pool_of_this_test")
    assert pool.fill({"train/01": job(tmp_path, "a")}, SEQUENTIAL, "") == 1
    assert pool.fill({"train/01": job(tmp_path, "a")}, SEQUENTIAL, "") == 0
    np.testing.assert_array_equal(pool.array("a")[:, 0, 0, 0], np.arange(5))


def offered(tmp_path, name, log=None):
    """A job whose file is there, or is made with that of ``b`` when it is not and there is a log to note it in."""

    def again():
        log.append(os.getpid())
        for made in {name, "b"}:
            write_rows(str(tmp_path / f"{made}.maps.npy"), counted_rows(4, tmp_path / "log", 0, None))

    if log is None:
        write_rows(str(tmp_path / f"{name}.maps.npy"), counted_rows(4, tmp_path / "log", 0, None))
    return ClipJob(name, file=str(tmp_path / f"{name}.maps.npy"), again=None if log is None else again)


def test_a_file_becomes_the_clip_and_one_that_is_not_needed_is_deleted(tmp_path):
    pool = ClipPool(str(tmp_path / "pool"))
    assert pool.fill({"test/01": offered(tmp_path, "a")}, SEQUENTIAL, "") == 1
    assert not list(tmp_path.glob("*.maps.npy"))
    stored = Path(pool.path("a")).stat().st_mtime_ns
    assert pool.fill({"test/01": offered(tmp_path, "a")}, SEQUENTIAL, "") == 0
    assert pool.fill({"test/01": offered(tmp_path, "a"), "test/02": job(tmp_path, "b")}, SEQUENTIAL, "") == 1
    assert not list(tmp_path.glob("*.maps.npy"))
    assert Path(pool.path("a")).stat().st_mtime_ns == stored, "it is not stored a second time"
    np.testing.assert_array_equal(pool.array("a")[:, 0, 0, 0], np.arange(4))


@pytest.mark.parametrize("backend", ["sequential", "loky"])
def test_a_file_that_is_gone_is_made_again_here_and_only_where_the_pool_lacks_the_clip(tmp_path, backend):
    pool, log = ClipPool(str(tmp_path / "pool")), []
    jobs = {"test/01": offered(tmp_path, "a", log), "test/02": offered(tmp_path, "b", log)}
    parallel = Parallel(backend=backend, n_jobs=2)
    assert pool.fill(jobs, parallel, "") == 2
    assert log == [os.getpid()], "once, for it makes the second clip's file as well"
    assert pool.fill(jobs, parallel, "") == 0
    assert len(log) == 1
    Path(pool.path("a")).unlink()
    assert pool.fill(jobs, parallel, "") == 1
    assert len(log) == 2
    assert not list(tmp_path.glob("*.maps.npy")), "nor is the other file that was made with it left"
    np.testing.assert_array_equal(pool.array("a"), pool.array("b"))


def test_a_file_that_is_there_is_not_made_again(tmp_path):
    pool, log = ClipPool(str(tmp_path / "pool")), []
    offered(tmp_path, "a")
    assert pool.fill({"test/01": offered(tmp_path, "a", log)}, SEQUENTIAL, "") == 1
    assert not log

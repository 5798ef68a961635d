import base64
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from tests.processes import start
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import FrameSize, resize
from vad_pipeline.io.clip_store import ClipStoreDataset
from vad_pipeline.io.prune import prune_clips
from vad_pipeline.sources.images import read_image


def rows(value, n, start, stop):
    for i in range(start, n if stop is None else stop):
        yield np.full((8, 12, 3), (value + i) % 255, np.uint8)


def job(value, n=7):
    return ClipJob(f"clip{value}", partial(rows, value, n), length=n, fps=5.0, source=f"cam{value}")


def store(root, version=None, name="frames", backend="sequential", protocol=""):
    return ClipStoreDataset(
        filepath=f"{protocol}{root}/{name}.clips",
        pool=f"{protocol}{root}/clips",
        parallel={"backend": backend},
        version=Version(None, version),
    )


def test_saved_clips_load_with_their_metadata(tmp_path):
    store(tmp_path, "v1").save({"test/10": job(1), "test/2": job(2, 4)})
    clips = store(tmp_path).load()
    assert list(clips) == ["test/2", "test/10"]
    assert clips["test/10"].shape == (7, 8, 12, 3)
    assert clips["test/2"].fps == 5.0
    assert clips["test/2"].source == "cam2"
    assert isinstance(clips["test/2"].array(), np.memmap)
    np.testing.assert_array_equal(clips["test/2"].array()[:, 0, 0, 0], [2, 3, 4, 5])
    assert list(clips.split("train")) == []


def timed_rows(n, start, stop):
    for i, row in enumerate(rows(0, n, start, stop)):
        yield row, i**2 / 10


@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_the_seconds_of_frames_are_stored_with_them(tmp_path, protocol):
    timed = ClipJob("timed", partial(timed_rows, 4), timed=True, fps=5.0)
    made_of = ClipJob("smaller", partial(rows, 0, 4), seconds=np.array([0, 0.1, 0.4, 0.9]))
    for version in ("v1", "v2"):  # the second finds the clips in the pool
        store(tmp_path, version, protocol=protocol).save({"test/1": timed, "test/2": job(1, 3), "test/3": made_of})
        clips = store(tmp_path, protocol=protocol).load()
        np.testing.assert_array_equal(clips["test/1"].times(), [0, 0.1, 0.4, 0.9])
        np.testing.assert_array_equal(clips["test/1"].array(), list(rows(0, 4, 0, None)))
        np.testing.assert_allclose(clips["test/2"].times(), [0, 0.2, 0.4])  # by the rate
        np.testing.assert_array_equal(clips["test/3"].times(), [0, 0.1, 0.4, 0.9])


def test_no_rate_and_no_seconds_are_no_times(tmp_path):
    store(tmp_path, "v1").save({"test/1": ClipJob("untimed", partial(rows, 0, 4))})
    assert store(tmp_path).load()["test/1"].times() is None


def test_an_index_of_before_there_were_seconds_still_loads(tmp_path):
    store(tmp_path, "v1").save({"test/1": job(1)})
    (index,) = tmp_path.glob("frames.clips/v1/*")
    pd.read_parquet(index).drop(columns="seconds").to_parquet(index)
    np.testing.assert_allclose(store(tmp_path).load()["test/1"].times(), np.arange(7) / 5)


def test_an_unchanged_save_computes_nothing_and_adds_little(tmp_path):
    store(tmp_path, "v1").save({"train/01": job(1)})
    clip = tmp_path / "clips" / "clip1.npy"
    before = clip.stat().st_mtime_ns, sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    store(tmp_path, "v2").save({"train/01": job(1)})
    after = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    assert clip.stat().st_mtime_ns == before[0]
    assert after - before[1] < 20_000
    assert store(tmp_path).load()["train/01"].fingerprint == "clip1"


def test_versions_load_what_they_were_saved_with(tmp_path):
    store(tmp_path, "v1").save({"train/01": job(1)})
    store(tmp_path, "v2").save({"train/01": job(2)})
    old = ClipStoreDataset(
        filepath=f"{tmp_path}/frames.clips", pool=f"{tmp_path}/clips", version=Version("v1", None)
    ).load()
    assert old["train/01"].array()[0, 0, 0, 0] == 1
    assert store(tmp_path).load()["train/01"].array()[0, 0, 0, 0] == 2


def test_a_store_without_an_index_does_not_exist(tmp_path):
    dataset = store(tmp_path)
    assert not dataset.exists()
    (tmp_path / "frames.clips" / "v1").mkdir(parents=True)
    (tmp_path / "clips").mkdir()
    assert not store(tmp_path).exists()
    with pytest.raises(DatasetError):
        store(tmp_path).load()
    store(tmp_path, "v2").save({"train/01": job(1)})
    assert store(tmp_path).exists()


def test_a_damaged_index_is_named(tmp_path):
    store(tmp_path, "v1").save({"train/01": job(1)})
    (tmp_path / "frames.clips" / "v1" / "frames.clips").write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match="is not an index of clips"):
        store(tmp_path).load()


def test_an_empty_store_is_a_version_too(tmp_path):
    store(tmp_path, "v1", name="masks").save({})
    assert len(store(tmp_path, name="masks").load()) == 0


def test_a_remote_store_works_through_fsspec():
    store("store_of_this_test", "v1", protocol="memory://").save({"train/01": job(1)})
    assert store("store_of_this_test", protocol="memory://").load()["train/01"].array().shape == (7, 8, 12, 3)


def test_the_preview_is_a_contact_sheet(tmp_path):
    store(tmp_path, "v1").save({f"train/{i}": job(i) for i in range(9)})
    png = np.frombuffer(base64.b64decode(store(tmp_path).preview(clips=4, frames=3)), np.uint8)
    sheet = cv2.imdecode(png, cv2.IMREAD_COLOR)
    assert sheet.shape[1] == 3 * 160
    assert sheet.shape[0] == 4 * (18 + 107)


def test_prune_keeps_the_newest_version_and_its_clips(tmp_path):
    store(tmp_path, "v1").save({"train/01": job(1), "train/02": job(2)})
    store(tmp_path, "v2").save({"train/01": job(1), "train/02": job(3)})
    store(tmp_path, "v1", name="model/frames").save({"train/01": job(4)})
    dry = prune_clips(tmp_path, keep=1, dry_run=True, grace=0)
    assert (dry.versions, dry.clips) == (1, 1)
    assert (tmp_path / "clips" / "clip2.npy").exists()
    pruned = prune_clips(tmp_path, keep=1, grace=0)
    assert pruned == dry
    assert {p.stem for p in (tmp_path / "clips").glob("*.npy")} == {"clip1", "clip3", "clip4"}
    assert store(tmp_path).load()["train/02"].array()[0, 0, 0, 0] == 3


def test_prune_leaves_clips_of_a_run_that_is_under_way(tmp_path):
    store(tmp_path, "v1").save({"train/01": job(1)})
    (tmp_path / "clips" / "fresh.npy").write_bytes(b"being written by another run")
    assert prune_clips(tmp_path, keep=1).clips == 0
    with pytest.raises(ValueError, match="keep is 0"):
        prune_clips(tmp_path, keep=0)


def test_the_fingerprint_follows_input_parameters_and_code():
    base = step_fingerprint("a", FrameSize(8, 8), (resize,), ("numpy",))
    assert base == step_fingerprint("a", FrameSize(8, 8), (resize,), ("numpy",))
    assert base != step_fingerprint("b", FrameSize(8, 8), (resize,), ("numpy",))
    assert base != step_fingerprint("a", FrameSize(8, 9), (resize,), ("numpy",))
    assert base != step_fingerprint("a", FrameSize(8, 8), (read_image,), ("numpy",))
    assert base != step_fingerprint("a", FrameSize(8, 8), (resize,), ("pandas",))


def slow_rows(root, value, start, stop):
    with open(root / "computed.log", "a") as log:
        log.write(f"{value}\n")
    for _ in range(20):
        time.sleep(0.005)
        yield np.full((64, 64, 3), value, np.uint8)


def slow_run(root, version):
    dataset = ClipStoreDataset(
        filepath=f"{root}/frames.clips",
        pool=f"{root}/clips",
        version=Version(None, version),
        parallel={"backend": "sequential"},
    )
    dataset.save({f"train/{i:02d}": ClipJob(f"clip{i}", partial(slow_rows, root, i)) for i in range(12)})


def test_a_run_killed_at_any_moment_is_finished_by_the_next(tmp_path):
    rng = np.random.default_rng(7)
    for attempt in range(2):
        complete = set(Path(tmp_path / "clips").glob("*.npy"))
        stamps = {path: path.stat().st_mtime_ns for path in complete}
        run = start(slow_run, tmp_path, f"killed{attempt}")
        n_before = len(complete)
        deadline = time.monotonic() + 60
        while len(list(Path(tmp_path / "clips").glob("*.npy"))) < n_before + 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0, 0.15)))
        run.kill()
        run.join()
        assert not store(tmp_path).exists(), "a killed run must not leave a version"
        for path in Path(tmp_path / "clips").glob("*.npy"):
            assert np.load(path, mmap_mode="r").shape == (20, 64, 64, 3)
        assert {path: path.stat().st_mtime_ns for path in complete} == stamps
    finished = len(list(Path(tmp_path / "clips").glob("*.npy")))
    assert finished >= 6
    before = (tmp_path / "computed.log").read_text().count("\n")
    run = start(slow_run, tmp_path, "last")
    run.join()
    assert run.exitcode == 0
    assert (tmp_path / "computed.log").read_text().count("\n") - before == 12 - finished
    clips = store(tmp_path).load()
    assert [int(clip.array()[19, 63, 63, 2]) for clip in clips.values()] == list(range(12))


def test_two_runs_at_once_do_not_hurt_each_other(tmp_path):
    runs = [start(slow_run, tmp_path, version) for version in ("one", "two")]
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    for version in ("one", "two"):
        clips = ClipStoreDataset(
            filepath=f"{tmp_path}/frames.clips", pool=f"{tmp_path}/clips", version=Version(version, None)
        ).load()
        assert [int(clip.array()[0, 0, 0, 0]) for clip in clips.values()] == list(range(12))
    assert not list((tmp_path / "clips" / ".partial").iterdir())

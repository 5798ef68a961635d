"""Fixtures that several folders of tests share."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel

PROJECT = Path(__file__).resolve().parents[1]

# Tests' networks are tiny: threads that wait for each other cost more than they bring, many times so on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(trylast=True)  # after -m and -k have chosen
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, and dealt out to the workers of pytest-xdist, each of which begins with a run of the list."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    fast = [item for item in items if not item.get_closest_marker("slow")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        share = (len(items) - len(ordered)) // (workers - worker)
        first = slow[worker::workers]
        rest = max(0, share - len(first))
        ordered += first + fast[:rest]
        fast = fast[rest:]
    items[:] = ordered


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


@pytest.fixture
def mnist_root() -> Path:
    """The folder that holds MNIST's four idx files; the test is skipped where VAD_MNIST does not name one."""
    root = os.environ.get("VAD_MNIST")
    if not root:
        pytest.skip("set VAD_MNIST to the folder that holds MNIST's four idx files")
    return Path(root)


def rows_of(array: np.ndarray, start: int, stop: int | None) -> Iterator[np.ndarray]:
    yield from array[start:stop]


def stored_clips(folder: Path, arrays: dict[str, np.ndarray], fps: float | None = 10.0) -> Clips:
    """Puts arrays into a clip pool and returns them as a clip store would load them."""
    pool, jobs = ClipPool(str(folder / "pool")), {}
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


@pytest.fixture
def store_clips(tmp_path: Path) -> Callable[..., Clips]:
    """``stored_clips`` in a folder of the test's own."""
    return partial(stored_clips, tmp_path)


@pytest.fixture
def write_video() -> Callable[..., Path]:
    """Encodes frames (H, W, 3) in colour, or (H, W) as lossless gray."""

    def write(path: Path, frames: list[np.ndarray], fps: int = 10, codec: str = "", **container_options: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        gray = frames[0].ndim == 2
        codec = codec or ("ffv1" if gray else {".mp4": "libx264", ".mkv": "ffv1"}.get(path.suffix, "mpeg4"))
        with av.open(str(path), "w", options=container_options) as container:
            stream = container.add_stream(codec, rate=fps)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "gray" if gray else "yuv444p" if codec in ("libx264", "ffv1") else "yuv420p"
            stream.options = {"crf": "4"} if codec == "libx264" else {"b": "8M"}
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray" if gray else "rgb24")))
            container.mux(stream.encode())
        return path

    return write


UBNORMAL_LISTS = {
    "normal_training": ["normal_scene_1_scenario_10", "normal_scene_1_scenario_2"],
    "normal_validation": ["normal_scene_2_scenario_1_fog"],
    "abnormal_validation": ["abnormal_scene_2_scenario_3"],
    "normal_test": ["normal_scene_1_scenario_4"],
    "abnormal_test": ["abnormal_scene_1_scenario_5"],
}
UBNORMAL_TRACKS = {"abnormal_scene_2_scenario_3": "3,1,2\n5,2,4\n", "abnormal_scene_1_scenario_5": "7.0,0.0,0.0\n"}


@pytest.fixture
def ubnormal_release(tmp_path: Path, write_video: Callable[..., Path]) -> Callable[..., Path]:
    """Writes UBnormal in its official layout: six 24x16 videos; frames 1 to 4 of the abnormal one in scene 2 are so."""

    def write(root: Path = tmp_path, n_frames: int = 6) -> Path:
        (root / "scripts").mkdir(parents=True)
        for name, videos in UBNORMAL_LISTS.items():
            (root / "scripts" / f"{name}_video_names.txt").write_text("\n".join(videos))
            for video in videos:
                folder = root / f"Scene{video.split('_')[2]}"
                frames = [np.full((16, 24, 3), 30 * (t % 8), np.uint8) for t in range(n_frames)]
                write_video(folder / f"{video}.mp4", frames, fps=30)
                if video in UBNORMAL_TRACKS:
                    (folder / f"{video}_annotations").mkdir()
                    (folder / f"{video}_annotations" / f"{video}_tracks.txt").write_text(UBNORMAL_TRACKS[video])
        return root

    return write

"""TV-L1 flow at 256x256: preset `fast` through the clip pool against a plain loop over OpenCV's DualTVL1OpticalFlow.

    python benchmarks/bench_tvl1.py [FOLDER]

FOLDER holds clips as folders of images (by default the built-in scenes are rendered at 240x360); their frames are read
gray and resized. The plain loop has OpenCV's defaults and all threads, the clip pool two processes of one thread each.
Bars: at least 3 times the pairs per second, aim 6; flow differs by at most 0.05 px on average, and by 0.1 px where
OpenCV's is longer than 0.5 px. Beside it stands how far OpenCV's own flow moves when the earlier frame is brighter by a
millionth, that is by rounding: no other implementation can be expected to come closer.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from measure import compare, machine

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize, resize
from vad_pipeline.flow.tvl1 import TVL1, tvl1_jobs
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs
from vad_pipeline.sources.images import SUFFIXES, list_images

CLIPS, FRAMES = 6, 5  # pairs: 6 * 4
SIZE = FrameSize(256, 256, "gray")
SCENES = {"train_clips": 3, "test_clips": 7, "frames": 40, "height": 240, "width": 360}


def excerpts(folder: str | None) -> dict[str, np.ndarray]:
    """A stretch of FRAMES frames from the middle of CLIPS clips spread over all, each uint8 (FRAMES, 256, 256, 1)."""
    clips: list[Sequence[np.ndarray | Path]]
    if folder is None:
        jobs = frame_jobs(FrameExtraction("scenes", scenes=SCENES)).values()
        clips = [list(job.rows(0, None)) for job in jobs if job.rows is not None]
    else:
        parents = {path.parent for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES}
        clips = [list_images(parent) for parent in sorted(parents) if not parent.name.endswith("_gt")]
    chosen = {}
    for i in range(CLIPS):
        clip = clips[i * len(clips) // CLIPS]
        middle = clip[(len(clip) - FRAMES) // 2 :][:FRAMES]
        chosen[f"train/{i:02d}"] = np.stack([resize(_read(frame), SIZE) for frame in middle])
    return chosen


def _read(frame: np.ndarray | Path) -> np.ndarray:
    if isinstance(frame, np.ndarray):
        return frame
    image = cv2.imread(str(frame), cv2.IMREAD_GRAYSCALE)
    assert image is not None, frame
    return image[..., None]


def stored(arrays: dict[str, np.ndarray], pool: ClipPool) -> Clips:
    jobs = {clip: ClipJob(clip.replace("/", "_"), partial(_rows, array)) for clip, array in arrays.items()}
    pool.fill(jobs, Parallel("sequential"), "frames")
    return Clips({c: Clip(c, j.fingerprint, *pool.header(j.fingerprint), None, "", pool) for c, j in jobs.items()})


def _rows(array: np.ndarray, start: int, stop: int | None) -> Iterator[np.ndarray]:
    yield from array[start:stop]


def opencv_flow(frames: np.ndarray, brighter: float = 0.0) -> np.ndarray:
    """OpenCV's defaults, pair after pair: float32 (FRAMES - 1, 256, 256, 2); the earlier frame brighter by a share."""
    images = [frame[..., 0].astype(np.float32) / 255 for frame in frames]
    still = np.zeros((*images[0].shape, 2), np.float32)
    estimate = cv2.optflow.DualTVL1OpticalFlow.create().calc
    share = np.float32(1 + brighter)
    return np.stack([estimate(a * share, b, still.copy()) for a, b in pairwise(images)])


def difference(title: str, ours: list[np.ndarray], reference: list[np.ndarray]) -> None:
    apart = np.concatenate(
        [np.linalg.norm(a.astype(np.float32) - b, axis=-1) for a, b in zip(ours, reference, strict=True)]
    )
    moving = np.concatenate([np.linalg.norm(b, axis=-1) > 0.5 for b in reference])
    print(f"{title}: {apart.mean():.4f} px, {apart[moving].mean():.4f} px where moving ({moving.mean():.1%} of pixels)")


def main() -> None:
    print(machine(), f"OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads", sep=", ")
    arrays = excerpts(sys.argv[1] if len(sys.argv) > 1 else None)
    pairs = CLIPS * (FRAMES - 1)
    with tempfile.TemporaryDirectory() as name:
        jobs = tvl1_jobs(stored(arrays, ClipPool(f"{name}/frames")), TVL1(preset="fast"))
        runs: list[ClipPool] = []

        def ours() -> None:
            runs.append(ClipPool(f"{name}/flow{len(runs)}"))
            runs[-1].fill(jobs, Parallel(n_jobs=2, chunk=2), "fast")

        reference: list[np.ndarray] = []

        def plain() -> None:
            reference[:] = [opencv_flow(frames) for frames in arrays.values()]

        ours()  # starts the workers
        compare(f"{pairs} pairs, OpenCV's defaults on all threads against `fast` on 2", plain, ours, repeats=3)
        fast = [runs[0].array(job.fingerprint) for job in jobs.values()]
        difference("`fast`, stored as float16, differs by", fast, reference)
        rounded = [opencv_flow(frames, brighter=1e-6) for frames in arrays.values()]
        difference("OpenCV's differs from its own, a frame brighter by a millionth, by", rounded, reference)


if __name__ == "__main__":
    main()

"""Shuffled 5-frame training windows: the clip store against decoding JPEGs for every window, one worker each.

The JPEG loader's worker is a process, ours a thread that reads ahead.

    python benchmarks/bench_windows.py [FOLDER]

FOLDER holds clips as folders of JPEGs (by default the built-in scenes are rendered and written as such). Both ways end
with float32 batches (8, 5, C, 256, 256) in [-1, 1]. Bar: at least 10 times the windows per second.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from measure import compare, machine
from torch.utils.data import DataLoader, Dataset

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize, resize_jobs
from vad_pipeline.clips.window import Stream
from vad_pipeline.fitting.loaders import training_loader
from vad_pipeline.fitting.windows import Windows
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs
from vad_pipeline.sources.images import list_images, read_frames

LENGTH, BATCH, WINDOWS = 5, 8, 480


class JpegWindows(Dataset):
    """The way of the MNAD family: each frame of each window is decoded, resized and converted anew."""

    def __init__(self, clips: list[list[Path]], colour: str):
        self.windows = [clip[s : s + LENGTH] for clip in clips for s in range(len(clip) - LENGTH + 1)]
        self.flag = cv2.IMREAD_COLOR if colour == "rgb" else cv2.IMREAD_GRAYSCALE

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> torch.Tensor:
        frames = []
        for path in self.windows[index]:
            image = cv2.imread(str(path), self.flag)
            assert image is not None
            frame = cv2.resize(image, (256, 256)).astype(np.float32)
            frames.append((frame / 127.5 - 1).reshape(256, 256, -1).transpose(2, 0, 1))
        return torch.from_numpy(np.stack(frames))


SEEN = {"frames": Stream(range(LENGTH))}


def written_scenes(folder: Path) -> list[list[Path]]:
    config = FrameExtraction("scenes", scenes={"train_clips": 6, "test_clips": 1, "height": 240, "width": 360})
    clips = []
    for clip, job in frame_jobs(config).items():
        target = folder / clip.replace("/", "_")
        target.mkdir()
        assert job.rows is not None
        for t, frame in enumerate(job.rows(0, None)):
            cv2.imwrite(str(target / f"{t:03d}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        clips.append(list_images(target))
    return clips


def rows_of(paths: tuple[Path, ...], start: int, stop: int | None) -> Iterator[np.ndarray]:
    return read_frames(paths[start:stop], "")


def stored(clips: list[list[Path]], colour: str, folder: Path) -> Clips:
    pool = ClipPool(str(folder / colour))

    def fill(jobs: dict[str, ClipJob]) -> Clips:
        pool.fill(jobs, Parallel(n_jobs=1), colour)
        return Clips({c: Clip(c, j.fingerprint, *pool.header(j.fingerprint), None, "", pool) for c, j in jobs.items()})

    native = {f"train/{i:02d}": ClipJob(f"native{i}", partial(rows_of, tuple(paths))) for i, paths in enumerate(clips)}
    return fill(resize_jobs(fill(native), FrameSize(256, 256, colour)))  # type: ignore[arg-type]


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 1:
            clips = [list_images(path) for path in sorted(Path(sys.argv[1]).iterdir()) if path.is_dir()]
        else:
            clips = written_scenes(folder)
        for colour in ("gray", "rgb"):
            ours = training_loader(Windows({"frames": stored(clips, colour, folder)}, SEEN, LENGTH), BATCH, seed=0)
            jpegs = DataLoader(JpegWindows(clips, colour), BATCH, shuffle=True, num_workers=1, persistent_workers=True)

            def deliver(loader: DataLoader, scale: bool) -> None:
                for number, batch in enumerate(loader, start=1):
                    frames = scale_frames(batch["frames"]) if scale else batch
                    assert frames.dtype == torch.float32
                    assert frames.shape[:2] == (BATCH, LENGTH)
                    if number == WINDOWS // BATCH:
                        break

            deliver(jpegs, False)
            deliver(ours, True)
            compare(
                f"{WINDOWS} windows, {colour}, JPEGs against the clip store",
                partial(deliver, jpegs, False),
                partial(deliver, ours, True),
            )


if __name__ == "__main__":
    main()

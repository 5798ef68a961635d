"""Frame extraction: both cores against one process, and memory against the length of a video.

    python benchmarks/bench_extraction.py

Bars: at least 1.7 times for the built-in scenes and for avi decoding; anonymous memory of a 20,000-frame video within
10% of a 2,000-frame one's.
"""

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import av
import numpy as np
from measure import compare, machine, peak_anonymous_mib

from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs

SCENES = {"train_clips": 8, "test_clips": 8, "frames": 80, "height": 256, "width": 384}


def write_video(path: Path, frames: int, width: int = 640, height: int = 480) -> None:
    """A moving texture with a camera's noise, MPEG-4 in avi at 4 Mbit/s."""
    noise = np.random.default_rng(1).normal(0, 4, (height, width, 3)).astype(np.int16)
    texture = (
        np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 4_000_000
        for t in range(frames):
            shown = np.roll(texture, 2 * t, axis=1) + np.roll(noise, 37 * t, axis=(0, 1))
            image = av.VideoFrame.from_ndarray(shown.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def extract(config: FrameExtraction, folder: Path, n_jobs: int) -> None:
    """Into a new pool each time; old pools are deleted when nothing is timed."""
    pool = tempfile.mkdtemp(dir=folder)
    ClipPool(pool).fill(frame_jobs(config), Parallel(n_jobs=n_jobs), f"{n_jobs} at a time")


def main() -> None:
    if len(sys.argv) == 3:  # child of the memory benchmark
        extract(FrameExtraction("videos", videos={"train": sys.argv[1]}), Path(sys.argv[2]), 1)
        return
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        write_video(folder / "videos" / "01.avi", 240, 480, 360)
        for i in range(2, 9):
            shutil.copy(folder / "videos" / "01.avi", folder / "videos" / f"{i:02d}.avi")
        videos = FrameExtraction("videos", videos={"train": str(folder / "videos")})
        scenes = FrameExtraction("scenes", scenes=SCENES)
        for title, config in (("built-in scenes", scenes), ("avi decoding", videos)):
            pools = folder / "pools"
            pools.mkdir()
            extract(config, pools, 2)  # starts the workers
            compare(
                f"{title}, one process against 2",
                partial(extract, config, pools, 1),
                partial(extract, config, pools, 2),
            )
            shutil.rmtree(pools)
        peaks = {}
        for frames in (2_000, 20_000):
            video = folder / f"{frames}.avi"
            write_video(video, frames, 320, 240)
            peaks[frames] = peak_anonymous_mib([__file__, str(video), str(folder)])
        print(
            f"anonymous memory: {peaks[2_000]:.0f} MiB for 2,000 frames, {peaks[20_000]:.0f} MiB for 20,000, "
            f"ratio {peaks[20_000] / peaks[2_000]:.3f}"
        )


if __name__ == "__main__":
    main()

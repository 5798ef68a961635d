"""Scoring a video of 768x576 against the bare forward pass of the model; anonymous memory against a video's length.

    python benchmarks/bench_score_video.py [SECONDS]

Decoding, resizing, drawing and encoding run beside the model: `score_video` shall reach 0.8 of the frames a second that
the model alone reaches on frames that lie ready in memory. One thread for the model in both, as the laptop environments
have it. Scores of both are compared, too. Bars: 0.8; memory of 20 minutes within 10% of that of two.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np
from measure import machine, peak_anonymous_mib, seconds

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize, resize
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.score_video import score_video
from vad_pipeline.fitting.checkpoint import write_checkpoint
from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.models.lgn_net import Config as LGNConfig
from vad_pipeline.models.scene_exemplars import Config as ExemplarsConfig
from vad_pipeline.sources.scenes import ScenesConfig, render_frames
from vad_pipeline.training.train import Training, train

FPS, COARSE = 10.0, 3.0  # frames a second, where time is measured and where memory is
FITTED = 150  # frames of each of three clips that the models are fitted on
CASES = {
    "scene_exemplars": (ExemplarsConfig(appearance_share=1.0), FrameSize(240, 320, "rgb")),
    "lgn_net": (LGNConfig(width=0.25), FrameSize(96, 144, "gray")),
}


def scene(number: int, n: int, height: int, width: int) -> list[np.ndarray]:
    """Frames uint8 (n, height, width, 3) of one walkway with walkers, others for every number."""
    config = ScenesConfig(0, height=240, width=320, train_clips=4, test_clips=0, frames=min(n, 400), fps=FPS)
    rendered = list(render_frames(config, "train", number))
    frames = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in rendered]
    turn = [*frames, *frames[-2:0:-1]]  # to and fro, where more are asked for than were rendered
    return [turn[t % len(turn)] for t in range(n)]


def write(path: Path, frames: list[np.ndarray], times: int = 1, fps: float = FPS) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(fps))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "23", "preset": "veryfast"}
        for _ in range(times):
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def fitted(name: str, folder: Path, fps: float = FPS, small: FrameSize | None = None) -> Detector:
    """A detector of quickly fitted weights; what they are worth does not matter here."""
    config, size = CASES[name]
    size = small or size
    pool = ClipPool(str(folder / f"pool_{name}"))
    clips = {}
    for n in range(3):
        array = np.stack([resize(frame, size) for frame in scene(n, FITTED, 576, 768)])
        job = ClipJob(f"{name}{n}", partial(rows, array), fps=fps)
        pool.fill({f"train/{n}": job}, Parallel(backend="sequential"), "")
        clips[f"train/{n}"] = Clip(f"train/{n}", job.fingerprint, array.shape, "uint8", fps, "", pool)
    training = Training(epochs=1, batch_size=4, window_stride=8, held_out=0.34, accelerator="cpu", threads=1)
    result = train(name, config, size, training, 0, {"frames": Clips(clips)}, folder / "work")
    (folder / name).mkdir(exist_ok=True)
    write_checkpoint(result.checkpoint, folder / name / "checkpoint.safetensors")
    return Detector.load(folder / name)


def rows(array: np.ndarray, start: int, stop: int | None) -> Iterator[np.ndarray]:
    yield from array[start:stop]


def compare(name: str, detector: Detector, video: Path, folder: Path, repeats: int = 3) -> None:
    """Frames a second of the bare model and of ``score_video``, in turns."""
    (part,) = detector.parts.values()
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames = np.stack([resize(picture, part.size) for picture in pictures])
    terms: list[np.ndarray] = []

    def bare() -> None:
        batches = list(part.scorer.clip({"frames": frames}))
        terms[:] = [np.concatenate([batch.terms[term] for batch in batches]) for term in sorted(batches[0].terms)]

    times, work, found = [], [], None
    with torch_threads(1):
        for _ in range(repeats):
            start = time.process_time()
            alone = seconds(bare)
            middle = time.process_time()

            def whole() -> None:
                nonlocal found
                found = score_video(detector, video, folder / "found")

            own = time.process_time()
            times.append((alone, seconds(whole)))
            work.append((middle - start, time.process_time() - own))
    assert found is not None
    table = np.stack([found.scores[term].to_numpy() for term in sorted(detector.terms)])
    difference = np.abs(table - np.stack(terms)).max()
    share = median(alone / whole for alone, whole in times)
    alone, whole = (len(frames) / median(column) for column in zip(*times, strict=True))
    busy = [1000 * median(column) / len(frames) for column in zip(*work, strict=True)]
    print(
        f"{name}, {len(frames)} frames of 768x576: {alone:.1f} frames a second bare, {whole:.1f} of score_video, "
        f"{share:.2f} of it (median of {repeats} ratios); processor time {busy[0]:.0f} and {busy[1]:.0f} ms a "
        f"frame; raw terms differ by at most {difference:.2g}",
        flush=True,
    )


def main() -> None:
    if len(sys.argv) == 3:  # a child, whose memory is measured
        with torch_threads(1):
            video, folder = map(Path, sys.argv[1:])
            score_video(Detector.load(folder / "scene_exemplars"), video, folder / "found")
        return
    length = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = write(folder / "new.mp4", scene(3, round(length * FPS), 576, 768))
        for system in CASES:
            compare(system, fitted(system, folder), video, folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fitted("scene_exemplars", folder, COARSE, FrameSize(72, 96, "rgb"))
        frames = scene(3, 60 * round(COARSE), 120, 160)  # a minute
        peaks = {}
        for minutes in (2, 20):
            video = write(folder / f"{minutes}.mp4", frames, minutes, COARSE)
            peaks[minutes] = peak_anonymous_mib([__file__, str(video), str(folder)])
        print(
            f"scene_exemplars, 160x120 at {COARSE:g} frames a second: {peaks[2]:.0f} MiB for 2 minutes, "
            f"{peaks[20]:.0f} MiB for 20, ratio {peaks[20] / peaks[2]:.3f}"
        )


if __name__ == "__main__":
    main()

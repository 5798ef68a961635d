"""False alarms on normal footage of the built-in scenes against the rate that the threshold promises.

    python benchmarks/bench_false_alarms.py [SEEDS] [SEEDS OF SCENE EXEMPLARS]

Every seed is another place. Of each, some normal clips choose the threshold and others, which nothing has seen, count
the events: by the frame difference at 10 frames a second in blocks of five seconds, on small frames; and by scene
exemplars that are fitted to each place, whose held-out clips choose the threshold as in use. Bar: over all seeds, no
more false alarms than promised.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from measure import machine

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.events import Score, find_events
from vad_pipeline.detection.thresholds import BLOCK, choose_threshold
from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.models.scene_exemplars import Config
from vad_pipeline.sources.scenes import ScenesConfig, render_frames
from vad_pipeline.training.train import Training, train

FPS = 10.0
SIZE = FrameSize(96, 144, "rgb")


def frame_differences(scenes: ScenesConfig, number: int) -> np.ndarray:
    """Mean difference to the frame before, (frames - 1,)."""
    frames = np.stack(list(render_frames(scenes, "train", number))).astype(np.float32)
    return np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))


def of_frame_differences(seed: int) -> tuple[int, float, float]:
    """Events, seconds and the promised alarms an hour of a place."""
    scenes = ScenesConfig(seed, height=32, width=48, frames=601, fps=FPS, colour="gray", train_clips=2, test_clips=0)
    threshold = choose_threshold([frame_differences(scenes, 1)], FPS)
    fresh = frame_differences(scenes, 2)
    scores = [Score(t, t / FPS, float(value), 0.5, {}) for t, value in enumerate(fresh)]
    return len(find_events(scores, threshold)), len(fresh) / FPS, threshold.per_hour


def of_scene_exemplars(seed: int) -> tuple[int, float, float]:
    """The same of scene exemplars: six clips of 30 seconds to learn, of which two are held out, and two new ones."""
    scenes = ScenesConfig(seed, height=96, width=144, frames=300, fps=FPS, train_clips=8, test_clips=0)
    rendered = {n: np.stack(list(render_frames(scenes, "train", n))) for n in range(1, 9)}
    with tempfile.TemporaryDirectory() as name:
        pool, clips = ClipPool(str(Path(name) / "pool")), {}
        for n in range(1, 7):
            job = ClipJob(f"seed{seed}_{n}", partial(rows, rendered[n]), fps=FPS)
            pool.fill({f"train/{n}": job}, Parallel(backend="sequential"), "")
            clips[f"train/{n}"] = Clip(f"train/{n}", job.fingerprint, rendered[n].shape, "uint8", FPS, "", pool)
        training = Training(epochs=1, held_out=0.34, accelerator="cpu", threads=1)
        result = train("scene_exemplars", Config(), SIZE, training, 0, {"frames": Clips(clips)}, Path(name) / "work")
    detector = Detector("scene_exemplars", {"": result.checkpoint})
    found = [len(detector.events(detector.score(rendered[n]))) for n in (7, 8)]
    return sum(found), 2 * scenes.frames / FPS, detector.threshold.per_hour


def rows(array: np.ndarray, start: int, stop: int | None) -> Iterator[np.ndarray]:
    yield from array[start:stop]


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    counts = dict(zip((of_frame_differences, of_scene_exemplars), [*given, *(100, 10)[len(given) :]], strict=True))
    print(machine())
    for measured, seeds in counts.items():
        if not seeds:
            continue
        with torch_threads(1):
            events, seconds, promised = map(np.array, zip(*(measured(seed) for seed in range(seeds)), strict=True))
        # a seed's own count varies: the error of the sum is taken from the spread over seeds
        spread = float(np.std(events, ddof=1) * np.sqrt(seeds)) if seeds > 1 else 0.0
        allowed = float((promised * seconds / 3600).sum())
        hours = float(seconds.sum()) / 3600
        print(
            f"{measured.__name__.removeprefix('of_')}, {seeds} seeds, {60 * hours:.0f} minutes of fresh normal "
            f"footage, blocks of {BLOCK:g} s: promised {allowed / hours:.0f} an hour, which allows {allowed:.1f}; "
            f"{events.sum()} events (standard error {spread:.1f}), {events.sum() / hours:.0f} an hour",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""A live source of 768x576 at ten frames a second, watched by the default detector on one core.

    python benchmarks/bench_watch.py [MINUTES]

The source is a file that is played as if live, written to a folder with clips and pictures as `kedro watch` does. Bars:
0 frames dropped on a quiet machine; anonymous memory that stays flat over ten minutes (second half of the time against
the first, the first minute left out).
"""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import cv2
import psutil
from bench_score_video import FPS, fitted, scene, write
from measure import anonymous, machine

from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.live.address import address_of
from vad_pipeline.detection.live.folder import Folder
from vad_pipeline.detection.live.sink import Health, Sink
from vad_pipeline.detection.live.source import LiveSource
from vad_pipeline.detection.live.watch import waiting, watch
from vad_pipeline.fitting.devices import torch_threads

LOOP = 30  # seconds of the source, which is shown again and again
WARM = 60.0  # seconds that are left out of the memory
EVERY = 5.0


class Measured(Sink):
    """Keeps what the health says, and the memory at each report of it."""

    name = "the benchmark"

    def __init__(self) -> None:
        self.healths: list[Health] = []
        self.memory: list[float] = []

    def health(self, health: Health) -> None:
        self.healths.append(health)
        self.memory.append(anonymous(os.getpid()) / 1024)


def main() -> None:
    if len(sys.argv) == 3:  # a child, so that what it takes is not counted
        folder, minutes = Path(sys.argv[1]), float(sys.argv[2])
        fitted("scene_exemplars", folder)
        write(folder / "live.mp4", scene(3, round(LOOP * FPS), 576, 768), round(60 * minutes / LOOP))
        return
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    core = min(os.sched_getaffinity(0))
    print(f"{machine()}, pinned to core {core}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, __file__, name, str(minutes)], check=True)
        video = folder / "live.mp4"
        os.sched_setaffinity(0, {core})
        cv2.setNumThreads(1)
        detector, measured = Detector.load(folder / "scene_exemplars"), Measured()
        source = LiveSource(address_of(str(video)), detector.fps, waiting(detector))
        sinks = [measured, Folder(folder / "found", detector.threshold)]
        before = psutil.Process().cpu_times()
        with torch_threads(1):
            last = watch(detector, source, sinks, "a benchmark", threading.Event(), EVERY)
        after = psutil.Process().cpu_times()
        own = after.user + after.system - before.user - before.system
        print(
            f"{last.received} frames in {minutes:g} minutes: {last.dropped} dropped, {last.scored} scored, at most "
            f"{max(health.lag for health in measured.healths):.2f} s behind, {last.events} events, "
            f"{own / (60 * minutes):.0%} of the core"
        )
        print("MiB every minute:", *(f"{each:.0f}" for each in measured.memory[:: round(60 / EVERY)]))
        memory = measured.memory[int(WARM / EVERY) :] or measured.memory
        half = len(memory) // 2
        first, second = max(memory[: half or 1]), max(memory[half:])
        print(f"anonymous memory: at most {first:.0f} MiB in the first half, {second:.0f} in the second")


if __name__ == "__main__":
    main()

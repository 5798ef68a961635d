"""Rows of a table side by side, and a training beside a busy process, with one thread each.

    python benchmarks/bench_threads.py [EPOCHS] [REPEATS]

Two rows of LGN-Net's ablation on the built-in scenes at their laptop size, in one process after the other and in two
side by side, the start of the processes included: bar 1.7 times on two cores. And a training with one thread, alone and
beside a process that keeps one of two cores busy: bar 0.8 of its speed alone.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from bench_detector_memory import SIZE, clips
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner
from measure import compare, machine

from vad_pipeline.models.lgn_net import Config
from vad_pipeline.pipelines.side_by_side import SideBySide
from vad_pipeline.training.train import Training, train

PROJECT = Path(__file__).resolve().parents[1]
ROWS = [f"lgn_net_ablation__{row}" for row in ("full", "attached_read")]
STEPS = 100


def rows_by(runner: Callable[[], SequentialRunner | SideBySide], epochs: int, seed: int) -> None:
    """Train, score and evaluate both rows; a seed that was there before would cost nothing."""
    params = {"jobs": 2, "lgn_net_ablation": {"seeds": [seed], "training": {"epochs": epochs}}}
    with KedroSession.create(project_path=PROJECT, env="scenes", runtime_params=params) as session:
        metrics = [f"{row}.metrics" for row in ROWS]
        session.run(pipeline_names=["lgn_net_ablation"], runner=runner(), to_outputs=metrics)  # type: ignore[call-arg]


def one_training(folder: Path, seed: int) -> None:
    """So many steps of LGN-Net's small preset, 64x96, batches of 4."""
    training = Training(
        epochs=1, batch_size=4, window_stride=1, held_out=0, accelerator="cpu", precision="bf16-mixed", threads=1
    )
    streams = {"frames": clips(folder, STEPS * 4 + 4)}
    train("lgn_net", Config(width=0.25, gamma=0.0), SIZE, training, seed, streams, folder / "training")


def beside_a_busy_process(work: Callable[[], object]) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        work()
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print(machine(), f"; {os.getloadavg()[0]:.1f} processes were busy before")
    seeds = count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"VAD_DATA_ROOT": str(folder / "data"), "VAD_TRACKING": "off"}
        bootstrap_project(PROJECT)
        rows_by(SequentialRunner, 1, next(seeds))  # frames are made here
        compare(
            f"two rows of {epochs} epochs, one after the other against side by side",
            lambda: rows_by(SequentialRunner, epochs, next(seeds)),
            lambda: rows_by(SideBySide, epochs, next(seeds)),
            repeats,
        )
        one_training(folder, next(seeds))
        compare(
            f"{STEPS} steps with one thread, alone against beside a busy process",
            lambda: one_training(folder, next(seeds)),
            lambda: beside_a_busy_process(lambda: one_training(folder, next(seeds))),
            repeats,
        )


if __name__ == "__main__":
    main()

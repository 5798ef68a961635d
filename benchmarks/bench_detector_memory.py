"""Anonymous memory of training and of scoring detectors against the length of the clips.

    python benchmarks/bench_detector_memory.py

Bar: 20,000 frames within 10% of 2,000 frames.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from measure import machine, peak_anonymous_mib

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.models.conv3d_ae import Config as AEConfig
from vad_pipeline.models.lgn_net import Config as LGNConfig
from vad_pipeline.models.systems import model_class
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.train import Training, train

SIZE = FrameSize(64, 96, "gray")
CONFIGS = {"lgn_net": LGNConfig(width=0.0625, gamma=0.0), "conv3d_ae": AEConfig(width=0.0625)}
STEPS = 240


def rows(n: int, start: int, stop: int | None) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield rng.integers(0, 256, (SIZE.height, SIZE.width, 1), np.uint8)


def clips(folder: Path, n: int) -> Clips:
    pool = ClipPool(str(folder / f"pool{n}"))
    jobs = {f"{split}/{n}": ClipJob(f"{split}{n}", partial(rows, n)) for split in ("train", "test")}
    pool.fill(jobs, Parallel(backend="sequential"), "")
    return Clips({c: Clip(c, j.fingerprint, *pool.header(j.fingerprint), None, "", pool) for c, j in jobs.items()})


def main() -> None:
    if len(sys.argv) == 5:
        model, what, n, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
        streams = {"frames": clips(folder, n)}
        if what == "training":  # the same number of steps, spread over the whole clip
            training = Training(epochs=1, batch_size=8, window_stride=n // (8 * STEPS), held_out=0, accelerator="cpu")
            train(model, CONFIGS[model], SIZE, training, 0, streams, folder / what)
        else:
            score_clips(
                model_class(model)(CONFIGS[model], colours=1).eval(), streams, Scoring(), [[f"test/{n}"]], folder
            )
        return
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        for model, what in product(CONFIGS, ("training", "scoring")):
            peaks = {}
            for n in (2_000, 20_000):
                clips(Path(name), n)
                peaks[n] = peak_anonymous_mib([__file__, model, what, str(n), name])
            print(
                f"{model}, {what}: {peaks[2_000]:.0f} MiB for 2,000 frames, {peaks[20_000]:.0f} MiB for 20,000, "
                f"ratio {peaks[20_000] / peaks[2_000]:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

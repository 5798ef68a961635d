"""The training that is killed, as several processes run it on clips in a folder that they share."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lightning.pytorch.callbacks import Callback

from tests.conftest import rows_of
from tests.training.conftest import SIZE, moving_square
from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.fitting.fit import Trained
from vad_pipeline.models.lgn_net import Config
from vad_pipeline.training.train import Training, train


def train_long(pool: Path, folder: Path, callbacks: Sequence[Callback] = ()) -> Trained:
    training = Training(epochs=18, batch_size=4, learning_rate=1e-3, window_stride=2, accelerator="cpu")
    config, streams = Config(width=0.0625, gamma=None), {"frames": clips_of(pool)}
    return train("lgn_net", config, SIZE, training, 0, streams, folder, callbacks)


def clips_of(folder: Path) -> Clips:
    pool = ClipPool(str(folder))
    arrays = {f"train/{i:02d}": moving_square(14, 3 * i) for i in range(4)}
    jobs = {clip: ClipJob(clip.replace("/", "_"), partial(rows_of, array)) for clip, array in arrays.items()}
    pool.fill(jobs, Parallel(backend="sequential"), "")
    return Clips({c: Clip(c, j.fingerprint, arrays[c].shape, "uint8", None, "", pool) for c, j in jobs.items()})

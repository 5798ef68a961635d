"""Features of whole clips in the clip store: each frame is described once, whoever reads it."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import files_fingerprint, step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.features.providers import FrameFeatures, describe, load

AT_ONCE = 16  # frames


def feature_jobs(frames: Clips, config: FrameFeatures, device: torch.device) -> dict[str, ClipJob]:
    """Jobs that describe every frame of every clip, float16 (T, dimension).

    Raises:
        FeatureError: the network's weights or package are missing.
    """
    load(config, device)  # says what is missing before anything is computed
    settings = asdict(config)
    if config.checkpoint and (found := Path(config.checkpoint)).exists():
        files = [found] if found.is_file() else sorted(path for path in found.rglob("*") if path.is_file())
        settings["checkpoint"] = files_fingerprint(files, content=True)
    return {
        clip: ClipJob(
            fingerprint=step_fingerprint(stored.fingerprint, settings, (feature_rows,), ("torch", "cv2")),
            rows=partial(feature_rows, stored, config, device),
            length=len(stored),
            fps=stored.fps,
            source=stored.source,
            parameters=asdict(config),
        )
        for clip, stored in frames.items()
    }


def feature_rows(
    clip: Clip, config: FrameFeatures, device: torch.device, start: int, stop: int | None
) -> Iterator[np.ndarray]:
    """Vectors of the frames ``start`` to ``stop``, each float16 (dimension,)."""
    array, loaded = clip.array(), load(config, device)
    stop = len(array) if stop is None else stop
    for first in range(start, stop, AT_ONCE):
        yield from describe(array[first : min(first + AT_ONCE, stop)], loaded, device)

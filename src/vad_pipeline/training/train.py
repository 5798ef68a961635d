"""Training of any detector on normal clips: held-out clips, calibration, finished work reused."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import Callback
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.anomalies.patch import read_intruders
from vad_pipeline.anomalies.pseudo_windows import NumberedSampler, PseudoWindows
from vad_pipeline.clips.clip import Clips, split_held_out
from vad_pipeline.clips.code import code_of
from vad_pipeline.clips.fingerprint import files_fingerprint, fingerprint
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.fitting.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from vad_pipeline.fitting.devices import TrainingError, device_check, device_of
from vad_pipeline.fitting.fit import PLACE, RESUME, FitSettings, Trained, fit
from vad_pipeline.fitting.windows import Windows, leading, ordered_loader, training_loader
from vad_pipeline.models import MODELS
from vad_pipeline.models.build import build
from vad_pipeline.models.contract import ScoringOptions


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Training(FitSettings):
    """How a detector is trained; defaults are the MNAD family's (spec 1.5). See ``FitSettings`` for the rest.

    Attributes:
        batch_size: windows per step.
        window_stride: frames between the starts of two windows.
        held_out: share of the training clips kept for validation curves and calibration.
    """

    batch_size: int = Field(default=8, ge=1)
    window_stride: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)


def train(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    streams: Mapping[str, Clips],
    folder: Path,
    callbacks: Sequence[Callback] = (),
    pseudo: Clips | None = None,
) -> Trained:
    """Train a model on normal clips, or return it where that was done before.

    Args:
        name: of the model in the registry.
        config: its configuration.
        size: of the frames.
        training: how.
        seed: of weights, sampling and augmentation.
        streams: stream -> clips; those of the ``train`` split are used.
        folder: working directory; one folder in it belongs to one combination of all of the above, code included.
        callbacks: further Lightning callbacks.
        pseudo: runs of pseudo-anomalous frames, for models that train on stored ones; those of held-out clips are not
            used.

    Raises:
        TrainingError: no training clips, no such device, no pseudo-anomalies where they are needed, or the loss became
            NaN.
        CheckpointError: what an interrupted training left is damaged.
        WindowError: a clip is shorter than the window.
    """
    device_check(training.accelerator)
    streams = {stream: streams[stream].split("train") for stream in MODELS[name].streams}
    if not streams[leading(streams)]:
        raise TrainingError(f"{name}: no training clips; the raw data need clips of normal footage in the train split")
    multiple = MODELS[name].size_multiple
    if size.height % multiple or size.width % multiple:
        raise TrainingError(
            f"{name}: frames of {size.width}x{size.height}; it halves them several times, so set `frames` in its "
            f"parameters to a height and a width that are multiples of {multiple}"
        )
    kind = MODELS[name].pseudo_anomalies(config)
    if kind is None or kind.source != "stored":
        pseudo = None
    elif not pseudo:
        raise TrainingError(
            f"{name}: it is to train on stored pseudo-anomalies, and this pipeline has none; "
            "`kedro run --pipelines=pseudo_anomalies_ablation` trains on them, or choose another kind"
        )
    fitted, held_out = _split_streams(streams, training.held_out)
    folder = folder / training_fingerprint(name, config, size, training, seed, streams, pseudo)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # of two runs that want the same training, the second waits and takes the result
        finished = folder / "finished.safetensors"
        reused = finished.exists()
        if not reused:
            _train(name, config, size, training, seed, fitted, held_out, pseudo, folder, callbacks)
            (folder / RESUME).unlink(missing_ok=True)
    checkpoint = _calibrated(read_checkpoint(finished), config, held_out, training)
    return Trained(checkpoint, pd.read_parquet(folder / "history.parquet"), reused)


def _train(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    fitted: Mapping[str, Clips],
    held_out: Mapping[str, Clips],
    pseudo: Clips | None,
    folder: Path,
    callbacks: Sequence[Callback],
) -> None:
    """Fit the model and leave ``history.parquet`` and ``finished.safetensors`` in the folder."""
    lightning.seed_everything(seed, verbose=False)
    model = MODELS[name](config, colours=size.channels, learning_rate=training.learning_rate, epochs=training.epochs)  # type: ignore[call-arg]
    window, kind = model.window(config), model.pseudo_anomalies(config)
    loaders: dict[str, Any] = {}
    if kind is None:
        normal = Windows(fitted, window.length, training.window_stride)
        loaders["train_dataloaders"] = training_loader(normal, training.batch_size, seed)
    else:
        mixed = PseudoWindows(fitted, window.length, training.window_stride, kind, pseudo, seed)
        loaders["train_dataloaders"] = training_loader(mixed, training.batch_size, seed, NumberedSampler)
    if held_out[leading(held_out)]:
        windows = Windows(held_out, window.length, training.window_stride)
        loaders["val_dataloaders"] = ordered_loader(windows, training.batch_size)
    result = fit(name, model, loaders, training, seed, folder, callbacks)
    clips = [clip for split in (fitted, held_out) for stream in split.values() for clip in stream.values()]
    checkpoint = Checkpoint(
        model=name,
        config=asdict(config),
        frames=asdict(size),
        about={
            "seed": seed,
            "training": asdict(training),
            "data": fingerprint(*sorted(clip.fingerprint for clip in clips)),
            "held_out": list(held_out[leading(held_out)]),
            "seconds": round(result.seconds, 1),
            "torch": torch.__version__,
        },
        state=result.state,
    )
    result.history.to_parquet(folder / "history.parquet", index=False)
    write_checkpoint(checkpoint, folder / "finished.safetensors")


def training_fingerprint(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    streams: Mapping[str, Clips],
    pseudo: Clips | None = None,
) -> str:
    """What a training depends on: parameters, data, the code of the model and of its windows, torch."""
    settings = {k: v for k, v in asdict(training).items() if k not in PLACE}
    model = {k: v for k, v in asdict(config).items() if k not in MODELS[name].scoring_only}
    parts = [name, json.dumps([model, asdict(size), settings, seed], sort_keys=True)]
    parts += [f"{stream}:{clip}:{c.fingerprint}" for stream in streams for clip, c in streams[stream].items()]
    parts += [f"pseudo:{run}:{c.fingerprint}" for run, c in (pseudo or {}).items()]
    code: tuple[object, ...] = (MODELS[name], Windows, training_loader)
    if kind := MODELS[name].pseudo_anomalies(config):
        code += (PseudoWindows, NumberedSampler)
        if kind.source == "patch" and kind.intruders:
            parts.append(files_fingerprint(read_intruders(Path(kind.intruders)), content=True))
    return fingerprint(*parts, code_of(*code), torch.__version__)


def _calibrated(trained: Checkpoint, config: Any, held_out: Mapping[str, Clips], training: Training) -> Checkpoint:
    """The trained weights under a configuration that may differ in what only scoring reads, and calibrated for it."""
    model = build(replace(trained, config=asdict(config)))
    model.calibrate(lambda: _arrays(held_out), ScoringOptions(device_of(training.accelerator)))
    return replace(trained, config=asdict(config), state=model.state_dict())


def _split_streams(streams: Mapping[str, Clips], share: float) -> tuple[dict[str, Clips], dict[str, Clips]]:
    _, held = split_held_out(streams[leading(streams)], share)
    return (
        {name: Clips({c: clips[c] for c in clips if c not in held}) for name, clips in streams.items()},
        {name: Clips({c: clips[c] for c in clips if c in held}) for name, clips in streams.items()},
    )


def _arrays(streams: Mapping[str, Clips]) -> Iterator[dict[str, np.ndarray]]:
    for clip in streams[leading(streams)]:
        yield {name: clips[clip].array() for name, clips in streams.items()}

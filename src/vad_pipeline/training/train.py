"""Training of any model on normal clips: held-out clips, calibration, finished work reused."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.code import code_of
from vad_pipeline.clips.fingerprint import files_fingerprint, fingerprint
from vad_pipeline.clips.held_out import split_held_out
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.normality import quantiles
from vad_pipeline.fitting.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from vad_pipeline.fitting.devices import TrainingError, device_check, device_of, torch_threads
from vad_pipeline.fitting.fit import PLACE, RESUME, FitSettings, Fitted, Trained, fit
from vad_pipeline.fitting.loaders import ordered_loader, training_loader
from vad_pipeline.fitting.one_pass import fit_in_one_pass
from vad_pipeline.models.build import build
from vad_pipeline.models.contract import Model
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.systems import model_class

Streams = Mapping[str, Clips]


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class Training(FitSettings):
    """How a model is trained; defaults are the MNAD family's (spec 1.5). See ``FitSettings`` for the rest.

    Attributes:
        batch_size: items per step.
        window_stride: frames between the starts of two windows.
        held_out: share of the training clips kept for validation curves and calibration; of a single clip its end.
    """

    batch_size: int = Field(default=8, ge=1)
    window_stride: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says of the data, so that the model can be run on other videos.

    Attributes:
        dataset: its name.
        streams: what is read beside frames of the model's size -> how it was made.
        native: rows, columns and colours of the frames before they were brought to the model's size, None where that
            is not known.
    """

    dataset: str = ""
    streams: Mapping[str, Any] = field(default_factory=dict)
    native: tuple[int, ...] | None = None


def train(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    streams: Streams,
    folder: Path,
    callbacks: Sequence[Callback] = (),
    stored: Clips | None = None,
    origin: Origin | None = None,
) -> Trained:
    """Train a model on normal clips, or return it where that was done before.

    Args:
        name: of the model.
        config: its configuration.
        size: of the frames.
        training: how.
        seed: of weights, sampling and augmentation.
        streams: stream -> clips; those of the ``train`` split are used.
        folder: working directory; one folder in it belongs to one combination of all of the above, code included.
        callbacks: further Lightning callbacks.
        stored: runs of pseudo-anomalous rows, for configurations that train on stored ones; those of held-out clips are
            not used.
        origin: for the checkpoint.

    Raises:
        TrainingError: no training clips, no such device, no pseudo-anomalies where they are needed, a stream that the
            configuration reads or a pretrained file is missing, or the loss became NaN.
        CheckpointError: what an interrupted training left is damaged.
        WindowError: a clip is shorter than the window.
    """
    device_check(training.accelerator)
    model = model_class(name)
    streams = _training_streams(model, name, config, streams)
    _check_size(model, name, size)
    stored = _stored(model, name, config, stored)
    fitted, held_out = split_held_out(streams, training.held_out, model.window(config).length)
    folder = folder / training_fingerprint(name, config, size, training, seed, streams, stored)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # of two runs that want the same training, the second waits and takes the result
        finished = folder / "finished.safetensors"
        reused = finished.exists()
        if not reused:
            _train(name, config, size, training, seed, fitted, held_out, stored, folder, callbacks)
            (folder / RESUME).unlink(missing_ok=True)
        checkpoint = _calibrated(name, config, held_out, training, folder)
    origin = origin or Origin()
    leading = next(iter(next(iter(streams.values())).values()))
    native = None if origin.native is None else list(origin.native)
    about = checkpoint.about | {"dataset": origin.dataset, "fps": leading.fps, "native": native}
    checkpoint = replace(checkpoint, about=about, streams=dict(origin.streams))
    return Trained(checkpoint, pd.read_parquet(folder / "history.parquet"), reused)


def training_fingerprint(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    streams: Streams,
    stored: Clips | None = None,
) -> str:
    """What a training depends on: parameters, data, pretrained files, the code of the model, torch.

    Raises:
        TrainingError: a pretrained file is missing.
    """
    model = model_class(name)
    settings = {k: v for k, v in asdict(training).items() if k not in PLACE}
    own = {k: v for k, v in asdict(config).items() if k not in model.scoring_only | model.fusing_only}
    parts = [name, json.dumps([own, asdict(size), settings, seed], sort_keys=True)]
    parts += [f"{stream}:{clip}:{c.fingerprint}" for stream in streams for clip, c in streams[stream].items()]
    parts += [f"pseudo:{run}:{c.fingerprint}" for run, c in (stored or {}).items()]
    pseudo, files = model.pseudo_anomalies(config), list(model.pretrained(config))
    if missing := [file for file in files if not file.is_file()]:
        raise TrainingError(
            f"{name}: {missing[0]} is not there, pretrained weights that its parameters name; fetch them"
        )
    if pseudo is not None and pseudo.source == "patch" and pseudo.intruders:
        files += read_intruders(Path(pseudo.intruders))
    if files:
        parts.append(files_fingerprint(files, content=True))
    return fingerprint(*parts, code_of(*code_roots(name)), torch.__version__)


def code_roots(name: str) -> tuple[object, ...]:
    """What decides the result of a training: the model's file, and the order of its items."""
    return sys.modules[model_class(name).__module__], training_loader


def _training_streams(model: type[Model], name: str, config: Any, streams: Streams) -> dict[str, Clips]:
    reads = model.streams(config)
    if missing := [stream for stream in reads if stream not in streams or not streams[stream]]:
        raise TrainingError(f"{name}: it reads {missing[0]}, of which there are none; run its whole pipeline")
    chosen = {stream: streams[stream].split("train") for stream in reads}
    if not all(chosen.values()):
        raise TrainingError(f"{name}: no training clips; the raw data need clips of normal footage in the train split")
    return chosen


def _check_size(model: type[Model], name: str, size: FrameSize) -> None:
    multiple = model.size_multiple
    if size.height % multiple or size.width % multiple:
        raise TrainingError(
            f"{name}: frames of {size.width}x{size.height}; it halves them several times, so set `frames` in its "
            f"parameters to a height and a width that are multiples of {multiple}"
        )


def _stored(model: type[Model], name: str, config: Any, stored: Clips | None) -> Clips | None:
    pseudo = model.pseudo_anomalies(config)
    if pseudo is None or pseudo.source != "stored":
        return None
    if not stored:
        raise TrainingError(
            f"{name}: it is to train on stored pseudo-anomalies, and this pipeline has none; "
            "`kedro run --pipelines=pseudo_anomalies_ablation` trains on them, or choose another kind"
        )
    return stored


def _train(
    name: str,
    config: Any,
    size: FrameSize,
    training: Training,
    seed: int,
    fitted: Streams,
    held_out: Streams,
    stored: Clips | None,
    folder: Path,
    callbacks: Sequence[Callback],
) -> None:
    """Fit the model and leave ``history.parquet`` and ``finished.safetensors`` in the folder."""
    lightning.seed_everything(seed, verbose=False)
    model = model_class(name)(
        config, colours=size.channels, learning_rate=training.learning_rate, epochs=training.epochs
    )
    model.initialise()
    if model.learns_in_one_pass:
        result = _learn(name, model, training, seed, fitted, folder)
    else:
        items = model.dataset(fitted, training.window_stride, seed, stored)
        loaders: dict[str, Any] = {"train_dataloaders": training_loader(items, training.batch_size, seed)}
        if any(held_out.values()):
            measured = model.held_out_dataset(held_out, training.window_stride)
            loaders["val_dataloaders"] = ordered_loader(measured, training.batch_size)
        result = fit(name, model, loaders, training, seed, folder, callbacks)
    clips = [clip for split in (fitted, held_out) for stream in split.values() for clip in stream.values()]
    checkpoint = Checkpoint(
        model=name,
        config=asdict(config),
        frames=asdict(size),
        about={
            "seed": seed,
            "training": training.stated(),
            "data": fingerprint(*sorted(clip.fingerprint for clip in clips)),
            "held_out": list(next(iter(held_out.values()))),
            "seconds": round(result.seconds, 1),
            "torch": torch.__version__,
        },
        state=result.state,
    )
    result.history.to_parquet(folder / "history.parquet", index=False)
    write_checkpoint(checkpoint, folder / "finished.safetensors")


def _learn(name: str, model: Model, training: Training, seed: int, fitted: Streams, folder: Path) -> Fitted:
    """One pass over the clips."""
    model.to(device_of(training.accelerator))

    def opened(clip: str) -> dict[str, np.ndarray]:
        return {stream: clips[clip].array() for stream, clips in fitted.items()}

    clips = {clip: lambda clip=clip: opened(clip) for clip in next(iter(fitted.values()))}  # type: ignore[misc]
    with torch_threads(training.threads), torch.no_grad():
        return fit_in_one_pass(name, model, model.learn, clips, seed, folder)


def _calibrated(name: str, config: Any, held_out: Streams, training: Training, folder: Path) -> Checkpoint:
    """The trained weights under a configuration that may differ in what training does not read, calibrated for it.

    What calibration changed, the normaliser and the scores it is of are kept: a configuration is calibrated once.
    """
    trained = read_checkpoint(folder / "finished.safetensors")
    chosen = {field: getattr(config, field) for field in sorted(model_class(name).scoring_only)}
    path = folder / f"calibrated_{fingerprint(json.dumps([chosen, 'held-out scores'], default=str))}.safetensors"
    if not path.exists():
        model = build(replace(trained, config=asdict(config)))
        options = ScoringOptions(device_of(training.accelerator))
        with torch_threads(training.threads):
            model.calibrate(lambda: _arrays(held_out), options)
            scores = _held_out_scores(model, held_out, options)
        changed = {k: v for k, v in model.state_dict().items() if not torch.equal(v.cpu(), trained.state[k])}
        found = quantiles({term: scores[term] for term in model.terms if term in scores})
        kept = {name: torch.from_numpy(values) for name, values in scores.items()}
        own = replace(trained, config=asdict(config), state=changed, normaliser=found, held_out_scores=kept)
        write_checkpoint(own, path)
    calibrated = read_checkpoint(path)
    return replace(calibrated, config=asdict(config), state=trained.state | calibrated.state)


def _held_out_scores(model: Model, held_out: Streams, options: ScoringOptions) -> dict[str, np.ndarray]:
    """Raw terms of all held-out frames, and where each is: ``Checkpoint.held_out_scores``; nothing of no clips."""
    scorer = model.scorer(options)
    found: list[dict[str, np.ndarray]] = []
    for number, arrays in enumerate(_arrays(held_out)):
        for batch in scorer.clip(arrays):
            clip = np.full(len(batch.frames), number)
            found.append({"clip": clip, "frame": batch.frames.astype(np.int64), **batch.terms})
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]} if found else {}


def _arrays(streams: Streams) -> Iterator[dict[str, np.ndarray]]:
    for clip in next(iter(streams.values())):
        yield {name: clips[clip].array() for name, clips in streams.items()}

"""Training of FlowNet on rendered pairs, resumable, finished work reused."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import Callback
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.clips.fingerprint import fingerprint, step_fingerprint
from vad_pipeline.fitting.checkpoint import read_checkpoint, state_hash, write_checkpoint
from vad_pipeline.fitting.devices import device_check
from vad_pipeline.fitting.fit import PLACE, RESUME, FitSettings, Trained, fit
from vad_pipeline.flow.flow_pairs import flow_pair_loader, held_out_loader
from vad_pipeline.flow.flownet import Config, FlowNet, FlowNetError, FlowNetTraining
from vad_pipeline.flow.flownet_checkpoint import EMBEDDED, flownet_checkpoint, load_flownet
from vad_pipeline.flow.rendered_pairs import RenderedPairs


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class FlowNetFit(FitSettings):
    """How FlowNet is trained; see ``FitSettings`` for the rest.

    Attributes:
        batch_size: pairs per step.
        pairs: rendered per epoch; every epoch has new ones.
        held_out: rendered pairs, of textures that training never sees, on which errors are measured.
        workers: processes that render; 0 renders between steps.
        start_from: file of weights to go on from; null starts from random ones, ``embedded`` from those of the package.
    """

    batch_size: int = Field(default=8, ge=1)
    pairs: int = Field(default=22232, ge=1)
    held_out: int = Field(default=640, ge=1)
    workers: int = Field(default=1, ge=0)
    start_from: str | None = None


def train_flownet(
    config: Config,
    rendered: RenderedPairs,
    training: FlowNetFit,
    seed: int,
    folder: Path,
    frames: Sequence[np.ndarray] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a network on rendered pairs, or return it where that was done before.

    Args:
        config: of the network.
        rendered: what pairs look like.
        training: how.
        seed: of weights, textures and pairs.
        folder: working directory; one folder in it belongs to one combination of all of the above, code included.
        frames: those that surfaces are cut from, uint8 (H, W, C); None for procedural ones.
        callbacks: further Lightning callbacks.

    Raises:
        TrainingError: no such device, or the loss became NaN.
        CheckpointError: what an interrupted training left is damaged.
    """
    device_check(training.accelerator)
    start = None if training.start_from is None else _start(training.start_from, config)
    folder = folder / _fingerprint(config, rendered, training, seed, frames, start)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        finished = folder / "finished.safetensors"
        reused = finished.exists()
        if not reused:
            lightning.seed_everything(seed, verbose=False)
            module = FlowNetTraining(config, training.learning_rate, training.epochs)
            if start is not None:
                module.network.load_state_dict(start)
            loaders = {
                "train_dataloaders": flow_pair_loader(
                    rendered, seed, training.pairs, training.batch_size, frames, training.workers
                ),
                "val_dataloaders": held_out_loader(rendered, seed, training.held_out, training.batch_size, frames),
            }
            result = fit("flownet_training", module, loaders, training, seed, folder, callbacks)
            network = FlowNet(config)
            network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in result.state.items()})
            about = {
                "seed": seed,
                "training": training.stated(),
                "rendered": asdict(rendered),
                "textures": "procedural" if frames is None else f"{len(frames)} frames",
                "errors": _last(result.history),
                "seconds": round(result.seconds, 1),
                "torch": torch.__version__,
            }
            result.history.to_parquet(folder / "history.parquet", index=False)
            write_checkpoint(flownet_checkpoint(network, about), finished)
            (folder / RESUME).unlink(missing_ok=True)
    return Trained(read_checkpoint(finished), pd.read_parquet(folder / "history.parquet"), reused)


def _start(source: str, config: Config) -> dict[str, torch.Tensor]:
    """Weights to go on from.

    Raises:
        FlowNetError: they are missing, or of another network.
    """
    network = load_flownet(EMBEDDED if source == "embedded" else Path(source))
    if asdict(network.config) != asdict(config):
        raise FlowNetError(
            f"training.start_from: {source} is {asdict(network.config)}, the network is to be {asdict(config)}; set "
            "flownet_training.network to the former"
        )
    return network.state_dict()


def _last(history: pd.DataFrame) -> dict[str, float]:
    """Errors after the last epoch, in pixels: ``val_epe`` and, of predicting no motion, ``val_zero_epe``."""
    last = history[history["epoch"] == history["epoch"].max()].set_index("name")["value"]
    return {name: float(last[name]) for name in ("val_epe", "val_zero_epe")}


def _fingerprint(
    config: Config,
    rendered: RenderedPairs,
    training: FlowNetFit,
    seed: int,
    frames: Sequence[np.ndarray] | None,
    start: dict[str, torch.Tensor] | None,
) -> str:
    settings = {k: v for k, v in asdict(training).items() if k not in {*PLACE, "workers"}}
    parameters = {"network": asdict(config), "rendered": asdict(rendered), "training": settings, "seed": seed}
    if start is not None:
        parameters["start"] = state_hash(start)
    surfaces = fingerprint(*(f"{frame.shape} {hashlib.sha256(frame.tobytes()).hexdigest()}" for frame in frames or ()))
    code = (FlowNetTraining, RenderedPairs, flow_pair_loader, held_out_loader)
    return step_fingerprint(surfaces, parameters, code, ("torch", "cv2"))

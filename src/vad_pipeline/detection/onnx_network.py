"""Trained networks as ONNX files, for machines without torch: the network alone, with a window of fixed shape.

What stands before it (sizes, scaling, flow) and behind it (terms, thresholds) is not in the file. Which network takes
what is said here and not by a method of the models: their code decides whether a finished training is found again, and
this decides no result.
"""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.models import frame_pred, msti_net, valt_gan
from vad_pipeline.models.contract import Model
from vad_pipeline.models.conv3d_ae import LENGTH, Conv3dAE
from vad_pipeline.models.flow_conv3d_ae import FlowConv3dAE
from vad_pipeline.models.memory_model import MemoryModel
from vad_pipeline.models.semantic_discriminator import SemanticDiscriminator
from vad_pipeline.models.systems import SYSTEMS, models_of

CLOSE = 1e-3  # by which what onnxruntime computes may differ from torch
FRAMES = "frames of {width}x{height} {colour} (bilinear), value / 127.5 - 1, channels before rows"
FLOW = "flow in pixels from each of these frames to the next, x first, divided by {limit:g} and clipped to -1 to 1"


class ExportError(RuntimeError):
    """A network that cannot be exported; the message says which can, or what is missing."""


@dataclass(frozen=True)
class Input:
    """What a network is given.

    Attributes:
        shape: of one window, (1, rows, ...), float32.
        prepared: how its values are made.
    """

    shape: tuple[int, ...]
    prepared: str


@dataclass(frozen=True)
class Signature:
    """What a network takes and gives, by name and in order."""

    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]


@singledispatch
def signature_of(model: Model, size: FrameSize) -> Signature | None:
    """What the model's ``forward`` takes and gives for frames of a size; None where it has no network to export."""
    return None


@signature_of.register
def _(model: MemoryModel, size: FrameSize) -> Signature:
    memory = ("queries",) if model.network.memory_channels else ()
    return Signature({"frames": _frames(model.inputs, size)}, ("expected", *memory))


@signature_of.register
def _(model: Conv3dAE, size: FrameSize) -> Signature:
    return Signature({"frames": _frames(LENGTH, size)}, ("reconstructed",))


@signature_of.register
def _(model: FlowConv3dAE, size: FrameSize) -> Signature:
    config: Any = model.config
    prepared = f"{FLOW.format(limit=config.limit)}, as {config.representation}, channels before rows"
    shape = (1, LENGTH, model.channels(config, size.channels), size.height, size.width)
    return Signature({"flow": Input(shape, prepared)}, ("reconstructed",))


@signature_of.register
def _(model: frame_pred.FramePred, size: FrameSize) -> Signature:
    return Signature({"frames": _frames(frame_pred.INPUTS, size)}, ("predicted",))


@signature_of.register
def _(model: valt_gan.VALTGAN, size: FrameSize) -> Signature:
    return Signature({"frames": _frames(valt_gan.INPUTS, size)}, ("predicted",))


@signature_of.register
def _(model: msti_net.MSTINet, size: FrameSize) -> Signature:
    inputs = {"frames": _frames(msti_net.INPUTS, size)}
    if "flow" in model.streams(model.config):
        prepared = f"{FLOW.format(limit=model.config.limit)}, channels before rows"
        inputs["flow"] = Input((1, msti_net.FLOWS, 2, size.height, size.width), prepared)
    return Signature(inputs, ("predicted", *(() if model.items is None else ("queries",))))


@signature_of.register
def _(model: SemanticDiscriminator, size: FrameSize) -> Signature:
    features = model.config.features
    shape = (1, model.window(model.config).length, features.dimension)
    return Signature({"features": Input(shape, f"vectors of {features.provider}, one a frame")}, ("logit",))


def exported_systems() -> list[str]:
    """Names of the systems all of whose networks can be exported."""
    none = signature_of.dispatch(object)
    return [
        name
        for name, system in SYSTEMS.items()
        if all(signature_of.dispatch(model) is not none for model in models_of(system).values())
    ]


def check_exportable(system: str) -> None:
    """Before anything is written.

    Raises:
        ExportError: a model of the system has no network to export, or a package is missing.
    """
    names = exported_systems()
    if system not in names:
        raise ExportError(f"{system}: it has no network that ONNX can hold; {', '.join(names)} have one")
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"an export to ONNX needs {', '.join(missing)}; install them with pip install '.[onnx]'")


def export_network(model: Model, size: FrameSize, path: Path) -> Signature:
    """Write a trained model's network, and make sure that onnxruntime computes what torch does.

    Args:
        model: in evaluation mode.
        size: of the frames that it reads.
        path: of the file.

    Returns:
        Its inputs and outputs.

    Raises:
        ExportError: it has no network to export, or onnxruntime computes something else.
    """
    signature = signature_of(model, size)
    if signature is None:
        raise ExportError(f"{type(model).__name__}: it has no network that ONNX can hold")
    network = _Forward(model).eval()
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(2 * torch.rand(given.shape, generator=generator) - 1 for given in signature.inputs.values())
    with _quiet(), torch.inference_mode():
        expected = network(*inputs)
    with _quiet():
        torch.onnx.export(
            network,
            inputs,
            path,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=list(signature.inputs),
            output_names=list(signature.outputs),
        )
    found = run_network(path, dict(zip(signature.inputs, (given.numpy() for given in inputs), strict=True)))
    for name, torchs in zip(signature.outputs, expected, strict=True):
        off = float(np.abs(found[name] - torchs.numpy()).max())
        if not off <= CLOSE:
            raise ExportError(f"{path.name}: its {name} differs from torch's by {off:.3g}; hand it over without ONNX")
    return signature


def run_network(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What onnxruntime computes on the CPU: outputs by name, of inputs float32 by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


class _Forward(nn.Module):
    """A model's ``forward`` with as many outputs as it has; streams that its configuration does not read are None."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        self.unread = (None,) * (len(model.reads) - len(model.streams(model.config)))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.model(*inputs, *self.unread)
        return tuple(each for each in found if each is not None) if isinstance(found, tuple) else (found,)


def _frames(rows: int, size: FrameSize) -> Input:
    prepared = FRAMES.format(width=size.width, height=size.height, colour=size.colour)
    return Input((1, rows, size.channels, size.height, size.width), prepared)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

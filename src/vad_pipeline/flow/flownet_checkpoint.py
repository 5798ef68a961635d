"""FlowNet weights on disk: our own files, and those of the public PyTorch version.

Our own are checkpoints like those of the detectors, in half precision. The public version
(github.com/ClementPinard/FlowNetPytorch) pickles ``{"arch", "state_dict", "div_flow", ...}``; only tensors and plain
values are read from it, nothing in it is executed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from vad_pipeline.fitting.checkpoint import Checkpoint, read_checkpoint
from vad_pipeline.flow.flownet import Config, FlowNet, FlowNetError

NAME = "flownet"

# a quarter of FlowNetS' channels, trained by flownet_training on procedural textures; its header says how
EMBEDDED = Path(__file__).with_name("flownet_s_quarter.safetensors")

PUBLIC_SUFFIXES = (".pth", ".pt", ".tar")
SHOWN = 4  # keys that an error lists of each kind

Channels = Literal["rgb", "bgr"]


def flownet_checkpoint(network: FlowNet, about: Mapping[str, Any]) -> Checkpoint:
    """A network in half precision, as one of this project's checkpoints.

    Args:
        network: of any configuration.
        about: where it comes from: command, seed, measured errors, ...

    Raises:
        FlowNetError: a weight is NaN, infinite or too large for half precision.
    """
    state = {name: _half(tensor) for name, tensor in network.state_dict().items()}
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise FlowNetError(
            f"FlowNet's {_few(broken)} is NaN, infinite or beyond half precision; train with a lower learning rate"
        )
    return Checkpoint(NAME, asdict(network.config), {}, dict(about), state)


def load_flownet(path: Path, channels: Channels = "rgb") -> FlowNet:
    """Read a network: one of ours (.safetensors) or a public checkpoint (.pth, .pt, .tar).

    Args:
        path: the file.
        channels: of public weights, see ``load_public_checkpoint``; ours read RGB.

    Returns:
        The network in float32 on the CPU, in evaluation mode.

    Raises:
        FlowNetError: the file is missing or not of FlowNet.
        CheckpointError: one of ours is missing or damaged.
    """
    if path.suffix in PUBLIC_SUFFIXES:
        return load_public_checkpoint(path, channels)
    if path.suffix != ".safetensors":
        raise FlowNetError(f"{path}: FlowNet weights end in .safetensors (ours) or in {', '.join(PUBLIC_SUFFIXES)}")
    return flownet_of(read_checkpoint(path), str(path))


def flownet_of(checkpoint: Checkpoint, name: str = "the checkpoint") -> FlowNet:
    """The network of one of our own checkpoints, in float32 on the CPU, in evaluation mode.

    Args:
        checkpoint: what ``flownet_checkpoint`` made.
        name: of the checkpoint, for messages.

    Raises:
        FlowNetError: it is not of FlowNet, or of another version of it.
    """
    if checkpoint.model != NAME:
        raise FlowNetError(f"{name} is of {checkpoint.model!r}, not of FlowNet; correct the path")
    try:
        config = TypeAdapter(Config).validate_python(checkpoint.config)
    except ValidationError as error:
        raise FlowNetError(
            f"{name}: its configuration does not fit this version ({error.errors()[0]['msg']}); train it again"
        ) from error
    return _with_weights(config, checkpoint.state, name)


def load_public_checkpoint(path: Path, channels: Channels = "rgb") -> FlowNet:
    """Read weights of the public version's flownets, flownets_bn, flownetc or flownetc_bn, of any width.

    Args:
        path: a pickled state dict, bare or under ``state_dict``; ``div_flow`` beside it is used.
        channels: order that the weights were trained with: rgb, or bgr for those converted from Caffe. The first layer
            of the latter is turned round, so that the network reads RGB like all others.

    Returns:
        The network in float32 on the CPU, in evaluation mode.

    Raises:
        FlowNetError: the file is missing, damaged, holds more than weights, or is of another architecture.
    """
    content = _unpickle(path)
    nested = isinstance(content, Mapping) and "state_dict" in content
    found = content["state_dict"] if nested else content
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise FlowNetError(
            f"{path} holds no state dict of tensors, bare or under 'state_dict'; save one with torch.save"
        )
    state = {str(name).removeprefix("module."): tensor for name, tensor in found.items()}  # DataParallel's prefix
    network = _with_weights(_config_of(state, content.get("div_flow", 20.0) if nested else 20.0, path), state, path)
    if channels == "bgr":
        first = network.get_parameter("conv1.0.weight")  # (o, 3 or 6, 7, 7)
        first.data = first.data.unflatten(1, (-1, 3)).flip(2).flatten(1, 2)
    return network


def _config_of(state: Mapping[str, Tensor], div_flow: Any, path: Path) -> Config:
    """The configuration that a public state dict shows; where it shows none, the published FlowNetS's."""
    widest = state.get("conv6.0.weight", torch.empty(1024, device="meta"))
    try:
        return Config(
            variant="c" if any(name.startswith("conv_redir.") for name in state) else "s",
            width=widest.shape[0] / 1024 if widest.ndim else 1.0,
            batch_norm="conv1.1.weight" in state,
            div_flow=div_flow,
        )
    except ValidationError as error:
        raise FlowNetError(f"{path}: {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error


def _with_weights(config: Config, state: Mapping[str, Tensor], path: Path | str) -> FlowNet:
    with torch.device("meta"):  # compared before anything is allocated
        network = FlowNet(config)
    expected = network.state_dict()
    # batch norm of before PyTorch 0.4.1 has no counters, and nothing reads them here
    counters = {name: torch.tensor(0) for name in expected if name.endswith("num_batches_tracked")}
    state = counters | dict(state)
    wrong = {
        "missing": [name for name in expected if name not in state],
        "unexpected": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    if any(wrong.values()):
        norm = " with batch norm" if config.batch_norm else ""
        kind = f"FlowNet{config.variant.upper()}{norm} of width {config.width:g}"
        lists = "; ".join(f"{what}: {_few(names)}" for what, names in wrong.items() if names)
        raise FlowNetError(
            f"{path} is not of {kind}, the nearest of ours ({lists}); give weights of FlowNetPytorch's flownets, "
            "flownets_bn, flownetc or flownetc_bn, or train with `kedro run --pipelines=flownet_training`"
        )
    # assign, because the network is still without memory
    network.load_state_dict({name: state[name].to(tensor.dtype) for name, tensor in expected.items()}, assign=True)
    return network.eval()


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FlowNetError(f"no FlowNet weights at {path}; correct the path") from None
    except Exception as error:  # of a damaged file: nearly any
        raise FlowNetError(
            f"{path} cannot be read, is damaged, or holds more than weights ({type(error).__name__}); give a state "
            "dict saved with torch.save"
        ) from error


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().half() if tensor.is_floating_point() else tensor.detach()


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

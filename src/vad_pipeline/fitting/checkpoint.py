"""A trained model as one file: safetensors, with what it takes to rebuild the model as JSON in its header."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

REQUIRED, OPTIONAL = ("model", "config", "frames", "about"), ("streams", "normaliser")  # in the file's header
HELD_OUT = "held_out_scores/"  # before the names of their tensors


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the message says which and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained model.

    Attributes:
        model: its name in the registry.
        config: its configuration.
        frames: the frames it reads: height, width, colour.
        about: where it comes from: data set and its fingerprint, seed, training parameters, seconds.
        state: its weights and buffers.
        streams: what it reads beside frames of its size -> how that was made; enough to make it of other videos.
        normaliser: term -> quantiles of the scores of held-out normal clips, at ``evaluation.normality.LEVELS``; empty
            where none was held out.
        held_out_scores: of each held-out normal frame: ``clip``, its place in ``about["held_out"]``, ``frame``, its
            number, int64 (n,) both, and the raw terms, float64 (n,); what alarm thresholds come from.
    """

    model: str
    config: dict[str, Any]
    frames: dict[str, Any]
    about: dict[str, Any]
    state: dict[str, torch.Tensor]
    streams: dict[str, Any] = field(default_factory=dict)
    normaliser: dict[str, list[float]] = field(default_factory=dict)
    held_out_scores: dict[str, torch.Tensor] = field(default_factory=dict)

    def check_against(self, config: Any, frames: Any) -> None:
        """Make sure that a checkpoint is of the configuration at hand.

        Raises:
            CheckpointError: it is not; the message lists what differs.
        """
        # as JSON, in which a tuple is a list: one of the two comes from a file
        mine, theirs = (
            json.loads(json.dumps({"model": model, "frames": size}))
            for model, size in ((self.config, self.frames), (asdict(config), asdict(frames)))
        )
        different = [
            f"{part}.{key}: {mine[part].get(key)!r} in the checkpoint, {theirs[part].get(key)!r} in the parameters"
            for part in mine
            for key in sorted(mine[part].keys() | theirs[part].keys())
            if mine[part].get(key) != theirs[part].get(key)
        ]
        if different:
            raise CheckpointError(
                f"the checkpoint of {self.model} is of another configuration ({'; '.join(different)}); run the whole "
                "pipeline, without --from-nodes, to train one, or set the parameters back"
            )


def state_hash(state: Mapping[str, torch.Tensor]) -> str:
    """Hash of weights, whatever order they are in."""
    arrays = (state[name].detach().cpu().contiguous().numpy() for name in sorted(state))
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write to a temporary name and rename."""
    header = {key: json.dumps(value, default=str) for key, value in header_of(checkpoint).items()}
    temporary = path.with_name(f".{path.name}.partial")
    # clones, because safetensors refuses tensors that share memory
    tensors = checkpoint.state | {f"{HELD_OUT}{name}": tensor for name, tensor in checkpoint.held_out_scores.items()}
    save_file(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        temporary,
        metadata=header,
    )
    temporary.replace(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in the file is executed.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            described = {key: json.loads(header[key]) for key in REQUIRED}
            described |= {key: json.loads(header[key]) for key in OPTIONAL if key in header}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            held_out = {n.removeprefix(HELD_OUT): t for n, t in tensors.items() if n.startswith(HELD_OUT)}
            state = {name: tensor for name, tensor in tensors.items() if not name.startswith(HELD_OUT)}
            return Checkpoint(**described, state=state, held_out_scores=held_out)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint at {path}; train the model first") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a checkpoint of this project ({error}); delete it and train the model again"
        ) from error


def header_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything but the tensors, ready for JSON."""
    return {key: getattr(checkpoint, key) for key in (*REQUIRED, *OPTIONAL)}

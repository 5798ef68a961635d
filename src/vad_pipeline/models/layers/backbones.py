"""Image networks that VALT-GAN's generator is built on, and their public weights (spec 2.2, 2.7).

All are dilated to an output stride of 8 and are random unless a file of ImageNet weights is read. Frames come in
[-1, 1] like everywhere here; each network first brings them to ImageNet's mean and deviation itself, with or without
pretrained weights, so that a file works as it is and nobody else has to know.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vad_pipeline.models.layers.resnet import ResNet
from vad_pipeline.models.layers.wider_resnet import WiderResNet38

Backbone = Literal["wider_resnet38", "resnet50", "se_resnext50"]

# Where each network's weights are published; for messages.
SOURCES: dict[Backbone, str] = {
    "wider_resnet38": "the ImageNet file wider_resnet38.pth.tar of NVIDIA's semantic-segmentation",
    "resnet50": "torchvision's resnet50",
    "se_resnext50": "timm's seresnext50_32x4d",
}
LEFT_OUT = ("fc.", "classifier.", "bn_out.")  # of the files: classifiers, and the norm that ASTNet drops


class BackboneError(RuntimeError):
    """Weights that cannot be read, or that are of another network."""


def build_backbone(name: Backbone, width: float, colours: int) -> nn.Module:
    """A network with random weights (He et al., 2015).

    Args:
        name: which.
        width: multiplies all channels (of ``se_resnext50`` the number of groups); 1 is the published network.
        colours: channels of a frame, 1 or 3.

    Returns:
        Frames (n, colours, H, W) in [-1, 1], H and W multiples of 8, to features (n, channels, H/8, W/8). Its
        ``channels`` are 4096 of ``wider_resnet38`` and 2048 of the others at width 1.

    >>> features = build_backbone("resnet50", 0.125, 1)(torch.zeros(1, 1, 32, 64))
    >>> features.shape
    torch.Size([1, 256, 4, 8])
    """
    network: nn.Module
    if name == "wider_resnet38":
        network = WiderResNet38(width, colours)
    else:
        network = ResNet(width, colours, squeezed=name == "se_resnext50")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def load_backbone_weights(module: nn.Module, path: Path) -> None:
    """Take over published ImageNet weights.

    Where frames are gray, the first convolution's weights are summed over the colours: a gray frame gives what the same
    frame with three equal colours gives, but for the colours' slightly different means and deviations.

    Args:
        module: of ``build_backbone``, at width 1 for the published files.
        path: a state dict, safetensors or pickled, of which only tensors and plain values are read; bare or under
            ``state_dict``, with or without DataParallel's ``module.``. The classifier and WiderResNet's last norm are
            passed over; counters of batches, which old files lack, may be missing.

    Raises:
        BackboneError: the file is missing, damaged, holds more than weights, or is of another network or width.
    """
    path = Path(path)
    name = backbone_of(module)
    found = {key: value for key, value in _state(path, SOURCES[name]).items() if not key.startswith(LEFT_OUT)}
    expected = module.state_dict()
    found = {key: torch.zeros_like(value) for key, value in expected.items() if key.endswith("_tracked")} | found
    first = next(iter(expected))
    if first in found and found[first].ndim == 4 and expected[first].shape[1] == 1 and found[first].shape[1] == 3:
        found[first] = found[first].sum(dim=1, keepdim=True)
    wrong = [f"{key} is missing" for key in expected if key not in found]
    wrong += [f"{key} is unexpected" for key in found if key not in expected]
    wrong += [
        f"{key} is {tuple(found[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in found and found[key].shape != value.shape
    ]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise BackboneError(
            f"{path} is not of this {name}: {wrong[0]}{more}; give {SOURCES[name]}, which fits width 1, or none"
        )
    module.load_state_dict(found)


def backbone_of(module: nn.Module) -> Backbone:
    """Which of the networks one of ``build_backbone`` is."""
    if isinstance(module, WiderResNet38):
        return "wider_resnet38"
    assert isinstance(module, ResNet)
    return "se_resnext50" if module.squeezed else "resnet50"


def _state(path: Path, source: str) -> dict[str, Tensor]:
    """Tensors of a file by their names in the network."""
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BackboneError(f"no weights at {path}; correct the path, or give none") from None
    except Exception as error:  # of a damaged file: nearly any
        raise BackboneError(
            f"{path} cannot be read, is damaged, or holds more than weights ({type(error).__name__}); give a state "
            f"dict of {source}, saved with safetensors or torch.save"
        ) from error
    state = content["state_dict"] if isinstance(content, Mapping) and "state_dict" in content else content
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BackboneError(f"{path} holds no state dict of tensors, bare or under 'state_dict'; give one of {source}")
    return {str(key).removeprefix("module."): value for key, value in state.items()}

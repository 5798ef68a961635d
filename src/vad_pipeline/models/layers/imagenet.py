"""Frames as networks trained on ImageNet read them."""

import torch
from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]
STRIDE = 8  # of the dilated networks' output


class ImageNetFrames(nn.Module):
    """Frames (n, colours, H, W) in [-1, 1] to ImageNet's mean 0 and deviation 1; gray ones by the colours' averages.

    Its constants are in no state dict, so that a network's names are those of the published weights.

    Args:
        colours: channels of a frame, 1 or 3.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, colours: int):
        super().__init__()
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            of_colours = torch.tensor(values) if colours == 3 else torch.tensor(values).mean().expand(colours)
            self.register_buffer(name, of_colours.reshape(1, colours, 1, 1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Raises ValueError where height or width is no multiple of 8, the stride of the network behind."""
        height, width = frames.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"frames of {width}x{height}; height and width must be multiples of {STRIDE}")
        return ((frames + 1) / 2 - self.mean.to(frames.dtype)) / self.deviation.to(frames.dtype)

"""PatchGAN: a discriminator that judges patches of 70x70 pixels, each by itself (Isola et al., CVPR 2017)."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 24  # side of a frame that has at least one patch


class PatchGAN(nn.Module):
    """Frames (B, colours, H, W) in [-1, 1] to logits (B, 1, H/8 - 2, W/8 - 2), high where a patch looks real.

    Frames with a side under 24 pixels are continued by their border until there is a patch to judge.

    Args:
        width: multiplies all channels, 64 to 512.
        colours: channels of a frame.
    """

    def __init__(self, width: float, colours: int):
        super().__init__()
        c64, c128, c256, c512 = (max(1, round(c * width)) for c in (64, 128, 256, 512))
        self.layers = nn.Sequential(
            nn.Conv2d(colours, c64, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            *_normalised(c64, c128, stride=2),
            *_normalised(c128, c256, stride=2),
            *_normalised(c256, c512, stride=1),
            nn.Conv2d(c512, 1, 4, padding=1),
        )
        for module in self.layers:  # as the official code has it
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.02)

    def forward(self, frames: Tensor) -> Tensor:
        below, right = (max(0, SMALLEST - side) for side in frames.shape[2:])
        if below or right:
            frames = F.pad(frames, (0, right, 0, below), mode="replicate")
        return self.layers(frames)


def log_score(logits: Tensor) -> Tensor:
    """Logarithm of the mean over patches of their sigmoids: logits (B, 1, h, w) to (B,), finite for any logits.

    >>> import torch
    >>> log_score(torch.zeros(1, 1, 2, 3)).exp().tolist()
    [0.5]
    """
    each = F.logsigmoid(logits.float()).flatten(1)
    return each.logsumexp(1) - math.log(each.shape[1])


def score(logits: Tensor) -> Tensor:
    """How real each frame looks, the mean over its patches: logits (B, 1, h, w) to (B,) in [0, 1]."""
    return logits.float().sigmoid().flatten(1).mean(1)


def _normalised(i: int, o: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(i, o, 4, stride=stride, padding=1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, inplace=True)

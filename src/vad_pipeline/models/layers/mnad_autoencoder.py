"""Encoder, decoder and head of MNAD (Park et al., CVPR 2020), which LGN-Net's prototype branch shares (spec 4.2)."""

from itertools import zip_longest
from typing import Literal

import torch
from torch import Tensor, nn

Widened = Literal["no", "skips", "up"]


def channels(width: float) -> tuple[int, int, int, int]:
    """Of the four levels, 64 to 512 at width 1."""
    c64, c128, c256, c512 = (max(1, round(c * width)) for c in (64, 128, 256, 512))
    return c64, c128, c256, c512


def conv(i: int, o: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """3x3 convolution, batch norm, ReLU."""
    return nn.Conv2d(i, o, 3, stride=stride, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True)


def block(i: int, o: int) -> tuple[nn.Module, ...]:
    """Two of ``conv``."""
    return *conv(i, o), *conv(o, o)


def up(i: int, o: int) -> tuple[nn.Module, ...]:
    """3x3 transposed convolution that doubles height and width, batch norm, ReLU."""
    transposed = nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1)
    return transposed, nn.BatchNorm2d(o), nn.ReLU(inplace=True)


class Encoder(nn.Sequential):
    """Stacked frames (B, planes, H, W) to features (B, 512, H/8, W/8).

    Args:
        planes: channels of all frames together.
        width: multiplies all channels.
    """

    def __init__(self, planes: int, width: float):
        c64, c128, c256, c512 = channels(width)
        super().__init__(
            *block(planes, c64),
            nn.MaxPool2d(2),
            *block(c64, c128),
            nn.MaxPool2d(2),
            *block(c128, c256),
            nn.MaxPool2d(2),
            *conv(c256, c512),
            nn.Conv2d(c512, c512, 3, padding=1),
        )

    def with_skips(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The features, and what went into the poolings: (B, 64, H, W), (B, 128, H/2, W/2), (B, 256, H/4, W/4)."""
        skips = []
        for layer in self:
            if isinstance(layer, nn.MaxPool2d):
                skips.append(x)
            x = layer(x)
        return x, tuple(skips)


class Decoder(nn.Module):
    """The memory's answer (B, inputs, H/8, W/8) to (B, ``channels``, H, W).

    Args:
        inputs: channels of the answer.
        width: multiplies all channels.
        widened: what doubles the channels after each of the three transposed convolutions: nothing, the encoder's maps
            of the same size, or as many channels more of their own, as in MNAD's reconstruction.
    """

    def __init__(self, inputs: int, width: float, widened: Widened = "no"):
        super().__init__()
        c64, c128, c256, c512 = channels(width)
        given, own = (1 if widened == "no" else 2), (2 if widened == "up" else 1)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*block(inputs, c512), *up(c512, own * c256)),
                nn.Sequential(*block(given * c256, c256), *up(c256, own * c128)),
                nn.Sequential(*block(given * c128, c128), *up(c128, own * c64)),
            ]
        )
        self.channels = given * c64

    def forward(self, answer: Tensor, *skips: Tensor) -> Tensor:
        """Decode, with the encoder's maps from the largest on where the decoder is widened by them."""
        x = answer
        for stage, skip in zip_longest(self.stages, reversed(skips)):
            x = stage(x)
            x = x if skip is None else torch.cat([x, skip], dim=1)
        return x


def head(inputs: int, width: float, colours: int) -> nn.Sequential:
    """(B, inputs, H, W) to a frame (B, colours, H, W) in [-1, 1]."""
    c64 = channels(width)[0]
    return nn.Sequential(*conv(inputs, c64), *conv(c64, c64), nn.Conv2d(c64, colours, 3, padding=1), nn.Tanh())

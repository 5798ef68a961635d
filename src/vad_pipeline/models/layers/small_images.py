"""Convolutional networks between images of 32x32 pixels and vectors, which ALPS is made of (spec 5.2)."""

import torch
from torch import Tensor, nn

SIDE = 32  # pixels of an image


class Trunk(nn.Sequential):
    """(B, colours, 32, 32) in [0, 1] to (B, latent): four convolutions and global average pooling.

    Args:
        colours: channels of an image.
        width: multiplies the channels.
        latent: length of the vector.
        signed: without the last activation.
    """

    def __init__(self, colours: int, width: float, latent: int, signed: bool = False):
        c32, c64, c128 = _channels(width)
        super().__init__(
            *_conv(colours, c32),
            *_conv(c32, c64),
            *_conv(c64, c128),
            *_conv(c128, latent)[: 2 if signed else 3],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class Distorter(Trunk):
    """(B, colours, 32, 32) to perturbations (B, latent) of both signs, float32.

    Args:
        colours, width, latent: as for ``Trunk``.
        bound: of every entry, by tanh; None leaves them unbounded.
    """

    def __init__(self, colours: int, width: float, latent: int, bound: float | None):
        super().__init__(colours, width, latent, signed=True)
        self.bound = bound

    def forward(self, images: Tensor) -> Tensor:
        raw = super().forward(images).float()
        return raw if self.bound is None else self.bound * torch.tanh(raw)


class Decoder(nn.Module):
    """(B, latent) to (B, colours, 32, 32) in [0, 1]: a dense layer and six transposed convolutions."""

    def __init__(self, colours: int, width: float, latent: int):
        super().__init__()
        c32, c64, c128 = _channels(width)
        self.dense = nn.Linear(latent, c128 * 4 * 4)
        self.images = nn.Sequential(
            *_up(c128, c128, 2),
            *_up(c128, c64, 1),
            *_up(c64, c64, 2),
            *_up(c64, c32, 1),
            *_up(c32, c32, 2),
            nn.ConvTranspose2d(c32, colours, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, latent: Tensor) -> Tensor:
        square = self.dense(latent).unflatten(1, (-1, 4, 4))
        return self.images(square.contiguous(memory_format=torch.channels_last))


def _channels(width: float) -> tuple[int, int, int]:
    c32, c64, c128 = (max(1, round(c * width)) for c in (32, 64, 128))
    return c32, c64, c128


def _conv(i: int, o: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, inplace=True)


def _up(i: int, o: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.ConvTranspose2d(i, o, 4 if stride == 2 else 3, stride=stride, padding=1)
    return conv, nn.BatchNorm2d(o), nn.ReLU(inplace=True)

"""WiderResNet-38-A2, dilated to an output stride of 8, as ASTNet and VALT-GAN use it.

Wu et al., Pattern Recognition 2019, in the form of Rota Bulò et al., CVPR 2018. Residual blocks with the norms before
the convolutions; a shortcut that changes the shape starts behind the first norm. Parameters are called as in NVIDIA's
semantic-segmentation, whose ImageNet file ASTNet starts from (a norm with its ReLU is a pair, so ``bn1.0.weight``).
Left out are its classifier and, as in ASTNet, the norm before that (``bn_out``): the output is the last block's sum.
"""

from collections import OrderedDict

from torch import Tensor, nn

from vad_pipeline.models.layers.imagenet import ImageNetFrames

# blocks, channels of a block's convolutions (two 3x3, or a bottleneck), dilation, dropout; spec 2.2
MODULES: tuple[tuple[int, tuple[int, ...], int, float], ...] = (
    (3, (128, 128), 1, 0.0),
    (3, (256, 256), 1, 0.0),
    (6, (512, 512), 1, 0.0),
    (3, (512, 1024), 2, 0.0),
    (1, (512, 1024, 2048), 4, 0.3),
    (1, (1024, 2048, 4096), 4, 0.5),
)
POOLED = (2, 3)  # modules that start with max pooling; the fourth has a stride
STRIDED = 4


class WiderResNet38(nn.Module):
    """The network without its classifier: frames (n, colours, H, W) in [-1, 1] to (n, channels, H/8, W/8).

    Args:
        width: multiplies all channels.
        colours: channels of the input.

    Attributes:
        channels: of the output, 4096 at width 1.
    """

    def __init__(self, width: float, colours: int):
        super().__init__()
        self.normalise = ImageNetFrames(colours)
        self.channels = max(1, round(64 * width))
        self.mod1 = nn.Sequential(OrderedDict(conv1=nn.Conv2d(colours, self.channels, 3, padding=1, bias=False)))
        for number, (blocks, channels, dilation, dropout) in enumerate(MODULES, start=2):
            scaled = [max(1, round(c * width)) for c in channels]
            made: OrderedDict[str, nn.Module] = OrderedDict()
            for block in range(1, blocks + 1):
                stride = 2 if number == STRIDED and block == 1 else 1
                made[f"block{block}"] = PreActivationBlock(self.channels, scaled, stride, dilation, dropout)
                self.channels = scaled[-1]
            if number in POOLED:
                self.add_module(f"pool{number}", nn.MaxPool2d(3, stride=2, padding=1))
            self.add_module(f"mod{number}", nn.Sequential(made))

    def forward(self, frames: Tensor) -> Tensor:
        """Features (n, channels, H/8, W/8)."""
        for step in self.children():
            frames = step(frames)
        return frames


class PreActivationBlock(nn.Module):
    """Norm, ReLU and convolution, twice or thrice, beside a shortcut.

    Args:
        channels: of the input.
        outs: channels after each convolution: two are 3x3, three are 1x1, 3x3 and 1x1.
        stride: of the first convolution.
        dilation: of the 3x3 ones.
        dropout: probability with which a channel is dropped before the last convolution.
    """

    def __init__(self, channels: int, outs: list[int], stride: int, dilation: int, dropout: float):
        super().__init__()
        self.bn1 = norm_relu(channels)
        self.convs = nn.Sequential()
        before = channels
        for number, out in enumerate(outs, start=1):
            side = 3 if len(outs) == 2 or number == 2 else 1
            if number > 1:
                self.convs.add_module(f"bn{number}", norm_relu(before))
            if dropout and number == len(outs):
                self.convs.add_module("dropout", nn.Dropout2d(dropout))
            convolution = nn.Conv2d(
                before,
                out,
                side,
                stride=stride if number == 1 else 1,
                padding=dilation * (side // 2),
                dilation=dilation if side > 1 else 1,
                bias=False,
            )
            self.convs.add_module(f"conv{number}", convolution)
            before = out
        if stride != 1 or channels != before:
            self.proj_conv = nn.Conv2d(channels, before, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.bn1(x)
        shortcut = self.proj_conv(normed) if hasattr(self, "proj_conv") else x
        return self.convs(normed) + shortcut


def norm_relu(channels: int) -> nn.Sequential:
    """Batch norm and ReLU."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

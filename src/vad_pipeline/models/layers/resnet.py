"""ResNet-50 and SE-ResNeXt-50 (32x4d), dilated to an output stride of 8.

He et al., CVPR 2016; Xie et al., CVPR 2017; Hu et al., CVPR 2018. Strides of the last two stages become dilations as in
torchvision's ``replace_stride_with_dilation`` and timm's ``output_stride=8``: the first block of a stage still has the
dilation of the stage before. Parameters are called as in torchvision's ``resnet50`` and timm's
``seresnext50_32x4d``; the classifier is left out.
"""

from torch import Tensor, nn

from vad_pipeline.models.layers.imagenet import ImageNetFrames

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
CARDINALITY, GROUP_WIDTH = 32, 4  # of SE-ResNeXt-50 32x4d: groups, and channels of a group in the first stage
SQUEEZE = 16


class ResNet(nn.Module):
    """The network without its classifier: frames (n, colours, H, W) in [-1, 1] to (n, channels, H/8, W/8).

    Args:
        width: multiplies all channels; of a network with groups their number, so that a group keeps its channels.
        colours: channels of the input.
        squeezed: SE-ResNeXt-50 32x4d in place of ResNet-50.

    Attributes:
        channels: of the output, 2048 at width 1.
    """

    def __init__(self, width: float, colours: int, squeezed: bool):
        super().__init__()
        self.squeezed = squeezed
        self.normalise = ImageNetFrames(colours)
        stem = max(1, round(64 * width))
        self.conv1 = nn.Conv2d(colours, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        groups = max(1, round(CARDINALITY * width)) if squeezed else 1
        self.channels, dilation = stem, 1
        for stage, blocks in enumerate(BLOCKS):
            out = EXPANSION * max(1, round(64 * 2**stage * width))
            inner = groups * GROUP_WIDTH * 2**stage if squeezed else out // EXPANSION
            made: list[nn.Module] = []
            for block in range(blocks):
                stride = 2 if stage == 1 and block == 0 else 1
                made.append(Bottleneck(self.channels, inner, out, stride, dilation, groups, squeezed))
                self.channels = out
                dilation = max(1, 2 ** (stage - 1))  # the stage's own from its second block on
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))

    def forward(self, frames: Tensor) -> Tensor:
        """Features (n, channels, H/8, W/8)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.normalise(frames)))))
        for stage in range(len(BLOCKS)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; (n, channels, h, w) to (n, out, h / stride, w / stride)."""

    def __init__(self, channels: int, inner: int, out: int, stride: int, dilation: int, groups: int, squeezed: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(
            inner, inner, 3, stride=stride, padding=dilation, dilation=dilation, groups=groups, bias=False
        )
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.se = SqueezeExcitation(out) if squeezed else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.se(self.bn3(self.conv3(y)))
        return self.relu(y + self.downsample(x))


class SqueezeExcitation(nn.Module):
    """Weights in [0, 1] for the channels of (n, C, h, w), from their means."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = max(1, channels // SQUEEZE)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()

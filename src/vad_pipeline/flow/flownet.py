"""FlowNet: optical flow by a convolutional network (Dosovitskiy et al., ICCV 2015, arXiv 1504.06852).

FlowNetS stacks two frames and lets one encoder find the motion; FlowNetC encodes each frame, correlates the two feature
maps over displacements of up to 20 cells of 8 pixels, and goes on like FlowNetS. Five 3x3 heads predict flow from 1/64
to 1/4 of the frames' size. Layers, their names and the initialisation are those of the public PyTorch version
(github.com/ClementPinard/FlowNetPytorch), whose weights load key for key; files are ``flownet_checkpoint``'s business.

Left open by the paper, or chosen here:
- Frames are RGB in [0, 1] minus the mean (0.450, 0.432, 0.411). The public training script has the mean in this order,
  its inference script reversed; the original Caffe networks read BGR (spec 1.7).
- Frames of any size are padded to multiples of 64 at the right and the bottom by repeating the last pixel; flows are
  cut to what the frames cover.
- The public version sums the endpoint error over pixels and averages over pairs, and so does ``multi_scale_epe``.
- Learning rate: cosine over the epochs, not the paper's halving every 100k steps after 300k, which fits short trainings
  badly. Adam and an L2 penalty of 4e-4 on weights, not on biases, as published.
- ``width`` scales all channels but the correlation's 441; 1 is the published network.
"""

from collections.abc import Sequence
from typing import Any, Literal

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vad_pipeline.fitting.fit import Batch

SCALE_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)  # of the flows at 1/4, 1/8, 1/16, 1/32, 1/64
RGB_MEAN = (0.450, 0.432, 0.411)
FINEST = 4  # pixels of a frame per cell of the finest flow
MULTIPLE = 64  # the encoder halves six times
PATCH, DILATION = 21, 2  # FlowNetC looks at 21 x 21 displacements, every second cell
WEIGHT_DECAY = 4e-4


class FlowNetError(RuntimeError):
    """FlowNet cannot use a checkpoint or frames; the message says which and what to do."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """FlowNet; the defaults are the published FlowNetS.

    Attributes:
        variant: s stacks the frames, c correlates them.
        width: multiplies all channels; 1 is the published network.
        batch_norm: after every convolution of the encoder, as in the public version's ``_bn`` networks.
        div_flow: pixels of flow per unit of the network's output.
    """

    variant: Literal["s", "c"] = "s"
    width: float = Field(default=1.0, gt=0)
    batch_norm: bool = False
    div_flow: float = Field(default=20.0, gt=0)


class FlowNet(nn.Module):
    """FlowNetS or FlowNetC; attributes are named as in the public version, so they are the keys of its checkpoints."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        c32, c64, c128, c256, c512, c1024 = (max(1, round(c * config.width)) for c in (32, 64, 128, 256, 512, 1024))

        def conv(i: int, o: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
            layer = nn.Conv2d(i, o, kernel, stride, padding=kernel // 2, bias=not config.batch_norm)
            norm = [nn.BatchNorm2d(o)] if config.batch_norm else []
            return nn.Sequential(layer, *norm, nn.LeakyReLU(0.1, inplace=True))

        siamese = config.variant == "c"
        self.conv1 = conv(3 if siamese else 6, c64, kernel=7, stride=2)
        self.conv2 = conv(c64, c128, kernel=5, stride=2)
        self.conv3 = conv(c128, c256, kernel=5, stride=2)
        if siamese:
            self.conv_redir = conv(c256, c32, kernel=1)
        self.conv3_1 = conv(c32 + PATCH**2 if siamese else c256, c256)
        self.conv4, self.conv4_1 = conv(c256, c512, stride=2), conv(c512, c512)
        self.conv5, self.conv5_1 = conv(c512, c512, stride=2), conv(c512, c512)
        self.conv6, self.conv6_1 = conv(c512, c1024, stride=2), conv(c1024, c1024)

        encoded = {2: c128, 3: c256, 4: c512, 5: c512}
        decoded = {2: c64, 3: c128, 4: c256, 5: c512}
        channels = c1024
        for level in (6, 5, 4, 3):  # of level l to l - 1; level l has 1/2^l of the frames' size
            finer = level - 1
            deconv = nn.ConvTranspose2d(channels, decoded[finer], 4, stride=2, padding=1, bias=False)
            upsampled = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, bias=False)
            self.add_module(f"predict_flow{level}", _head(channels))
            self.add_module(f"deconv{finer}", nn.Sequential(deconv, nn.LeakyReLU(0.1, inplace=True)))
            self.add_module(f"upsampled_flow{level}_to_{finer}", upsampled)
            channels = encoded[finer] + decoded[finer] + 2
        self.predict_flow2 = _head(channels)

        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, 0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pairs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Flow from the earlier to the later frame of each pair.

        Args:
            pairs: (B, 6, H, W), what ``stack_pairs`` makes; any H and W.

        Returns:
            In training mode the flows of ``pyramid``, in evaluation mode the finest, (B, 2, ceil(H/4), ceil(W/4)).

        Raises:
            FlowNetError: the shape is another.
        """
        flows = self.pyramid(pairs)
        return flows if self.training else flows[0]

    def pyramid(self, pairs: Tensor) -> tuple[Tensor, ...]:
        """Flows at 1/4, 1/8, .. 1/64: (B, 2, ceil(H/s), ceil(W/s)), in pixels of the frames divided by ``div_flow``."""
        if pairs.ndim != 4 or pairs.shape[1] != 6 or 0 in pairs.shape:
            raise FlowNetError(
                f"FlowNet reads pairs of RGB frames, (B, 6, H, W), got {tuple(pairs.shape)}; make them with stack_pairs"
            )
        height, width = pairs.shape[2:]
        padded = pad_to_multiple(pairs)
        encoded = {}
        if self.config.variant == "s":
            encoded[2] = self.conv2(self.conv1(padded))
            joined = self.conv3(encoded[2])
        else:
            # one batch of both frames; the public version runs the layers twice, with batch norm's statistics per frame
            both = self.conv2(self.conv1(torch.cat([padded[:, :3], padded[:, 3:]])))
            earlier, later = self.conv3(both).chunk(2)
            encoded[2] = both[: len(pairs)]
            correlated = F.leaky_relu(correlation(earlier, later), 0.1)
            joined = torch.cat([self.conv_redir(earlier), correlated], dim=1)
        encoded[3] = self.conv3_1(joined)
        encoded[4] = self.conv4_1(self.conv4(encoded[3]))
        encoded[5] = self.conv5_1(self.conv5(encoded[4]))
        x = self.conv6_1(self.conv6(encoded[5]))

        flows = []
        for level in (6, 5, 4, 3):
            flows.append(self._layer(f"predict_flow{level}", x))
            upsampled = self._layer(f"upsampled_flow{level}_to_{level - 1}", flows[-1])
            x = torch.cat([encoded[level - 1], self._layer(f"deconv{level - 1}", x), upsampled], dim=1)
        flows.append(self.predict_flow2(x))
        scales = [FINEST * 2**i for i in range(len(flows))]
        return tuple(
            flow[:, :, : -(-height // s), : -(-width // s)] for flow, s in zip(reversed(flows), scales, strict=True)
        )

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return self.get_submodule(name)(x)


def correlation(earlier: Tensor, later: Tensor) -> Tensor:
    """FlowNetC's correlation layer: products of feature vectors at 21 x 21 displacements, every second cell.

    Args:
        earlier, later: (B, C, h, w).

    Returns:
        (B, 441, h, w): at channel 21 * i + j the mean over C of earlier at (y, x) times later at
        (y + 2 * (i - 10), x + 2 * (j - 10)), 0 outside the frame.

    >>> correlation(torch.ones(1, 8, 4, 6), torch.ones(1, 8, 4, 6)).shape
    torch.Size([1, 441, 4, 6])
    """
    batch, channels, height, width = earlier.shape
    margin = DILATION * (PATCH // 2)
    # Rows lead, so that a vertical shift is a view. Per shift, one matrix product gives a row's cells against the whole
    # shifted row, of which the wanted diagonals are kept: more products than 441 shifts, in a fraction of the time.
    rows = earlier.permute(2, 0, 3, 1).reshape(height * batch, width, channels)
    padded = F.pad(later, (margin,) * 4).permute(2, 0, 1, 3).contiguous()  # (h + 40, B, C, w + 40)
    start = torch.arange(width, device=earlier.device)[:, None]
    columns = (start + DILATION * torch.arange(PATCH, device=earlier.device)).expand(len(rows), -1, -1)
    products = [
        (rows @ padded[shift : shift + height].flatten(0, 1)).gather(2, columns)  # (h * B, w, 21)
        for shift in range(0, DILATION * PATCH, DILATION)
    ]
    stacked = torch.stack(products, dim=2).view(height, batch, width, PATCH**2) / channels
    return stacked.permute(1, 3, 0, 2)


def pad_to_multiple(images: Tensor) -> Tensor:
    """Repeat the last row and column until H and W are multiples of 64.

    >>> pad_to_multiple(torch.zeros(1, 6, 28, 70)).shape
    torch.Size([1, 6, 64, 128])
    """
    height, width = images.shape[-2:]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    return F.pad(images, (0, right, 0, down), mode="replicate") if down or right else images


def stack_pairs(earlier: Tensor, later: Tensor) -> Tensor:
    """Pairs of frames as FlowNet reads them.

    Args:
        earlier, later: uint8 (B, H, W, C), RGB or gray; gray is replicated.

    Returns:
        float32 (B, 6, H, W): both frames in [0, 1] minus the mean, in channels-last memory.

    Raises:
        FlowNetError: the frames have another type or shape, or the two differ in shape.

    >>> gray = torch.zeros(2, 8, 12, 1, dtype=torch.uint8)
    >>> stack_pairs(gray, gray).shape
    torch.Size([2, 6, 8, 12])
    """
    for frames in (earlier, later):
        if frames.ndim != 4 or frames.shape[-1] not in (1, 3) or frames.dtype != torch.uint8:
            raise FlowNetError(
                f"FlowNet reads uint8 frames (B, H, W, 1 or 3), got {frames.dtype} {tuple(frames.shape)}; "
                "pass them as the clip store holds them"
            )
    if earlier.shape != later.shape:
        raise FlowNetError(
            f"earlier frames {tuple(earlier.shape)} and later {tuple(later.shape)} must be equally many, of one size"
        )
    mean = torch.tensor(RGB_MEAN, device=earlier.device)
    both = torch.stack([earlier, later], dim=3).float()  # (B, H, W, 2, C)
    # scale and shift in one pass, in which gray broadcasts to three channels
    return torch.add(-mean, both, alpha=1 / 255).flatten(3).movedim(3, 1)


def at_frame_size(flow: Tensor, height: int, width: int) -> Tensor:
    """Bring the finest flow (B, 2, ceil(H/4), ceil(W/4)) to (B, 2, H, W): bilinear, its values unchanged."""
    planes = flow.float().contiguous()  # torch interpolates two channels-last channels several times slower
    upsampled = F.interpolate(planes, scale_factor=float(FINEST), mode="bilinear", align_corners=False)
    return upsampled[:, :, :height, :width]


def estimate(
    network: FlowNet,
    earlier: np.ndarray,
    later: np.ndarray,
    device: str | torch.device = "cpu",
    bf16: bool = False,
    magnify: int = 1,
) -> np.ndarray:
    """Optical flow of pairs of frames.

    Args:
        network: is moved to the device and to channels-last memory, and keeps its mode, training or evaluation.
        earlier, later: uint8 (B, H, W, C), RGB or gray, any H and W.
        device: torch's.
        bf16: convolve in bfloat16 (autocast), about twice as fast where the processor has it.
        magnify: frames are enlarged so many times (bicubic) before the network sees them, and the flow is averaged
            back: motions of less than a pixel then take more than one, small things more of the network's cells.

    Returns:
        float32 (B, H, W, 2): displacement (x, y) from earlier to later, in pixels at the frames' size.

    Raises:
        FlowNetError: frames of another type or shape, of no pixels, or the flow is not finite.
    """
    # copies: clips are memory-mapped read-only
    pairs = stack_pairs(*(torch.from_numpy(np.array(frames)).to(device) for frames in (earlier, later)))
    if len(pairs) == 0:
        return np.zeros((*earlier.shape[:3], 2), np.float32)
    if magnify > 1:
        pairs = F.interpolate(pairs, scale_factor=float(magnify), mode="bicubic", align_corners=False)
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = network.training
    try:
        with torch.inference_mode(), torch.autocast(pairs.device.type, torch.bfloat16, enabled=bf16):
            flow = network.eval()(pairs)
    finally:
        network.train(training)
    if not flow.isfinite().all():
        raise FlowNetError("FlowNet's flow is NaN or infinite, so its weights are damaged; load or train it again")
    pixels = at_frame_size(flow, *pairs.shape[2:]) * network.config.div_flow
    if magnify > 1:
        pixels = F.avg_pool2d(pixels, magnify) / magnify
    return pixels.movedim(1, -1).contiguous().cpu().numpy()


def multi_scale_epe(flows: Sequence[Tensor], target: Tensor, weights: Sequence[float] = SCALE_WEIGHTS) -> Tensor:
    """FlowNet's loss: endpoint errors at all scales, summed over cells, averaged over pairs, weighted by scale.

    Args:
        flows: of ``FlowNet.pyramid``, finest first.
        target: true flow (B, 2, H, W) in the same unit, pixels / div_flow; it is averaged over each cell.
        weights: one per scale, finest first; the published ones.

    Raises:
        ValueError: a flow does not have its scale's size, or their number is not that of the weights.
    """
    loss = torch.zeros((), device=target.device)
    for i, (flow, weight) in enumerate(zip(flows, weights, strict=True)):
        # ceil_mode: a cell that reaches beyond the frame averages what lies inside
        pooled = F.avg_pool2d(target, FINEST * 2**i, ceil_mode=True)
        if flow.shape != pooled.shape:
            raise ValueError(
                f"flow {i} is {tuple(flow.shape)}, its target {tuple(pooled.shape)}; give the finest first"
            )
        loss = loss + weight * endpoint_error(flow, pooled).sum() / len(target)
    return loss


def endpoint_error(flow: Tensor, target: Tensor) -> Tensor:
    """Length of the difference of two flows (B, 2, H, W) at each pixel: (B, H, W), in their unit."""
    return torch.linalg.vector_norm(flow.float() - target, dim=1)


class FlowNetTraining(lightning.LightningModule):
    """Trains a FlowNet on pairs of known flow.

    A batch holds ``earlier`` and ``later``, uint8 (B, H, W, C), and ``flow``, float32 (B, H, W, 2) in pixels from
    earlier to later. Logged per epoch: ``train_loss`` (``multi_scale_epe``), ``train_epe`` and ``val_epe`` (mean
    endpoint error at full size, pixels), ``val_zero_epe`` (that of predicting no motion).

    Args:
        config: the network's.
        learning_rate: at the start of the cosine schedule; the published one.
        epochs: length of the schedule.
    """

    def __init__(self, config: Config, learning_rate: float = 1e-4, epochs: int = 300):
        super().__init__()
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.network = FlowNet(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        target = batch["flow"].movedim(-1, 1)
        flows = self.network.pyramid(stack_pairs(batch["earlier"], batch["later"]))
        loss = multi_scale_epe(flows, target / self.network.config.div_flow)
        logged = {"train_loss": loss.detach(), "train_epe": self._epe(flows[0].detach(), target)}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(target))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        target = batch["flow"].movedim(-1, 1)
        flow = self.network(stack_pairs(batch["earlier"], batch["later"]))
        zero = endpoint_error(torch.zeros_like(target), target).mean()
        self.log_dict({"val_epe": self._epe(flow, target), "val_zero_epe": zero}, batch_size=len(target))

    def _epe(self, flow: Tensor, target: Tensor) -> Tensor:
        """Mean endpoint error at full size, in pixels."""
        pixels = at_frame_size(flow, *target.shape[2:]) * self.network.config.div_flow
        return endpoint_error(pixels, target).mean()

    def configure_optimizers(self) -> Any:
        """Adam with the published L2 penalty on what is named weight; the schedule is stepped once an epoch."""
        named = list(self.network.named_parameters())
        groups = [
            {"params": [p for name, p in named if name.endswith("weight")], "weight_decay": WEIGHT_DECAY},
            {"params": [p for name, p in named if name.endswith("bias")], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.Adam(groups, lr=self.learning_rate, betas=(0.9, 0.999))
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)]


def _head(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 2, 3, padding=1, bias=False)

"""Frame-Pred: future frame prediction (Liu et al., CVPR 2018), the baseline of LGN-Net's Fig. 4.

A U-Net predicts a frame from the four before it. It is trained against a patch discriminator (LSGAN) and by three
further losses: intensity (squared error), gradient (absolute differences of neighbouring pixels) and flow (the motion
from the last input frame to the predicted frame and to the true one, as a frozen FlowNet sees it). The score is the
PSNR of the predicted frame; the discriminator and the flow are of no use then.

Equations are the official code's (github.com/StevenLiuWen/ano_pred_cvpr2018) where the text is open: no batch norm,
Glorot's initialisation, ReLU after the transposed convolutions too, sigmoid before the squares of LSGAN, 4x4
convolutions of 128, 256, 512, 512 and 1 channels in the discriminator, rates of the discriminator a tenth of the
generator's, and a drop of both to a tenth. What differs, or is left open there:

- Flow is estimated by this package's FlowNet, at the frames' size; the authors' is FlowNet2-SD at 384x512, whose
  weights are not shipped. ``flownet`` names another file. Gray frames are replicated for it.
- The rates drop after half of the epochs; the official code names a step for each data set.
- Gradients at the right and the lower border, where the official code takes the frame's own values, are left out.
- Generator and discriminator take turns within a step, the generator first; the official code runs both at once.
- ``width`` scales all channels of both networks; 1 is the published size, whose number of parameters is counted from
  the official layers.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.fit import Batch
from vad_pipeline.flow.flownet import RGB_MEAN, FlowNet, at_frame_size
from vad_pipeline.flow.flownet_checkpoint import EMBEDDED, load_flownet
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.layers.error_maps import WORST_PLACE, error_map, psnr, worst_place
from vad_pipeline.models.layers.pixels import scale_frames, stored_frame
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

INPUTS = 4  # frames that predict the next one
DROP = 0.1  # of both rates, after half of the epochs


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """Frame-Pred; the defaults are the paper's.

    Attributes:
        width: multiplies all channels; 1 is the published networks.
        intensity, gradient, adversarial, flow: weights of the generator's losses.
        discriminator_rate: the discriminator's learning rate in parts of the generator's.
        flownet: file of FlowNet's weights; null takes the small network that comes with the package.
    """

    width: float = Field(default=1.0, gt=0)
    intensity: float = Field(default=1.0, ge=0)
    gradient: float = Field(default=1.0, ge=0)
    adversarial: float = Field(default=0.05, ge=0)
    flow: float = Field(default=2.0, ge=0)
    discriminator_rate: float = Field(default=0.1, gt=0)
    flownet: str | None = None

    @property
    def weights(self) -> Path:
        """The file of FlowNet's weights."""
        return EMBEDDED if self.flownet is None else Path(self.flownet)


class UNet(nn.Module):
    """(B, 4 * colours, H, W) in [-1, 1] to (B, colours, H, W) in [-1, 1]; H and W are multiples of 8.

    Args:
        width: multiplies all channels, 64 to 512.
        colours: channels of a frame, 1 or 3.
    """

    def __init__(self, width: float, colours: int):
        super().__init__()
        c64, c128, c256, c512 = (max(1, round(c * width)) for c in (64, 128, 256, 512))
        self.down = nn.ModuleList(
            [_double(INPUTS * colours, c64), _double(c64, c128), _double(c128, c256), _double(c256, c512)]
        )
        levels = ((c512, c256), (c256, c128), (c128, c64))
        self.up = nn.ModuleList([nn.Sequential(nn.ConvTranspose2d(i, o, 2, stride=2), nn.ReLU()) for i, o in levels])
        self.joined = nn.ModuleList([_double(2 * o, o) for _, o in levels])
        self.head = nn.Conv2d(c64, colours, 3, padding=1)
        _glorot(self)

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.down[0](inputs)
        skipped = []
        for level in list(self.down)[1:]:
            skipped.append(x)
            x = level(F.max_pool2d(x, 2))
        for up, joined in zip(self.up, self.joined, strict=True):
            x = joined(torch.cat([skipped.pop(), up(x)], dim=1))
        return torch.tanh(self.head(x))


class PatchDiscriminator(nn.Sequential):
    """Frames (B, colours, H, W) to logits (B, 1, h, w), one for each patch: high where it looks real."""

    def __init__(self, width: float, colours: int):
        c128, c256, c512 = (max(1, round(c * width)) for c in (128, 256, 512))
        layers = [(colours, c128, 2), (c128, c256, 2), (c256, c512, 2), (c512, c512, 1)]
        super().__init__(
            *(part for layer in layers for part in (_patch(*layer), nn.LeakyReLU(0.2))), _patch(c512, 1, stride=1)
        )
        _glorot(self)


def intensity_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of frames in [-1, 1] (Eq. 1), a scalar."""
    return (predicted - target).square().mean()


def gradient_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """How far absolute differences of neighbouring pixels are from the true frame's, both directions added (Eq. 2).

    Args:
        predicted, target: (B, C, H, W).

    Returns:
        A scalar.
    """
    losses = [(predicted.diff(dim=axis).abs() - target.diff(dim=axis).abs()).abs().mean() for axis in (2, 3)]
    return losses[0] + losses[1]


def adversarial_loss(logits: Tensor) -> Tensor:
    """The generator's half of LSGAN (Eq. 6): half the squared distance of the predicted frame's verdicts from 1."""
    return (logits.float().sigmoid() - 1).square().mean() / 2


def discriminator_loss(real: Tensor, predicted: Tensor) -> Tensor:
    """The discriminator's half of LSGAN (Eq. 5), of logits: true frames towards 1, predicted ones towards 0."""
    return adversarial_loss(real) + predicted.float().sigmoid().square().mean() / 2


def flow_loss(network: FlowNet, last: Tensor, predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the flows from the last input frame to the predicted and to the true frame (Eq. 3).

    Args:
        network: frozen.
        last, predicted, target: (B, colours, H, W) in [-1, 1].

    Returns:
        A scalar, in pixels; its gradient reaches ``predicted`` alone.
    """
    with torch.no_grad():
        true = _flow(network, last, target)
    return (_flow(network, last, predicted) - true).abs().mean()


class FramePred(Model):
    """Frame-Pred's training and scoring around ``UNet``; see ``Model`` for the arguments."""

    config_class: ClassVar[type] = Config
    terms: ClassVar[dict[str, Term]] = {
        "psnr": Term(higher_is_anomalous=False, meaning="PSNR of the predicted frame, dB"),
        "worst_place": WORST_PLACE,
    }
    has_maps = True
    size_multiple = 8
    optimizer_names = ("generator", "discriminator")
    published_parameters: ClassVar[Mapping[int, float]] = {3: 14.536, 1: 14.526}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625}

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        self.automatic_optimization = False
        self.generator = UNet(config.width, colours).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = PatchDiscriminator(config.width, colours)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=INPUTS + 1, target=INPUTS)

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        return {"psnr": 1.0}

    @staticmethod
    def pretrained(config: Config) -> tuple[Path, ...]:
        """FlowNet's weights: no part of the checkpoint, but what a training depends on."""
        return (config.weights,) if config.flow else ()

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict: (B, 4, colours, H, W) in [-1, 1] to (B, colours, H, W)."""
        return self.generator(inputs.flatten(1, 2))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """A step of the generator, then one of the discriminator on the same prediction."""
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        frames = scale_frames(batch["frames"])
        target = frames[:, INPUTS]
        predicted = self(frames[:, :INPUTS]).float()

        self.discriminator.requires_grad_(False)  # the frames are judged, the judge does not learn from this
        losses = self._generator_losses(predicted, frames) | {
            "adversarial": adversarial_loss(self.discriminator(predicted))
        }
        loss = sum((getattr(self.config, name) * value for name, value in losses.items()), torch.zeros(()))
        generator.zero_grad()
        self.manual_backward(loss)
        generator.step()

        self.discriminator.requires_grad_(True)
        judged = discriminator_loss(self.discriminator(target), self.discriminator(predicted.detach()))
        discriminator.zero_grad()
        self.manual_backward(judged)
        discriminator.step()

        logged = {"loss": loss, **losses, "discriminator": judged}
        train = {f"train_{name}": value.detach() for name, value in logged.items()}
        self.log_dict(train, on_step=False, on_epoch=True, batch_size=len(target))
        return loss.detach()

    def on_train_epoch_end(self) -> None:
        """By hand, as the optimisers."""
        for schedule in self.lr_schedulers():  # type: ignore[union-attr]
            schedule.step()  # type: ignore[call-arg]

    def validation_step(self, batch: Batch, _: int) -> None:
        frames = scale_frames(batch["frames"])
        predicted = self(frames[:, :INPUTS]).float()
        losses = self._generator_losses(predicted, frames)
        losses["psnr"] = -10 * torch.log10(losses["intensity"] / 4)
        self.log_dict({f"val_{name}": value for name, value in losses.items()}, batch_size=len(frames))

    def _generator_losses(self, predicted: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """Unweighted, but for the adversarial one; flow is left out where its weight is 0, as it takes a network."""
        target = frames[:, INPUTS]
        losses = {"intensity": intensity_loss(predicted, target), "gradient": gradient_loss(predicted, target)}
        if self.config.flow:
            network = _frozen_flownet(self.config.weights, frames.device)
            losses["flow"] = flow_loss(network, frames[:, INPUTS - 1], predicted, target)
        return losses

    def configure_optimizers(self) -> Any:
        """Adam for both; schedules are stepped once an epoch."""
        rates = (self.learning_rate, self.learning_rate * self.config.discriminator_rate)
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=rate)
            for network, rate in zip((self.generator, self.discriminator), rates, strict=True)
        ]
        half = max(1, -(-self.epochs // 2))
        return optimizers, [torch.optim.lr_scheduler.StepLR(o, half, DROP) for o in optimizers]

    def scorer(self, options: ScoringOptions) -> "FramePredScorer":
        return FramePredScorer(self, options)


class FramePredScorer(Scorer):
    """The U-Net made ready to score windows in batches; nothing is carried from clip to clip."""

    def __init__(self, model: FramePred, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.network = deepcopy(model.generator).eval().to(options.device, options.dtype)

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"frames": scale_frames(rows["frames"])}

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Tensor:
        """Squared errors (n, colours, H, W) of the predicted frames, in [0, 1]."""
        n, frames = len(complete.starts), rows["frames"]
        predicted = self._predicted(torch.cat([frames[i : i + n] for i in range(INPUTS)], dim=1))
        return (predicted - frames[INPUTS : INPUTS + n]).square() / 4

    def score(self, encoded: Tensor, complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        maps = error_map(encoded)
        return {"psnr": psnr(encoded), "worst_place": worst_place(maps)}, maps

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The predicted fifth frame of a window."""
        images = scale_frames(torch.from_numpy(np.array(arrays["frames"][:INPUTS])).to(self.options.device))
        return stored_frame(self._predicted(images.flatten(0, 1)[None])[0])

    def _predicted(self, stacked: Tensor) -> Tensor:
        """(n, 4 * colours, H, W) to (n, colours, H, W), float32."""
        return self.network(stacked.to(self.options.dtype, memory_format=torch.channels_last)).float()


@lru_cache(maxsize=2)
def _frozen_flownet(weights: Path, device: torch.device) -> FlowNet:
    """Outside the module, so that it is in no checkpoint and no count of parameters."""
    return load_flownet(weights).requires_grad_(False).to(device)


def _flow(network: FlowNet, earlier: Tensor, later: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in pixels between frames (B, colours, H, W) in [-1, 1], with gradient."""
    flow = network(as_pairs(earlier, later)) * network.config.div_flow
    return at_frame_size(flow, *earlier.shape[2:])


def as_pairs(earlier: Tensor, later: Tensor) -> Tensor:
    """What ``flownet.stack_pairs`` makes of stored frames, of frames (B, colours, H, W) in [-1, 1]: (B, 6, H, W)."""
    mean = torch.tensor(RGB_MEAN, device=earlier.device).view(3, 1, 1)
    return torch.cat([(frames + 1) / 2 - mean for frames in (earlier, later)], dim=1)


def _double(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.ReLU())


def _patch(i: int, o: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(i, o, 4, stride=stride, padding=2)


def _glorot(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

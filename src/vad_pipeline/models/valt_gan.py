"""VALT-GAN: video anomaly latent training GAN (Sethi et al., seed text valt_gan; no code is public).

A generator predicts a frame from the four before it. Its encoder, a wide residual network, sees each frame by itself;
the features of all four are reduced by one convolution (the spatial stream), some of them shifted in time (the temporal
stream), and both are added to the latent z, which a decoder draws. It is trained against a discriminator of patches, on
latents that are mined before: moved inside a box around the encoder's so that the discriminator takes the picture for
real (``layers/latent_mining.py``). The score is the PSNR of the predicted frame.

Left open or contradictory, and chosen here (spec 2):
- The network of Table I is WiderResNet-38-A2 dilated to stride 8, as in ASTNet: 4096 channels a frame. ``tsm:
  post_reduce`` shifts segments of the reduced features, as Table I has it; ``pre_reduce`` shifts features of frames,
  as the text says: each frame's are reduced by themselves, shifted between frames, and added to the spatial stream.
- Table I ends in batch norm and LeakyReLU on the picture (``head: bn_lrelu``); the default is tanh, whose range is that
  of frames.
- Mining raises D's score, whatever the signs of Eqs. 2 and 3 say: steps of epsilon / t, at most 10, until 0.9. Both
  networks run with learnt statistics in it. ``g_uses_mined: false`` shows mined pictures to D alone and trains the
  generator on plain ones, as AdvLatGAN does. Nothing is mined at test unless ``mine_at_test``.
- Eq. 6's norm is the mean squared error (``l2: rmse`` is its root). Adam's betas are 0.5 and 0.999, the learning rate
  stays, 60 epochs. ``preset: paper`` weighs the adversarial loss by 1, ``stable`` by 0.05, as Frame-Pred does.
- ``discriminator_rate`` is 1, as one rate is printed; narrow networks at a higher rate want Frame-Pred's tenth.
- D steps first, then the generator against the new D. D is the PatchGAN of 70x70.
- In mixed precision z and the decoder's first convolution stay in float32: bfloat16 cannot tell latents of a box of
  0.008 apart.
- The encoder ends in a sum without a norm, as in ASTNet. Without ImageNet weights it grows while it trains, until the
  box of mining is nothing beside its latents and single ones burst into noise; ``encoder_norm`` gives it the norm and
  ReLU back that its first form has there (``bn_out``). Not in the paper, as ASTNet drops it.
- ``width`` multiplies all channels; 1 is the published size.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.fit import Batch
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.layers import patch_gan
from vad_pipeline.models.layers.backbones import Backbone, build_backbone, load_backbone_weights
from vad_pipeline.models.layers.error_maps import WORST_PLACE, error_map, psnr, worst_place
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.latent_mining import Mined, Step, evaluating, mine
from vad_pipeline.models.layers.patch_gan import PatchGAN
from vad_pipeline.models.layers.pixels import scale_frames, stored_frame
from vad_pipeline.models.layers.temporal_shift import shift_frames, shift_segments
from vad_pipeline.models.layers.wider_resnet import norm_relu
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

INPUTS = 4  # frames that predict the next one
ADVERSARIAL = {"paper": 1.0, "stable": 0.05}  # weight of the adversarial loss beside those of pixels
BETAS = 0.5, 0.999

Shift = Literal["post_reduce", "pre_reduce"]
Head = Literal["tanh", "bn_lrelu", "linear"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """VALT-GAN; the defaults are the paper's, with the choices above.

    Attributes:
        width: multiplies all channels of both networks; 1 is the published size.
        backbone: the encoder, a row of Table IV.
        backbone_weights: file of its pretrained weights, at width 1; null begins at random.
        encoder_norm: a norm and ReLU behind the encoder's last sum; not in the paper.
        tsm: where the temporal stream shifts.
        head: what ends the decoder.
        epsilon: half the side of the box that latents are mined in; 0 mines none.
        steps: of mining, at most.
        threshold: of D's score, at which mining ends.
        step: size of mining's step t: epsilon / t, or always epsilon / ``steps``.
        g_uses_mined: the generator is trained on mined latents, too.
        mine_at_test: latents are mined before a frame is predicted for its score.
        preset: weight of the adversarial loss, 1 or 0.05.
        discriminator_rate: the discriminator's learning rate in parts of the generator's.
        l2: the squared error or its root.
    """

    width: float = Field(default=1.0, gt=0)
    backbone: Backbone = "wider_resnet38"
    backbone_weights: str | None = None
    encoder_norm: bool = False
    tsm: Shift = "post_reduce"
    head: Head = "tanh"
    epsilon: float = Field(default=0.08, ge=0)
    steps: int = Field(default=10, ge=1)
    threshold: float = Field(default=0.9, ge=0, le=1)
    step: Step = "harmonic"
    g_uses_mined: bool = True
    mine_at_test: bool = False
    preset: Literal["paper", "stable"] = "paper"
    discriminator_rate: float = Field(default=1.0, gt=0)
    l2: Literal["mse", "rmse"] = "mse"

    def mined(self, z: Tensor, decoder: nn.Module, discriminator: nn.Module) -> Mined:
        """Mine latents (n, C, h, w) as configured."""
        return mine(z, decoder, discriminator, self.epsilon, self.steps, self.threshold, self.step)


class Decoder(nn.Module):
    """G2: latents (n, C, h, w) to frames (n, colours, 8h, 8w), three times doubled; the first layer in float32.

    Args:
        channels: of z and after each layer.
        colours: channels of a frame.
        head: what ends it.
    """

    def __init__(self, channels: tuple[int, int, int, int], colours: int, head: Head):
        super().__init__()
        first, *others = (_doubled(i, o) for i, o in pairwise(channels))
        self.first, self.others = first, nn.Sequential(*others)
        self.head = nn.Sequential(nn.Conv2d(channels[-1], colours, 1))
        if head == "tanh":
            self.head.append(nn.Tanh())
        elif head == "bn_lrelu":
            self.head.extend([nn.BatchNorm2d(colours), nn.LeakyReLU(0.2, inplace=True)])

    def forward(self, z: Tensor) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            doubled = self.first(z)
        return self.head(self.others(doubled))


class Generator(nn.Module):
    """Frames (B, 4, colours, H, W) in [-1, 1] to the next (B, colours, H, W); H and W are multiples of 8.

    Args:
        config: of the model.
        colours: channels of a frame.
    """

    def __init__(self, config: Config, colours: int):
        super().__init__()
        segment = max(2, round(512 * config.width))
        latent = INPUTS * segment
        c1024, c512, c256 = (max(1, round(c * config.width)) for c in (1024, 512, 256))
        self.encoder = build_backbone(config.backbone, config.width, colours)
        features = int(self.encoder.channels)  # type: ignore[arg-type]
        self.norm = norm_relu(features) if config.encoder_norm else nn.Identity()
        self.reduce = nn.Conv2d(INPUTS * features, latent, 1, bias=False)
        self.reduce_frame = nn.Conv2d(features, segment, 1, bias=False) if config.tsm == "pre_reduce" else None
        self.decoder = Decoder((latent, c1024, c512, c256), colours, config.head)
        for module in (self.reduce, self.reduce_frame, *self.decoder.modules()):
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.2)

    def forward(self, frames: Tensor) -> Tensor:
        return self.decoder(self.encoded(frames))

    def encoded(self, frames: Tensor) -> Tensor:
        """z of four frames (B, 4, colours, H, W)."""
        features = self.features(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return self.latent(features.unbind(1))

    def features(self, frames: Tensor) -> Tensor:
        """Of frames by themselves: (n, colours, H, W) to (n, C, H/8, W/8)."""
        return self.norm(self.encoder(frames))

    def latent(self, features: Sequence[Tensor]) -> Tensor:
        """z of the features of four frames: four of (B, C, h, w) to (B, 4 * segment, h, w), float32."""
        spatial = self.reduce(torch.cat(list(features), dim=1))  # which keeps channels last
        if self.reduce_frame is None:
            return (spatial + shift_segments(spatial, INPUTS)).float()
        reduced = torch.stack([self.reduce_frame(each) for each in features], dim=1)
        return (spatial + shift_frames(reduced).flatten(1, 2)).float()


def pixel_losses(predicted: Tensor, target: Tensor, l2: str = "mse") -> dict[str, Tensor]:
    """Eqs. 5 and 6 as means, of frames in [-1, 1]: ``l1``, the absolute error, and ``l2``, the squared or its root."""
    squared = (predicted - target).square().mean()
    return {"l1": (predicted - target).abs().mean(), "l2": squared if l2 == "mse" else (squared + 1e-8).sqrt()}


def adversarial_loss(logits: Tensor) -> Tensor:
    """The generator's half of Eq. 4, not saturating: -log of a patch's verdict, mean over patches, a scalar."""
    return F.softplus(-logits.float()).mean()


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """The discriminator's half of Eq. 4, of logits: true frames towards 1, generated ones towards 0; halved."""
    return (F.softplus(-real.float()).mean() + F.softplus(generated.float()).mean()) / 2


class VALTGAN(Model):
    """Training and scoring of both networks; see ``Model`` for the arguments."""

    config_class: ClassVar[type] = Config
    terms: ClassVar[dict[str, Term]] = {
        "psnr": Term(higher_is_anomalous=False, meaning="PSNR of the predicted frame, dB"),
        "worst_place": WORST_PLACE,
        "realness": Term(higher_is_anomalous=False, meaning="discriminator's score of the predicted frame, 0 to 1"),
    }
    has_maps = True
    size_multiple = 8
    scoring_only: ClassVar[frozenset[str]] = frozenset({"mine_at_test"})
    optimizer_names = ("generator", "discriminator")
    published_parameters: ClassVar[Mapping[int, float]] = {3: 152.397}  # both networks
    tiny: ClassVar[Mapping[str, Any]] = {"width": 1 / 64, "steps": 2}

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        self.automatic_optimization = False
        self.generator = Generator(config, colours).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        discriminator = PatchGAN(config.width, colours)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=INPUTS + 1, target=INPUTS)

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        return {"psnr": 1.0}

    @staticmethod
    def pretrained(config: Config) -> tuple[Path, ...]:
        return () if config.backbone_weights is None else (Path(config.backbone_weights),)

    def initialise(self) -> None:
        for path in self.pretrained(self.config):
            load_backbone_weights(self.generator.encoder, path)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict: (B, 4, colours, H, W) in [-1, 1] to (B, colours, H, W)."""
        return self.generator(inputs)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Mine latents, then a step of the discriminator, then one of the generator."""
        generator, discriminator = self.optimizers()  # type: ignore[attr-defined]
        frames = scale_frames(batch["frames"])
        inputs, target = frames[:, :INPUTS], frames[:, INPUTS]
        network, judge = self.generator, self.discriminator
        z = network.encoded(inputs)
        mined = self.config.mined(z, network.decoder, judge)
        moved = (mined.z - z).detach()  # gradient goes through the mined latent as through the encoder's
        predicted = network.decoder(z + moved if self.config.g_uses_mined else z)
        shown = predicted.detach() if self.config.g_uses_mined else self._mined_pictures(mined)

        judge.requires_grad_(True)
        real, generated = judge(target), judge(shown)
        judged = discriminator_loss(real, generated)
        discriminator.zero_grad()
        self.manual_backward(judged)
        discriminator_norm = _gradient_norm(judge)
        discriminator.step()

        judge.requires_grad_(False)  # the frames are judged, the judge does not learn from this
        losses = pixel_losses(predicted.float(), target, self.config.l2)
        losses["adversarial"] = adversarial_loss(judge(predicted))
        loss = losses["l1"] + losses["l2"] + ADVERSARIAL[self.config.preset] * losses["adversarial"]
        generator.zero_grad()
        self.manual_backward(loss)
        generator_norm = _gradient_norm(network)
        generator.step()
        judge.requires_grad_(True)

        logged = {
            "loss": loss,
            **losses,
            "discriminator": judged,
            "gradient_generator": generator_norm,
            "gradient_discriminator": discriminator_norm,
            "score_real": patch_gan.score(real).mean(),
            "score_generated": patch_gan.score(generated).mean(),
            "score_before_mining": mined.before.mean(),
            "score_after_mining": mined.after.mean(),
            "mining_steps": mined.steps.float().mean(),
        }
        train = {f"train_{name}": value.detach() for name, value in logged.items()}
        self.log_dict(train, on_step=False, on_epoch=True, batch_size=len(target))
        return loss.detach()

    def _mined_pictures(self, mined: Mined) -> Tensor:
        """Drawn with learnt statistics, so that the decoder's are those of the latents that it is trained on."""
        with torch.no_grad(), evaluating(self.generator.decoder):
            return self.generator.decoder(mined.z)

    def validation_step(self, batch: Batch, _: int) -> None:
        frames = scale_frames(batch["frames"])
        predicted = self(frames[:, :INPUTS]).float()
        losses = pixel_losses(predicted, frames[:, INPUTS], self.config.l2)
        losses["psnr"] = psnr((predicted - frames[:, INPUTS]).square() / 4).mean()
        self.log_dict({f"val_{name}": value for name, value in losses.items()}, batch_size=len(frames))

    def configure_optimizers(self) -> Any:
        """Adam for both; the paper names no schedule."""
        rates = {self.generator: 1.0, self.discriminator: self.config.discriminator_rate}
        return [torch.optim.Adam(n.parameters(), self.learning_rate * part, betas=BETAS) for n, part in rates.items()]

    def scorer(self, options: ScoringOptions) -> "VALTGANScorer":
        return VALTGANScorer(self, options)


class VALTGANScorer(Scorer):
    """Both networks made ready to score; the encoder sees each frame once, all windows that hold it share its features.

    Where latents are mined, decoder and discriminator stay in float32.
    """

    def __init__(self, model: VALTGAN, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.config = model.config
        self.drawn_in = torch.float32 if model.config.mine_at_test else options.dtype
        self.generator = fold_batch_norm(model.generator).to(options.device, options.dtype)
        self.generator.decoder.to(self.drawn_in)
        self.discriminator = fold_batch_norm(model.discriminator).to(options.device, self.drawn_in)

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        frames = scale_frames(rows["frames"])
        return {"frames": frames, "features": self._features(frames)}

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> tuple[Tensor, Tensor]:
        """Squared errors (n, colours, H, W) of the predicted frames, in [0, 1], and D's scores of these (n,)."""
        n, frames, features = len(complete.starts), rows["frames"], rows["features"]
        predicted = self._predicted([features[i : i + n] for i in range(INPUTS)])
        realness = patch_gan.score(self.discriminator(predicted))
        return (predicted.float() - frames[INPUTS : INPUTS + n]).square() / 4, realness

    def score(self, encoded: tuple[Tensor, Tensor], complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        error, realness = encoded
        maps = error_map(error)
        return {"psnr": psnr(error), "worst_place": worst_place(maps), "realness": realness}, maps

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The predicted fifth frame of a window."""
        frames = scale_frames(torch.from_numpy(np.array(arrays["frames"][:INPUTS])).to(self.options.device))
        return stored_frame(self._predicted(self._features(frames).split(1))[0].float())

    def _features(self, frames: Tensor) -> Tensor:
        """(n, colours, H, W) to (n, C, h, w)."""
        return self.generator.features(frames.to(self.options.dtype, memory_format=torch.channels_last))

    def _predicted(self, features: Sequence[Tensor]) -> Tensor:
        """Features of four frames, (n, C, h, w) each, to frames (n, colours, H, W), of the decoder's type."""
        z = self.generator.latent(features)
        if self.config.mine_at_test:
            z = self.config.mined(z, self.generator.decoder, self.discriminator).z
        return self.generator.decoder(z.to(self.drawn_in))


def _doubled(i: int, o: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(i, o, 2, stride=2, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, inplace=True)
    )


def _gradient_norm(network: nn.Module) -> Tensor:
    """Of all of its parameters' gradients together."""
    return torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])

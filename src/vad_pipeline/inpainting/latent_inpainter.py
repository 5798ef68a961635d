"""Latent diffusion inpainting (Rombach et al., CVPR 2022), as the pseudo-anomaly paper uses it (spec 6.4).

A VQ autoencoder (f4, three latent channels) and a U-Net that removes noise from the latent of the whole picture, given
the latent of the masked picture and the mask: 3 + 3 + 1 channels in, 3 out. The noise schedule is CompVis'. One
diffusers pipeline holds all of it, so ``save_pretrained`` and ``from_pretrained`` work.

The paper takes CompVis' weights, trained on Places (``compvis_inpainter`` converts them). Where there are none, both
networks are trained here on the normal frames at hand, small and on crops. Left open by the paper or chosen here:
- Pictures and masks are in [-1, 1]. The masked picture is black (-1) in the hole before it is encoded; the mask,
  nearest neighbour at the latent's size, is 1 in the hole and -1 elsewhere.
- CompVis' latents are used as they are (``scaling_factor`` 1); ours are divided by their standard deviation, which the
  noise schedule takes to be 1.
- The autoencoder is trained with the mean absolute error of pixels and of their differences to the right and below, on
  objects ``object_weight`` times as much, without CompVis' perceptual and adversarial losses, whose networks would be a
  download. Codes are updated by gradient, with a commitment loss.
- For the first 60% of its steps the autoencoder is trained without codes; then latents of one batch become the codes.
  Codes from the start are learnt several times slower, because they first have to find out where latents lie.
- The learning rate rises over the first tenth of the steps and then falls to zero (one cycle), for both networks.
- CompVis' U-Net answers the noise. Ours answers velocity (Salimans and Ho, ICLR 2022): after a short training an error
  in the noise is magnified fourteen-fold in the first steps of sampling. Errors in holes count ``hole_weight`` times.
- The denoiser samples with an average of its weights over steps (decay ``ema``, less in the first steps).
- No attention in the autoencoder; in the U-Net on its two coarser levels.
"""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vad_pipeline.fitting.fit import Batch

LATENTS = 3
WITHOUT_CODES = 0.6  # share of the autoencoder's steps
WARM_UP = 0.1  # share of the steps over which the learning rate rises
GROUPS = 4  # of group norm; more are several times slower in channels-last bfloat16 on a processor


class InpainterError(RuntimeError):
    """An inpainter that cannot be loaded or run; the message says which and what to do."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """A latent inpainter that is small enough to be trained where it is used.

    Attributes:
        autoencoder: channels at 1, 1/2 and 1/4 of the picture's size.
        codes: vectors in the codebook.
        denoiser: channels of the U-Net at 1/4, 1/8 and 1/16 of the picture's size; multiples of 32.
        object_weight: of errors on moving objects, relative to those on the background.
        hole_weight: of the denoiser's errors in the hole, relative to those outside, where it only has to copy.
        ema: decay per step of the average of the denoiser's weights.
    """

    autoencoder: tuple[int, int, int] = (32, 64, 96)
    codes: int = Field(default=512, ge=2)
    denoiser: tuple[int, int, int] = (64, 96, 128)
    object_weight: float = Field(default=5.0, ge=1)
    hole_weight: float = Field(default=5.0, ge=1)
    ema: float = Field(default=0.995, ge=0, lt=1)


def new_autoencoder(config: Config) -> VQModel:
    """The VQ autoencoder with random weights."""
    return VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=config.autoencoder,
        layers_per_block=1,
        latent_channels=LATENTS,
        num_vq_embeddings=config.codes,
        norm_num_groups=GROUPS,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def new_denoiser(config: Config) -> UNet2DModel:
    """The U-Net with random weights."""
    return UNet2DModel(
        in_channels=2 * LATENTS + 1,
        out_channels=LATENTS,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=config.denoiser,
        layers_per_block=1,
        attention_head_dim=32,
        norm_num_groups=GROUPS,
    )


def compvis_schedule(prediction: Literal["epsilon", "v_prediction"] = "epsilon") -> DDIMScheduler:
    """1000 steps with CompVis' betas, linspace(sqrt(0.0015), sqrt(0.0205))^2, sampled by DDIM.

    Args:
        prediction: what the U-Net answers: the noise (CompVis), or velocity.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.0015,
        beta_end=0.0205,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )


def sampling_steps(scheduler: DDIMScheduler, count: int) -> list[int]:
    """Steps of the noise schedule at which the U-Net is asked, from the noisiest down; the scheduler is set to them.

    Every ``1000 // count``-th from 1 to the last, as CompVis' sampler spaces them: a few more than ``count`` where that
    does not divide 1000, 31 for 30. diffusers leaves those out, which are the noisiest, and begins as if there were
    less noise than there is. Where CompVis' spacing ends at 1000, one behind the last, its sampler fails; here that
    step is left out.

    Args:
        scheduler: of the schedule; its ``step`` then goes as far at a time.
        count: at most all.

    Raises:
        InpainterError: it is more.

    >>> sampling_steps(compvis_schedule(), 30)[:2], len(sampling_steps(compvis_schedule(), 30))
    ([991, 958], 31)
    """
    total = scheduler.config["num_train_timesteps"]
    if count > total:
        raise InpainterError(f"inpainting.steps: {count} steps of a noise schedule of {total}; set {total} or less")
    scheduler.set_timesteps(count)
    return list(range(1, total, total // count))[::-1]


class LatentInpaintingPipeline(DiffusionPipeline):
    """Inpainting in the latent space of a VQ autoencoder; holds ``vqvae``, ``unet`` and ``scheduler``."""

    vqvae: VQModel
    unet: UNet2DModel
    scheduler: DDIMScheduler

    def __init__(self, vqvae: VQModel, unet: UNet2DModel, scheduler: DDIMScheduler):
        super().__init__()
        self.register_modules(vqvae=vqvae, unet=unet, scheduler=scheduler)
        # pixels along a latent's cell, under the name that pipelines of diffusers have for it
        self.vae_scale_factor = 2 ** (len(vqvae.config["block_out_channels"]) - 1)

    @torch.no_grad()
    def __call__(
        self,
        image: Tensor,
        mask_image: Tensor,
        generator: Sequence[torch.Generator],
        num_inference_steps: int = 50,
    ) -> Tensor:
        """Fill the holes.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W are multiples of what the networks halve.
            mask_image: (B, 1, H, W), 1 in the hole, 0 elsewhere.
            generator: one per picture, of its noise.
            num_inference_steps: of DDIM, with eta 0, spaced by ``sampling_steps``.

        Returns:
            (B, 3, H, W) in [-1, 1]: exactly the image outside the hole.

        Raises:
            InpainterError: more steps than the noise schedule has.
        """
        hole = mask_image > 0.5
        known = masked_latent(self.vqvae, image, hole)
        latent_hole = latent_mask(hole, known.shape[-2:])
        noise = [torch.randn(known.shape[1:], generator=g, device=g.device) for g in generator]
        latent = torch.stack(noise).to(image.device) * self.scheduler.init_noise_sigma
        for step in self.progress_bar(sampling_steps(self.scheduler, num_inference_steps)):
            predicted = self.unet(torch.cat([latent, known, latent_hole], dim=1), step).sample.float()
            latent = self.scheduler.step(predicted, step, latent, eta=0.0, return_dict=False)[0]
        decoded = quantised_and_decoded(self.vqvae, latent / self.vqvae.config["scaling_factor"])[0]
        return torch.where(hole, decoded.clamp(-1, 1), image)


def masked_latent(vqvae: VQModel, image: Tensor, hole: Tensor) -> Tensor:
    """Latent of a picture (B, 3, H, W) that is black in the hole, bool (B, 1, H, W): (B, 3, H/4, W/4)."""
    return vqvae.encode(torch.where(hole, -1.0, image)).latents.float() * vqvae.config["scaling_factor"]


def quantised_and_decoded(vqvae: VQModel, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) from latents (B, 3, H/4, W/4) by way of the nearest codes, and the commitment loss."""
    with torch.autocast(latent.device.type, enabled=False):  # distances to codes need all digits
        quantised, commitment, _codes = vqvae.quantize(latent.float())
    return vqvae.decode(quantised, force_not_quantize=True).sample.float(), commitment


def latent_mask(hole: Tensor, size: Sequence[int]) -> Tensor:
    """The mask as the U-Net reads it: 1 in the hole, -1 elsewhere, nearest neighbour at ``size``."""
    return F.interpolate(hole.float(), size=tuple(size)) * 2 - 1


class AutoencoderTraining(lightning.LightningModule):
    """Trains the VQ autoencoder on crops.

    A batch holds ``image``, uint8 (B, H, W, 3), and ``object``, bool (B, H, W). Logged per epoch:
    ``train_autoencoder_loss`` and, of held-out crops, ``val_autoencoder_mse`` and ``val_autoencoder_object_mse``, of
    pixels in [0, 1], the latter within moving objects.
    """

    def __init__(self, config: Config, learning_rate: float):
        super().__init__()
        self.config, self.learning_rate = config, learning_rate
        self.vqvae = new_autoencoder(config).to(memory_format=torch.channels_last)  # type: ignore[call-arg]

    def training_step(self, batch: Batch, _: int) -> Tensor:
        image = to_unit(batch["image"])
        weight = 1 + (self.config.object_weight - 1) * batch["object"][:, None].float()
        latent = self.vqvae.encode(image).latents
        start = int(WITHOUT_CODES * self.trainer.estimated_stepping_batches)
        if self.global_step < start:
            decoded = self.vqvae.decode(latent, force_not_quantize=True).sample.float()
            commitment = torch.zeros((), device=latent.device)
        else:
            if self.global_step == start:
                self._take_codes(latent.detach())
            decoded, commitment = quantised_and_decoded(self.vqvae, latent)
        loss = reconstruction_loss(decoded, image, weight) + commitment
        self.log("train_autoencoder_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(image))
        return loss

    def _take_codes(self, latent: Tensor) -> None:
        """Cells of latents (B, 3, h, w), spread over the batch, become the codes."""
        cells = latent.float().movedim(1, -1).flatten(0, -2)
        chosen = torch.linspace(0, len(cells) - 1, self.config.codes, device=cells.device).round().long()
        self.vqvae.quantize.embedding.weight.data.copy_(cells[chosen])

    def validation_step(self, batch: Batch, _: int) -> None:
        image = to_unit(batch["image"])
        decoded = quantised_and_decoded(self.vqvae, self.vqvae.encode(image).latents)[0]
        error = (decoded.clamp(-1, 1) - image).square().mean(dim=1) / 4
        inside = batch["object"]
        self.log("val_autoencoder_mse", error.mean(), batch_size=len(image))
        self.log("val_autoencoder_object_mse", error[inside].mean(), batch_size=int(inside.sum()))

    def configure_optimizers(self) -> Any:
        return one_cycle(self, torch.optim.Adam(self.vqvae.parameters(), lr=self.learning_rate), self.learning_rate)


def reconstruction_loss(decoded: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute error of pixels and of their differences to the right and below.

    Args:
        decoded, image: (B, C, H, W).
        weight: (B, 1, H, W).
    """
    error = decoded - image
    pixels = (weight * error.abs()).mean()
    across = (weight[..., 1:] * error.diff(dim=-1).abs()).mean()
    down = (weight[..., 1:, :] * error.diff(dim=-2).abs()).mean()
    return pixels + across + down


class DenoiserTraining(lightning.LightningModule):
    """Trains the U-Net to tell noise from picture, in the latent space of a finished autoencoder.

    A batch holds ``image``, uint8 (B, H, W, 3), and ``hole``, bool (B, H, W). Logged per epoch:
    ``train_denoiser_loss`` and, of held-out crops, ``val_denoiser_loss``, the same of the averaged network: weighted
    mean squared error of the velocity.
    """

    def __init__(self, config: Config, vqvae: VQModel, learning_rate: float):
        super().__init__()
        self.config, self.learning_rate = config, learning_rate
        # a plain attribute in a list: the finished autoencoder is neither trained nor saved here
        self._vqvae = [copy.deepcopy(vqvae).eval().requires_grad_(False)]
        self.unet = new_denoiser(config).to(memory_format=torch.channels_last)  # type: ignore[call-arg]
        self.averaged = AveragedModel(self.unet, multi_avg_fn=partial(average, config.ema)).requires_grad_(False)
        self.schedule = compvis_schedule("v_prediction")

    def training_step(self, batch: Batch, _: int) -> Tensor:
        steps = torch.randint(self.schedule.config["num_train_timesteps"], (len(batch["image"]),), device=self.device)
        loss = self._loss(self.unet, batch, steps, None)
        self.log("train_denoiser_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(steps))
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        total, count = self.schedule.config["num_train_timesteps"], len(batch["image"])
        # the same steps and noise in every epoch
        steps = ((torch.arange(count, device=self.device) * 2 + 1) * total // (2 * count)).clamp(max=total - 1)
        generator = torch.Generator().manual_seed(number)
        self.log("val_denoiser_loss", self._loss(self.averaged, batch, steps, generator), batch_size=count)

    def _loss(
        self, unet: UNet2DModel | AveragedModel, batch: Batch, steps: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        image, hole = to_unit(batch["image"]), batch["hole"][:, None]
        vqvae = self._vqvae[0].to(self.device)  # type: ignore[arg-type]
        with torch.no_grad():
            latent = vqvae.encode(image).latents.float() * vqvae.config["scaling_factor"]
            known = masked_latent(vqvae, image, hole)
        noise = torch.randn(latent.shape, generator=generator).to(latent)
        noisy = self.schedule.add_noise(latent, noise, steps)  # type: ignore[arg-type]
        cells = latent_mask(hole, latent.shape[-2:])
        predicted = unet(torch.cat([noisy, known, cells], dim=1), steps).sample.float()
        velocity = self.schedule.get_velocity(latent, noise, steps)  # type: ignore[arg-type]
        weight = torch.where(cells > 0, self.config.hole_weight, 1.0)
        return (weight * (predicted - velocity).square()).sum() / (weight.sum() * latent.shape[1])

    def on_train_batch_end(self, *_: Any) -> None:
        self.averaged.update_parameters(self.unet)

    def configure_optimizers(self) -> Any:
        return one_cycle(self, torch.optim.Adam(self.unet.parameters(), lr=self.learning_rate), self.learning_rate)


def average(decay: float, means: list[Tensor], weights: list[Tensor], count: Tensor) -> None:
    """Move averages towards the weights of one step more, as ``AveragedModel`` asks for it.

    Args:
        decay: of the averages per step; in the first steps it is (1 + count) / (10 + count), so that the random initial
            weights are soon forgotten.
        means: averages, changed in place.
        weights: of the same shapes.
        count: steps that the averages are of.
    """
    get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(means, weights, count)


def one_cycle(module: lightning.LightningModule, optimizer: torch.optim.Optimizer, highest: float) -> Any:
    """Lightning's answer for a rate that rises over the first tenth of a training's steps and then falls to zero."""
    steps = max(2, int(module.trainer.estimated_stepping_batches))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=steps, pct_start=WARM_UP)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def to_unit(images: Tensor) -> Tensor:
    """Pictures uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1], in channels-last memory."""
    return (images.float() / 127.5 - 1).movedim(-1, 1)


def to_pixels(images: Tensor) -> np.ndarray:
    """The inverse of ``to_unit``, rounded."""
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()

"""ALPS: an autoencoder that learns to undo adversarial perturbations of its latent space (Khazaie et al.; spec 5).

An encoder turns an image into a latent vector; a distorter, a network like the encoder, looks at the same image and
says what to add to it; a decoder gives the image back from the perturbed vector and from the clean one. The autoencoder
minimises both errors, the distorter maximises the first. On whole images (``patch: null``: MNIST, Fashion-MNIST) and on
patches of video: frames are cut into squares of 30 pixels, those in which something moves are kept, and a frame's score
is that of its worst patch.

The paper gives the number of layers and little else. Settled here as spec 5 has it, or left open by it and chosen:

- Four 3x3 convolutions of stride 2 (32, 64, 128, 128), batch norm, leaky ReLU, global average pooling; a dense layer to
  4x4, transposed convolutions of 128, 64, 64, 32, 32 and 1 channels, those of stride 2 with 4x4 kernels. The last
  activation of the distorter is ``bound * tanh``, without a leaky ReLU before it: perturbations have both signs.
- Clean and perturbed vectors are decoded as one batch, so that the decoder's batch norms keep the statistics of what
  scoring shows them, both.
- The distorter's step uses the gradient of the same forward pass, before any weight has changed. With Adam the size of
  ``distorter_weight`` does not matter, its sign does.
- With ``every: 2`` the distorter moves in the first, third, ... epoch, so that of an even number of epochs the last one
  is the autoencoder's: it ends when it has learnt to undo what the distorter came up with.
- ``noise`` adds Gaussian noise as strong as a trained distorter's perturbation: ``noise_strength`` is the mean of
  |noise|, equal to the mean of |delta| over the last epoch of an ALPS run (the buffer ``perturbation``). In scoring
  the noise is a function of the frame's and the patch's number.
- Images are padded with zeros to 32x32, patches are resized to it (bilinear). Errors are means over these 32x32 pixels
  in [0, 1].
- A patch moves if its mean absolute difference to the frame before exceeds a threshold: Otsu's on the logarithms of
  all training patches' differences (``motion_threshold`` fixes it). So the first frame of a clip has no score. A frame
  in which nothing moves scores 0. Of other frame sizes than multiples of a patch the middle is looked at.
- s3 averages the raw errors, whose scaling to [0, 1] over the test set changes no AUC. The headline is s2, the
  perturbed error; the best of the three by test labels is the oracle column of ``protocol: paper``.
"""

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.fitting.fit import Batch
from vad_pipeline.fitting.resident import ResidentItems
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.layers.error_maps import error_map
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.patches import (
    PatchGrid,
    Pooling,
    frames_with_motion,
    moving_patches,
    moving_threshold,
    patch_motion,
    pooled,
)
from vad_pipeline.models.layers.pixels import padded, stored_frame, unpadded
from vad_pipeline.models.layers.small_images import SIDE, Decoder, Distorter, Trunk
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

NOISES = 4096  # vectors of noise that scoring takes in turn


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """ALPS; sizes are the specification's, the paper gives none.

    Attributes:
        mode: ``alps``; ``noise`` adds random noise instead of the distorter's perturbation, ``vanilla`` nothing.
        width: multiplies the channels of all convolutions.
        latent: length of the latent vector.
        bound: of every entry of the perturbation; null leaves it unbounded.
        every: epochs from one that moves the distorter to the next.
        clean_weight, perturbed_weight: of the autoencoder's two errors.
        distorter_weight: of the perturbed error in the distorter's loss.
        distorter_rate: learning rate of the distorter.
        noise_strength: mean absolute value of the noise, for the mode ``noise``.
        patch: side of a patch in pixels; null looks at whole images of at most 32x32 pixels.
        motion_threshold: in [0, 1]; null learns it from the training frames.
        most_patches: of training that are kept in memory; of more, so many are drawn.
        frame_score: of the moving patches' errors; ``top_k`` is the mean of the ``top`` highest.
    """

    mode: Literal["alps", "noise", "vanilla"] = "alps"
    width: float = Field(default=1.0, gt=0)
    latent: int = Field(default=128, ge=1)
    bound: float | None = Field(default=1.0, gt=0)
    every: int = Field(default=2, ge=1)
    clean_weight: float = Field(default=1.0, ge=0)
    perturbed_weight: float = Field(default=1.0, gt=0)
    distorter_weight: float = Field(default=0.1, gt=0)
    distorter_rate: float = Field(default=1e-4, gt=0)
    noise_strength: float | None = Field(default=None, gt=0)
    patch: int | None = Field(default=30, ge=4)
    motion_threshold: float | None = Field(default=None, ge=0, le=1)
    most_patches: int = Field(default=200_000, ge=1)
    frame_score: Pooling = "max"
    top: int = Field(default=5, ge=1)


class ALPS(Model):
    """Training and scoring; see ``Model`` for the arguments."""

    config_class: ClassVar[type] = Config
    terms: ClassVar[dict[str, Term]] = {
        "clean_error": Term(True, "s1: mean squared error of the reconstruction from the clean latent vector"),
        "perturbed_error": Term(True, "s2: that from the perturbed latent vector"),
        "mean_error": Term(True, "s3: mean of the two"),
    }
    has_maps = True
    size_multiple = 4
    scoring_only = frozenset({"frame_score", "top"})
    optimizer_names = ("autoencoder", "distorter")
    published_parameters: ClassVar[Mapping[int, float]] = {1: 1.184, 3: 1.185}  # autoencoder 0.943, distorter 0.241
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.125, "latent": 8, "patch": 8}

    motion_threshold: Tensor
    perturbation: Tensor
    left_out: Tensor

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 1e-3, epochs: int = 20):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        if config.mode == "noise" and config.noise_strength is None:
            raise TrainingError(
                "alps: mode noise needs noise_strength, the mean absolute perturbation of a trained ALPS run, which "
                "its report states; the pipeline image_anomalies takes it from its own runs"
            )
        self.automatic_optimization = False
        self.encoder = Trunk(colours, config.width, config.latent)
        self.decoder = Decoder(colours, config.width, config.latent)
        own = config.mode == "alps"
        self.distorter = Distorter(colours, config.width, config.latent, config.bound) if own else None
        self.to(memory_format=torch.channels_last)
        self.register_buffer("motion_threshold", torch.tensor(config.motion_threshold or 0.0))
        self.register_buffer("perturbation", torch.tensor(0.0))
        self.register_buffer("left_out", torch.zeros(2, dtype=torch.long))
        self._perturbations: list[Tensor] = []

    @staticmethod
    def window(config: Config) -> Window:
        return Window(1, 0) if config.patch is None else Window(2, 1)

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        return {"perturbed_error": 1.0}

    def facts(self) -> dict[str, float]:
        """The mean absolute perturbation of training's last epoch, the motion that a patch needs, and how many rows and
        columns of pixels lie beside the patches."""
        found = {} if self.config.mode == "vanilla" else {"perturbation": float(self.perturbation)}
        if self.config.patch is not None:
            rows, columns = map(float, self.left_out)
            found |= {"motion_threshold": float(self.motion_threshold)}
            found |= {"rows_left_out": rows, "columns_left_out": columns}
        return found

    @staticmethod
    def shown_side(config: Config) -> int | None:
        return config.patch

    def dataset(self, clips: Mapping[str, Clips], stride: int, seed: int, stored: Clips | None) -> Dataset:
        """All images, or all moving patches, resident; learns from which motion on a patch moves.

        Raises:
            TrainingError: images are larger than 32x32, frames smaller than a patch, or no patch moves.
        """
        frames = clips["frames"]
        grid = self._grid(frames)
        if grid is not None:
            height, width = next(iter(frames.values())).shape[1:3]
            self.left_out.copy_(torch.tensor([height % grid.size, width % grid.size]))
            if self.config.motion_threshold is None:
                motion = torch.cat([motion.flatten() for _, motion in frames_with_motion(frames, grid)])
                if not bool((motion > 0).any()):
                    raise TrainingError(
                        "alps: nothing moves in the training frames, so there is no patch to learn from"
                    )
                self.motion_threshold.fill_(moving_threshold(motion.numpy()))
        items = self._items(frames, stride, seed)
        if not len(items):
            raise TrainingError(
                f"alps: no patch of the training frames moves by more than motion_threshold, "
                f"{float(self.motion_threshold):.4f}; lower it or set it to null, which learns it"
            )
        return ResidentItems(items)

    def held_out_dataset(self, clips: Mapping[str, Clips], stride: int) -> Dataset:
        return ResidentItems(self._items(clips["frames"], stride, seed=0))

    def _items(self, frames: Clips, stride: int, seed: int) -> Tensor:
        """Images (n, H, W, C), or moving patches (n, patch, patch, C), uint8."""
        grid = self._grid(frames)
        if grid is None:
            return torch.from_numpy(np.concatenate([clip.array()[::stride] for clip in frames.values()]))
        return moving_patches(frames, grid, float(self.motion_threshold), stride, self.config.most_patches, seed)

    def _grid(self, frames: Clips) -> PatchGrid | None:
        """Of the patches; None where whole images are looked at."""
        height, width = next(iter(frames.values())).shape[1:3]
        if self.config.patch is None:
            if max(height, width) > SIDE:
                raise TrainingError(
                    f"alps: images of {width}x{height}, whole images have at most {SIDE}x{SIDE} pixels; lower the size "
                    "of its frames, or set patch to look at patches of video"
                )
            return None
        try:
            return PatchGrid.of(height, width, self.config.patch)
        except ValueError as error:
            raise TrainingError(f"alps: {error}") from error

    def training_step(self, batch: Batch, _: int) -> None:
        images = network_input(batch["frames"], self.config)
        autoencoder = [*self.encoder.parameters(), *self.decoder.parameters()]
        moves = self.distorter is not None and self.current_epoch % self.config.every == 0
        errors = self.errors(images)
        optimizers = self.optimizers()
        both = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer in both:
            optimizer.zero_grad()
        weights = self.config.clean_weight, self.config.perturbed_weight
        loss = weights[0] * errors["clean_error"] + weights[1] * errors["perturbed_error"]
        self.manual_backward(loss, retain_graph=moves, inputs=autoencoder)
        if moves:
            assert self.distorter is not None
            against = -self.config.distorter_weight * errors["perturbed_error"]
            self.manual_backward(against, inputs=list(self.distorter.parameters()))
            both[1].step()
        both[0].step()
        self._perturbations.append(errors["perturbation"].detach())
        logged = {f"train_{name}": value.detach() for name, value in {"loss": loss, **errors}.items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(images))

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's mean perturbation, which the mode ``noise`` is matched to."""
        self.perturbation.fill_(torch.stack(self._perturbations).mean())
        self._perturbations.clear()

    def validation_step(self, batch: Batch, _: int) -> None:
        images = network_input(batch["frames"], self.config)
        errors = {f"val_{name}": value for name, value in self.errors(images).items()}
        self.log_dict(errors, batch_size=len(images))

    def errors(self, images: Tensor) -> dict[str, Tensor]:
        """Mean squared errors of a batch (B, colours, 32, 32), and the mean absolute perturbation."""
        latent = self.encoder(images).float()
        if self.config.mode == "vanilla":
            clean = F.mse_loss(self.decoder(latent).float(), images)
            return {"clean_error": clean, "perturbed_error": clean, "perturbation": torch.zeros(())}
        if self.distorter is not None:
            delta = self.distorter(images)
        else:
            delta = torch.randn_like(latent) * noise_deviation(self.config)
        clean, perturbed = self.decoder(torch.cat([latent, latent + delta])).float().chunk(2)
        return {
            "clean_error": F.mse_loss(clean, images),
            "perturbed_error": F.mse_loss(perturbed, images),
            "perturbation": delta.abs().mean(),
        }

    def configure_optimizers(self) -> Any:
        """Adam at constant rates."""
        own = torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=self.learning_rate)
        if self.distorter is None:
            return own
        return [own, torch.optim.Adam(self.distorter.parameters(), lr=self.config.distorter_rate)]

    def scorer(self, options: ScoringOptions) -> "ALPSScorer":
        return ALPSScorer(self, options)


class ALPSScorer(Scorer):
    """Scores images, or frames by their moving patches: all patches of many frames go through the networks at once."""

    def __init__(self, model: ALPS, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.config, self.threshold = model.config, float(model.motion_threshold)
        self.encoder, self.decoder = self._ready(model.encoder), self._ready(model.decoder)
        self.distorter = None if model.distorter is None else self._ready(model.distorter)
        if model.config.mode == "noise":
            drawn = torch.randn(NOISES, model.config.latent, generator=torch.Generator().manual_seed(0))
            self.noise = drawn.to(options.device) * noise_deviation(model.config)

    def _ready(self, network: nn.Module) -> nn.Module:
        """A copy to score with."""
        folded = fold_batch_norm(network).to(self.options.device, self.options.dtype)
        return folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return rows  # patches are cut from pixels as they are stored

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        starts, frames = torch.as_tensor(complete.starts), rows["frames"]
        numbers = torch.as_tensor(complete.frames)
        if self.config.patch is None:
            images = network_input(frames[starts], self.config)
            clean, perturbed = self._reconstructed(images, numbers)
            squared = unpadded((perturbed - images).square(), *frames.shape[1:3])
            return _terms(clean, perturbed, images), error_map(squared)
        return self._frame_scores(frames[starts + 1], frames[starts], numbers)

    def score(self, encoded: tuple[dict[str, Tensor], Tensor], complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        return encoded

    def _moving(self, frames: Tensor, before: Tensor, numbers: Tensor) -> tuple[PatchGrid, Tensor, Tensor, Tensor]:
        """Of frames (n, H, W, C) the grid, which patches move (n, rows, columns), these as the networks see them (k, C,
        32, 32), and their numbers over all patches of all frames of the clip (k,)."""
        assert self.config.patch is not None
        height, width = frames.shape[1:3]
        grid = PatchGrid.of(height, width, self.config.patch)
        moving = patch_motion(frames, before, grid) > self.threshold
        every = numbers.to(frames.device)[:, None] * grid.count + torch.arange(grid.count, device=frames.device)
        return grid, moving, network_input(grid.unfold(frames)[moving], self.config), every[moving.flatten(1)]

    def _frame_scores(self, frames: Tensor, before: Tensor, numbers: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms and maps of frames (n, H, W, C): the errors of moving patches, still ones have none."""
        grid, moving, images, of_patches = self._moving(frames, before, numbers)
        if not bool(moving.flatten(1).any(1).all()):
            warnings.warn("alps: a frame in which no patch moves scores 0", stacklevel=2)
        clean, perturbed = self._reconstructed(images, of_patches)
        by_patch = {
            name: torch.zeros(moving.shape, device=frames.device).masked_scatter(moving, error)
            for name, error in _terms(clean, perturbed, images).items()
        }
        how, top = self.config.frame_score, self.config.top
        terms = {name: pooled(errors, moving, how, top) for name, errors in by_patch.items()}
        height, width = frames.shape[1:3]
        return terms, grid.spread(by_patch["perturbed_error"], height, width, 4)

    def _reconstructed(self, images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Images (k, colours, 32, 32) from the clean and from the perturbed latent vector, float32."""
        if not len(images):
            return images, images
        seen = images.to(self.options.dtype)
        latent = self.encoder(seen)
        clean = self.decoder(latent).float()
        if self.config.mode == "vanilla":
            return clean, clean
        if self.distorter is not None:
            delta = self.distorter(seen)
        else:
            delta = self.noise[numbers.to(self.noise.device) % NOISES]
        return clean, self.decoder((latent.float() + delta).to(self.options.dtype)).float()

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The image, or the moving patches in their frame, reconstructed from the perturbed latent vector.

        Noise is that of a clip's first frame.
        """
        rows = torch.from_numpy(np.array(arrays["frames"])).to(self.options.device)
        first = torch.zeros(1, dtype=torch.long)
        if self.config.patch is None:
            _, perturbed = self._reconstructed(network_input(rows[:1], self.config), first)
            return stored_frame(unpadded(perturbed, *rows.shape[1:3])[0] * 2 - 1)
        grid, moving, images, numbers = self._moving(rows[1:], rows[:1], first)
        patches = grid.unfold(rows[1:]).clone()
        if len(images):
            small = F.interpolate(self._reconstructed(images, numbers)[1], size=grid.size, mode="bilinear")
            patches[moving] = (small * 255).round().clamp(0, 255).byte().movedim(1, -1)
        shown = rows[1:].clone()
        grid.inside(shown).copy_(grid.fold(patches))
        return shown[0].cpu().numpy()


def network_input(stored: Tensor, config: Config) -> Tensor:
    """Images or patches (n, H, W, C) of [0, 255] as the networks see them: float32 (n, C, 32, 32) in [0, 1].

    Patches are resized, whole images padded with zeros.
    """
    images = stored.movedim(-1, 1).float() / 255
    if config.patch is None:
        seen = padded(images, SIDE)
    elif len(images):
        seen = F.interpolate(images, size=SIDE, mode="bilinear")
    else:  # which interpolation refuses
        seen = images.new_zeros(0, images.shape[1], SIDE, SIDE)
    return seen.contiguous(memory_format=torch.channels_last)


def noise_deviation(config: Config) -> float:
    """Standard deviation of Gaussian noise whose mean absolute value is ``noise_strength``."""
    assert config.noise_strength is not None
    return config.noise_strength * math.sqrt(math.pi / 2)


def _terms(clean: Tensor, perturbed: Tensor, images: Tensor) -> dict[str, Tensor]:
    """Mean squared errors (n,) of the two reconstructions of images (n, C, 32, 32), and their mean."""
    s1, s2 = ((made - images).square().flatten(1).mean(1) for made in (clean, perturbed))
    return {"clean_error": s1, "perturbed_error": s2, "mean_error": (s1 + s2) / 2}

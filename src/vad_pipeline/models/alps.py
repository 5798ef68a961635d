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
from collections.abc import Iterator, Mapping
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
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.patches import PatchGrid, moving_threshold, patch_motion
from vad_pipeline.models.layers.pixels import stored_frame
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

SIDE = 32  # pixels of what the networks see
NOISES = 4096  # vectors of noise that scoring takes in turn
CHUNK = 64  # frames read at a time when patches are collected


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
    frame_score: Literal["max", "mean", "top_k"] = "max"
    top: int = Field(default=5, ge=1)


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
        self.distorter = Trunk(colours, config.width, config.latent, signed=True) if config.mode == "alps" else None
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
        if self.config.patch is None:
            return found
        rows, columns = self.left_out.tolist()
        found |= {"motion_threshold": float(self.motion_threshold)}
        return found | {"rows_left_out": float(rows), "columns_left_out": float(columns)}

    @staticmethod
    def shown_side(config: Config) -> int | None:
        return config.patch

    def dataset(self, clips: Mapping[str, Clips], stride: int, seed: int, stored: Clips | None) -> Dataset:
        """All images, or all moving patches, resident; learns from which motion on a patch moves.

        Raises:
            TrainingError: images are larger than 32x32, frames smaller than a patch, or no patch moves.
        """
        frames = clips["frames"]
        _check_size(frames, self.config.patch)
        if self.config.patch is not None:
            (height, width), grid = next(iter(frames.values())).shape[1:3], self._grid(frames)
            self.left_out.copy_(torch.tensor([height % grid.size, width % grid.size]))
            if self.config.motion_threshold is None:
                self.motion_threshold.fill_(self._learnt_threshold(frames))
        return ResidentItems(self._items(frames, stride, seed))

    def held_out_dataset(self, clips: Mapping[str, Clips], stride: int) -> Dataset:
        return ResidentItems(self._items(clips["frames"], stride, 0, held_out=True))

    def _learnt_threshold(self, frames: Clips) -> float:
        motion = torch.cat([m.flatten() for _, m in _with_motion(frames, 1, self._grid(frames))]).numpy()
        if not (motion > 0).any():
            raise TrainingError("alps: nothing moves in the training frames, so there is no patch to learn from")
        return moving_threshold(motion)

    def _items(self, frames: Clips, stride: int, seed: int, held_out: bool = False) -> Tensor:
        """Images (n, H, W, C), or moving patches (n, patch, patch, C), uint8."""
        if self.config.patch is None:
            return torch.from_numpy(np.concatenate([clip.array()[::stride] for clip in frames.values()]))
        grid = self._grid(frames)
        threshold = float(self.motion_threshold)
        kept = [grid.unfold(rows)[motion > threshold] for rows, motion in _with_motion(frames, stride, grid)]
        patches = torch.cat(kept)
        if not len(patches) and not held_out:
            raise TrainingError(
                f"alps: no patch of the training frames moves by more than motion_threshold, {threshold:.4f}; lower it "
                "or set it to null, which learns it"
            )
        if len(patches) > self.config.most_patches:
            drawn = np.random.default_rng(seed).permutation(len(patches))[: self.config.most_patches]
            patches = patches[torch.from_numpy(np.sort(drawn))]
        return patches

    def _grid(self, frames: Clips) -> PatchGrid:
        assert self.config.patch is not None
        height, width = next(iter(frames.values())).shape[1:3]
        return PatchGrid.of(height, width, self.config.patch)

    def delta(self, images: Tensor) -> Tensor:
        """The distorter's perturbation of images (B, colours, 32, 32), (B, latent), float32."""
        assert self.distorter is not None
        return bounded(self.distorter(images), self.config.bound)

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
        if self.config.mode == "noise":
            delta = torch.randn_like(latent) * noise_deviation(self.config)
        else:
            delta = self.delta(images)
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
            terms = _terms(_error(clean, images), _error(perturbed, images))
            height, width = frames.shape[1:3]
            squared = _unpadded((perturbed - images).square().mean(1, keepdim=True), height, width)
            return terms, F.avg_pool2d(squared, 4)[:, 0]
        return self._frame_scores(frames[starts + 1], frames[starts], numbers)

    def score(self, encoded: tuple[dict[str, Tensor], Tensor], complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        return encoded

    def _frame_scores(self, frames: Tensor, before: Tensor, numbers: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms and maps of frames (n, H, W, C): the errors of moving patches, still ones have none."""
        assert self.config.patch is not None
        height, width = frames.shape[1:3]
        grid = PatchGrid.of(height, width, self.config.patch)
        moving = patch_motion(frames, before, grid) > self.threshold
        if not bool(moving.flatten(1).any(1).all()):
            warnings.warn("alps: a frame in which no patch moves scores 0", stacklevel=2)
        images = network_input(grid.unfold(frames)[moving], self.config)
        clean, perturbed = self._reconstructed(images, self._patch_numbers(moving, numbers))
        by_patch = {
            name: torch.zeros(moving.shape, device=frames.device).masked_scatter(moving, error)
            for name, error in _terms(_error(clean, images), _error(perturbed, images)).items()
        }
        terms = {name: self._of_frame(errors, moving) for name, errors in by_patch.items()}
        return terms, grid.spread(by_patch["perturbed_error"], height, width, 4)

    def _of_frame(self, errors: Tensor, moving: Tensor) -> Tensor:
        """(n,) of (n, rows, columns), whose entries are 0 where nothing moves."""
        errors, count = errors.flatten(1), moving.flatten(1).sum(1)
        if self.config.frame_score == "max":
            return errors.amax(1)
        if self.config.frame_score == "top_k":
            highest = errors.topk(min(self.config.top, errors.shape[1])).values
            return highest.sum(1) / count.clamp(1, self.config.top)
        return errors.sum(1) / count.clamp_min(1)

    @staticmethod
    def _patch_numbers(moving: Tensor, numbers: Tensor) -> Tensor:
        """Numbers (k,) of the moving patches, over all patches of all frames of the clip."""
        count = moving[0].numel()
        return (numbers.to(moving.device)[:, None] * count + torch.arange(count, device=moving.device))[
            moving.flatten(1)
        ]

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
            delta = bounded(self.distorter(seen), self.config.bound)
        else:
            delta = self.noise[numbers.to(self.noise.device) % NOISES]
        return clean, self.decoder((latent.float() + delta).to(self.options.dtype)).float()

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The image, or the moving patches in their frame, reconstructed from the perturbed latent vector.

        Noise is that of a clip's first frame.
        """
        rows = torch.from_numpy(np.array(arrays["frames"])).to(self.options.device)
        height, width = rows.shape[1:3]
        if self.config.patch is None:
            _, perturbed = self._reconstructed(network_input(rows[:1], self.config), torch.zeros(1, dtype=torch.long))
            return stored_frame(_unpadded(perturbed, height, width)[0] * 2 - 1)
        grid = PatchGrid.of(height, width, self.config.patch)
        moving = patch_motion(rows[1:], rows[:1], grid) > self.threshold
        patches = grid.unfold(rows[1:]).clone()
        images = network_input(patches[moving], self.config)
        _, perturbed = self._reconstructed(images, self._patch_numbers(moving, torch.zeros(1, dtype=torch.long)))
        if len(images):
            small = F.interpolate(perturbed, size=self.config.patch, mode="bilinear")
            patches[moving] = (small * 255).round().clamp(0, 255).byte().movedim(1, -1)
        shown = rows[1].clone()
        inside = shown[grid.top : grid.top + grid.rows * grid.size, grid.left : grid.left + grid.columns * grid.size]
        inside.copy_(grid.fold(patches)[0])
        return shown.cpu().numpy()


def network_input(stored: Tensor, config: Config) -> Tensor:
    """Images or patches (n, H, W, C) of [0, 255] as the networks see them: float32 (n, C, 32, 32) in [0, 1].

    Patches are resized, whole images padded with zeros.
    """
    images = stored.movedim(-1, 1).float() / 255
    height, width = images.shape[-2:]
    if config.patch is not None:
        none = images.new_zeros(0, images.shape[1], SIDE, SIDE)
        seen = F.interpolate(images, size=SIDE, mode="bilinear") if len(images) else none
    else:
        top, left = (SIDE - height) // 2, (SIDE - width) // 2
        seen = F.pad(images, (left, SIDE - width - left, top, SIDE - height - top))
    return seen.contiguous(memory_format=torch.channels_last)


def bounded(raw: Tensor, bound: float | None) -> Tensor:
    """The distorter's output as a perturbation, float32."""
    return raw.float() if bound is None else bound * torch.tanh(raw.float())


def noise_deviation(config: Config) -> float:
    """Standard deviation of Gaussian noise whose mean absolute value is ``noise_strength``."""
    assert config.noise_strength is not None
    return config.noise_strength * math.sqrt(math.pi / 2)


def _terms(clean: Tensor, perturbed: Tensor) -> dict[str, Tensor]:
    return {"clean_error": clean, "perturbed_error": perturbed, "mean_error": (clean + perturbed) / 2}


def _error(reconstructed: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of each image, (n,)."""
    return (reconstructed - images).square().flatten(1).mean(1)


def _unpadded(images: Tensor, height: int, width: int) -> Tensor:
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    return images[..., top : top + height, left : left + width]


def _check_size(frames: Clips, patch: int | None) -> None:
    clip = next(iter(frames.values()))
    height, width = clip.shape[1:3]
    if patch is None and max(height, width) > SIDE:
        raise TrainingError(
            f"alps: images of {width}x{height}, whole images have at most {SIDE}x{SIDE} pixels; lower the size of its "
            "frames, or set patch to look at patches of video"
        )
    if patch is not None:
        try:
            PatchGrid.of(height, width, patch)
        except ValueError as error:
            raise TrainingError(f"alps: {error}") from error


def _with_motion(frames: Clips, stride: int, grid: PatchGrid) -> Iterator[tuple[Tensor, Tensor]]:
    """Frames (n, H, W, C) but the first of each clip and the motion of their patches, a few at a time."""
    for clip in frames.values():
        array = clip.array()
        for first in range(1, len(clip), CHUNK):
            rows = torch.from_numpy(np.array(array[first - 1 : first + CHUNK]))
            next_one = (1 - first) % stride  # counted over the whole clip, not from where a reading begins
            yield rows[1 + next_one :: stride], patch_motion(rows[1:], rows[:-1], grid)[next_one::stride]


def _channels(width: float) -> tuple[int, int, int]:
    c32, c64, c128 = (max(1, round(c * width)) for c in (32, 64, 128))
    return c32, c64, c128


def _conv(i: int, o: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(i, o, 3, stride=2, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.2, inplace=True)


def _up(i: int, o: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.ConvTranspose2d(i, o, 4 if stride == 2 else 3, stride=stride, padding=1)
    return conv, nn.BatchNorm2d(o), nn.ReLU(inplace=True)

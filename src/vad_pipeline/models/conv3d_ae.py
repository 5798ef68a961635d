"""The 3D convolutional autoencoder of MemAE and LNTRA (spec 6.2), trained with or without pseudo-anomalies.

Sixteen frames are reconstructed; a frame is scored as the ninth of its window, by the PSNR of its reconstruction.
Trained on normal windows alone it reconstructs much that is abnormal, too. With a probability of its own each, windows
are therefore replaced by pseudo-anomalies, whose answer is still the normal window:

- ``inpainted``: the stored ones of the pseudo_anomalies pipeline (spatio-temporal pseudo-anomaly generation, Eq. 2),
  all sixteen frames;
- ``patch`` and ``skip_frame``: LNTRA's (Astrid et al. 2021, spec 6.8);
- ``steal``: STEAL Net's, skipped frames as well, whose own reconstruction gets worse: their error counts negatively.

The registry lists it once for each baseline; what differs is in their parameters.

Left open and chosen here: the loss averages over all sixteen frames, not only the scored one; error maps are those of
the scored frame, averaged over channels and 4x4 pixels; windows start at every frame, as in LNTRA's code, although the
paper's text says they do not overlap (``windows: apart``, which scores all of their frames); ``width`` scales all
channels, 1 is the published network.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from vad_pipeline.anomalies.patch import Patch
from vad_pipeline.anomalies.pseudo_windows import PseudoAnomalies, PseudoWindows
from vad_pipeline.anomalies.skip_frame import SkipFrame
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.fit import Batch
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.layers.error_maps import WORST_PLACE, error_map, psnr, worst_place
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.pixels import scale_frames, stored_frame
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

LENGTH, TARGET = 16, 8  # frames of a window, and which of them is scored
Windows = Literal["sliding", "apart"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The autoencoder; the defaults are the published network without pseudo-anomalies.

    Attributes:
        width: multiplies all channels; 1 is the published network.
        pseudo: what windows are replaced by in training.
        probability: of each window; the papers' are 0.4 (inpainted), 0.2 (patch, skip_frame) and 0.01 (steal).
        patch, skip_frame: how those are made.
        intruders: folder of images that patches are cut from; null takes procedural textures.
        windows: ``sliding`` scores every frame as the ninth of its window; ``apart`` every frame of windows that do not
            overlap by its own position, at a sixteenth of the work.
    """

    width: float = Field(default=1.0, gt=0)
    pseudo: Literal["none", "inpainted", "patch", "skip_frame", "steal"] = "none"
    probability: float = Field(default=0.4, ge=0, le=1)
    patch: Patch = Field(default_factory=Patch)
    skip_frame: SkipFrame = Field(default_factory=SkipFrame)
    intruders: str | None = None
    windows: Windows = "sliding"


class Conv3dNetwork(nn.Sequential):
    """(B, colours, 16, H, W) in [-1, 1] to the same; H and W are multiples of 16.

    Args:
        width: multiplies all channels.
        colours: channels of a frame, 1 or 3.
    """

    def __init__(self, width: float, colours: int):
        c96, c128, c256 = (max(1, round(c * width)) for c in (96, 128, 256))
        space, all_three = (1, 2, 2), (2, 2, 2)
        super().__init__(
            *_down(colours, c96, space),
            *_down(c96, c128, all_three),
            *_down(c128, c256, all_three),
            *_down(c256, c256, all_three),
            *_up(c256, c256),
            *_up(c256, c128),
            *_up(c128, c96),
            nn.ConvTranspose3d(c96, colours, 3, stride=space, padding=1, output_padding=(0, 1, 1)),
            nn.Tanh(),
        )


class Conv3dAE(Model):
    """Training and scoring around ``Conv3dNetwork``; see ``Model`` for the arguments."""

    config_class: ClassVar[type] = Config
    terms: ClassVar[dict[str, Term]] = {
        "psnr": Term(higher_is_anomalous=False, meaning="PSNR of the reconstructed ninth frame, dB"),
        "worst_place": WORST_PLACE,
    }
    place: ClassVar[str] = "worst_place"  # the term's name
    has_maps = True
    size_multiple = 16
    scoring_only = frozenset({"windows"})
    published_parameters: ClassVar[Mapping[int, float]] = {3: 5.991, 1: 5.981}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625}

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 1e-4, epochs: int = 25):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        network = Conv3dNetwork(config.width, self.channels(config, colours))
        self.network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @staticmethod
    def channels(config: Config, colours: int) -> int:
        """Channels that the network reads and gives back."""
        return colours

    def scaled(self, stream: Tensor) -> Tensor:
        """A stored stream (..., H, W, C) as the network reads it, float32 (..., channels, H, W) in [-1, 1]."""
        return scale_frames(stream)

    def picture(self, image: Tensor) -> np.ndarray:
        """What the network gave back for one frame, (channels, H, W) in [-1, 1], as uint8 (H, W, C)."""
        return stored_frame(image)

    def scores(self, error: Tensor) -> dict[str, Tensor]:
        """The terms of frames (n,) whose squared errors are (n, channels, H, W) between images in [-1, 1]."""
        return {"psnr": psnr(error / 4)}

    @staticmethod
    def window(config: Config) -> Window:
        return Window(LENGTH, TARGET, apart=config.windows == "apart")

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        return {"psnr": 1.0}

    @staticmethod
    def pseudo_anomalies(config: Config) -> PseudoAnomalies | None:
        if config.pseudo == "none":
            return None
        sources: dict[str, Literal["stored", "patch", "skip_frame"]] = {"inpainted": "stored", "patch": "patch"}
        source = sources.get(config.pseudo, "skip_frame")
        return PseudoAnomalies(source, config.probability, "frames", config.patch, config.skip_frame, config.intruders)

    def dataset(self, clips: Mapping[str, Clips], stride: int, seed: int, stored: Clips | None) -> Dataset:
        """Windows, of which some are pseudo-anomalous where the configuration says so."""
        pseudo = self.pseudo_anomalies(self.config)
        if pseudo is None:
            return super().dataset(clips, stride, seed, stored)
        return PseudoWindows(clips, self.streams(self.config), LENGTH, stride, pseudo, stored, seed)

    def forward(self, windows: Tensor) -> Tensor:
        """Reconstruct: (B, 16, colours, H, W) in [-1, 1] to the same."""
        return self.network(windows.transpose(1, 2)).transpose(1, 2)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        loss = self._loss(batch)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(batch[self.reads[0]]))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        loss = self._loss(batch)
        losses = {"val_loss": loss, "val_psnr": -10 * torch.log10(loss / 4)}
        self.log_dict(losses, batch_size=len(batch[self.reads[0]]))

    def _loss(self, batch: Batch) -> Tensor:
        """Mean squared error to the normal window over all frames, channels and pixels (spec 6.3).

        STEAL Net compares a pseudo-anomalous window with itself and subtracts its error (spec 6.8).
        """
        seen = self.scaled(batch[self.reads[0]])
        steal = self.config.pseudo == "steal" and "pseudo" in batch
        target = seen if steal or "target" not in batch else self.scaled(batch["target"])
        errors = (self(seen).float() - target).square().flatten(1).mean(1)
        if steal:
            errors = torch.where(batch["pseudo"], -errors, errors)
        return errors.mean()

    def configure_optimizers(self) -> Any:
        """Adam at a constant rate, as published."""
        return torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)

    def scorer(self, options: ScoringOptions) -> "Conv3dScorer":
        return Conv3dScorer(self, options)


class Conv3dScorer(Scorer):
    """Scores a clip's frames by windows in batches; nothing is carried from clip to clip."""

    def __init__(self, model: Conv3dAE, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.model, self.stream = model, model.reads[0]
        network = fold_batch_norm(model.network).to(options.device, options.dtype)
        self.network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.model.scaled(stored) for name, stored in rows.items()}

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Tensor:
        """Squared errors (m, channels, H, W) of the frames to score."""
        windows = torch.stack([rows[self.stream][start : start + LENGTH] for start in complete.starts])
        window, position = torch.from_numpy(complete.window), torch.from_numpy(complete.position)
        return (self._reconstructed(windows)[window, position] - windows[window, position]).square()

    def score(self, encoded: Tensor, complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        maps = error_map(encoded / 4)
        return self.model.scores(encoded) | {self.model.place: worst_place(maps)}, maps

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The reconstructed frame, or flow as a coloured picture."""
        rows = torch.from_numpy(np.array(arrays[self.stream])).to(self.options.device)
        return self.model.picture(self._reconstructed(self.model.scaled(rows)[None])[0, position])

    def _reconstructed(self, windows: Tensor) -> Tensor:
        """(n, 16, C, H, W) to the same, float32."""
        planes = windows.transpose(1, 2).to(self.options.dtype, memory_format=torch.channels_last_3d)
        return self.network(planes).transpose(1, 2).float()


def _down(i: int, o: int, stride: tuple[int, int, int]) -> tuple[nn.Module, ...]:
    return nn.Conv3d(i, o, 3, stride=stride, padding=1), nn.BatchNorm3d(o), nn.LeakyReLU(0.2, inplace=True)


def _up(i: int, o: int) -> tuple[nn.Module, ...]:
    conv = nn.ConvTranspose3d(i, o, 3, stride=2, padding=1, output_padding=1)
    return conv, nn.BatchNorm3d(o), nn.LeakyReLU(0.2, inplace=True)

"""LGN-Net: local-global normality network (Zhao et al., seed text lgn_net; official code read where the text is open).

Four frames predict the fifth. A spatiotemporal branch (per-frame encoder, four ST-LSTM cells) gives what is normal
locally, a prototype branch (MNAD's encoder, a memory of prototypes) what is normal in all training videos; one decoder
joins both. Scores: PSNR of the predicted frame and distance of the queries to their nearest prototype.

Where text and official code disagree the code holds (spec 4.6, decisions 4 and 5): mean squared error instead of norms,
a triplet margin loss, squared compactness as the distance at test. The weights that read the memory are detached there,
so the prototype branch's encoder gets no gradient from the pixel loss; ``detach_read`` keeps or lifts that.

Left open and chosen here:
- ``gamma``, the threshold below which a test frame updates the memory, was tuned on test videos and depends on the size
  of the frames. The paper's value holds at 256x256; ``gamma: null`` sets it, after training, to the ``gamma_quantile``
  of the weighted regular score on held-out normal clips (spec 1.6), and ``gamma: 0`` switches the update off.
- Frames may be gray (the paper replicates gray to RGB); ``width`` scales all channels, 1 is the paper's network.
- Error maps are the squared error in [0, 1], averaged over channels and over 4x4 pixels.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

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
from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.pixels import scale_frames, stored_frame
from vad_pipeline.models.layers.st_lstm import SpatioTemporalLSTM
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

INPUTS = 4  # frames that predict the next one


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """LGN-Net; the defaults are the paper's for Ped2.

    Attributes:
        width: multiplies all channels; 1 is the paper's network.
        items: prototypes in the memory, I in the paper.
        compactness, separateness: weights of the two memory losses, lambda_c and lambda_s.
        margin: alpha of the separateness loss.
        detach_read: stop the pixel loss's gradient at the addressing weights, as the official code does.
        update_max: see ``memory.updated_items``.
        gamma: weighted regular score below which a test frame updates the memory; null calibrates it, 0 never updates.
        gamma_quantile: of the held-out clips' weighted regular scores, where gamma is calibrated.
        memory_reset: start every test clip with the trained memory, or never, as the official code does.
        psnr_weight: lambda of the normality score; the distance gets the rest.
    """

    width: float = Field(default=1.0, gt=0)
    items: int = Field(default=10, ge=2)
    compactness: float = Field(default=10.0, ge=0)
    separateness: float = Field(default=5.0, ge=0)
    margin: float = Field(default=1.0, gt=0)
    detach_read: bool = True
    update_max: Literal["all", "subset"] = "all"
    gamma: float | None = Field(default=0.009, ge=0)
    gamma_quantile: float = Field(default=0.9, gt=0, le=1)
    memory_reset: Literal["never", "per_clip"] = "never"
    psnr_weight: float = Field(default=0.6, ge=0, le=1)


class LGNNetwork(nn.Module):
    """The network, in parts that training and scoring put together (spec 4.2).

    Args:
        width: multiplies all channels.
        colours: channels of a frame, 1 or 3.
    """

    def __init__(self, width: float, colours: int):
        super().__init__()
        c64, c128, c256, c512 = (max(1, round(c * width)) for c in (64, 128, 256, 512))
        self.frame_encoder = nn.Sequential(  # E_loc: (N, colours, H, W) -> (N, 128, H/4, W/4)
            *_conv(colours, c64, stride=2), *_conv(c64, c64), *_conv(c64, c128, stride=2), *_conv(c128, c128)
        )
        self.st_lstm = SpatioTemporalLSTM(c128)
        self.local_decoder = nn.Sequential(*_up(2 * c128, c128), *_up(c128, c64))  # F_loc -> F'_loc (N, 64, H, W)
        self.clip_encoder = nn.Sequential(  # E_glo: (B, 4 * colours, H, W) -> (B, 512, H/8, W/8)
            *_block(INPUTS * colours, c64),
            nn.MaxPool2d(2),
            *_block(c64, c128),
            nn.MaxPool2d(2),
            *_block(c128, c256),
            nn.MaxPool2d(2),
            *_conv(c256, c512),
            nn.Conv2d(c512, c512, 3, padding=1),
        )
        self.global_decoder = nn.Sequential(  # D_lg up to F'_glo (B, 64, H, W)
            *_block(c512, c512),
            *_up(c512, c256),
            *_block(c256, c256),
            *_up(c256, c128),
            *_block(c128, c128),
            *_up(c128, c64),
        )
        self.head = nn.Sequential(
            *_conv(2 * c64, c64), *_conv(c64, c64), nn.Conv2d(c64, colours, 3, padding=1), nn.Tanh()
        )
        self.memory_channels = c512

    def frame_gates(self, frames: Tensor) -> Tensor:
        """What the spatiotemporal branch needs of each frame: (N, colours, H, W) -> (N, 7 * 128, H/4, W/4)."""
        return self.st_lstm.input_gates(self.frame_encoder(frames))

    def local_features(self, gates: Tensor) -> Tensor:
        """F'_loc of windows: gates (4, B, 7 * 128, H/4, W/4) -> (B, 64, H, W)."""
        hidden, zigzag = self.st_lstm(gates)
        return self.local_decoder(torch.cat([hidden, zigzag], dim=1))

    def decode(self, read: Tensor, local: Tensor) -> Tensor:
        """Predicted frame (B, colours, H, W) in [-1, 1] from the memory's answer (B, 512, H/8, W/8) and F'_loc."""
        return self.head(torch.cat([self.global_decoder(read), local], dim=1))


class LGNNet(Model):
    """LGN-Net's training and scoring around ``LGNNetwork``; see ``Model`` for the arguments."""

    config_class = Config
    terms: ClassVar[dict[str, Term]] = {
        "psnr": Term(higher_is_anomalous=False, meaning="PSNR of the predicted frame, dB"),
        "memory_distance": Term(
            higher_is_anomalous=True, meaning="mean squared distance of queries to their prototype"
        ),
        "regular_score": Term(higher_is_anomalous=True, meaning="weighted regular score that gates the memory update"),
    }
    has_maps = True
    size_multiple = 8
    scoring_only = frozenset({"gamma", "gamma_quantile", "memory_reset"})
    fusing_only = frozenset({"psnr_weight"})
    published_parameters: ClassVar[Mapping[int, float]] = {3: 22.75}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625, "gamma": None}

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        self.network = LGNNetwork(config.width, colours).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.items: Tensor
        self.gamma: Tensor
        self.register_buffer("items", memory.initial_items(config.items, self.network.memory_channels))
        self.register_buffer("gamma", torch.tensor(config.gamma or 0.0))

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=INPUTS + 1, target=INPUTS)

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        """Weights of the terms in the normality score (spec 4.4)."""
        return {"psnr": config.psnr_weight, "memory_distance": 1 - config.psnr_weight}

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            inputs: (B, 4, colours, H, W) in [-1, 1]; H and W are multiples of 8.

        Returns:
            Predicted frames (B, colours, H, W) and queries (B * H/8 * W/8, 512).
        """
        local = self.network.local_features(self._gates(inputs.transpose(0, 1)))
        features = self.network.clip_encoder(inputs.flatten(1, 2))
        queries = memory.as_queries(features)
        read = memory.as_features(memory.read(queries, self.items, self.config.detach_read), features)
        return self.network.decode(read, local), queries

    def _gates(self, by_time: Tensor) -> Tensor:
        """Gates of frames (4, B, colours, H, W), (4, B, 7 * 128, H/4, W/4).

        In training each step of time is a batch of its own to the batch norms, as in the official code, which encodes
        one after the other: four updates of the running statistics a step (spec 4.2).
        """
        if self.training:
            return torch.stack([self.network.frame_gates(frames) for frames in by_time])
        return self.network.frame_gates(by_time.flatten(0, 1)).unflatten(0, by_time.shape[:2])

    def training_step(self, batch: Batch, _: int) -> Tensor:
        losses, queries = self._losses(batch)
        queries = queries.detach()
        if self.trainer.world_size > 1:  # every device moves its memory with the queries of all, so they stay equal
            queries = torch.cat(list(self.all_gather(queries)))
        self.items = memory.updated_items(queries, self.items, self.config.update_max)
        self.log_dict({f"train_{k}": v for k, v in losses.items()}, on_step=False, on_epoch=True, batch_size=1)
        return losses["loss"]

    def validation_step(self, batch: Batch, _: int) -> None:
        losses, _queries = self._losses(batch)
        self.log_dict({f"val_{k}": v for k, v in losses.items()}, batch_size=len(batch["frames"]))

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Eq. 12 with the official code's means."""
        frames = scale_frames(batch["frames"])
        predicted, queries = self(frames[:, :INPUTS])
        prediction = F.mse_loss(predicted.float(), frames[:, INPUTS])
        compact = memory.nearest_distance(queries, self.items).mean()
        separate = memory.separateness(queries, self.items, self.config.margin)
        loss = prediction + self.config.compactness * compact + self.config.separateness * separate
        parts = {"loss": loss, "prediction": prediction, "compactness": compact, "separateness": separate}
        return parts | {"psnr": -10 * torch.log10(prediction.detach() / 4)}, queries

    def configure_optimizers(self) -> Any:
        """Adam, cosine annealing stepped once an epoch (spec 1.5)."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)]

    def scorer(self, options: ScoringOptions) -> "LGNScorer":
        return LGNScorer(self, options)

    def calibrate(self, held_out: Callable[[], Iterator[Arrays]], options: ScoringOptions) -> None:
        """Set gamma: the configuration's, or where it leaves that to the data, the held-out clips' quantile."""
        self.gamma.fill_(self.config.gamma or 0.0)
        if self.config.gamma is not None:
            return
        scorer = LGNScorer(self, options)
        scorer.gamma = 0.0
        scores = [batch.terms["regular_score"] for arrays in held_out() for batch in scorer.clip(arrays)]
        if scores:
            self.gamma.fill_(float(np.quantile(np.concatenate(scores), self.config.gamma_quantile)))


class Encoded(NamedTuple):
    """What of n windows does not depend on the memory: (n, 512, H/8, W/8), (n, 64, H, W) and (n, colours, H, W)."""

    features: Tensor
    local: Tensor
    targets: Tensor


class LGNScorer(Scorer):
    """LGN-Net made ready to score.

    What depends on one frame is computed once per frame, windows go through the network in batches, batch norm is
    folded and convolutions run channels-last. The update of the memory is sequential by nature: with it, only the
    decoder runs frame by frame. Memory reads, distances and the update stay in float32.
    """

    def __init__(self, model: LGNNet, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.network = fold_batch_norm(model.network).to(options.device, options.dtype)
        self.gamma = float(model.gamma)
        self.config = model.config
        self.trained_items = model.items.detach().clone().to(options.device)
        self.items = self.trained_items.clone()

    def begin(self) -> None:
        if self.config.memory_reset == "per_clip":
            self.items = self.trained_items.clone()

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        frames = scale_frames(rows["frames"])
        return {"frames": frames, "gates": self.network.frame_gates(frames.to(self.options.dtype))}

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Encoded:
        n, frames = len(complete.starts), rows["frames"]
        local = self.network.local_features(torch.stack([rows["gates"][i : i + n] for i in range(INPUTS)]))
        stacked = torch.cat([frames[i : i + n] for i in range(INPUTS)], dim=1)
        features = self.network.clip_encoder(stacked.to(self.options.dtype, memory_format=torch.channels_last))
        return Encoded(features, local, frames[INPUTS : INPUTS + n])

    def score(self, encoded: Encoded, complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        if self.gamma == 0:
            return self._decode(*encoded)
        one_by_one = [self._decode(*(part[i : i + 1] for part in encoded)) for i in range(len(encoded.targets))]
        terms = {name: torch.cat([terms[name] for terms, _ in one_by_one]) for name in one_by_one[0][0]}
        return terms, torch.cat([maps for _, maps in one_by_one])

    def _decode(self, features: Tensor, local: Tensor, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Terms (n,) and maps of n windows; with the update switched on n is 1 and the memory moves on afterwards."""
        queries = memory.as_queries(features)
        error = (self._predicted(queries, features, local) - targets).square() / 4  # in [0, 1]: images are in [-1, 1]
        psnr = -10 * torch.log10(error.flatten(1).mean(1).clamp_min(1e-10))
        distance = memory.nearest_distance(queries, self.items).view(len(features), -1).mean(1)
        weights = 1 - torch.exp(-error)
        regular = (weights * error).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp_min(1e-12)
        if self.gamma > 0 and float(regular) < self.gamma:
            self.items = memory.updated_items(queries, self.items, self.config.update_max)
        terms = {"psnr": psnr, "memory_distance": distance, "regular_score": regular}
        return terms, F.avg_pool2d(error.mean(1, keepdim=True), 4)[:, 0]

    def _predicted(self, queries: Tensor, features: Tensor, local: Tensor) -> Tensor:
        """Frames (n, colours, H, W) in [-1, 1], float32."""
        read = memory.as_features(memory.read(queries, self.items), features).to(self.options.dtype)
        return self.network.decode(read, local).float()

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The predicted fifth frame of a window."""
        images = scale_frames(torch.from_numpy(np.array(arrays["frames"][:INPUTS])).to(self.options.device))
        local = self.network.local_features(self.network.frame_gates(images.to(self.options.dtype))[:, None])
        features = self.network.clip_encoder(images.to(self.options.dtype).flatten(0, 1)[None])
        return stored_frame(self._predicted(memory.as_queries(features), features, local)[0])


def _conv(i: int, o: int, stride: int = 1) -> tuple[nn.Module, ...]:
    return nn.Conv2d(i, o, 3, stride=stride, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True)


def _block(i: int, o: int) -> tuple[nn.Module, ...]:
    return *_conv(i, o), *_conv(o, o)


def _up(i: int, o: int) -> tuple[nn.Module, ...]:
    conv = nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1)
    return conv, nn.BatchNorm2d(o), nn.ReLU(inplace=True)

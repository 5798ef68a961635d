"""MSTI-Net: multi-scale spatial-temporal interaction network (Ning et al., seed text msti_net; no code is public).

Four frames and the flow between them predict the fifth frame. An appearance stream and a motion stream have three
levels each; at every level an attention-based fusion module (ASTFM) weighs appearance by what moves. A memory of
prototypes answers the appearance stream's last features, a decoder without skips draws the frame. Scores: PSNR of the
prediction and distance of the queries to their nearest prototype. The flow that ends in the predicted frame is never
read: it would tell what the frame is.

``variant`` is a row of the paper's Table II:

| | streams | connections at each level | memory |
|---|---|---|---|
| A | appearance | | yes |
| B | both | none; joined once, after the last level | yes |
| C | both | concatenation | yes |
| D | both | ASTFM | no |
| E | both | ASTFM | yes |

Left open and chosen here (spec 3):
- The clip (four frames, as in Frame-Pred, whose score the paper takes), widths and blocks (MNAD's), the number of items
  (MNAD's 10), batch, epochs and schedule (60, Adam, cosine). With them the network has 17.85 million parameters.
- Flow is clipped to ``limit`` pixels and divided by it: 20 at 256x256, less where frames are smaller.
- Eq. 1 writes one g for two pairs of convolutions: the pair that extracts and the pair that squeezes the pooled
  features are different ones, and what is pooled is the extracted features, as in the block that the paper cites.
- The weights of Eq. 3 end in a sigmoid; the "fully connected layers" are 1x1 convolutions.
- The memory's answer stands beside the query (``memory_output: concat``), as in MNAD; ``replace`` is Eq. 4 by the
  letter, where little but the mean of all prototypes reaches the decoder. Weights are never detached.
- Eq. 8's sign is turned: as printed it drives queries and prototypes apart. Eq. 7's entropy is a mean over queries.
- The memory is not updated at test. B joins the pooled third level of motion to the appearance stream's output by a 1x1
  convolution, C each level's concatenation likewise. D scores by PSNR alone; its ``memory_distance`` is 0.
- Frames may be gray; ``width`` scales all channels. Error maps are the squared error in [0, 1], averaged over channels
  and over 4x4 pixels.

As printed, Eq. 5 has no temperature and moves all items by all queries. The weights are nearly equal, so the items
become one within an epoch (docs/reproduction.md); ``update: mnad`` moves an item by the queries nearest to it alone.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vad_pipeline.clips.window import Stream, Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.fit import Batch
from vad_pipeline.flow.representation import LIMIT
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.layers import all_query_memory, memory
from vad_pipeline.models.layers.error_maps import WORST_PLACE, error_map, psnr, worst_place
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.mnad_autoencoder import Decoder, block, channels, conv, head
from vad_pipeline.models.layers.pixels import scale_frames, stored_frame
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

INPUTS = 4  # frames that predict the next one
FLOWS = INPUTS - 1  # between them
SQUEEZE, NARROWEST = 16, 4  # of the channel attention; in a narrow network a single unit may die and attend to nothing

Variant = Literal["A", "B", "C", "D", "E"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """MSTI-Net; the defaults are the paper's, for all its data sets.

    Attributes:
        width: multiplies all channels; 1 is the published network.
        variant: row of Table II; E is the full model.
        flow: its estimator.
        limit: pixels of flow that stand for 1.
        items: prototypes in the memory, N in the paper.
        update: what moves an item in training: all queries (Eq. 5), or as in MNAD those that are nearest to it.
        memory_output: what the decoder reads, the query beside the memory's answer or the answer alone.
        intensity, separateness, compactness: weights of the losses, lambda_i, lambda_s and lambda_c.
        tolerance: delta of the compactness loss.
        psnr_weight: tau of the regularity score; the distance gets the rest. D gives it all to the PSNR.
    """

    width: float = Field(default=1.0, gt=0)
    variant: Variant = "E"
    flow: Literal["flownet", "tvl1", "dis"] = "flownet"
    limit: float = Field(default=LIMIT, gt=0)
    items: int = Field(default=10, ge=2)
    update: Literal["msti", "mnad"] = "msti"
    memory_output: Literal["concat", "replace"] = "concat"
    intensity: float = Field(default=0.8, gt=0)
    separateness: float = Field(default=3e-4, ge=0)
    compactness: float = Field(default=1e-3, ge=0)
    tolerance: float = Field(default=0.1, ge=0, le=2)
    psnr_weight: float = Field(default=0.7, ge=0, le=1)


class ChannelAttention(nn.Module):
    """Features plus what is extracted of them, weighted by channel (Eqs. 1 and 2): (B, C, h, w) to the same."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = max(NARROWEST, channels // SQUEEZE)
        self.extract = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1), nn.ReLU(inplace=True), nn.Conv2d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        extracted = self.extract(x)
        return x + extracted * self.weigh(extracted.mean(dim=(2, 3), keepdim=True))


class ASTFM(nn.Module):
    """Attention-based spatial-temporal fusion (Eq. 3): appearance, weighted by what both streams show of each pixel.

    Appearance and motion (B, C, h, w) each; the result is of the same shape.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.attention = ChannelAttention(channels)
        self.weigh = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
        )

    def forward(self, appearance: Tensor, motion: Tensor) -> Tensor:
        return appearance * self.weigh(torch.cat([appearance, self.attention(motion)], dim=1))


class Concatenation(nn.Module):
    """Plain fusion: both streams in one 1x1 convolution, (B, C_a, h, w) and (B, C_m, h, w) to (B, C_a, h, w)."""

    def __init__(self, channels: int, motion_channels: int):
        super().__init__()
        self.join = nn.Conv2d(channels + motion_channels, channels, 1)

    def forward(self, appearance: Tensor, motion: Tensor) -> Tensor:
        return self.join(torch.cat([appearance, motion], dim=1))


class MSTINetwork(nn.Module):
    """The network without its memory (spec 3.2).

    Args:
        config: the model's.
        colours: channels of a frame, 1 or 3.
    """

    def __init__(self, config: Config, colours: int):
        super().__init__()
        c64, c128, c256, c512 = channels(config.width)
        levels = (c64, c128, c256)
        self.appearance = _stream(INPUTS * colours, levels)
        self.motion = _stream(2 * FLOWS, levels) if config.variant != "A" else None
        self.connections: nn.ModuleList | None = None
        if config.variant == "C":
            self.connections = nn.ModuleList(Concatenation(c, c) for c in levels)
        elif config.variant in ("D", "E"):
            self.connections = nn.ModuleList(ASTFM(c) for c in levels)
        self.last = nn.Sequential(nn.MaxPool2d(2), *conv(c256, c512), nn.Conv2d(c512, c512, 3, padding=1))
        self.joined = Concatenation(c512, c256) if config.variant == "B" else None
        self.concat = config.variant != "D" and config.memory_output == "concat"
        decoder = Decoder(2 * c512 if self.concat else c512, config.width)
        self.decoder = nn.Sequential(decoder, head(decoder.channels, config.width, colours))
        self.memory_channels = c512

    def features(self, frames: Tensor, flow: Tensor | None) -> Tensor:
        """What the memory is asked: frames (B, 4 * colours, H, W) and flow (B, 6, H, W) to (B, 512, H/8, W/8)."""
        appearance, motion = frames, flow
        for level, appears in enumerate(self.appearance):
            appearance = appears(appearance)
            if self.motion is not None:
                motion = self.motion[level](motion)
            if self.connections is not None:  # appearance alone is changed, motion goes on as it is
                appearance = self.connections[level](appearance, motion)
        features = self.last(appearance)
        if self.joined is None:
            return features
        assert motion is not None
        return self.joined(features, F.max_pool2d(motion, 2))

    def forward(self, frames: Tensor, flow: Tensor | None, items: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Predict.

        Args:
            frames: (B, 4 * colours, H, W) in [-1, 1].
            flow: (B, 6, H, W) in [-1, 1], None where the variant reads none.
            items: of the memory (N, 512), None where the variant has none.

        Returns:
            Predicted frames (B, colours, H, W) in [-1, 1], and unit queries (B * H/8 * W/8, 512) float32, None without
            a memory.
        """
        features = self.features(frames, flow)
        if items is None:
            return self.decoder(features), None
        queries = memory.as_queries(features)
        answer = memory.read(queries, items)
        seen = memory.as_features(torch.cat([queries, answer], dim=1) if self.concat else answer, features)
        return self.decoder(seen.to(features.dtype)), queries


class MSTINet(Model):
    """MSTI-Net's training and scoring around ``MSTINetwork``; see ``Model`` for the arguments."""

    config_class = Config
    reads = ("frames", "flow")
    terms: ClassVar[dict[str, Term]] = {
        "psnr": Term(higher_is_anomalous=False, meaning="PSNR of the predicted frame, dB"),
        "memory_distance": Term(higher_is_anomalous=True, meaning="mean L2 distance of queries to their prototype"),
        "worst_place": WORST_PLACE,
    }
    has_maps = True
    size_multiple = 8
    fusing_only = frozenset({"psnr_weight"})
    published_parameters: ClassVar[Mapping[int, float]] = {3: 17.85}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625}

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        self.network = MSTINetwork(config, colours).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.items: Tensor | None
        items = memory.initial_items(config.items, self.network.memory_channels)
        self.register_buffer("items", None if config.variant == "D" else items)

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=INPUTS + 1, target=INPUTS)

    @classmethod
    def streams(cls, config: Config) -> dict[str, Stream]:
        """Frames, and flow between the inputs alone: row 3 would end in the target."""
        seen = {"frames": Stream(range(INPUTS + 1))}
        return seen if config.variant == "A" else seen | {"flow": Stream(range(FLOWS), {"estimator": config.flow})}

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        """Weights of the terms (Eq. 10)."""
        if config.variant == "D":
            return {"psnr": 1.0}
        return {"psnr": config.psnr_weight, "memory_distance": 1 - config.psnr_weight}

    def forward(self, frames: Tensor, flow: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Predict.

        Args:
            frames: (B, 4, colours, H, W) in [-1, 1]; H and W are multiples of 8.
            flow: (B, 3, 2, H, W) in [-1, 1], None for variant A.

        Returns:
            Predicted frames (B, colours, H, W) and queries (B * H/8 * W/8, 512), None for variant D.
        """
        return self.network(frames.flatten(1, 2), None if flow is None else flow.flatten(1, 2), self.items)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        losses, queries = self._losses(batch)
        if queries is not None and self.items is not None:
            moved = all_query_memory.items_moved_by_all if self.config.update == "msti" else memory.updated_items
            self.items = moved(memory.gathered(queries, self), self.items)
        self.log_dict({f"train_{k}": v for k, v in losses.items()}, on_step=False, on_epoch=True, batch_size=1)
        return losses["loss"]

    def validation_step(self, batch: Batch, _: int) -> None:
        losses, _queries = self._losses(batch)
        self.log_dict({f"val_{k}": v for k, v in losses.items()}, batch_size=len(batch["frames"]))

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """Eq. 9, with the memory as it was before the step."""
        frames = scale_frames(batch["frames"])
        flow = scale_flow(batch["flow"], self.config.limit) if "flow" in batch else None
        predicted, queries = self(frames[:, :INPUTS], flow)
        prediction = F.mse_loss(predicted.float(), frames[:, INPUTS])
        loss = self.config.intensity * prediction
        parts = {"prediction": prediction, "psnr": -10 * torch.log10(prediction.detach() / 4)}
        if queries is not None and self.items is not None:
            separate = all_query_memory.addressing_entropy(queries, self.items).mean()
            compact = all_query_memory.dissimilarity(queries, self.items, self.config.tolerance).mean()
            loss = loss + self.config.separateness * separate + self.config.compactness * compact
            parts |= {"separateness": separate, "compactness": compact}
        return parts | {"loss": loss}, queries

    def configure_optimizers(self) -> Any:
        """Adam, cosine annealing stepped once an epoch (spec 1.5)."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)]

    def scorer(self, options: ScoringOptions) -> "MSTIScorer":
        return MSTIScorer(self, options)


class Encoded(NamedTuple):
    """What of n windows makes their scores: squared errors (n, colours, H, W) in [0, 1] and distances (n,)."""

    errors: Tensor
    distances: Tensor


class MSTIScorer(Scorer):
    """MSTI-Net made ready to score; nothing is carried from clip to clip.

    Frames and flow are scaled once per row, windows go through the network in batches, batch norm is folded and
    convolutions run channels-last. A level sees all rows of its window in one convolution, so nothing else is a row's
    own. The memory stays in float32.
    """

    def __init__(self, model: MSTINet, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.network = fold_batch_norm(model.network).to(options.device, options.dtype)
        self.limit = model.config.limit
        self.items = None if model.items is None else model.items.detach().clone().to(options.device)

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        scaled = {"frames": scale_frames(rows["frames"])} if "frames" in rows else {}
        return scaled | ({"flow": scale_flow(rows["flow"], self.limit)} if "flow" in rows else {})

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Encoded:
        n, frames, flow = len(complete.starts), rows["frames"], rows.get("flow")
        stacked = torch.cat([frames[i : i + n] for i in range(INPUTS)], dim=1)
        moved = None if flow is None else torch.cat([flow[i : i + n] for i in range(FLOWS)], dim=1)
        predicted, queries = self._predicted(stacked, moved)
        errors = (predicted - frames[INPUTS : INPUTS + n]).square() / 4  # images are in [-1, 1]
        if queries is None or self.items is None:
            return Encoded(errors, errors.new_zeros(n))
        return Encoded(errors, memory.nearest_distance(queries, self.items, "l2").view(n, -1).mean(1))

    def score(self, encoded: Encoded, complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        maps = error_map(encoded.errors)
        return {
            "psnr": psnr(encoded.errors),
            "memory_distance": encoded.distances,
            "worst_place": worst_place(maps),
        }, maps

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The predicted fifth frame of a window."""
        given = {name: torch.from_numpy(np.array(arrays[name])).to(self.options.device) for name in self.streams}
        rows = self.per_row(given)
        flow = rows["flow"].flatten(0, 1)[None] if "flow" in rows else None
        return stored_frame(self._predicted(rows["frames"][:INPUTS].flatten(0, 1)[None], flow)[0][0])

    def _predicted(self, frames: Tensor, flow: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Frames (n, colours, H, W) in [-1, 1], float32, and queries, of stacked frames and flow."""
        frames = frames.to(self.options.dtype, memory_format=torch.channels_last)
        if flow is not None:
            flow = flow.to(self.options.dtype, memory_format=torch.channels_last)
        predicted, queries = self.network(frames, flow, self.items)
        return predicted.float(), queries


def scale_flow(flow: Tensor, limit: float) -> Tensor:
    """Flow (..., H, W, 2) in pixels to float32 (..., 2, H, W), clipped to ``limit`` pixels, which become 1."""
    return (flow.float() / limit).clamp(-1, 1).movedim(-1, -3)


def _stream(planes: int, levels: tuple[int, ...]) -> nn.ModuleList:
    """Blocks of a stream, one a level; all but the first halve the sides before."""
    blocks: list[nn.Module] = []
    for level in levels:
        blocks.append(nn.Sequential(*([nn.MaxPool2d(2)] if blocks else []), *block(planes, level)))
        planes = level
    return nn.ModuleList(blocks)

"""What LGN-Net and MNAD have in common: a network between whose encoder and decoder stands a memory of prototypes.

The memory itself is ``layers/memory.py``. Here is how a model trains with it and how it is scored, with the memory
moving on at test time; the models' files say what their networks see and decode.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

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
from vad_pipeline.models.layers.error_maps import WORST_PLACE, error_map, psnr, worst_place
from vad_pipeline.models.layers.fold_batch_norm import fold_batch_norm
from vad_pipeline.models.layers.pixels import scale_frames, stored_frame
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MemoryConfig:
    """The memory and its losses; weights and threshold are each paper's own.

    Attributes:
        width: multiplies all channels; 1 is the paper's network.
        items: prototypes in the memory.
        compactness, separateness: weights of the two memory losses, lambda_c and lambda_s.
        margin: alpha of the separateness loss.
        initial: how the items are drawn, see ``memory.initial_items``.
        temperature: of reading, see ``memory.read``; the papers have 1.
        detach_read: stop the pixel loss's gradient at the addressing weights, as the official codes do.
        update_max: see ``memory.updated_items``.
        distance: of the queries to the items at test, see ``memory.nearest_distance``.
        gamma: weighted regular score below which a test frame updates the memory; null calibrates it, 0 never updates.
        gamma_quantile: of the held-out clips' weighted regular scores, where gamma is calibrated.
        memory_reset: start every test clip with the trained memory, or never, as the official codes do.
        psnr_weight: lambda of the normality score; the distance gets the rest.
    """

    width: float = Field(default=1.0, gt=0)
    items: int = Field(default=10, ge=2)
    compactness: float = Field(default=0.1, ge=0)
    separateness: float = Field(default=0.1, ge=0)
    margin: float = Field(default=1.0, gt=0)
    initial: memory.Initial = "uniform"
    temperature: float = Field(default=1.0, gt=0)
    detach_read: bool = True
    update_max: memory.UpdateMax = "all"
    distance: memory.Distance = "mse"
    gamma: float | None = Field(default=0.01, ge=0)
    gamma_quantile: float = Field(default=0.9, gt=0, le=1)
    memory_reset: memory.Reset = "never"
    psnr_weight: float = Field(default=0.6, ge=0, le=1)


class MemoryNetwork(nn.Module):
    """A network around a memory.

    Attributes:
        memory_channels: of queries and items; 0 where a variant has no memory.
        sees_queries: whether the decoder sees the queries beside what they read, or that alone.
    """

    memory_channels: int
    sees_queries: bool

    @abstractmethod
    def encode(self, stacked: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """Frames (B, T * colours, H, W) to the features (B, C, h, w) that query the memory, None where there is none,
        and to what goes past it to the decoder."""

    @abstractmethod
    def decode(self, answer: Tensor | None, *past: Tensor) -> Tensor:
        """A frame (B, colours, H, W) in [-1, 1] of the memory's answer (B, C or 2 * C, h, w) and what went past it."""

    def answer(
        self, features: Tensor, items: Tensor, detach: bool = False, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The memory's answer, float32, and the queries (B * h * w, C)."""
        queries = memory.as_queries(features)
        found = memory.read(queries, items, detach, temperature)
        return memory.as_features(torch.cat([queries, found], 1) if self.sees_queries else found, features), queries


class MemoryModel(Model):
    """Training and calibration around a ``MemoryNetwork``; see ``Model`` for the other arguments.

    The last frame of a window is expected, ``inputs`` frames from its first on are seen.
    """

    terms: ClassVar[dict[str, Term]] = {
        "psnr": Term(higher_is_anomalous=False, meaning="PSNR of the expected frame, dB"),
        "memory_distance": Term(higher_is_anomalous=True, meaning="mean distance of queries to their prototype"),
        "regular_score": Term(higher_is_anomalous=True, meaning="weighted regular score that gates the memory update"),
        "worst_place": WORST_PLACE,
    }
    has_maps = True
    size_multiple = 8
    scoring_only = frozenset({"gamma", "gamma_quantile", "memory_reset", "distance"})
    fusing_only = frozenset({"psnr_weight"})
    inputs: ClassVar[int]

    def __init__(
        self, config: MemoryConfig, colours: int, learning_rate: float, epochs: int, network: MemoryNetwork
    ) -> None:
        super().__init__(config, colours, learning_rate, epochs)
        self.network: Any = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.items: Tensor
        self.gamma: Tensor
        drawn = memory.initial_items(config.items, network.memory_channels, drawn=config.initial)
        self.register_buffer("items", drawn)
        self.register_buffer("gamma", torch.tensor(config.gamma or 0.0))

    @staticmethod
    def fusion(config: MemoryConfig) -> dict[str, float]:
        """Weights of the terms in the normality score (spec 4.4)."""
        return {"psnr": config.psnr_weight, "memory_distance": 1 - config.psnr_weight}

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Expect a frame.

        Args:
            inputs: (B, T, colours, H, W) in [-1, 1]; H and W are multiples of 8.

        Returns:
            Frames (B, colours, H, W) and queries (B * H/8 * W/8, C), None where there is no memory.
        """
        features, past = self.encode(inputs)
        if features is None:
            return self.network.decode(None, *past), None
        detach, temperature = self.config.detach_read, self.config.temperature
        answer, queries = self.network.answer(features, self.items, detach, temperature)
        return self.network.decode(answer, *past), queries

    def encode(self, inputs: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """``MemoryNetwork.encode`` of windows (B, T, colours, H, W)."""
        return self.network.encode(inputs.flatten(1, 2))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        losses, queries = self._losses(batch)
        if queries is not None:
            self.items = memory.updated_items(memory.gathered(queries, self), self.items, self.config.update_max)
        self.log_dict({f"train_{k}": v for k, v in losses.items()}, on_step=False, on_epoch=True, batch_size=1)
        return losses["loss"]

    def validation_step(self, batch: Batch, _: int) -> None:
        losses, _queries = self._losses(batch)
        self.log_dict({f"val_{k}": v for k, v in losses.items()}, batch_size=len(batch["frames"]))

    def _losses(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """LGN-Net Eq. 12, MNAD Eq. 11, with the official codes' means."""
        frames = scale_frames(batch["frames"])
        expected, queries = self(frames[:, : self.inputs])
        loss = prediction = F.mse_loss(expected.float(), frames[:, -1])
        parts = {"prediction": prediction}
        if queries is not None:
            compact = memory.nearest_distance(queries, self.items).mean()
            separate = memory.separateness(queries, self.items, self.config.margin)
            loss = prediction + self.config.compactness * compact + self.config.separateness * separate
            parts |= {"compactness": compact, "separateness": separate}
        return {"loss": loss, **parts, "psnr": -10 * torch.log10(prediction.detach() / 4)}, queries

    def configure_optimizers(self) -> Any:
        """Adam, cosine annealing stepped once an epoch (spec 1.5)."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)]

    def scorer(self, options: ScoringOptions) -> "MemoryScorer":
        return MemoryScorer(self, options)

    def calibrate(self, held_out: Callable[[], Iterator[Arrays]], options: ScoringOptions) -> None:
        """Set gamma: the configuration's, or where it leaves that to the data, the held-out clips' quantile."""
        self.gamma.fill_(self.config.gamma or 0.0)
        if self.config.gamma is not None or not self.network.memory_channels:
            return
        scorer = self.scorer(options)
        scorer.memory.gamma = 0.0
        scores = [batch.terms["regular_score"] for arrays in held_out() for batch in scorer.clip(arrays)]
        if scores:
            self.gamma.fill_(float(np.quantile(np.concatenate(scores), self.config.gamma_quantile)))


class Encoded(NamedTuple):
    """What of n windows does not depend on the memory: features (n, C, h, w), what goes past the memory, and the frames
    (n, colours, H, W) that are expected."""

    features: Tensor | None
    past: tuple[Tensor, ...]
    targets: Tensor

    def one(self, i: int) -> "Encoded":
        """The i-th window by itself."""
        only = slice(i, i + 1)
        features = None if self.features is None else self.features[only]
        return Encoded(features, tuple(part[only] for part in self.past), self.targets[only])


class MemoryScorer(Scorer):
    """A model with a memory made ready to score.

    Windows go through the network in batches, batch norm is folded and convolutions run channels-last. The update of
    the memory is sequential by nature: with it, only the decoder runs frame by frame. Memory reads, distances and the
    update stay in float32.
    """

    def __init__(self, model: MemoryModel, options: ScoringOptions):
        window: Window = model.window(model.config)
        super().__init__(window, model.streams(model.config), options)
        self.network = fold_batch_norm(model.network).to(options.device, options.dtype)
        self.config, self.inputs = model.config, model.inputs
        trained = model.items.detach().clone().to(options.device)
        self.memory = memory.MovingMemory(
            trained, float(model.gamma), model.config.memory_reset, model.config.update_max
        )

    def begin(self) -> None:
        self.memory.begin()

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"frames": scale_frames(rows["frames"])}

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Encoded:
        n, frames = len(complete.starts), rows["frames"]
        stacked = torch.cat([frames[i : i + n] for i in range(self.inputs)], dim=1)
        features, past = self.network.encode(stacked.to(self.options.dtype, memory_format=torch.channels_last))
        return Encoded(features, past, frames[self.window.target : self.window.target + n])

    def score(self, encoded: Encoded, complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        if not self.memory.moves or encoded.features is None:
            return self._decode(encoded)
        one_by_one = [self._decode(encoded.one(i)) for i in range(len(encoded.targets))]
        terms = {name: torch.cat([terms[name] for terms, _ in one_by_one]) for name in one_by_one[0][0]}
        return terms, torch.cat([maps for _, maps in one_by_one])

    def _decode(self, encoded: Encoded) -> tuple[dict[str, Tensor], Tensor]:
        """Terms (n,) and maps of n windows; where the memory moves n is 1 and it does so afterwards."""
        expected, queries = self._expected(encoded)
        terms, maps = self.measure(expected, encoded.targets, queries, self.memory.items)
        if queries is not None and self.memory.moves:
            self.memory.observe(queries, float(terms["regular_score"]))
        return terms, maps

    def measure(
        self, expected: Tensor, targets: Tensor, queries: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Terms (n,) and maps of frames (n, colours, H, W), given the queries and the items that answered them; without
        these the distance is 0."""
        error = (expected - targets).square() / 4  # in [0, 1]: images are in [-1, 1]
        distance = error.new_zeros(len(error))
        if queries is not None and items is not None:
            distance = memory.nearest_distance(queries, items, self.config.distance).view(len(error), -1).mean(1)
        maps, regular = error_map(error), memory.regular_score(error)
        terms = {"psnr": psnr(error), "memory_distance": distance, "regular_score": regular}
        return terms | {"worst_place": worst_place(maps)}, maps

    def _expected(self, encoded: Encoded) -> tuple[Tensor, Tensor | None]:
        """Frames (n, colours, H, W) in [-1, 1], float32, and the queries."""
        if encoded.features is None:
            return self.network.decode(None, *encoded.past).float(), None
        temperature = self.config.temperature
        answer, queries = self.network.answer(encoded.features, self.memory.items, temperature=temperature)
        return self.network.decode(answer.to(self.options.dtype), *encoded.past).float(), queries

    @torch.inference_mode()
    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """What is expected in place of the last frame of a window."""
        first = np.zeros(1, np.int64)
        rows = self.per_row({"frames": torch.from_numpy(np.array(arrays["frames"])).to(self.options.device)})
        return stored_frame(self._expected(self.encode(rows, Complete(first, first, first, first)))[0][0])

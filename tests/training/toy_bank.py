"""A model without gradients: it keeps what normal frames look like, and scores a frame by how far it is from that."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from safetensors.torch import load_file
from torch import Tensor

from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The toy's.

    Attributes:
        weights: file of the projection.
        nearest: items that a distance is the mean of.
    """

    weights: str
    nearest: int = 1


class ToyBank(Model):
    """A pretrained projection of columns' means, and a bank of what it gives for training frames."""

    config_class = Config
    learns_in_one_pass = True
    scoring_only = frozenset({"nearest"})
    terms: ClassVar[dict[str, Term]] = {"distance": Term(higher_is_anomalous=True, meaning="to the nearest items")}
    items: Tensor
    projection: Tensor

    def __init__(self, config: Any, colours: int = 3, learning_rate: float = 0.0, epochs: int = 1):
        super().__init__(config, colours, learning_rate, epochs)
        self.register_buffer("projection", torch.zeros(24, 4))
        self.register_buffer("items", torch.empty(0, 4))
        self.register_buffer("clips", torch.tensor(0))

    @staticmethod
    def window(config: Any) -> Window:
        return Window(1, 0)

    @staticmethod
    def fusion(config: Any) -> dict[str, float]:
        return {"distance": 1.0}

    @staticmethod
    def pretrained(config: Any) -> tuple[Path, ...]:
        return (Path(config.weights),)

    def initialise(self) -> None:
        self.projection.copy_(load_file(self.config.weights)["projection"])

    def forward(self, frames: Tensor) -> Tensor:
        """Vectors (n, 4) of frames (n, H, 24, 1)."""
        return (frames.float() / 255).mean(dim=(1, 3)) @ self.projection

    def learn(self, clip: Arrays) -> Mapping[str, Any]:
        vectors = self(torch.from_numpy(np.array(clip["frames"])).to(self.device))
        self.items, self.clips = torch.cat([self.items, vectors]), self.clips + 1
        return {"items": float(len(self.items))}

    def scorer(self, options: ScoringOptions) -> "ToyBankScorer":
        return ToyBankScorer(self, options)


class ToyBankScorer(Scorer):
    """Frame by frame."""

    def __init__(self, model: ToyBank, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.model = copy.deepcopy(model).to(options.device)

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"frames": self.model(rows["frames"])}

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Tensor:
        # exact where a frame is in the bank: by a matrix product it would be a rounding error away
        exact = "donot_use_mm_for_euclid_dist"
        return torch.cdist(rows["frames"][complete.starts], self.model.items, compute_mode=exact)

    def score(self, encoded: Tensor, complete: Complete) -> tuple[dict[str, Tensor], None]:
        nearest = encoded.topk(self.model.config.nearest, largest=False).values
        return {"distance": nearest.mean(dim=1)}, None

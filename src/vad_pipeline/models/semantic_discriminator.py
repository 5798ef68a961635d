"""The semantic discriminator of spatio-temporal pseudo-anomaly generation (spec 6.6).

A small network tells the features of normal frames from those of spatial pseudo-anomalies; a frozen network trained on
other data gives the features (``features/providers.py``). A frame's score is the probability that it is one of the
latter.

Left open and chosen here: the layers (the paper's supplement is not at hand), 512-256-128-1 with ReLU and dropout of
0.3; each frame's vector brought to mean 0 and length 3 first, since providers' scales differ by orders of magnitude and
the published learning rate kills all units of a layer now and then if vectors are longer (docs/results.md); one
pseudo-anomaly for each normal frame on average; ``clip_pool`` averages the vectors of sixteen frames, as the video
model of the paper's features would, and scores the ninth. Learning rate constant.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from vad_pipeline.anomalies.pseudo_windows import PseudoAnomalies, PseudoWindows
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Stream, Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.features.providers import FrameFeatures
from vad_pipeline.fitting.fit import Batch
from vad_pipeline.models.contract import Model, ScoringOptions
from vad_pipeline.models.scorer import Complete, Scorer

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-3
VECTOR_LENGTH = 3.0
POOLED = Window(16, 8)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The discriminator; the defaults are the paper's where it says them.

    Attributes:
        features: what describes a frame.
        hidden: units of the hidden layers.
        dropout: share of hidden units left out in training.
        probability: of a pseudo-anomalous frame in training.
        clip_pool: average the vectors of sixteen frames.
    """

    features: FrameFeatures = Field(default_factory=FrameFeatures)
    hidden: tuple[int, ...] = (256, 128)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    probability: float = Field(default=0.5, gt=0, lt=1)
    clip_pool: bool = False


class SemanticDiscriminator(Model):
    """Training and scoring; see ``Model`` for the arguments. ``colours`` of the frames do not matter."""

    config_class = Config
    reads = ("features",)
    published_parameters: ClassVar[Mapping[int, float]] = {1: 0.36, 3: 0.36}
    tiny: ClassVar[Mapping[str, Any]] = {"hidden": (8,)}
    terms: ClassVar[dict[str, Term]] = {
        "pseudo_probability": Term(
            higher_is_anomalous=True, meaning="probability of being a spatial pseudo-anomaly", bounded=True
        )
    }

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 0.02, epochs: int = 20):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        layers: list[nn.Module] = []
        units = config.features.dimension
        for width in config.hidden:
            layers += [nn.Linear(units, width), nn.ReLU(), nn.Dropout(config.dropout)]
            units = width
        self.network = nn.Sequential(*layers, nn.Linear(units, 1))

    @staticmethod
    def window(config: Config) -> Window:
        return POOLED if config.clip_pool else Window(1, 0)

    @classmethod
    def streams(cls, config: Config) -> dict[str, Stream]:
        return {"features": Stream(range(cls.window(config).length), asdict(config.features))}

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        return {"pseudo_probability": 1.0}

    @staticmethod
    def pseudo_anomalies(config: Config) -> PseudoAnomalies:
        return PseudoAnomalies("stored", config.probability, "features")

    def dataset(self, clips: Mapping[str, Clips], stride: int, seed: int, stored: Clips | None) -> Dataset:
        """Windows of vectors, of which some are of pseudo-anomalous frames."""
        length, pseudo = self.window(self.config).length, self.pseudo_anomalies(self.config)
        return PseudoWindows(clips, self.streams(self.config), length, stride, pseudo, stored, seed)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B,) of windows of vectors (B, length, dimension).

        Raises:
            ValueError: vectors of another length.
        """
        if features.shape[-1] != self.config.features.dimension:
            raise ValueError(
                f"features of {features.shape[-1]} numbers, {self.config.features.provider} gives "
                f"{self.config.features.dimension}; compute them with the provider that the discriminator was made for"
            )
        vectors = features.float().mean(dim=1)
        centred = vectors - vectors.mean(dim=-1, keepdim=True)
        return self.network(VECTOR_LENGTH * F.normalize(centred, dim=-1)).squeeze(-1)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        logits = self(batch["features"])
        loss = F.binary_cross_entropy_with_logits(logits.float(), batch["pseudo"].float())
        right = ((logits > 0) == batch["pseudo"]).float().mean()
        logged = {"train_loss": loss.detach(), "train_accuracy": right}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(logits))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Held-out clips are normal: what is measured is how many of their frames pass for that."""
        logits = self(batch["features"])
        normal = {"val_probability": logits.sigmoid().mean(), "val_accuracy": (logits <= 0).float().mean()}
        self.log_dict(normal, batch_size=len(logits))

    def configure_optimizers(self) -> Any:
        """SGD with momentum and weight decay, as published."""
        return torch.optim.SGD(
            self.network.parameters(), lr=self.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def scorer(self, options: ScoringOptions) -> "DiscriminatorScorer":
        return DiscriminatorScorer(self, options)


class DiscriminatorScorer(Scorer):
    """Scores a clip's frames in batches; nothing is carried from clip to clip."""

    def __init__(self, model: SemanticDiscriminator, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.model = copy.deepcopy(model).to(options.device)

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return rows

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Tensor:
        """Probabilities (n,)."""
        windows = torch.stack([rows["features"][start : start + self.window.length] for start in complete.starts])
        return self.model(windows).sigmoid()

    def score(self, encoded: Tensor, complete: Complete) -> tuple[dict[str, Tensor], None]:
        return {"pseudo_probability": encoded}, None

"""What every model declares, so that training, scoring and evaluation need to know nothing else about it."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import lightning
import numpy as np
import torch

from vad_pipeline.anomalies.pseudo_windows import PseudoAnomalies
from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term


@dataclass(frozen=True)
class ScoredBatch:
    """Scores of consecutive frames of one clip.

    Attributes:
        frames: frame numbers (n,).
        terms: term -> values (n,).
        maps: error maps float16 (n, H/4, W/4), None where the model gives none.
    """

    frames: np.ndarray
    terms: dict[str, np.ndarray]
    maps: np.ndarray | None = None


class Scorer(Protocol):
    """A trained model made ready to score; it may carry state from clip to clip, which are given in order."""

    def clip(self, streams: dict[str, np.ndarray]) -> Iterator[ScoredBatch]:
        """Score one clip; streams are memory-mapped arrays (T, ...), of which only a window at a time is held."""
        ...

    def predict(self, frames: np.ndarray, position: int) -> np.ndarray:
        """What the model expects of a window's frame, for figures.

        Args:
            frames: uint8 (length, H, W, C), a whole window.
            position: of the frame in it, ``Window.place``'s.

        Returns:
            uint8 (H, W, C).
        """
        ...


@dataclass(frozen=True)
class ScoringOptions:
    """How a model is run, as opposed to what it computes.

    Attributes:
        device: torch device.
        bf16: compute convolutions in bfloat16.
        batch: windows at a time.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bf16: bool = False
    batch: int = 8


class Detector(lightning.LightningModule):
    """A model that learns from normal windows and scores frames.

    Subclasses build the network and declare the class attributes below; ``training_step`` and ``validation_step`` are
    Lightning's and return or log losses.

    Args:
        config: the model's configuration.
        colours: channels of a frame, 1 or 3.
        learning_rate: of the optimiser at the start.
        epochs: where the learning rate's schedule ends.
    """

    config_class: ClassVar[type]
    streams: ClassVar[tuple[str, ...]] = ("frames",)
    terms: ClassVar[dict[str, Term]]
    has_maps: ClassVar[bool] = False
    size_multiple: ClassVar[int] = 1  # height and width of the frames are multiples of it
    scoring_only: ClassVar[frozenset[str]] = frozenset()  # fields of the configuration that training does not read

    def __init__(self, config: Any, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__()
        self.config, self.learning_rate, self.epochs = config, learning_rate, epochs

    @staticmethod
    @abstractmethod
    def window(config: Any) -> Window:
        """The window of a configuration."""

    @staticmethod
    @abstractmethod
    def fusion(config: Any) -> dict[str, float]:
        """Weights of the terms in the model's anomaly score."""

    @staticmethod
    def pseudo_anomalies(config: Any) -> PseudoAnomalies | None:
        """What windows are replaced by in training; by default nothing.

        A batch then holds ``target``, the normal window, and ``pseudo``, bool, beside the stream that the model sees.
        """
        return None

    @abstractmethod
    def scorer(self, options: ScoringOptions) -> Scorer:
        """The model, made ready to score; the model itself is left as it is."""

    def calibrate(self, held_out: Callable[[], Iterator[dict[str, np.ndarray]]], options: ScoringOptions) -> None:
        """Set what the paper leaves to the data from held-out normal clips, after training; by default nothing.

        Args:
            held_out: gives the streams of one clip after the other.
            options: how to run the model.
        """

"""What every model declares, so that training, scoring and evaluation need to know nothing else about it."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, Literal, Protocol

import lightning
import numpy as np
import torch

from vad_pipeline.anomalies.patch import Patch
from vad_pipeline.anomalies.skip_frame import SkipFrame

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Window:
    """The frames that a model sees at once.

    Attributes:
        length: frames in a window.
        target: position in the window of the frame that is scored.
        apart: windows do not overlap and score all of their frames; the last one ends with the clip.
    """

    length: int
    target: int
    apart: bool = False

    def scored(self, n_frames: int) -> range:
        """Frames of a clip that get a score (spec 1.2); without ``apart`` windows start at every frame.

        >>> len(Window(5, 4).scored(180)), len(Window(16, 8).scored(180)), len(Window(16, 8, apart=True).scored(180))
        (176, 165, 180)
        """
        if self.apart:
            return range(n_frames if n_frames >= self.length else 0)
        return range(self.target, n_frames - self.length + self.target + 1)

    def starts(self, n_frames: int) -> range | list[int]:
        """First frames of the windows of a clip.

        >>> list(Window(5, 4).starts(7)), Window(16, 8, apart=True).starts(40)
        ([0, 1, 2], [0, 16, 24])
        """
        last = n_frames - self.length
        if not self.apart or last < 0:
            return range(last + 1)
        return sorted({*range(0, last + 1, self.length), last})

    def place(self, frame: int, n_frames: int) -> tuple[int, int]:
        """Start of the window that scores a frame, and the frame's position in it.

        >>> Window(5, 4).place(9, 40), Window(16, 8, apart=True).place(37, 40), Window(16, 8, apart=True).place(20, 40)
        ((5, 4), (24, 13), (16, 4))
        """
        if not self.apart:
            return frame - self.target, self.target
        start = frame - frame % self.length
        start = start if start + self.length <= n_frames else n_frames - self.length
        return start, frame - start


@dataclass(frozen=True)
class PseudoAnomalies:
    """The pseudo-anomalies that a model trains on.

    Attributes:
        source: ``stored`` are those of the pseudo_anomalies pipeline; ``patch`` and ``skip_frame`` are made on the fly.
        probability: of each window.
        stream: the one that becomes odd.
        patch, skip_frame: how those are made.
        intruders: folder of images for ``patch``; None for procedural textures.
    """

    source: Literal["stored", "patch", "skip_frame"]
    probability: float
    stream: str = "frames"
    patch: Patch = field(default_factory=Patch)
    skip_frame: SkipFrame = field(default_factory=SkipFrame)
    intruders: str | None = None


@dataclass(frozen=True)
class Term:
    """A raw term of a score.

    Attributes:
        higher_is_anomalous: direction; evaluation converts once.
        meaning: for the report, with unit.
        bounded: in [0, 1] as it is, such as a probability; it is fused without min-max normalisation.
    """

    higher_is_anomalous: bool
    meaning: str
    bounded: bool = False


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
    code: ClassVar[tuple[ModuleType, ...]] = ()  # further code, beside its own and the layers, that decides results

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

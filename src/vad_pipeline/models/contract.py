"""What every model declares, so that training, scoring and evaluation need to know nothing else about it."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning
import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from vad_pipeline.anomalies.pseudo_windows import PseudoAnomalies
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Stream, Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.fitting.windows import Windows
from vad_pipeline.models.scorer import Scorer, ScoringOptions

Arrays = Mapping[str, np.ndarray]  # stream -> rows of one clip


class Model(lightning.LightningModule):
    """A model that learns from normal clips and scores frames; one file each in ``models/``.

    Subclasses build the network and declare what follows. Training is Lightning's (``training_step``,
    ``configure_optimizers``, one optimiser or several by hand), or, where nothing has gradients, ``learn``, which sees
    every training clip once.

    Args:
        config: the model's configuration.
        colours: channels of a frame, 1 or 3.
        learning_rate: of the optimiser at the start.
        epochs: where the learning rate's schedule ends.

    Attributes:
        config_class: its frozen pydantic dataclass, the paper's values as defaults.
        reads: streams that any of its configurations reads; pipelines make these.
        terms: raw terms of its scores.
        has_maps: whether it gives error maps, and so can show what it expected.
        size_multiple: height and width of the frames are multiples of it.
        scoring_only: fields of the configuration that training does not read.
        fusing_only: fields that scoring does not read either, only ``fusion``.
        optimizer_names: of several optimisers, in order; they tell rates apart in the history.
        learns_in_one_pass: it has no gradients and is fitted by ``learn``; its buffers may have any shape.
        published_parameters: colours -> millions of parameters of the published network.
        tiny: fields of the configuration with which it trains in a second, for tests.
    """

    config_class: ClassVar[type]
    reads: ClassVar[tuple[str, ...]] = ("frames",)
    terms: ClassVar[dict[str, Term]]
    has_maps: ClassVar[bool] = False
    size_multiple: ClassVar[int] = 1
    scoring_only: ClassVar[frozenset[str]] = frozenset()
    fusing_only: ClassVar[frozenset[str]] = frozenset()
    optimizer_names: ClassVar[tuple[str, ...]] = ()
    learns_in_one_pass: ClassVar[bool] = False
    published_parameters: ClassVar[Mapping[int, float]] = {}
    tiny: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: Any, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__()
        self.config, self.learning_rate, self.epochs = config, learning_rate, epochs

    @staticmethod
    @abstractmethod
    def window(config: Any) -> Window:
        """The window of a configuration."""

    @classmethod
    def streams(cls, config: Any) -> dict[str, Stream]:
        """What a configuration reads, of ``reads``; by default all rows of the window."""
        return {name: Stream(range(cls.window(config).length)) for name in cls.reads}

    @staticmethod
    @abstractmethod
    def fusion(config: Any) -> dict[str, float]:
        """Weights of the terms in the model's anomaly score."""

    @staticmethod
    def pseudo_anomalies(config: Any) -> PseudoAnomalies | None:
        """What windows are replaced by in training; by default nothing."""
        return None

    @staticmethod
    def pretrained(config: Any) -> tuple[Path, ...]:
        """Files that ``initialise`` reads; by their content they are part of what a training depends on."""
        return ()

    def initialise(self) -> None:
        """Take over pretrained weights before training; a checkpoint is rebuilt without them. By default nothing."""

    def dataset(self, clips: Mapping[str, Clips], stride: int, seed: int, stored: Clips | None) -> Dataset:
        """The training items: by default all windows.

        Args:
            clips: stream -> normal clips.
            stride: frames between the starts of two windows.
            seed: of what is random in an item, which is a function of (seed, number) alone; items are numbered epoch *
                items + item.
            stored: runs of pseudo-anomalous rows, where the configuration trains on stored ones.

        Returns:
            A data set that makes whole batches, such as ``Windows`` and ``PseudoWindows``.
        """
        return Windows(clips, self.streams(self.config), self.window(self.config).length, stride)

    def held_out_dataset(self, clips: Mapping[str, Clips], stride: int) -> Dataset:
        """The items that ``validation_step`` measures: by default normal windows."""
        return Windows(clips, self.streams(self.config), self.window(self.config).length, stride)

    def learn(self, clip: Arrays) -> dict[str, Tensor | float] | None:
        """Take in one training clip, where ``learns_in_one_pass``; what it has learnt lies in buffers.

        Args:
            clip: stream -> rows, memory-mapped.

        Returns:
            What to note in the history, if anything.
        """
        raise TypeError(f"{type(self).__name__} is trained by gradients, it learns no clip in one pass")

    @staticmethod
    def shown_side(config: Any) -> int | None:
        """Side in pixels of the part of a frame that pictures of its scores show; None, the default, is all of it."""
        return None

    def facts(self) -> dict[str, float]:
        """What training found out and reports state, by name; by default nothing."""
        return {}

    @abstractmethod
    def scorer(self, options: ScoringOptions) -> Scorer:
        """The model, made ready to score; the model itself is left as it is."""

    def calibrate(self, held_out: Callable[[], Iterator[Arrays]], options: ScoringOptions) -> None:
        """Set what the paper leaves to the data from held-out normal clips, after training; by default nothing.

        Args:
            held_out: gives the streams of one clip after the other.
            options: how to run the model.
        """

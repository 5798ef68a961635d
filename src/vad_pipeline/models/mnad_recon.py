"""MNAD, reconstruction: learning memory-guided normality (Park et al., CVPR 2020; its official code holds).

As ``mnad_pred.py``, but one frame is reconstructed and nothing goes past the memory: the decoder has no skips, and in
their place as many channels more of its own. So every frame of a clip gets a score. Loss weights, threshold and
weight of the PSNR are those that the official code's page names for reconstruction, on Ped2.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.window import Window
from vad_pipeline.models.memory_model import MemoryConfig, MemoryModel
from vad_pipeline.models.mnad_pred import MNADNetwork


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config(MemoryConfig):
    """MNAD's reconstruction; the defaults are the official code's, for Ped2. See ``MemoryConfig``."""

    compactness: float = Field(default=0.01, ge=0)
    separateness: float = Field(default=0.01, ge=0)
    gamma: float | None = Field(default=0.015, ge=0)
    psnr_weight: float = Field(default=0.7, ge=0, le=1)


class MNADRecon(MemoryModel):
    """Training and scoring of MNAD's reconstruction; see ``Model`` for the arguments."""

    config_class = Config
    published_parameters: ClassVar[Mapping[int, float]] = {3: 17.195}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625, "gamma": None}
    inputs = 1

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        network = MNADNetwork(config.width, colours, 1, "up")
        super().__init__(config, colours, learning_rate, epochs, network)

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=1, target=0)

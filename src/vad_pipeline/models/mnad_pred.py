"""MNAD, prediction: learning memory-guided normality (Park et al., CVPR 2020; its official code holds).

Four frames predict the fifth through an encoder, a memory of prototypes and a decoder with skips, which sees the
queries beside what they read from the memory. LGN-Net's Glo-Net with skips is this network. Scores: PSNR of the
predicted frame and distance of the queries to their nearest prototype.

Left open and chosen here, as in ``lgn_net.py``: ``gamma`` was chosen on test videos at 256x256, ``gamma: null``
calibrates it on held-out normal clips; frames may be gray; ``width`` scales all channels; error maps are the squared
error in [0, 1], averaged over channels and over 4x4 pixels.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from vad_pipeline.clips.window import Window
from vad_pipeline.models.layers.mnad_autoencoder import Decoder, Encoder, Widened, channels, head
from vad_pipeline.models.memory_model import MemoryConfig, MemoryModel, MemoryNetwork

INPUTS = 4  # frames that predict the next one


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config(MemoryConfig):
    """MNAD's prediction; the defaults are the official code's, for Ped2. See ``MemoryConfig``."""


class MNADNetwork(MemoryNetwork):
    """Encoder and decoder around the memory; the decoder sees the queries beside what they read.

    Args:
        width: multiplies all channels; 1 is the paper's network.
        colours: channels of a frame, 1 or 3.
        inputs: frames that the encoder sees.
        widened: see ``Decoder``.
    """

    sees_queries = True

    def __init__(self, width: float, colours: int, inputs: int, widened: Widened):
        super().__init__()
        self.memory_channels = channels(width)[-1]
        self.skips = widened == "skips"
        self.encoder = Encoder(inputs * colours, width)
        self.decoder = Decoder(2 * self.memory_channels, width, widened)
        self.head = head(self.decoder.channels, width, colours)

    def encode(self, stacked: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features (B, 512, H/8, W/8), and the skips where there are any."""
        features, skips = self.encoder.with_skips(stacked)
        return features, skips if self.skips else ()

    def decode(self, answer: Tensor | None, *past: Tensor) -> Tensor:
        """Frames of the memory's answer (B, 1024, H/8, W/8) and skips."""
        assert answer is not None
        return self.head(self.decoder(answer, *past))


class MNADPred(MemoryModel):
    """Training and scoring of MNAD's prediction; see ``Model`` for the arguments."""

    config_class = Config
    published_parameters: ClassVar[Mapping[int, float]] = {3: 15.65}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625, "gamma": None}
    inputs = INPUTS

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        network = MNADNetwork(config.width, colours, INPUTS, "skips")
        super().__init__(config, colours, learning_rate, epochs, network)

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=INPUTS + 1, target=INPUTS)

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

The variants of Table II leave parts out. Loc-Net has the spatiotemporal branch alone, with ConvLSTM cells, and is
scored by PSNR alone (its memory distance is 0); Glo-Net has the prototype branch alone, whose decoder sees the queries
beside what they read, as MNAD's does, and with skips from the encoder is MNAD's network; LGN-ST has both branches, with
ConvLSTM cells, and hands on hidden and cell state.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from vad_pipeline.clips.window import Window
from vad_pipeline.models.layers.conv_lstm import ConvLSTM
from vad_pipeline.models.layers.mnad_autoencoder import Decoder, Encoder, channels, conv, head, up
from vad_pipeline.models.layers.st_lstm import SpatioTemporalLSTM
from vad_pipeline.models.memory_model import Encoded, MemoryConfig, MemoryModel, MemoryNetwork, MemoryScorer
from vad_pipeline.models.scorer import Complete, ScoringOptions

INPUTS = 4  # frames that predict the next one
Variant = Literal["lgn_net", "lgn_st", "loc_net", "glo_net", "glo_net_skips"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config(MemoryConfig):
    """LGN-Net; the defaults are the paper's for Ped2. See ``MemoryConfig`` for the rest.

    Attributes:
        variant: the network of Table II; ``glo_net_skips`` is Glo-Net with skips from the encoder to the decoder.
    """

    variant: Variant = "lgn_net"
    compactness: float = Field(default=10.0, ge=0)
    separateness: float = Field(default=5.0, ge=0)
    gamma: float | None = Field(default=0.009, ge=0)


class LGNNetwork(MemoryNetwork):
    """The network, in parts that training and scoring put together (spec 4.2).

    Args:
        width: multiplies all channels.
        colours: channels of a frame, 1 or 3.
        variant: which parts it has.
    """

    def __init__(self, width: float, colours: int, variant: Variant = "lgn_net"):
        super().__init__()
        c64, c128, _, c512 = channels(width)
        self.local, self.prototypes = not variant.startswith("glo_net"), variant != "loc_net"
        self.sees_queries = not self.local
        self.memory_channels = c512 if self.prototypes else 0
        seen = 0  # channels that the head sees
        if self.local:
            self.frame_encoder = nn.Sequential(  # E_loc: (N, colours, H, W) -> (N, 128, H/4, W/4)
                *conv(colours, c64, stride=2), *conv(c64, c64), *conv(c64, c128, stride=2), *conv(c128, c128)
            )
            self.recurrent = SpatioTemporalLSTM(c128) if variant == "lgn_net" else ConvLSTM(c128)
            self.local_decoder = nn.Sequential(*up(2 * c128, c128), *up(c128, c64))  # F_loc -> F'_loc (N, 64, H, W)
            seen += c64
        if self.prototypes:
            self.clip_encoder = Encoder(INPUTS * colours, width)  # E_glo
            self.skips = variant == "glo_net_skips"
            answers = 2 * c512 if self.sees_queries else c512
            self.global_decoder = Decoder(answers, width, "skips" if self.skips else "no")  # D_lg up to F'_glo
            seen += self.global_decoder.channels
        self.head = head(seen, width, colours)

    def frame_gates(self, frames: Tensor) -> Tensor:
        """What the spatiotemporal branch needs of each frame: (N, colours, H, W) -> (N, gates * 128, H/4, W/4)."""
        return self.recurrent.input_gates(self.frame_encoder(frames))

    def local_features(self, gates: Tensor) -> Tensor:
        """F'_loc of windows: gates (4, B, gates * 128, H/4, W/4) -> (B, 64, H, W)."""
        return self.local_decoder(torch.cat(self.recurrent(gates), dim=1))

    def encode(self, stacked: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """The prototype branch's features, (B, 512, H/8, W/8), and skips of a variant that has them."""
        if not self.prototypes:
            return None, ()
        features, skips = self.clip_encoder.with_skips(stacked)
        return features, skips if self.skips else ()

    def decode(self, answer: Tensor | None, *past: Tensor) -> Tensor:
        """Predicted frame of the memory's answer and, past it, skips or F'_loc (B, 64, H, W)."""
        if answer is None:
            return self.head(*past)
        if not self.local:
            return self.head(self.global_decoder(answer, *past))
        return self.head(torch.cat([self.global_decoder(answer), *past], dim=1))


class LGNNet(MemoryModel):
    """LGN-Net's training and scoring around ``LGNNetwork``; see ``Model`` for the arguments."""

    config_class = Config
    published_parameters: ClassVar[Mapping[int, float]] = {3: 22.75}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625, "gamma": None}
    inputs = INPUTS

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        network = LGNNetwork(config.width, colours, config.variant)
        super().__init__(config, colours, learning_rate, epochs, network)

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=INPUTS + 1, target=INPUTS)

    @staticmethod
    def fusion(config: MemoryConfig) -> dict[str, float]:
        """Weights of the terms in the normality score (spec 4.4)."""
        without_memory = isinstance(config, Config) and config.variant == "loc_net"
        return {"psnr": 1.0} if without_memory else MemoryModel.fusion(config)

    def encode(self, inputs: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        local = self.network.local_features(self._gates(inputs.transpose(0, 1))) if self.network.local else None
        features, past = super().encode(inputs)
        return features, past if local is None else (*past, local)

    def _gates(self, by_time: Tensor) -> Tensor:
        """Gates of frames (4, B, colours, H, W), (4, B, gates * 128, H/4, W/4).

        In training each step of time is a batch of its own to the batch norms, as in the official code, which encodes
        one after the other: four updates of the running statistics a step (spec 4.2).
        """
        if self.training:
            return torch.stack([self.network.frame_gates(frames) for frames in by_time])
        return self.network.frame_gates(by_time.flatten(0, 1)).unflatten(0, by_time.shape[:2])

    def scorer(self, options: ScoringOptions) -> "LGNScorer":
        return LGNScorer(self, options)


class LGNScorer(MemoryScorer):
    """LGN-Net made ready to score; what depends on one frame is computed once per frame."""

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        made = super().per_row(rows)
        if self.network.local:
            made["gates"] = self.network.frame_gates(made["frames"].to(self.options.dtype))
        return made

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> Encoded:
        encoded = super().encode(rows, complete)
        if not self.network.local:
            return encoded
        gates = torch.stack([rows["gates"][i : i + len(complete.starts)] for i in range(INPUTS)])
        return encoded._replace(past=(*encoded.past, self.network.local_features(gates)))

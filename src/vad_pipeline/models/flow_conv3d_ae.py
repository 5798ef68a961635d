"""The temporal autoencoder of spatio-temporal pseudo-anomaly generation: ``Conv3dAE`` on optical flow (spec 6.5, 6.7).

Sixteen flows are reconstructed; a frame is scored as the ninth of its window, by the squared error of the flow from it
to the next. With a probability of its own each, windows are replaced by temporal pseudo-anomalies, flow mixed up inside
rectangles (``anomalies/temporal.py``), whose answer is still the normal flow. The last flow of a clip repeats, so that
as many frames are scored as the spatial autoencoder scores.

Left open and chosen here: the paper's three channels for a two-component flow are u, v and the magnitude (``hsv`` is
the coloured picture of its Fig. 2); ``limit`` is what flow is clipped to and divided
by, 20 pixels at the paper's size. Small pictures move by less, so the small presets set it lower: with 20, half a pixel
would be a fortieth of what the network can tell apart.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from vad_pipeline.anomalies.pseudo_windows import PseudoAnomalies
from vad_pipeline.clips.window import Stream
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.flow.representation import LIMIT, Representation, flow_of, hsv_picture, represent
from vad_pipeline.models.conv3d_ae import LENGTH, Conv3dAE, Windows
from vad_pipeline.models.layers.error_maps import WORST_PLACE
from vad_pipeline.models.layers.pixels import scale_frames


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The temporal autoencoder; the defaults are the paper's.

    Attributes:
        width: multiplies all channels; 1 is the published network.
        pseudo: whether windows are replaced by stored temporal pseudo-anomalies in training.
        probability: of each window, p_t in the paper.
        representation: what the network sees of flow, see ``flow/representation.py``.
        limit: pixels of flow that stand for 1.
        windows: as the spatial autoencoder's.
    """

    width: float = Field(default=1.0, gt=0)
    pseudo: bool = True
    probability: float = Field(default=0.5, ge=0, le=1)
    representation: Representation = "uv_magnitude"
    limit: float = Field(default=LIMIT, gt=0)
    windows: Windows = "sliding"


class FlowConv3dAE(Conv3dAE):
    """Training and scoring; see ``Model`` for the arguments. ``colours`` of the frames do not matter."""

    config_class = Config
    reads = ("flow",)
    published_parameters: ClassVar[Mapping[int, float]] = {1: 5.991, 3: 5.991}
    tiny: ClassVar[Mapping[str, Any]] = {"width": 0.0625, "limit": 4.0}
    terms: ClassVar[dict[str, Term]] = {
        "flow_error": Term(higher_is_anomalous=True, meaning="mean squared error of the reconstructed ninth flow"),
        "worst_flow": WORST_PLACE,
    }
    place = "worst_flow"

    @staticmethod
    def channels(config: Config, colours: int) -> int:  # type: ignore[override]
        return 2 if config.representation == "uv" else 3

    @classmethod
    def streams(cls, config: Config) -> dict[str, Stream]:  # type: ignore[override]
        return {"flow": Stream(range(LENGTH), {"estimator": "tvl1"})}

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:  # type: ignore[override]
        return {"flow_error": 1.0}

    @staticmethod
    def pseudo_anomalies(config: Config) -> PseudoAnomalies | None:  # type: ignore[override]
        return PseudoAnomalies("stored", config.probability, "flow") if config.pseudo else None

    def scaled(self, stream: Tensor) -> Tensor:
        """Flow (..., H, W, 2) in pixels as the network reads it, float32 (..., channels, H, W) in [-1, 1]."""
        config: Config = self.config  # type: ignore[assignment]
        seen = torch.from_numpy(represent(stream.cpu().numpy(), config.representation, config.limit))
        if config.representation == "hsv":
            return scale_frames(seen.to(stream.device))
        return seen.to(stream.device).movedim(-1, -3)

    def picture(self, image: Tensor) -> np.ndarray:
        """The reconstructed flow (channels, H, W) as a coloured picture, uint8 (H, W, 3)."""
        if self.config.representation == "hsv":  # type: ignore[attr-defined]
            return super().picture(image)
        return hsv_picture(flow_of(image.movedim(0, -1).cpu().numpy(), "uv", 1.0), 1.0)

    def scores(self, error: Tensor) -> dict[str, Tensor]:
        return {"flow_error": error.flatten(1).mean(1)}

"""The streams that models read beside their frames: how each was made, and the same made of other clips."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.window import Stream
from vad_pipeline.features.providers import FrameFeatures, describe, load
from vad_pipeline.features.stored_features import feature_jobs
from vad_pipeline.flow.dis import DIS, dis_flow, dis_jobs
from vad_pipeline.flow.flownet_flow import FlowNetFlow, flownet_jobs, flownet_of_pair
from vad_pipeline.flow.stored_flow import stored_row
from vad_pipeline.flow.tvl1 import TVL1, tvl1_flow, tvl1_jobs

Recipe = Mapping[str, Any]


@dataclass(frozen=True)
class Estimator:
    """How flow is estimated: of clips in batches, and of two frames of a stream.

    Attributes:
        settings: class of its parameters.
        jobs: of frames and settings; flow for the clip store.
        of_pair: of two frames uint8 (H, W, 1|3) and settings; float32 (H, W, 2).
    """

    settings: type
    jobs: Callable[[Clips, Any], dict[str, ClipJob]]
    of_pair: Callable[[np.ndarray, np.ndarray, Any], np.ndarray]

    def typed(self, recipe: Recipe) -> Any:
        """The settings that a recipe states."""
        return TypeAdapter(self.settings).validate_python(recipe["settings"])


ESTIMATORS = {
    "tvl1": Estimator(TVL1, tvl1_jobs, tvl1_flow),
    "flownet": Estimator(FlowNetFlow, flownet_jobs, flownet_of_pair),
    "dis": Estimator(DIS, dis_jobs, dis_flow),
}


def recipes_of(
    streams: Mapping[str, Stream],
    tvl1: TVL1 | None = None,
    flownet: FlowNetFlow | None = None,
    dis: DIS | None = None,
) -> dict[str, Recipe]:
    """How each stream but the frames is made, as JSON; a checkpoint keeps it.

    Args:
        streams: what a configuration reads.
        tvl1, flownet, dis: settings of the estimators, where flow is read.
    """
    recipes: dict[str, Recipe] = {name: stream.recipe for name, stream in streams.items() if name != "frames"}
    if "flow" in recipes:
        chosen = recipes["flow"]["estimator"]
        given = {"tvl1": tvl1, "flownet": flownet, "dis": dis}[chosen]
        recipes["flow"] = {**recipes["flow"], "settings": asdict(given or ESTIMATORS[chosen].settings())}
    return recipes


def flow_jobs(frames: Clips, recipe: Recipe) -> dict[str, ClipJob]:
    """Flow of frames of the model's size, by the recipe's estimator."""
    estimator = ESTIMATORS[recipe["estimator"]]
    return estimator.jobs(frames, estimator.typed(recipe))


def described_jobs(native_frames: Clips, recipe: Recipe, device: torch.device) -> dict[str, ClipJob]:
    """Features of native frames, by the recipe's network."""
    return feature_jobs(native_frames, TypeAdapter(FrameFeatures).validate_python(recipe), device)


def flow_of_pairs(recipe: Recipe) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    """The recipe's estimator for a stream: a row of flow, float16 (H, W, 2), of two frames and the first one's number.

    Raises:
        FlowNetError: the weights are missing, damaged or not of FlowNet.
    """
    estimator = ESTIMATORS[recipe["estimator"]]
    settings = estimator.typed(recipe)
    return lambda earlier, later, frame: stored_row(estimator.of_pair(earlier, later, settings), "of the stream", frame)


def features_of_frames(recipe: Recipe, device: torch.device) -> Callable[[np.ndarray], np.ndarray]:
    """The recipe's network for a stream: features float16 (n, dimension) of native frames (n, H, W, C)."""
    loaded = load(TypeAdapter(FrameFeatures).validate_python(recipe), device)
    return lambda frames: describe(frames, loaded, device)

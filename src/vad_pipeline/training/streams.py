"""The streams that models read beside their frames: how each was made, and the same made of other clips."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
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
        given: dict[str, TVL1 | FlowNetFlow | DIS] = {
            "tvl1": tvl1 or TVL1(),
            "flownet": flownet or FlowNetFlow(),
            "dis": dis or DIS(),
        }
        settings = given[recipes["flow"]["estimator"]]
        recipes["flow"] = {**recipes["flow"], "settings": asdict(settings)}
    return recipes


def flow_jobs(frames: Clips, recipe: Recipe) -> dict[str, ClipJob]:
    """Flow of frames of the model's size, by the recipe's estimator."""
    if recipe["estimator"] == "flownet":
        return flownet_jobs(frames, TypeAdapter(FlowNetFlow).validate_python(recipe["settings"]))
    if recipe["estimator"] == "dis":
        return dis_jobs(frames, TypeAdapter(DIS).validate_python(recipe["settings"]))
    return tvl1_jobs(frames, TypeAdapter(TVL1).validate_python(recipe["settings"]))


def described_jobs(native_frames: Clips, recipe: Recipe, device: torch.device) -> dict[str, ClipJob]:
    """Features of native frames, by the recipe's network."""
    return feature_jobs(native_frames, TypeAdapter(FrameFeatures).validate_python(recipe), device)


def flow_of_pairs(recipe: Recipe) -> Callable[[np.ndarray, np.ndarray, int], np.ndarray]:
    """The recipe's estimator for a stream: a row of flow, float16 (H, W, 2), of two frames and the first one's number.

    Raises:
        FlowNetError: the weights are missing, damaged or not of FlowNet.
    """
    settings = recipe["settings"]
    estimate: Callable[[np.ndarray, np.ndarray], np.ndarray]
    if recipe["estimator"] == "flownet":
        estimate = partial(flownet_of_pair, config=TypeAdapter(FlowNetFlow).validate_python(settings))
    elif recipe["estimator"] == "dis":
        estimate = partial(dis_flow, settings=TypeAdapter(DIS).validate_python(settings))
    else:
        estimate = partial(tvl1_flow, config=TypeAdapter(TVL1).validate_python(settings))
    return lambda earlier, later, frame: stored_row(estimate(earlier, later), "of the stream", frame)


def features_of_frames(recipe: Recipe, device: torch.device) -> Callable[[np.ndarray], np.ndarray]:
    """The recipe's network for a stream: features float16 (n, dimension) of native frames (n, H, W, C)."""
    loaded = load(TypeAdapter(FrameFeatures).validate_python(recipe), device)
    return lambda frames: describe(frames, loaded, device)

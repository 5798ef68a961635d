"""How long a test frame takes, one frame at a time (VALT-GAN Table III): a camera's frame arrives, its score leaves.

Three spans of a frame are timed. Reading decodes it; of rendered clips that is rendering. Preparing makes what the
networks read of it: resizing, optical flow from the frame before, features. The network takes these rows, already in
memory, and gives the score. End to end is all three.
"""

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, lcm
from pathlib import Path
from statistics import median

import numpy as np
import torch
from pydantic import ConfigDict, Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass as typed

from vad_pipeline.clips.resize import FrameSize, resize
from vad_pipeline.features.providers import FrameFeatures, describe, load
from vad_pipeline.fitting.devices import multiplies_bf16
from vad_pipeline.flow.dis import DIS, dis_flow
from vad_pipeline.flow.flownet import estimate
from vad_pipeline.flow.flownet_checkpoint import load_flownet
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.stored_flow import stored_row
from vad_pipeline.flow.tvl1 import TVL1, tvl1_flow
from vad_pipeline.models.contract import Model
from vad_pipeline.models.scorer import ScoredBatch, ScoringOptions
from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.scoring.score import ScoringError
from vad_pipeline.training.streams import Recipe

Rows = dict[str, np.ndarray]
Clock = Callable[[], float]


@typed(frozen=True, config=ConfigDict(extra="forbid"))
class RunTime:
    """What is timed.

    Attributes:
        systems: names, in the order of the table.
        frames: that count, at least; of a system whose windows do not overlap in whole windows.
        warm_up: frames that are scored before and do not count.
    """

    systems: tuple[str, ...]
    frames: int = Field(default=50, ge=1)
    warm_up: int = Field(default=10, ge=0)

    @field_validator("systems")
    @classmethod
    def _known(cls, systems: tuple[str, ...]) -> tuple[str, ...]:
        for system in systems:
            if system not in SYSTEMS:
                raise ValueError(f"run_time.systems: unknown system {system!r}; there are: {', '.join(SYSTEMS)}")
        return systems


@dataclass(frozen=True)
class Times:
    """Medians, in milliseconds per frame.

    Attributes:
        reading: decoding alone.
        network: from rows in memory to the score.
        end_to_end: from the raw clip to the score.
    """

    reading: float
    network: float
    end_to_end: float


class FrameByFrame:
    """A network that scores a clip's native frames one by one, with what it takes to make its rows.

    Args:
        model: in evaluation mode, trained or not.
        size: of its frames.
        recipes: of its streams but the frames, as a checkpoint keeps them.
        options: how to run it.
    """

    def __init__(self, model: Model, size: FrameSize, recipes: Mapping[str, Recipe], options: ScoringOptions):
        self.size, self.options = size, options
        self.window, self.streams = model.window(model.config), model.streams(model.config)
        self._scorer = model.scorer(options)
        self._flow = _flow_of_pair(recipes["flow"], options.device) if "flow" in self.streams else None
        self._features = (
            TypeAdapter(FrameFeatures).validate_python(recipes["features"]) if "features" in self.streams else None
        )
        self._before: np.ndarray | None = None

    def rows(self, native: np.ndarray) -> Rows:
        """What the network reads of the next frame, uint8 (H, W, 1|3); flow is that of the frame before to this."""
        made: Rows = {}
        if {"frames", "flow"} & set(self.streams):
            frame = resize(native, self.size)
            if self._flow is not None and self._before is not None:
                made["flow"] = self._flow(self._before, frame)[None]
            made["frames"] = frame[None]
            self._before = frame
        if self._features is not None:
            loaded = load(self._features, self.options.device)
            made["features"] = describe(native[None], loaded, self.options.device)
        return {name: made[name] for name in self.streams if name in made}

    def push(self, rows: Rows) -> ScoredBatch | None:
        """The network's part; a score has left the device when it returns."""
        return self._scorer.push(rows)

    def finish(self) -> None:
        """The clip ends."""
        self._scorer.finish()
        self._before = None


def time_frames(
    parts: Sequence[FrameByFrame],
    clips: Sequence[Callable[[], Iterator[np.ndarray]]],
    config: RunTime,
    clock: Clock = time.perf_counter,
) -> Times:
    """Time a system on clips, again and again until enough frames are scored.

    What does not count: frames before a clip's first score, and the warm-up. Where windows do not overlap, the frames
    of one are timed together, and each takes its share.

    Args:
        parts: the system's networks; all see every frame.
        clips: each gives its native frames, uint8 (H, W, 1|3).
        config: how many frames.
        clock: seconds.

    Raises:
        ScoringError: no clip is long enough to have frames that count.
    """
    together = lcm(*(part.window.stride for part in parts))
    warm_up, counting = ceil(config.warm_up / together), ceil(config.frames / together)
    spans: list[np.ndarray] = []  # (3,) of each group of frames: reading, preparing, network
    while len(spans) < warm_up + counting:
        before = len(spans)
        for clip in clips:
            for span in _groups(parts, clip(), together, clock):
                spans.append(span)
                if len(spans) == warm_up + counting:
                    break
            for part in parts:
                part.finish()
            if len(spans) == warm_up + counting:
                break
        if len(spans) == before:
            needed = max(part.window.length for part in parts) + together
            raise ScoringError(f"run_time: no clip to score has {needed} frames, which timing takes; add a longer one")
    counted = 1000 / together * np.array(spans[warm_up:])
    return Times(
        reading=median(counted[:, 0]), network=median(counted[:, 2]), end_to_end=median(counted.sum(axis=1).tolist())
    )


def _groups(
    parts: Sequence[FrameByFrame], frames: Iterator[np.ndarray], together: int, clock: Clock
) -> Iterator[np.ndarray]:
    """Seconds of so many frames together, after the first that every part has scored."""
    waiting, group = set(range(len(parts))), []
    begun = clock()
    for frame in frames:
        read = clock()
        rows = [part.rows(frame) for part in parts]
        ready = clock()
        scored = [part.push(given) for part, given in zip(parts, rows, strict=True)]
        done = clock()
        if not waiting:
            group.append((read - begun, ready - read, done - ready))
        if len(group) == together:
            yield np.sum(group, axis=0)
            group = []
        waiting -= {n for n, batch in enumerate(scored) if batch is not None}
        begun = clock()


def device_name(device: torch.device) -> str:
    """What computes, as a table names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    threads = torch.get_num_threads()
    name = named or platform.processor() or platform.machine()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _flow_of_pair(recipe: Recipe, device: torch.device) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Flow float16 (H, W, 2) of two frames as it is stored, by the recipe's estimator."""
    if recipe["estimator"] == "dis":
        dis = TypeAdapter(DIS).validate_python(recipe["settings"])
        return lambda earlier, later: stored_row(dis_flow(earlier, later, dis), "run_time", 0)
    if recipe["estimator"] == "tvl1":
        tvl1 = TypeAdapter(TVL1).validate_python(recipe["settings"])
        return lambda earlier, later: stored_row(tvl1_flow(earlier, later, tvl1), "run_time", 0)
    given = TypeAdapter(FlowNetFlow).validate_python(recipe["settings"])
    bf16 = multiplies_bf16(device) if given.precision == "auto" else given.precision == "bf16"
    network = load_flownet(given.weights, given.channels)

    def by_flownet(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
        flow = estimate(network, earlier[None], later[None], device, bf16, given.magnify)[0]
        return stored_row(flow, "run_time", 0)

    return by_flownet

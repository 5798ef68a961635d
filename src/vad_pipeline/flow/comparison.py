"""How well flow explains what changes between frames, and how far estimators are apart; no true flow is needed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.resize import to_gray
from vad_pipeline.flow.warp import photometric_error

PAIRS_PER_CLIP = 12
CHANGE = 10  # gray levels
BINS = np.concatenate([[0, 0.05], np.geomspace(0.1, 32, 34), [np.inf]])  # pixels


class Pair(NamedTuple):
    """Two frames of a clip and their flows.

    Attributes:
        clip, frame: clip id and number of the earlier frame.
        earlier, later: uint8 (H, W, C).
        flows: estimator -> (H, W, 2), pixels.
    """

    clip: str
    frame: int
    earlier: np.ndarray
    later: np.ndarray
    flows: dict[str, np.ndarray]


@dataclass(frozen=True)
class FlowComparison:
    """What the sampled pairs say.

    Attributes:
        metrics: flat. ``<estimator>_warp_error`` and ``no_motion_warp_error``: mean absolute gray difference after
            warping the later frame to the earlier (gray levels), with ``_moving`` over the pixels of ``moving`` alone;
            ``<estimator>_mean_motion`` (pixels); ``disagreement`` and ``disagreement_moving``: mean endpoint
            difference of two estimators (pixels), the mean of all pairs of estimators; ``pairs`` sampled.
        magnitudes: estimator -> share of pixels in each bin of ``BINS``.
        disagreement: mean endpoint difference at each pixel (H, W), None where there is one estimator.
    """

    metrics: dict[str, float]
    magnitudes: dict[str, np.ndarray]
    disagreement: np.ndarray | None


def sampled_pairs(frames: Clips, flows: Mapping[str, Clips], per_clip: int = PAIRS_PER_CLIP) -> Iterator[Pair]:
    """Pairs spread evenly over every clip that has flow."""
    for clip, stored in frames.items():
        if len(stored) < 2:
            continue
        array = stored.array()
        arrays = {name: clips[clip].array() for name, clips in flows.items() if clip in clips}
        for t in np.unique(np.linspace(0, len(stored) - 2, per_clip).round().astype(int)):
            yield Pair(clip, int(t), array[t], array[t + 1], {name: flow[t] for name, flow in arrays.items()})


def moving(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Where something moves, bool (H, W): gray values that change by more than 10 levels after a 3x3 blur, and the
    three pixels around them. It favours no estimator."""
    change = cv2.absdiff(*(cv2.blur(to_gray(frame), (3, 3)) for frame in (earlier, later))) > CHANGE
    return cv2.dilate(change.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0


def compare_flows(frames: Clips, flows: Mapping[str, Clips]) -> FlowComparison:
    """Measure each estimator against assuming no motion, and the estimators against each other.

    Args:
        frames: the frames that flow was computed of, all of one size.
        flows: estimator -> flow.
    """
    sums: dict[str, list[tuple[float, int]]] = {}
    counts = {name: np.zeros(len(BINS) - 1) for name in flows}
    difference: list[np.ndarray] = []
    n_pairs = 0

    def add(name: str, values: float, weight: int) -> None:
        if weight:
            sums.setdefault(name, []).append((values, weight))

    for pair in sampled_pairs(frames, flows):
        where = moving(pair.earlier, pair.later)
        n_pairs += 1
        still = {"no_motion": np.zeros((*where.shape, 2), np.float32)}
        for name, flow in {**still, **pair.flows}.items():
            add(f"{name}_warp_error", photometric_error(pair.earlier, pair.later, flow), where.size)
            if where.any():
                error = photometric_error(pair.earlier, pair.later, flow, where)
                add(f"{name}_warp_error_moving", error, int(where.sum()))
        for name, flow in pair.flows.items():
            length = np.hypot(*np.moveaxis(flow.astype(np.float32), -1, 0))
            counts[name] += np.histogram(length, BINS)[0]
            add(f"{name}_mean_motion", float(length.mean()), length.size)
        if len(pair.flows) > 1:
            given = [flow.astype(np.float32) for flow in pair.flows.values()]
            apart = np.mean([np.linalg.norm(one - other, axis=-1) for one, other in combinations(given, 2)], axis=0)
            difference.append(apart)
            add("disagreement", float(apart.mean()), apart.size)
            add("disagreement_moving", float(apart[where].mean()) if where.any() else 0.0, int(where.sum()))
    metrics = {}
    for name, measured in sums.items():
        values, weights = zip(*measured, strict=True)
        metrics[name] = float(np.average(values, weights=weights))
    return FlowComparison(
        metrics | {"pairs": float(n_pairs)},
        {name: count / max(count.sum(), 1) for name, count in counts.items()},
        np.mean(difference, axis=0) if difference else None,
    )

"""Temporal pseudo-anomalies of whole clips: flow mixed up at the holes of its frames (spec 6.5)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

import cv2
import numpy as np

from vad_pipeline.anomalies.flow_mixup import FlowMixup, mixup_clip
from vad_pipeline.anomalies.masks import components
from vad_pipeline.anomalies.pool import Run, frame_seed
from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob


def temporal_jobs(flow: Clips, holes: Clips, runs: Sequence[Run], config: FlowMixup, seed: int) -> dict[str, ClipJob]:
    """Jobs that mix up the flow of every run: float16 (T, H, W, 2), named like the holes.

    A run that ends with its clip has one row less, like the flow itself.

    Args:
        flow: float16 (T-1, H, W, 2), a clip each.
        holes: bool (T, H, W), a clip for each run, at the frames' native size.
        runs: which frames the holes are in.
        config: how flow is mixed.
        seed: of weights and places.
    """
    return {
        run.name: ClipJob(
            fingerprint=step_fingerprint(
                f"{flow[run.clip].fingerprint} {holes[run.name].fingerprint} {run}",
                {**asdict(config), "seed": seed},
                (mixed_rows,),
                ("cv2", "numpy"),
            ),
            rows=partial(mixed_rows, flow[run.clip], holes[run.name], run, config, seed),
            length=min(run.stop, len(flow[run.clip])) - run.start,
            row_if_none=(flow[run.clip].shape[1:], "float16"),
            fps=flow[run.clip].fps,
            source=flow[run.clip].source,
            parameters=asdict(config),
        )
        for run in runs
    }


def mixed_rows(
    flow: Clip, holes: Clip, run: Run, config: FlowMixup, seed: int, start: int, stop: int | None
) -> Iterator[np.ndarray]:
    """Rows ``start`` to ``stop`` of a run's mixed flow, each float16 (H, W, 2)."""
    field = flow.array()[run.start : run.stop]
    masks = LargestParts(holes.array()[: len(field)], *field.shape[1:3])

    def seed_of(row: int) -> np.random.Generator:
        return np.random.default_rng([1, *frame_seed(seed, run.clip, run.start + row)])

    return mixup_clip(field, masks, config, seed_of, start, stop)


class LargestParts:
    """Masks bool (T, h, w) as flow of another size sees them: each one's largest part, made when it is asked for."""

    def __init__(self, masks: np.ndarray, height: int, width: int):
        self.masks, self.shape = masks, (len(masks), height, width)

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, row: int) -> np.ndarray:
        part = largest_part(np.asarray(self.masks[row]))
        return cv2.resize(part.astype(np.uint8), self.shape[:0:-1], interpolation=cv2.INTER_AREA) > 0


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask, bool (H, W): a rectangle around several objects would take in everything
    between them."""
    parts = components(mask)
    largest = np.zeros_like(mask)
    if parts:
        (top, left, height, width), own = max(parts, key=lambda part: int(part.mask.sum()))
        largest[top : top + height, left : left + width] = own
    return largest

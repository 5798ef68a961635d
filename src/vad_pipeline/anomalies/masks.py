"""Where frames are made abnormal: masks of moving objects, or LaMa's random masks (spec 6.4).

A mask is bool (H, W), true in the hole. Moving objects are what differs from the clip's temporal median; that needs no
weights and suits a fixed camera. Chosen where the paper is silent: 1 to 3 objects a frame, in place, each dilated by 5
pixels, at least 64 pixels large (LaMa's own limit, 2% of the picture, would drop nearly every pedestrian).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.anomalies.pool import Run, frame_seed
from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import files_fingerprint, step_fingerprint
from vad_pipeline.clips.job import ClipJob

MEDIAN_FRAMES = 60  # spread over the clip, of which the background is the median
LAMA_SIZE = 256  # pixels, the picture that LaMa's settings are made for
MOST_HOLE = 0.5  # of the picture; random masks above it are drawn again
SEGMENTS = 5  # at most, in a chain of strokes


class Strokes(NamedTuple):
    """Settings of LaMa's random masks, in pixels of a 256x256 picture; both ends inclusive."""

    chains: tuple[int, int]
    width: int
    length: int
    box_weight: float
    boxes: tuple[int, int]
    side: tuple[int, int]
    margin: int  # between boxes and the picture's edge


# github.com/advimman/lama, configs/data_gen/random_{thin,medium,thick}_256.yaml; its generator draws one chain more,
# but not one box more
PRESETS = {
    "thin": Strokes((4, 51), 10, 40, 0.0, (1, 1), (10, 50), 0),
    "medium": Strokes((4, 6), 50, 100, 0.3, (1, 5), (10, 50), 0),
    "thick": Strokes((1, 6), 100, 200, 0.3, (1, 3), (30, 150), 10),
}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Masks:
    """Which pixels are replaced.

    Attributes:
        kind: ``objects`` takes moving objects, ``random`` LaMa's strokes and boxes anywhere.
        per: a mask of its own for every frame, or one for a whole clip (that of its middle frame).
        objects: fewest and most objects of a frame that are replaced.
        dilate: pixels by which an object's mask grows.
        segmenter: ``background`` finds what differs from the temporal median; ``mask_rcnn`` people and vehicles.
        threshold: gray levels from the background above which a pixel belongs to an object.
        min_area: pixels of the smallest object.
        max_share: of the picture, of the largest object.
        weights: Mask R-CNN's file, for ``segmenter: mask_rcnn``.
        preset: of random masks.
    """

    kind: Literal["objects", "random"] = "objects"
    per: Literal["frame", "clip"] = "frame"
    objects: tuple[int, int] = (1, 3)
    dilate: int = Field(default=5, ge=0)
    segmenter: Literal["background", "mask_rcnn"] = "background"
    threshold: float = Field(default=20.0, gt=0, lt=255)
    min_area: int = Field(default=64, ge=1)
    max_share: float = Field(default=0.3, gt=0, le=1)
    weights: str | None = None
    preset: Literal["thin", "medium", "thick"] = "medium"


class Component(NamedTuple):
    """A connected part of a mask: its box (top, left, height, width) and its own mask in there, bool."""

    box: tuple[int, int, int, int]
    mask: np.ndarray


def object_jobs(frames: Clips, config: Masks) -> dict[str, ClipJob]:
    """Jobs that find the objects of every clip: bool (T, H, W)."""
    deciding = {name: getattr(config, name) for name in ("segmenter", "threshold", "min_area", "max_share", "weights")}
    if config.segmenter == "mask_rcnn":
        from vad_pipeline.anomalies import instance_segmentation

        instance_segmentation.load(config.weights)  # says what is missing before anything is computed
        deciding["weights"] = files_fingerprint([Path(str(config.weights))], content=True)
    return {
        clip: ClipJob(
            fingerprint=step_fingerprint(stored.fingerprint, deciding, (object_rows,), ("cv2",)),
            rows=partial(object_rows, stored, config),
            length=len(stored),
            fps=stored.fps,
            source=stored.source,
            parameters=asdict(config),
        )
        for clip, stored in frames.items()
    }


def object_rows(clip: Clip, config: Masks, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Objects of the frames ``start`` to ``stop``, each bool (H, W)."""
    array = clip.array()
    background = temporal_median(array) if config.segmenter == "background" else None
    for t in range(start, len(array) if stop is None else stop):
        if background is not None:
            found = moving(array[t], background, config.threshold)
        else:
            from vad_pipeline.anomalies.instance_segmentation import load, segment_instances  # torch, where needed

            found = segment_instances(array[t], load(config.weights))
        yield cleaned(found, config.min_area, config.max_share)


def temporal_median(array: np.ndarray) -> np.ndarray:
    """The median of up to 60 frames spread over a clip (T, H, W, C): the empty scene, uint8 (H, W, C)."""
    chosen = np.unique(np.linspace(0, len(array) - 1, MEDIAN_FRAMES).round().astype(int))
    return np.median(array[chosen], axis=0).round().astype(np.uint8)


def moving(frame: np.ndarray, background: np.ndarray, threshold: float) -> np.ndarray:
    """Pixels that differ from the background by more than ``threshold`` gray levels, bool (H, W).

    A change of the whole picture's brightness is taken off first, and noise is smoothed.

    Args:
        frame, background: uint8 (H, W, C).
        threshold: gray levels, of the channel that differs most.
    """
    difference = frame.astype(np.int16) - background
    difference = np.abs(difference - np.median(difference)).max(axis=-1).astype(np.float32)
    return cv2.GaussianBlur(difference, (5, 5), 0) > threshold


def cleaned(mask: np.ndarray, min_area: int, max_share: float) -> np.ndarray:
    """Gaps of a few pixels closed, specks and what is too large taken out; bool (H, W)."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    kept = (area >= min_area) & (area <= max_share * mask.size)
    kept[0] = False
    return kept[labels]


def components(mask: np.ndarray) -> list[Component]:
    """The connected parts of a mask, bool (H, W), from the top left to the bottom right."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    parts = []
    for label in range(1, count):
        left, top, width, height = (int(v) for v in stats[label, :4])
        own = labels[top : top + height, left : left + width] == label
        parts.append(Component((top, left, height, width), own))
    return parts


def hole_jobs(objects: Clips, runs: Sequence[Run], config: Masks, seed: int) -> dict[str, ClipJob]:
    """Jobs that choose what is replaced in every frame of the runs: bool (T, H, W), named like the runs."""
    deciding = {name: getattr(config, name) for name in ("kind", "per", "objects", "dilate", "preset")}
    return {
        run.name: ClipJob(
            fingerprint=step_fingerprint(
                f"{objects[run.clip].fingerprint} {run}",
                {**deciding, "seed": seed},
                (hole_rows,),
                ("cv2", "numpy"),
            ),
            rows=partial(hole_rows, objects[run.clip], run, config, seed),
            length=run.stop - run.start,
            fps=objects[run.clip].fps,
            source=objects[run.clip].source,
            parameters=asdict(config),
        )
        for run in runs
    }


def hole_rows(objects: Clip, run: Run, config: Masks, seed: int, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Holes of the rows ``start`` to ``stop`` of a run, each bool (H, W); random where there is no object."""
    array = objects.array()
    for row in range(start, run.stop - run.start if stop is None else stop):
        frame = masked_after(run, row, config)
        yield hole_of_frame(array[frame], config, np.random.default_rng(frame_seed(seed, run.clip, frame)))


def masked_after(run: Run, row: int, config: Masks) -> int:
    """The frame of the clip whose objects decide the hole of a run's row: its own, or the run's middle one."""
    return (run.start + run.stop) // 2 if config.per == "clip" else run.start + row


def hole_of_frame(objects: np.ndarray, config: Masks, random: np.random.Generator) -> np.ndarray:
    """What is replaced in a frame, bool (H, W): some objects; a random mask where there are none or it is asked for."""
    if config.kind == "objects":
        hole = hole_of_objects(objects, config, random)
        if hole.any() and not hole.all():
            return hole
    height, width = objects.shape
    return random_mask(height, width, config.preset, random)


def hole_of_objects(objects: np.ndarray, config: Masks, random: np.random.Generator) -> np.ndarray:
    """Some of a frame's objects, dilated, as one mask, bool (H, W); all false where the frame has none.

    Args:
        objects: bool (H, W).
        config: how many, and by how much they grow.
        random: which.
    """
    hole = np.zeros(objects.shape, np.uint8)
    parts = components(objects)
    count = min(len(parts), int(random.integers(config.objects[0], config.objects[1] + 1)))
    for i in random.permutation(len(parts))[:count]:
        (top, left, height, width), own = parts[i]
        hole[top : top + height, left : left + width] |= own
    if config.dilate:
        side = 2 * config.dilate + 1
        return cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))).astype(bool)
    return hole.astype(bool)


def random_mask(height: int, width: int, preset: str, random: np.random.Generator) -> np.ndarray:
    """LaMa's random mask, bool (height, width): strokes, or rarely boxes, at most half of the picture.

    Lengths are those for 256x256 times the shorter side over 256. A mask of nothing or too much is drawn again.
    """
    strokes = PRESETS[preset]
    scale = min(height, width) / LAMA_SIZE
    while True:
        if random.random() < strokes.box_weight / (1 + strokes.box_weight):
            mask = _boxes(height, width, strokes, scale, random)
        else:
            mask = _irregular(height, width, strokes, scale, random)
        if 0 < mask.mean() <= MOST_HOLE:
            return mask


def _irregular(height: int, width: int, strokes: Strokes, scale: float, random: np.random.Generator) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    for chain in range(random.integers(strokes.chains[0], strokes.chains[1] + 1)):
        x, y = int(random.integers(width)), int(random.integers(height))
        for _ in range(1 + random.integers(SEGMENTS)):
            angle = 0.01 + random.integers(4)  # 0.01 to 3.01: no sine is negative: a chain goes one way
            if chain % 2 == 0:
                angle = 2 * math.pi - angle
            length = (10 + random.integers(strokes.length)) * scale
            brush = max(1, round((5 + random.integers(strokes.width)) * scale))
            # cut off, not rounded, and up to the picture's side: as LaMa does
            end_x = min(max(0, int(x + length * math.sin(angle))), width)
            end_y = min(max(0, int(y + length * math.cos(angle))), height)
            cv2.line(mask, (x, y), (end_x, end_y), 1, brush)
            x, y = end_x, end_y
    return mask.astype(bool)


def _boxes(height: int, width: int, strokes: Strokes, scale: float, random: np.random.Generator) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    margin = round(strokes.margin * scale)
    for _ in range(random.integers(strokes.boxes[0], strokes.boxes[1] + 1)):
        high, wide = (
            min(max(1, round(random.integers(strokes.side[0], strokes.side[1] + 1) * scale)), side - 2 * margin)
            for side in (height, width)
        )
        top, left = (
            random.integers(margin, side - margin - length + 1) for side, length in ((height, high), (width, wide))
        )
        mask[top : top + high, left : left + wide] = True
    return mask

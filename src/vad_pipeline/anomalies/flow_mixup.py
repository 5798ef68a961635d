"""Temporal pseudo-anomalies: a rectangle of flow is mixed with another one of the same field.

Pseudo-anomaly generation paper, section 3.3: p^ = weight * p' + (1 - weight) * p'_r, weight ~ Beta(0.4, 0.4), where p'
is the flow in the bounding rectangle of the frame's mask and p'_r as large a patch at a uniformly random place (spec
6.5). The paper leaves open whether the frames of a clip share weight and place; ``FlowMixup.per`` decides.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, Protocol

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

SIDE = (1 / 10, 1 / 3)  # of the frame's: shortest and longest side of a rectangle where there is no mask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FlowMixup:
    """How flow is mixed.

    Attributes:
        alpha: of Beta(alpha, alpha), the distribution of the weight; below 1 most weights are near 0 or near 1.
        per: ``frame`` draws weight and place anew for each flow field; ``clip`` draws one weight and one offset from p'
            to p'_r for all of them, so that what is odd stays the same while the rectangle follows the masks.
    """

    alpha: float = Field(default=0.4, gt=0)
    per: Literal["frame", "clip"] = "frame"


class Rectangle(NamedTuple):
    """Rows ``top`` to ``top + height`` and columns ``left`` to ``left + width``, pixels, the ends not included."""

    top: int
    left: int
    height: int
    width: int


class MaskRows(Protocol):
    """Masks bool (T, H, W): an array, or something that makes one at a time."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, row: int, /) -> np.ndarray: ...


class Mixup(NamedTuple):
    """What is mixed how.

    Attributes:
        rectangle: of p', the flow that is replaced.
        weight: of p', [0, 1]; that of p'_r is the rest.
        source: row and column of p'_r's top left corner.
    """

    rectangle: Rectangle
    weight: float
    source: tuple[int, int]


def mixup_clip(
    flow: np.ndarray,
    masks: MaskRows,
    config: FlowMixup,
    seed_of: Callable[[int], np.random.Generator],
    start: int = 0,
    stop: int | None = None,
) -> Iterator[np.ndarray]:
    """Yields the mixed flow of frames ``start`` to ``stop``, each (H, W, 2) of flow's type; holds one at a time.

    A row depends on its own frame and, per clip, on the first mask, never on ``start``: a clip may be mixed in chunks.
    A frame whose mask is empty gets a random rectangle; per clip, the one that the clip's first frame has.

    Args:
        flow: (T, H, W, 2), pixels, any float type; may be memory-mapped.
        masks: bool (T, H, W) or (T + 1, H, W), row t of the frame that flow t starts from.
        config: how flow is mixed.
        seed_of: gives the generator that decides about a frame; per clip it is asked about frame 0 only.
        start, stop: frames; None stands for the end of the clip.

    Raises:
        ValueError: masks are of another size or number than flow.
    """
    n_frames, height, width, _ = flow.shape
    if masks.shape[1:] != (height, width):
        raise ValueError(
            f"masks of {'x'.join(map(str, masks.shape[1:]))} pixels, flow of {height}x{width}; "
            "make the masks on the frames that the flow was computed on"
        )
    if len(masks) not in (n_frames, n_frames + 1):
        raise ValueError(f"{len(masks)} masks for {n_frames} flow fields; give {n_frames} or {n_frames + 1}")
    frames = range(n_frames)[start:stop]
    if not frames:
        return
    shared = _drawn(seed_of(0), config, masks[0]) if config.per == "clip" else None
    for t in frames:
        mixup = _drawn(seed_of(t), config, masks[t]) if shared is None else _moved(shared, masks[t])
        yield mix_flow(flow[t], mixup.rectangle, mixup.weight, mixup.source)


def mix_flow(flow: np.ndarray, rectangle: Rectangle, weight: float, source: tuple[int, int]) -> np.ndarray:
    """A copy of flow (H, W, 2) with ``weight`` * p' + (1 - ``weight``) * p'_r in the rectangle (paper, section 3.3).

    The type stays; float16 is mixed in float32.

    Args:
        flow: (H, W, 2), any float type.
        rectangle: of p'.
        weight: [0, 1]; 1 changes nothing, 0 copies p'_r.
        source: row and column of p'_r's top left corner; p' and p'_r may overlap.

    Raises:
        ValueError: p' or p'_r reaches out of the field.

    >>> mix_flow(np.float16([[[0, 0], [8, 4]]]), Rectangle(0, 0, 1, 1), 0.75, (0, 1)).tolist()
    [[[2.0, 1.0], [8.0, 4.0]]]
    """
    there = rectangle._replace(top=source[0], left=source[1])
    for name, patch in (("the rectangle", rectangle), ("the patch to mix with it", there)):
        if min(patch) < 0 or patch.top + patch.height > flow.shape[0] or patch.left + patch.width > flow.shape[1]:
            raise ValueError(f"{name}, {tuple(patch)}, reaches out of flow of {flow.shape[0]}x{flow.shape[1]} pixels")
    precise = np.result_type(flow.dtype, np.float32).type
    mixed = flow.copy()
    mixed[_inside(rectangle)] = precise(weight) * flow[_inside(rectangle)] + precise(1 - weight) * flow[_inside(there)]
    return mixed


def draw_mixup(rng: np.random.Generator, config: FlowMixup, rectangle: Rectangle, height: int, width: int) -> Mixup:
    """Draws the weight from Beta(alpha, alpha) and p'_r uniformly from all places where it fits (spec 6.5).

    Args:
        rng: decides everything.
        config: gives alpha.
        rectangle: of p'; it must fit into the field.
        height, width: of the field, pixels.
    """
    weight = float(rng.beta(config.alpha, config.alpha))
    top = int(rng.integers(height - rectangle.height + 1))
    left = int(rng.integers(width - rectangle.width + 1))
    return Mixup(rectangle, weight, (top, left))


def bounding_rectangle(mask: np.ndarray) -> Rectangle | None:
    """The smallest rectangle around all that is True in a mask (H, W); None where nothing is.

    >>> bounding_rectangle(np.eye(4, 5, k=1, dtype=bool))
    Rectangle(top=0, left=1, height=4, width=4)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    top, left = int(rows[0]), int(columns[0])
    return Rectangle(top, left, int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left)


def random_rectangle(rng: np.random.Generator, height: int, width: int) -> Rectangle:
    """A rectangle anywhere in a field of ``height`` x ``width`` pixels, its sides a tenth to a third of the field's.

    The sizes are our choice: the paper only says that masks may be random. A side is one pixel at least.
    """
    high, wide = (_random_side(rng, side) for side in (height, width))
    return Rectangle(int(rng.integers(height - high + 1)), int(rng.integers(width - wide + 1)), high, wide)


def _random_side(rng: np.random.Generator, side: int) -> int:
    shortest = int(np.ceil(side * SIDE[0]))
    return int(rng.integers(shortest, max(shortest, int(side * SIDE[1])), endpoint=True))


def _drawn(rng: np.random.Generator, config: FlowMixup, mask: np.ndarray) -> Mixup:
    height, width = mask.shape
    return draw_mixup(rng, config, bounding_rectangle(mask) or random_rectangle(rng, height, width), height, width)


def _moved(shared: Mixup, mask: np.ndarray) -> Mixup:
    """The clip's mixup at another frame's mask: the same offset, as far as the patch then still fits into the frame."""
    rectangle = bounding_rectangle(mask) or shared.rectangle
    top = rectangle.top + shared.source[0] - shared.rectangle.top
    left = rectangle.left + shared.source[1] - shared.rectangle.left
    height, width = mask.shape
    inside = min(max(top, 0), height - rectangle.height), min(max(left, 0), width - rectangle.width)
    return Mixup(rectangle, shared.weight, inside)


def _inside(rectangle: Rectangle) -> tuple[slice, slice]:
    top, left, height, width = rectangle
    return slice(top, top + height), slice(left, left + width)

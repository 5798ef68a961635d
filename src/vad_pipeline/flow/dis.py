"""DIS optical flow of clips: OpenCV's dense inverse search (Kroeger et al., ECCV 2016, arXiv 1603.03590).

Far faster than TV-L1, with softer borders of what moves. OpenCV's search divides a frame into stripes of a fixed
number, so flow is the same whatever its number of threads; no pair starts from another's flow, so a clip may be
computed in chunks. Frames that are small, or long and narrow, do not fill the coarsest level of OpenCV's pyramid, where
it then crashes or never ends: they are continued by their outermost pixels first.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Literal

import cv2
import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import to_gray
from vad_pipeline.flow.stored_flow import FlowError, flow_job, rows_of_pairs

Preset = Literal["ultrafast", "fast", "medium"]
PRESETS: dict[Preset, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
SMALLEST_SIDE = 32  # pixels that OpenCV is given; four patches of eight


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DIS:
    """Dense inverse search.

    Attributes:
        preset: OpenCV's. ``medium`` ends at half the frames' size, the others at a quarter; ``ultrafast`` does not
            smooth what it finds.
    """

    preset: Preset = "medium"


def dis_flow(earlier: np.ndarray, later: np.ndarray, settings: DIS) -> np.ndarray:
    """Flow float32 (H, W, 2), x first, in pixels from ``earlier`` to ``later``.

    Args:
        earlier, later: frames uint8 (H, W, 1) gray or (H, W, 3) RGB, of one shape.
        settings: the preset.

    Raises:
        FlowError: frames of unlike shapes or of another type.

    >>> frame = np.zeros((24, 32, 1), np.uint8)
    >>> dis_flow(frame, frame, DIS()).shape
    (24, 32, 2)
    """
    if earlier.shape != later.shape:
        raise FlowError(f"frames of unlike shapes, {earlier.shape} and {later.shape}; resize them to one first")
    return _flow_of_gray(_checked_gray(earlier), _checked_gray(later), settings)


def dis_jobs(frames: Clips, settings: DIS) -> dict[str, ClipJob]:
    """Jobs that compute each clip's flow, float16 (T-1, H, W, 2); row t is the motion from frame t to t+1."""
    return {
        clip: flow_job(
            stored,
            step_fingerprint(stored.fingerprint, settings, (dis_rows,), ("cv2",)),
            partial(dis_rows, stored, settings),
            asdict(settings),
        )
        for clip, stored in frames.items()
    }


def dis_rows(clip: Clip, settings: DIS, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Flow of the pairs ``start`` to ``stop``, each float16 (H, W, 2); reads one frame more than it yields rows.

    Raises:
        FlowError: flow that is not finite.
    """
    return rows_of_pairs(clip, start, stop, _checked_gray, partial(_flow_of_gray, settings=settings))


def _checked_gray(frame: np.ndarray) -> np.ndarray:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] not in (1, 3) or 0 in frame.shape:
        raise FlowError(f"DIS reads frames uint8 (H, W, 1 or 3), not {frame.dtype} {frame.shape}")
    return to_gray(frame)


def _flow_of_gray(earlier: np.ndarray, later: np.ndarray, settings: DIS) -> np.ndarray:
    height, width = earlier.shape
    # OpenCV chooses its levels by the longer side: the shorter must still hold a patch on the coarsest of them.
    side = max(SMALLEST_SIDE, (max(height, width) + 1) // 2)
    below, right = max(0, side - height), max(0, side - width)
    if below or right:
        earlier, later = (
            cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE) for frame in (earlier, later)
        )
    # A new one for each pair: OpenCV's changes its own levels and size of patches when it meets small frames.
    flow = cv2.DISOpticalFlow.create(PRESETS[settings.preset]).calc(earlier, later, None)  # type: ignore[call-overload]
    return np.ascontiguousarray(flow[:height, :width])

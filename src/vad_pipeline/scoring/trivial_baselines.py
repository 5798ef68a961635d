"""Scores that need no learning: frame difference, foreground area, brightness.

They stand beside every table. On the common frames of Ped2 (``micro_auc_common``) the frame difference alone reaches
0.87, the foreground area 0.91: a model must leave both behind to have learned anything. Nothing here is from a paper.
"""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
import pandas as pd

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.resize import to_gray
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.evaluation.terms import Term

TRIVIAL_TERMS: dict[str, Term] = {
    "frame_difference": Term(True, "mean absolute difference to the frame before, grey levels"),
    "foreground_area": Term(True, "share of pixels that differ from the empty scene, 0 to 1"),
    "brightness": Term(True, "mean brightness, grey levels"),
}

FOREGROUND_THRESHOLD = 25


def trivial_scores(frames: Clips, split: str = "test", width: int = 256, background_frames: int = 60) -> pd.DataFrame:
    """Score every frame of a split.

    Frames are read one at a time, in gray and at most `width` pixels wide (the size of the first training clip decides
    for all): memory is bounded by `background_frames` reduced frames.

    Args:
        frames: uint8 (T, H, W, 1|3); training clips give the background, so they show the same scene.
        split: whose clips are scored.
        width: pixels.
        background_frames: frames of the background's median, evenly spread over all training clips.

    Returns:
        Columns clip, frame, and float64

        - frame_difference: mean |I_t - I_(t-1)|, 0 to 255; frame 0 has the value of frame 1, 0 in a clip of one frame
        - foreground_area: share of pixels that differ from the background by more than 25 grey levels
        - brightness: mean, 0 to 255

    Raises:
        ValueError: there is no training clip.
    """
    training = frames.split("train")
    if not training:
        raise ValueError("trivial baselines: no training clip to take the background from; add clips under train/")
    height, width = _reduced_size(next(iter(training.values())), width)
    background = temporal_median(training, (height, width), background_frames)
    parts = [
        pd.DataFrame({"clip": name, "frame": np.arange(len(clip)), **_clip_terms(clip, background)})
        for name, clip in frames.split(split).items()
    ]
    if not parts:
        types = {"clip": str, "frame": np.int64} | dict.fromkeys(TRIVIAL_TERMS, np.float64)
        return pd.DataFrame(columns=[*types]).astype(types)
    return pd.concat(parts, ignore_index=True)


def trivial_metrics(
    trivial: pd.DataFrame,
    labels: pd.DataFrame,
    seed: int = 0,
    split: str = "test",
    lengths: Mapping[str, int] | None = None,
    fps: Mapping[str, float | None] | None = None,
) -> dict[str, dict[str, float]]:
    """Metrics of each baseline alone: the rows to print under any table.

    Args:
        trivial: as `trivial_scores` gives it.
        labels, seed, split, lengths, fps: as `evaluate`.

    Returns:
        Baseline -> flat metrics, as `evaluate` gives them. To compare on the frames of a model, read
        ``micro_auc_common``: these baselines score every frame.
    """
    return {
        name: evaluate(trivial, labels, {name: term}, {name: 1.0}, seed=seed, split=split, lengths=lengths, fps=fps)
        for name, term in TRIVIAL_TERMS.items()
    }


def temporal_median(clips: Clips, size: tuple[int, int], n_frames: int = 60) -> np.ndarray:
    """The empty scene: median over time of frames evenly spread over all clips, gray uint8 `size` (height, width)."""
    last = np.cumsum([len(clip) for clip in clips.values()])
    chosen = np.unique(np.linspace(0, last[-1] - 1, n_frames).round().astype(int))
    pixels = []
    for clip, end in zip(clips.values(), last, strict=True):
        of_clip = chosen[(chosen >= end - len(clip)) & (chosen < end)] - (end - len(clip))
        if len(of_clip):
            array = clip.array()
            pixels += [_reduced(array[t], size) for t in of_clip]
    return np.rint(np.median(np.stack(pixels), axis=0)).astype(np.uint8)


def _clip_terms(clip: Clip, background: np.ndarray) -> dict[str, np.ndarray]:
    """Term -> (T,) of one clip."""
    height, width = background.shape
    difference, area, brightness = (np.zeros(len(clip)) for _ in range(3))
    before: np.ndarray | None = None
    for t, gray in enumerate(_reduced_frames(clip, (height, width))):
        if before is not None:
            difference[t] = cv2.absdiff(gray, before).mean()
        area[t] = (cv2.absdiff(gray, background) > FOREGROUND_THRESHOLD).mean()
        brightness[t] = gray.mean()
        before = gray
    if len(clip) > 1:
        difference[0] = difference[1]
    return {"frame_difference": difference, "foreground_area": area, "brightness": brightness}


def _reduced_frames(clip: Clip, size: tuple[int, int]) -> Iterator[np.ndarray]:
    array = clip.array()
    for t in range(len(clip)):
        yield _reduced(array[t], size)


def _reduced(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Gray uint8 (height, width) of a frame (H, W, 1|3), by area means: bilinear would let noise through."""
    gray = to_gray(frame)
    return gray if gray.shape == size else cv2.resize(gray, (size[1], size[0]), interpolation=cv2.INTER_AREA)


def _reduced_size(clip: Clip, width: int) -> tuple[int, int]:
    full_height, full_width = clip.shape[1:3]
    scale = min(1.0, width / full_width)
    return max(1, round(full_height * scale)), max(1, round(full_width * scale))

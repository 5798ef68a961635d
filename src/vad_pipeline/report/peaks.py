"""The most anomalous frame of a clip, and where in it."""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Window
from vad_pipeline.models.contract import Scorer

BOX_LEVEL = 0.4  # of the smoothed error's maximum; the region above it is boxed


@dataclass(frozen=True)
class Peak:
    """The frame of a clip with the highest anomaly score.

    Attributes:
        clip, number: which.
        frame: uint8 (H, W, C), as the model reads it.
        prediction: uint8 (H, W, C), what the model expected.
        error: float (H, W) squared error, None where the model gives no maps.
        box: x, y, width, height in pixels of ``frame``, None without an error map.
        abnormal: the label, None where the clip is unlabelled.
        kind: of the anomaly, where known.
    """

    clip: str
    number: int
    frame: np.ndarray
    prediction: np.ndarray
    error: np.ndarray | None
    box: tuple[int, int, int, int] | None
    abnormal: bool | None
    kind: str


def find_peaks(scored: pd.DataFrame, frames: Clips, maps: Clips, scorer: Scorer, window: Window) -> list[Peak]:
    """One peak per clip, in clip order.

    Args:
        scored: columns clip, frame, anomaly, label, kind.
        frames: as the model reads them.
        maps: error maps; clips may be missing.
        scorer: makes the predictions, with the memory as it was after training.
        window: of the model.
    """
    peaks = []
    for clip in scored["clip"].unique():
        part = scored[scored["clip"] == clip].reset_index(drop=True)
        row = int(part["anomaly"].argmax())
        number = int(part.loc[row, "frame"])
        start, position = window.place(number, len(frames[clip]))
        images = frames[clip].array()[start : start + window.length]
        frame = np.array(images[position])
        error = box = None
        if clip in maps:  # a row for each frame that the model scores, also where a fused score has fewer
            mapped = window.scored(len(frames[clip])).index(number)
            error = enlarged(maps[clip].array()[mapped].astype(np.float32), frame.shape[:2])
            box = strongest_region(error)
        label = part.loc[row, "label"]
        peaks.append(
            Peak(
                clip=str(clip),
                number=number,
                frame=frame,
                prediction=scorer.predict(images, position),
                error=error,
                box=box,
                abnormal=None if pd.isna(label) else bool(label),
                kind=str(part.loc[row, "kind"]),
            )
        )
    return peaks


def enlarged(error: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An error map (h, w) at the size (H, W) of its frame."""
    return cv2.resize(error, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def strongest_region(error: np.ndarray) -> tuple[int, int, int, int]:
    """Box (x, y, width, height) around the connected region of high error that holds the highest.

    Args:
        error: (H, W); it is smoothed first, so that one noisy pixel does not count.
    """
    smooth = cv2.GaussianBlur(error.astype(np.float32), (0, 0), sigmaX=max(1.0, error.shape[1] / 64))
    _, _, _, (x, y) = cv2.minMaxLoc(smooth)
    _, regions = cv2.connectedComponents((smooth >= BOX_LEVEL * smooth[y, x]).astype(np.uint8))
    left, top, width, height = cv2.boundingRect((regions == regions[y, x]).astype(np.uint8))
    return left, top, width, height

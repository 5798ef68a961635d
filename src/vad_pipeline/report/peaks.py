"""The most anomalous frame of a clip, and where in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Stream, Window
from vad_pipeline.models.scorer import Scorer
from vad_pipeline.scoring.regions import enlarged, strongest_region


@dataclass(frozen=True)
class Peak:
    """The frame of a clip with the highest anomaly score.

    Attributes:
        clip, number: which.
        frame: uint8 (H, W, C).
        prediction: uint8 (H, W, C), what the model expected, None where it expects no picture.
        error: float (H, W) squared error, None where the model gives no maps.
        box: x, y, width, height in pixels of ``frame``, None without an error map.
        abnormal: the label, None where the clip is unlabelled.
        kind: of the anomaly, where known.
    """

    clip: str
    number: int
    frame: np.ndarray
    prediction: np.ndarray | None
    error: np.ndarray | None
    box: tuple[int, int, int, int] | None
    abnormal: bool | None
    kind: str


def find_peaks(
    scored: pd.DataFrame,
    frames: Clips,
    streams: Mapping[str, Clips],
    maps: Clips,
    scorer: Scorer | None,
    window: Window,
    seen: Mapping[str, Stream],
) -> list[Peak]:
    """One peak per clip, in clip order.

    Args:
        scored: columns clip, frame, anomaly, label, kind.
        frames: those to show.
        streams: what the model reads.
        maps: error maps; clips may be missing.
        scorer: makes the predictions, with the memory as it was after training; None where the model makes none.
        window: of the model.
        seen: what a window sees of the streams.
    """
    peaks = []
    for clip in scored["clip"].unique():
        part = scored[scored["clip"] == clip].reset_index(drop=True)
        row = int(part["anomaly"].argmax())
        number = int(part.loc[row, "frame"])
        frame = np.array(frames[clip].array()[number])
        prediction = error = box = None
        if scorer is not None:
            start, position = window.place(number, len(frames[clip]))
            rows = {name: rows_seen(streams[name][clip].array(), start, stream) for name, stream in seen.items()}
            prediction = scorer.predict(rows, position)
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
                prediction=prediction,
                error=error,
                box=box,
                abnormal=None if pd.isna(label) else bool(label),
                kind=str(part.loc[row, "kind"]),
            )
        )
    return peaks


def rows_seen(array: np.ndarray, start: int, stream: Stream) -> np.ndarray:
    """The rows that a window sees; a stream with a row less repeats its last."""
    numbers = start + np.arange(stream.rows.start, stream.rows.stop)
    return array[np.minimum(numbers, len(array) - 1)]

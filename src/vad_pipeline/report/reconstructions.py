"""What a model makes of normal and of abnormal frames, side by side (ALPS Figs. 2 to 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.window import Stream, Window
from vad_pipeline.models.scorer import Scorer
from vad_pipeline.report.peaks import rows_seen

SHOWN, SHOWN_LARGE = 8, 3  # examples of each kind; of pictures wider than LARGE pixels
LARGE = 64
HALF = 4.9  # inches that either kind takes


@dataclass(frozen=True)
class Example:
    """A scored frame, or the part of it that scored highest, and what the model made of it.

    Attributes:
        clip, number: which frame.
        abnormal: its label.
        seen, expected: uint8 (H, W, C).
    """

    clip: str
    number: int
    abnormal: bool
    seen: np.ndarray
    expected: np.ndarray


def draw_examples(
    scored: pd.DataFrame,
    streams: Mapping[str, Clips],
    maps: Clips,
    scorer: Scorer,
    window: Window,
    seen: Mapping[str, Stream],
    side: int | None = None,
    each: int = SHOWN,
    seed: int = 0,
) -> list[Example]:
    """Frames drawn at random, normal ones and abnormal ones.

    Args:
        scored: columns clip, frame, label.
        streams: what the model reads, frames among it.
        maps: error maps; only clips that have one are drawn where ``side`` is given.
        scorer: makes the pictures.
        window: of the model.
        seen: what a window sees of the streams.
        side: of the square around the strongest cells of the error map that is shown; None shows whole frames.
        each: how many of either kind, at most.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    found = []
    for label in (0, 1):
        rows = scored[scored["label"].eq(label).fillna(False)]
        if side is not None:
            rows = rows[rows["clip"].isin(list(maps))]
        drawn = random.permutation(len(rows))[:each]
        for _, row in rows.iloc[np.sort(drawn)].iterrows():
            clip, number = str(row["clip"]), int(row["frame"])
            frames = streams["frames"][clip]
            start, position = window.place(number, len(frames))
            arrays = {name: rows_seen(streams[name][clip].array(), start, stream) for name, stream in seen.items()}
            picture, expected = np.array(frames.array()[number]), scorer.predict(arrays, position)
            if side is not None:
                error = maps[clip].array()[window.scored(len(frames)).index(number)].astype(np.float32)
                picture, expected = (_strongest(image, error, side) for image in (picture, expected))
            found.append(Example(clip, number, bool(label), picture, expected))
    return found


def reconstructions_figure(groups: Mapping[str, Sequence[Example]]) -> Figure:
    """Pairs of pictures, what was seen above what the model made of it: normal ones left, abnormal ones right.

    Args:
        groups: title of a line -> its examples, all of one size.
    """
    columns = max(1, *(max(_of(e, False), _of(e, True)) for e in groups.values())) if groups else 1
    lines = max(1, len(groups))
    shapes = [_mounted(examples[:1], columns).shape for examples in groups.values() if examples] or [(1, 1, 1)]
    heights = [HALF * height / width + 0.12 for height, width, _ in shapes]
    figure = Figure(figsize=(0.6 + 2 * HALF, 0.35 + sum(heights)), layout="constrained")
    axes = figure.subplots(lines, 2, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, (title, examples) in enumerate(groups.items()):
        for axis, (abnormal, kind) in zip(axes[line], ((False, "normal"), (True, "abnormal")), strict=True):
            shown = [example for example in examples if example.abnormal == abnormal]
            if not shown:
                continue
            picture = _mounted(shown, columns)
            gray = picture.shape[-1] == 1
            axis.imshow(np.squeeze(picture), **({"cmap": "gray", "vmin": 0, "vmax": 255} if gray else {}))
            if line == 0:
                axis.set_title(kind, fontsize=9, loc="left")
        axes[line, 0].text(-0.01, 0.5, title, transform=axes[line, 0].transAxes, fontsize=9, ha="right", va="center")
    return figure


def _of(examples: Sequence[Example], abnormal: bool) -> int:
    return sum(example.abnormal == abnormal for example in examples)


def _mounted(examples: Sequence[Example], columns: int) -> np.ndarray:
    """Two rows of pictures with white between them and as much white as fills ``columns``."""
    height, width, channels = examples[0].seen.shape
    gap = max(1, width // 14)
    picture = np.full((2 * height + gap, columns * (width + gap) - gap, channels), 255, np.uint8)
    for column, example in enumerate(examples):
        left = column * (width + gap)
        picture[:height, left : left + width] = example.seen
        picture[height + gap :, left : left + width] = example.expected
    return picture


def examples_table(examples: Sequence[Example]) -> pd.DataFrame:
    """Examples as a table: columns clip, frame, label, height, width, channels, seen and expected (bytes)."""
    return pd.DataFrame(
        [
            {
                "clip": example.clip,
                "frame": example.number,
                "label": int(example.abnormal),
                **dict(zip(("height", "width", "channels"), example.seen.shape, strict=True)),
                "seen": example.seen.tobytes(),
                "expected": example.expected.tobytes(),
            }
            for example in examples
        ]
    )


def examples_of(table: pd.DataFrame) -> list[Example]:
    """The inverse of ``examples_table``."""
    found = []
    for row in table.to_dict("records"):
        shape = row["height"], row["width"], row["channels"]
        seen, expected = (np.frombuffer(row[name], np.uint8).reshape(shape) for name in ("seen", "expected"))
        found.append(Example(row["clip"], row["frame"], bool(row["label"]), seen, expected))
    return found


def _strongest(image: np.ndarray, error: np.ndarray, side: int) -> np.ndarray:
    """The square of an image (H, W, C) around the middle of the highest cells of its error map (h, w)."""
    cells = np.argwhere(error == error.max()).mean(0) + 0.5
    scale = np.array(image.shape[:2]) / np.array(error.shape)
    first = np.rint(cells * scale - side / 2).astype(int).clip(0, np.array(image.shape[:2]) - side)
    return image[first[0] : first[0] + side, first[1] : first[1] + side]

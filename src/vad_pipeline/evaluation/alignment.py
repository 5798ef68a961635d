"""Scored frames beside their labels, joined by clip and frame number and never by position (spec 1.2, pitfall 7)."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import pandas as pd

from vad_pipeline.clips.names import natural_key

KEY = ["clip", "frame"]

# Window of the 16-frame reconstruction family (spec 1.2), which scores the fewest frames of all models.
RECONSTRUCTION_WINDOW = 16
RECONSTRUCTION_TARGET = 8


class EvaluationError(ValueError):
    """Scores, labels or weights that do not fit together."""


def align(scores: pd.DataFrame, labels: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Give every scored frame of the labelled clips of a split its label.

    Clips of other splits and clips without labels (`unlabelled_clips` names them) are dropped. Where the split has no
    scores or no labels at all, the result is empty.

    Args:
        scores: columns clip, frame (0-based) and one numeric column per raw term, in any order of rows.
        labels: columns clip, frame, label {0, 1} and optionally kind, in any order of rows.
        split: first part of the ids of the clips to evaluate.

    Returns:
        Columns clip, frame, the terms (float64), label (int64), kind ("" where normal or unknown); clips in
        numeric-aware order, frames ascending.

    Raises:
        EvaluationError: a column is missing or not numeric, a frame occurs twice, a term is not finite, a label is
            neither 0 nor 1, a scored frame of a labelled clip has no label, or no scored clip is a labelled one.
    """
    terms = _check_columns(scores, labels)
    scores, labels = _of_split(scores, split), _of_split(labels, split)
    _check_rows(scores, "scores", "score every frame once")
    _check_rows(labels, "labels", "label every frame once")
    bad = ~labels["label"].isin([0, 1])
    if bad.any():
        row = labels[bad].iloc[0]
        raise EvaluationError(f"clip {row['clip']} frame {row['frame']}: label {row['label']!r}; labels are 0 or 1")

    labelled = scores["clip"].isin(labels["clip"].unique())
    if len(scores) and len(labels) and not labelled.any():
        raise EvaluationError(
            f"scored clips ({scores['clip'].iloc[0]}, ...) and labelled clips ({labels['clip'].iloc[0]}, ...) have no "
            "name in common; give both the same clip ids"
        )
    scores = scores[labelled]
    values = scores[terms].to_numpy(np.float64)
    if not np.isfinite(values).all():
        row_number, column = np.argwhere(~np.isfinite(values))[0]
        row = scores.iloc[row_number]
        raise EvaluationError(
            f"clip {row['clip']} frame {row['frame']}: term {terms[column]} is {values[row_number, column]}; "
            "score the clip again, or clamp the term in the model"
        )

    if "kind" not in labels:
        labels = labels.assign(kind="")
    aligned = scores.astype(dict.fromkeys(terms, np.float64)).merge(
        labels[[*KEY, "label", "kind"]], on=KEY, how="left", validate="one_to_one"
    )
    missing = aligned["label"].isna()
    if missing.any():
        row = aligned[missing].iloc[0]
        last = labels.loc[labels["clip"] == row["clip"], "frame"].max()
        raise EvaluationError(
            f"clip {row['clip']} frame {row['frame']}: scored, but its labels lack it (last labelled frame: {last}); "
            "extract frames and labels of the clip again"
        )
    aligned["label"] = aligned["label"].astype(np.int64)
    aligned["kind"] = aligned["kind"].fillna("").astype(str)
    return in_clip_order(aligned[[*KEY, *terms, "label", "kind"]])


def unlabelled_clips(scores: pd.DataFrame, labels: pd.DataFrame, split: str = "test") -> list[str]:
    """Scored clips of the split that `align` drops for want of labels, in numeric-aware order."""
    return _clips_only_in_first(scores, labels, split)


def unscored_clips(scores: pd.DataFrame, labels: pd.DataFrame, split: str = "test") -> list[str]:
    """Labelled clips of the split that have no score at all, in numeric-aware order."""
    return _clips_only_in_first(labels, scores, split)


def in_clip_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by clip (``test/2`` before ``test/10``) and frame, with a fresh index."""
    rank = {clip: number for number, clip in enumerate(sorted(table["clip"].unique(), key=natural_key))}
    order = np.lexsort((table["frame"].to_numpy(), table["clip"].map(rank).to_numpy(dtype=np.int64)))
    return table.iloc[order].reset_index(drop=True)


def common_frames(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames that all tables hold: columns clip, frame, in clip order.

    Args:
        tables: at least one, each with columns clip, frame and anything else.

    Raises:
        EvaluationError: no table is given.
    """
    if not tables:
        raise EvaluationError("common frames of no table; give the scores of at least one model")
    keys = [table[KEY].drop_duplicates() for table in tables]
    return in_clip_order(reduce(lambda left, right: left.merge(right, on=KEY), keys))


def reconstruction_frames(lengths: Mapping[str, int]) -> pd.DataFrame:
    """Frames that the 16-frame reconstruction family scores (spec 1.2): 8 to L - 8 of a clip of L frames.

    No model of the papers scores fewer, so these are the frames on which any two models can be compared without
    knowing of each other.

    Args:
        lengths: clip -> its number of frames; clips under 16 frames give none.

    Returns:
        Columns clip, frame, in clip order.

    >>> len(reconstruction_frames({"test/01": 180}))
    165
    """
    after = RECONSTRUCTION_WINDOW - RECONSTRUCTION_TARGET - 1
    frames = {
        clip: np.arange(RECONSTRUCTION_TARGET, max(n - after, RECONSTRUCTION_TARGET)) for clip, n in lengths.items()
    }
    table = pd.DataFrame(
        {
            "clip": np.repeat(np.array([*frames], dtype=object), [len(f) for f in frames.values()]),
            "frame": np.concatenate([np.empty(0, np.int64), *frames.values()]),
        }
    )
    return in_clip_order(table.astype({"clip": str}))


def labelled_lengths(labels: pd.DataFrame) -> dict[str, int]:
    """Clip -> number of frames, read off labels that hold a row for every frame of a clip."""
    return {str(clip): int(last) + 1 for clip, last in labels.groupby("clip", sort=False)["frame"].max().items()}


def _check_columns(scores: pd.DataFrame, labels: pd.DataFrame) -> list[str]:
    """The terms of the score table."""
    for name, table, needed in (("scores", scores, KEY), ("labels", labels, [*KEY, "label"])):
        missing = [column for column in needed if column not in table]
        if missing:
            raise EvaluationError(f"{name}: no column {missing[0]}; the table has {', '.join(map(str, table.columns))}")
    reserved = [column for column in ("label", "kind") if column in scores]
    if reserved:
        raise EvaluationError(f"scores: column {reserved[0]} belongs to the labels; drop it or rename the term")
    terms = [str(column) for column in scores.columns if column not in KEY]
    for term in terms:
        if len(scores) and not pd.api.types.is_numeric_dtype(scores[term]):
            raise EvaluationError(f"scores: term {term} is of type {scores[term].dtype}; a term is a column of floats")
    return terms


def _of_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    # empty tables often come without types, which would not merge
    table = table.astype({"clip": str, "frame": np.int64})
    return table[table["clip"].str.split("/", n=1).str[0] == split]


def _check_rows(table: pd.DataFrame, name: str, remedy: str) -> None:
    twice = table.duplicated(KEY)
    if twice.any():
        row = table[twice].iloc[0]
        raise EvaluationError(f"clip {row['clip']} frame {row['frame']}: twice in the {name}; {remedy}")


def _clips_only_in_first(first: pd.DataFrame, second: pd.DataFrame, split: str) -> list[str]:
    clips = set(_of_split(first, split)["clip"]) - set(_of_split(second, split)["clip"])
    return sorted(clips, key=natural_key)

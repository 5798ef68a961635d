import re

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.tables import PED2_LENGTHS, labels_of, ped2_labels, scores_of
from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.alignment import (
    EvaluationError,
    align,
    common_frames,
    reconstruction_frames,
    unlabelled_clips,
    unscored_clips,
)

LABELS = labels_of({"test/1": [0, 1, 1], "test/2": [0, 0, 1]}, {"test/1": "motion/runner", "test/2": "appearance/cart"})
SCORES = scores_of(LABELS, psnr=1.0)


def broken(table: pd.DataFrame, row: int, **values: object) -> pd.DataFrame:
    table = table.copy()
    for column, value in values.items():
        table.loc[row, column] = value
    return table


def test_every_scored_frame_gets_its_label_and_kind():
    aligned = align(SCORES, LABELS)
    assert list(aligned.columns) == ["clip", "frame", "psnr", "label", "kind"]
    assert aligned["label"].tolist() == [0, 1, 1, 0, 0, 1]
    assert aligned["kind"].tolist() == ["", "motion/runner", "motion/runner", "", "", "appearance/cart"]
    assert aligned["psnr"].tolist() == SCORES["psnr"].tolist()


def test_frames_that_the_window_leaves_out_take_their_labels_with_them():
    labels = labels_of({"test/1": [0] * 4 + [1, 0, 1], "test/2": [1] * 4 + [0, 1, 0]})
    aligned = align(scores_of(labels, Window(5, 4), psnr=0.0), labels)
    assert aligned["label"].tolist() == [1, 0, 1, 0, 1, 0]
    assert aligned["frame"].tolist() == [4, 5, 6] * 2


def test_clips_are_in_numeric_order_and_frames_ascend():
    labels = labels_of({f"test/{number}": [0] * 12 for number in (10, 2, 1)})
    aligned = align(scores_of(labels, psnr=0.0), labels)
    assert aligned["clip"].unique().tolist() == ["test/1", "test/2", "test/10"]
    assert aligned["frame"].tolist() == [*range(12)] * 3


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_input_rows_does_not_matter(seed):
    labels, scores = ped2_labels(), scores_of(ped2_labels(), Window(5, 4), psnr=1.0)
    shuffled = align(scores.sample(frac=1, random_state=seed), labels.sample(frac=1, random_state=seed + 10))
    pd.testing.assert_frame_equal(shuffled, align(scores, labels))


def test_other_splits_and_unlabelled_clips_are_dropped_and_the_latter_named():
    extra = [SCORES.assign(clip=clip) for clip in ("train/3", "test/20", "test/9")]
    scores = pd.concat([SCORES[:3], *(rows[:3] for rows in extra), SCORES[3:]], ignore_index=True)
    pd.testing.assert_frame_equal(align(scores, LABELS), align(SCORES, LABELS))
    assert unlabelled_clips(scores, LABELS) == ["test/9", "test/20"]
    assert unscored_clips(SCORES[:3], LABELS) == ["test/2"]


def test_a_flaw_in_a_clip_that_is_not_evaluated_does_no_harm():
    flawed = broken(SCORES[:3].assign(clip="train/3"), 1, psnr=np.nan)
    assert len(align(pd.concat([SCORES, flawed, flawed]), LABELS)) == 6


def test_another_split_can_be_evaluated():
    labels = pd.concat([LABELS, LABELS[:3].assign(clip="val/1")])
    scores = pd.concat([SCORES, SCORES[:3].assign(clip="val/1")])
    assert set(align(scores, labels, split="val")["clip"]) == {"val/1"}


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (SCORES, LABELS.drop(index=4), "clip test/2 frame 1: scored, but its labels lack it (last labelled frame: 2)"),
        (SCORES, pd.concat([LABELS, LABELS[4:5]]), "clip test/2 frame 1: twice in the labels"),
        (pd.concat([SCORES, SCORES[2:3]]), LABELS, "clip test/1 frame 2: twice in the scores"),
        (broken(SCORES, 3, psnr=np.nan), LABELS, "clip test/2 frame 0: term psnr is nan"),
        (broken(SCORES, 5, psnr=-np.inf), LABELS, "clip test/2 frame 2: term psnr is -inf"),
        (SCORES, broken(LABELS, 2, label=2), "clip test/1 frame 2: label"),
        (SCORES.drop(columns="frame"), LABELS, "scores: no column frame"),
        (SCORES, LABELS.drop(columns="label"), "labels: no column label"),
        (SCORES.assign(label=0), LABELS, "scores: column label belongs to the labels"),
        (SCORES.assign(psnr="high"), LABELS, "scores: term psnr is of type"),
        (SCORES, LABELS.replace({"clip": {"test/1": "test/001", "test/2": "test/002"}}), "no name in common"),
    ],
)
def test_tables_that_do_not_fit_are_refused_with_the_place(scores, labels, message):
    with pytest.raises(EvaluationError, match=re.escape(message)):
        align(scores, labels)


@pytest.mark.parametrize("empty", [SCORES[:0], pd.DataFrame(columns=["clip", "frame", "psnr"])])
def test_no_scores_or_no_labels_align_to_an_empty_table(empty):
    for aligned in (align(empty, LABELS), align(SCORES, pd.DataFrame(columns=["clip", "frame", "label", "kind"]))):
        assert len(aligned) == 0
        assert list(aligned.columns) == ["clip", "frame", "psnr", "label", "kind"]


def test_labels_without_kinds_are_of_unknown_kind():
    assert set(align(SCORES, LABELS.drop(columns="kind"))["kind"]) == {""}


def test_common_frames_are_those_of_all_models():
    labels = ped2_labels()
    prediction = scores_of(labels, Window(5, 4), psnr=0.0)
    reconstruction = scores_of(labels, Window(16, 8), error=0.0).sample(frac=1, random_state=0)
    common = common_frames([prediction, reconstruction, labels])
    assert len(common) == 1830
    assert list(common.columns) == ["clip", "frame"]
    pd.testing.assert_frame_equal(common, reconstruction_frames(PED2_LENGTHS))


def test_common_frames_of_models_that_share_no_clip_are_none_and_of_no_model_an_error():
    assert len(common_frames([SCORES[:3], SCORES[3:]])) == 0
    with pytest.raises(EvaluationError, match="no table"):
        common_frames([])


def test_reconstruction_frames_are_those_of_a_window_of_sixteen():
    frames = reconstruction_frames({"test/2": 18, "test/10": 16, "test/1": 15, "test/3": 3})
    assert list(frames.itertuples(index=False, name=None)) == [
        ("test/2", 8), ("test/2", 9), ("test/2", 10), ("test/10", 8),
    ]  # fmt: skip
    assert [*Window(16, 8).scored(18)] == [8, 9, 10]
    assert len(reconstruction_frames({})) == 0

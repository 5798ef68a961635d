import json

import numpy as np
import pandas as pd
import pytest

from vad_pipeline.clips.clip import Clips
from vad_pipeline.sources.data_card import clip_table, data_card


def labels_of(**clips):
    rows = [
        (f"test/{clip}", t, int(bool(kind)), kind if isinstance(kind, str) else "")
        for clip, kinds in clips.items()
        for t, kind in enumerate(kinds)
    ]
    return pd.DataFrame(rows, columns=["clip", "frame", "label", "kind"]).astype({"label": np.int8})


@pytest.fixture
def dataset(store_clips):
    """Two train clips, a test clip with kinds and masks, one with labels only, one with neither; labels in reverse."""
    frames = store_clips(
        {
            "train/1": np.zeros((7, 8, 12, 1), np.uint8),
            "train/2": np.zeros((5, 8, 12, 1), np.uint8),
            "test/a": np.zeros((5, 8, 12, 1), np.uint8),
            "test/b": np.zeros((3, 6, 9, 3), np.uint8),
            "test/c": np.zeros((2, 8, 12, 1), np.uint8),
        }
    )
    masks = np.zeros((5, 8, 12), bool)
    masks[1:, 2, 3] = True
    labels = labels_of(a=["", "", "cart", "bike", "bike"], b=[0, 1, 1]).iloc[::-1]
    return frames, labels, store_clips({"test/a": masks})


def test_the_clip_table_counts_abnormal_masked_and_disagreeing_frames(dataset):
    table = clip_table(*dataset).set_index("clip")
    assert table["frames"].to_dict() == {"train/1": 7, "train/2": 5, "test/a": 5, "test/b": 3, "test/c": 2}
    a = table.loc["test/a"]
    assert (a["abnormal"], a["masked"], a["kinds"]) == (3, 4, "bike, cart")
    assert a["disagreeing"] == 1  # frame 1 has a mask and no label
    b = table.loc["test/b"]
    assert (b["abnormal"], b["kinds"]) == (2, "")
    assert pd.isna(b["masked"])
    assert pd.isna(b["disagreeing"])
    assert table.loc[["train/1", "test/c"], ["abnormal", "masked", "disagreeing"]].isna().all(axis=None)


def test_a_clip_known_to_be_normal_has_zero_abnormal_frames_not_none(store_clips):
    frames = store_clips({"test/a": np.zeros((2, 4, 4, 1), np.uint8)})
    assert clip_table(frames, labels_of(a=[0, 0]), Clips({})).loc[0, "abnormal"] == 0


def test_the_card_sums_the_table_up(dataset):
    frames, labels, masks = dataset
    card = data_card("toy", clip_table(frames, labels, masks), labels)
    assert card["dataset"] == "toy"
    assert card["splits"] == {"train": {"clips": 2, "frames": 12}, "test": {"clips": 3, "frames": 10}}
    assert card["sizes"] == {"12x8x1": 4, "9x6x3": 1}
    assert card["fps"] == [10.0]
    assert (card["labelled_frames"], card["abnormal_frames"]) == (8, 5)
    assert card["abnormal_frames_by_kind"] == {"bike": 2, "cart": 1}
    assert (card["frames_with_mask"], card["frames_where_mask_and_label_disagree"]) == (4, 1)


def test_the_card_is_ready_for_json(dataset):
    frames, labels, masks = dataset
    card = data_card("toy", clip_table(frames, labels, masks), labels)
    assert json.loads(json.dumps(card)) == card


def test_unlabelled_data_without_a_rate_have_a_card_too(store_clips):
    frames = store_clips({"train/1": np.zeros((2, 4, 4, 1), np.uint8)}, fps=None)
    labels = labels_of()
    card = data_card("toy", clip_table(frames, labels, Clips({})), labels)
    assert card["fps"] == []
    assert card["splits"] == {"train": {"clips": 1, "frames": 2}}
    counts = ("labelled_frames", "abnormal_frames", "frames_with_mask", "frames_where_mask_and_label_disagree")
    assert [card[count] for count in counts] == [0, 0, 0, 0]


def test_the_cards_fingerprint_changes_with_any_clip(store_clips):
    def card(value):
        frames = store_clips({"train/1": np.full((2, 4, 4, 1), value, np.uint8)})
        return data_card("toy", clip_table(frames, labels_of(), Clips({})), labels_of())["fingerprint"]

    assert card(1) == card(1)
    assert card(1) != card(2)

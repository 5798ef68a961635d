import numpy as np
import pandas as pd
import pytest

from vad_pipeline.scoring.trivial_baselines import TRIVIAL_TERMS, temporal_median, trivial_metrics, trivial_scores

SIZE, SQUARE, GROUND = (40, 60), 10, 100


def square_clip(positions: list[int | None], bright: int = 180, channels: int = 1) -> np.ndarray:
    """A square of SQUARE pixels a side on even ground, its left edge at the positions; None: not there."""
    frames = np.full((len(positions), *SIZE, channels), GROUND, np.uint8)
    for frame, x in zip(frames, positions, strict=True):
        if x is not None:
            frame[5 : 5 + SQUARE, x : x + SQUARE] = bright
    return frames


def of(table: pd.DataFrame, clip: str, term: str) -> np.ndarray:
    return table.loc[table["clip"] == clip, term].to_numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_moving_square_by_hand(store_clips, channels):
    moving = square_clip([0, 5, 10, 10, None], channels=channels)
    train = square_clip([None] * 4, channels=channels)
    table = trivial_scores(store_clips({"train/1": train, "test/1": moving}))
    pixels, contrast = SIZE[0] * SIZE[1], 180 - GROUND
    # a step of 5 uncovers 5 columns and covers 5
    step, gone = 2 * 5 * SQUARE * contrast / pixels, SQUARE * SQUARE * contrast / pixels
    np.testing.assert_allclose(of(table, "test/1", "frame_difference"), [step, step, step, 0, gone])
    np.testing.assert_allclose(of(table, "test/1", "foreground_area"), [SQUARE**2 / pixels] * 4 + [0])
    np.testing.assert_allclose(of(table, "test/1", "brightness"), [GROUND + gone] * 4 + [GROUND])


@pytest.mark.parametrize(("bright", "is_foreground"), [(GROUND + 25, False), (GROUND + 26, True), (GROUND - 26, True)])
def test_foreground_differs_by_more_than_25_grey_levels_either_way(store_clips, bright, is_foreground):
    clips = store_clips({"train/1": square_clip([None]), "test/1": square_clip([7, 7], bright)})
    assert (of(trivial_scores(clips), "test/1", "foreground_area") > 0).all() == is_foreground


def test_only_the_split_is_scored_in_clip_order_and_every_frame_once(store_clips):
    arrays = {"train/1": square_clip([None] * 3), "val/1": square_clip([1, 2])}
    clips = store_clips(arrays | {f"test/{n}": square_clip([0] * n) for n in (10, 2)})
    table = trivial_scores(clips)
    assert list(table.columns) == ["clip", "frame", *TRIVIAL_TERMS]
    assert table["clip"].unique().tolist() == ["test/2", "test/10"]
    assert table["frame"].tolist() == [*range(2), *range(10)]
    assert trivial_scores(clips, split="val")["clip"].tolist() == ["val/1"] * 2


def test_the_background_is_empty_although_somebody_always_walks_through(store_clips):
    # in each frame a square somewhere, at each place in a minority of the frames, over two clips of unequal length
    clips = store_clips({"train/1": square_clip([*range(0, 50, 5)]), "train/2": square_clip([*range(0, 50, 2)])})
    assert (temporal_median(clips, SIZE) == GROUND).all()


def test_the_background_is_sampled_over_all_training_clips(store_clips):
    # 30 bright frames in the first clip, 90 dark in the others: a sample of the first alone would be bright
    arrays = {f"train/{n}": np.full((30, 8, 8, 1), 200 if n == 1 else 20, np.uint8) for n in range(1, 5)}
    assert (temporal_median(store_clips(arrays), (8, 8), n_frames=12) == 20).all()


def test_test_clips_do_not_enter_the_background(store_clips):
    clips = store_clips({"train/1": square_clip([None]), "test/1": square_clip([7] * 50)})
    assert (of(trivial_scores(clips), "test/1", "foreground_area") > 0).all()


def test_wide_frames_are_reduced_and_the_terms_keep_their_meaning(store_clips):
    def wide(array: np.ndarray) -> np.ndarray:
        return array.repeat(8, axis=1).repeat(8, axis=2)

    train, test = square_clip([None] * 2), square_clip([0, 5, 10])
    small = trivial_scores(store_clips({"train/1": train, "test/1": test}))
    large = trivial_scores(store_clips({"train/1": wide(train), "test/1": wide(test)}), width=60)
    pd.testing.assert_frame_equal(large, small)
    assert temporal_median(store_clips({"train/1": wide(train)}), (80, 120)).shape == (80, 120)


def test_clips_of_another_size_are_brought_to_that_of_the_first(store_clips):
    clips = store_clips({"train/1": square_clip([None]), "test/1": np.full((2, 80, 120, 3), GROUND, np.uint8)})
    assert trivial_scores(clips)[["frame_difference", "foreground_area"]].to_numpy().tolist() == [[0, 0]] * 2


def test_a_clip_of_one_frame_has_no_difference(store_clips):
    clips = store_clips({"train/1": square_clip([None]), "test/1": square_clip([3])})
    assert of(trivial_scores(clips), "test/1", "frame_difference").tolist() == [0]


def test_without_training_clips_the_error_says_what_to_add(store_clips):
    with pytest.raises(ValueError, match=r"no training clip.*add clips under train/"):
        trivial_scores(store_clips({"test/1": square_clip([3])}))


def test_without_test_clips_the_table_is_empty_but_typed(store_clips):
    table = trivial_scores(store_clips({"train/1": square_clip([3])}))
    assert len(table) == 0
    assert list(table.columns) == ["clip", "frame", *TRIVIAL_TERMS]


def test_each_baseline_finds_the_anomaly_that_it_can_see(store_clips):
    # a square stands there throughout; it moves on frames 10 to 19 and grows brighter on none
    walk = [0] * 10 + [*range(4, 44, 4)] + [40] * 10
    arrays = {"train/1": square_clip([None] * 4)} | {f"test/{n}": square_clip(walk) for n in (1, 2)}
    table = trivial_scores(store_clips(arrays))
    labels = table[["clip", "frame"]].assign(label=table["frame"].between(10, 19).astype(int), kind="motion/runner")
    with pytest.warns(UserWarning, match="constant over clips test/1, test/2"):
        metrics = trivial_metrics(table, labels)
    assert set(metrics) == set(TRIVIAL_TERMS)
    assert metrics["frame_difference"]["micro_auc"] == metrics["frame_difference"]["micro_auc_kind_motion"] == 1
    assert metrics["foreground_area"]["micro_auc"] == metrics["brightness"]["micro_auc"] == 0.5
    assert metrics["brightness"]["frames_scored"] == 60

import math
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from tests.evaluation.tables import labels_of, ped2_labels, scores_of
from vad_pipeline.evaluation.metrics import (
    auc_by_kind,
    average_precision,
    bootstrap_difference,
    bootstrap_interval,
    eer,
    frame_bootstrap_interval,
    gap_score,
    macro_auc,
    micro_auc,
    roc_table,
)

LABELS = ped2_labels()
LABEL = LABELS["label"]
# rounded, so that there are ties
GOOD = scores_of(LABELS, term=1.5)["term"].round(1)


def test_an_oracle_has_area_one_and_its_negation_zero():
    assert micro_auc(LABEL, LABEL) == 1
    assert micro_auc(LABEL, -LABEL) == 0


def test_a_constant_score_has_area_one_half():
    assert micro_auc(LABEL, np.full(len(LABEL), 3.0)) == 0.5


def test_micro_auc_is_the_trapezoid_under_the_roc_table():
    table = roc_table(LABEL, GOOD)
    assert micro_auc(LABEL, GOOD) == pytest.approx(auc(table["fpr"], table["tpr"]), abs=1e-12)
    assert table[["fpr", "tpr"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    assert (table["threshold"].diff()[2:] < 0).all()


def test_roc_table_of_four_frames_by_hand():
    table = roc_table([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    assert table["fpr"].tolist() == [0, 0, 0.5, 0.5, 1]
    assert table["tpr"].tolist() == [0, 0.5, 0.5, 1, 1]
    assert table["threshold"].tolist() == [math.inf, 0.4, 0.3, 0.2, 0.1]


def test_macro_auc_by_hand_with_clips_of_one_class():
    # a: normal low .2 .6, abnormal .4 high: .4 wins 2 pairs, high 3, of 6
    # b: all abnormal, c: all normal: the sentinels alone are of the other class and on the right side: 1
    # d: normal low .9, abnormal .1 high: .1 wins 1 pair, high 2, of 4
    clips = ["a"] * 3 + ["b"] * 2 + ["c"] * 2 + ["d"] * 2
    label = [0, 1, 0, 1, 1, 0, 0, 0, 1]
    score = [0.2, 0.4, 0.6, 0.1, 0.9, 0.5, 0.3, 0.9, 0.1]
    assert macro_auc(clips, label, score) == pytest.approx((5 / 6 + 1 + 1 + 3 / 4) / 4)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_sentinels_lie_outside_scores_of_any_size(scale):
    # two equal frames of both classes: 4 pairs, of which the tie counts half
    assert macro_auc(["a", "a"], [0, 1], [scale, scale]) == pytest.approx(3.5 / 4)


def test_macro_auc_weighs_clips_equally_and_micro_auc_frames():
    clips = ["long"] * 200 + ["short"] * 4
    label = np.array([0, 1] * 102)
    score = np.where(np.arange(204) < 200, label, 1 - label).astype(float)
    assert micro_auc(label, score) > 0.95
    assert macro_auc(clips, label, score) == pytest.approx((1 + 5 / 9) / 2)


def test_average_precision_is_scikit_learns():
    assert average_precision(LABEL, GOOD) == average_precision_score(LABEL, GOOD)
    # ranked: abnormal, normal, abnormal: (1/1 + 2/3) / 2
    assert average_precision([1, 0, 1], [0.9, 0.8, 0.7]) == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("label", "score", "rate"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.0),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 1.0),
        # at .6: one of four normal frames above, one of four abnormal below
        ([0, 0, 0, 1, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], 0.25),
        # a straight diagonal, whose middle scikit-learn leaves out by default
        ([0, 1, 0, 1], [0.1, 0.1, 0.2, 0.2], 0.5),
    ],
)
def test_equal_error_rate_by_hand(label, score, rate):
    assert eer(label, score) == rate


def test_equal_error_rate_looks_at_every_threshold():
    # 100 tied pairs of a normal and an abnormal frame: the curve is the diagonal, 101 collinear points
    label, score = np.tile([0, 1], 100), np.repeat(np.arange(100.0), 2)
    assert eer(label, score) == 0.5


def test_gap_is_the_difference_of_mean_regularity():
    assert gap_score([0, 0, 1, 1], [0.9, 0.7, 0.3, 0.1]) == pytest.approx(0.6)
    assert gap_score(LABEL, LABEL) == -1


@pytest.mark.parametrize(("label", "missing"), [([0, 0, 0], "no abnormal"), ([1, 1, 1], "no normal")])
@pytest.mark.parametrize("metric", [micro_auc, average_precision, eer, gap_score])
def test_with_one_class_a_metric_is_nan_and_says_which_is_missing(metric, label, missing):
    with pytest.warns(UserWarning, match=f"{missing} frame: .* undefined"):
        assert math.isnan(metric(label, [0.1, 0.2, 0.3]))


def test_with_one_class_the_roc_is_empty_and_there_is_no_interval():
    with pytest.warns(UserWarning, match="no abnormal"):
        assert len(roc_table([0, 0], [0.1, 0.2])) == 0
    labels = labels_of({"test/1": [0, 0], "test/2": [0, 0]})
    with pytest.warns(UserWarning, match="no abnormal"):
        interval = bootstrap_interval(labels, pd.Series(range(4)))
    assert math.isnan(interval.low)
    assert (interval.resamples, interval.skipped) == (0, 1000)


def test_interval_contains_the_point_estimate_and_is_inside_zero_to_one():
    interval = bootstrap_interval(LABELS, GOOD)
    assert 0 <= interval.low < micro_auc(LABEL, GOOD) < interval.high <= 1
    assert interval.resamples + interval.skipped == 1000


def test_interval_is_that_of_the_slow_loop_over_resampled_clips():
    interval = bootstrap_interval(LABELS, GOOD, n=60, seed=3)
    names = LABELS["clip"].unique()
    areas = []
    for times in np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=60):
        weight = LABELS["clip"].map(dict(zip(names, times, strict=True)))
        if LABEL[weight > 0].nunique() == 2:
            areas.append(roc_auc_score(LABEL, GOOD, sample_weight=weight))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])), abs=1e-12)
    assert interval.resamples == len(areas)


def test_interval_is_a_function_of_the_seed():
    assert bootstrap_interval(LABELS, GOOD, seed=1) == bootstrap_interval(LABELS, GOOD, seed=1)
    assert bootstrap_interval(LABELS, GOOD, seed=1) != bootstrap_interval(LABELS, GOOD, seed=2)


def test_interval_narrows_with_more_clips_and_with_a_lower_level():
    random = np.random.default_rng(0)

    def width(n_clips: int, level: float = 0.95) -> float:
        label = random.integers(0, 2, (n_clips, 40))
        aligned = labels_of({f"test/{n}": [*row] for n, row in enumerate(label)})
        # what differs between clips is what the interval is about
        anomaly = aligned["label"] + random.normal(size=n_clips).repeat(40) + random.normal(size=n_clips * 40)
        interval = bootstrap_interval(aligned, anomaly, level=level)
        return interval.high - interval.low

    assert width(80) < 0.7 * width(10)
    assert width(20, level=0.5) < 0.7 * width(20)


def test_resamples_of_one_class_are_skipped_and_counted():
    labels = labels_of({"test/1": [0, 0, 0], "test/2": [1, 1, 1]})
    interval = bootstrap_interval(labels, pd.Series([0.1, 0.2, 0.4, 0.3, 0.5, 0.6]), n=400)
    # both draws fall on the same clip half of the time
    assert 150 < interval.skipped < 250
    assert interval.resamples + interval.skipped == 400
    assert interval.low == interval.high == pytest.approx(8 / 9)


def test_the_difference_of_two_scores_is_that_of_their_areas_on_the_same_clips():
    worse = scores_of(LABELS, term=0.4)["term"]
    found = bootstrap_difference(LABELS, GOOD, worse, n=60, seed=3)
    names, apart = LABELS["clip"].unique(), []
    for times in np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=60):
        weight = LABELS["clip"].map(dict(zip(names, times, strict=True)))
        if LABEL[weight > 0].nunique() == 2:
            areas = [roc_auc_score(LABEL, score, sample_weight=weight) for score in (GOOD, worse)]
            apart.append(areas[0] - areas[1])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])), abs=1e-12)
    same = bootstrap_difference(LABELS, GOOD, GOOD)
    assert (same.low, same.high) == (0, 0), "a score is not better than itself"


def test_one_clip_has_no_interval():
    with pytest.warns(UserWarning, match="clip test/1 is the only one"):
        assert math.isnan(bootstrap_interval(labels_of({"test/1": [0, 1]}), pd.Series([0.0, 1.0])).high)


def test_a_thousand_resamples_of_a_large_test_set_are_fast():
    # the size of ShanghaiTech's test set: 107 clips, 40 000 frames
    random = np.random.default_rng(0)
    aligned = pd.DataFrame({"clip": np.repeat([f"test/{n}" for n in range(107)], 374)})
    aligned["label"] = random.integers(0, 2, len(aligned))
    start = time.perf_counter()
    bootstrap_interval(aligned, pd.Series(random.normal(size=len(aligned))))
    assert time.perf_counter() - start < 5


def test_each_kind_is_set_against_all_normal_frames():
    labels = labels_of(
        {"test/1": [0, 1], "test/2": [0, 1], "test/3": [0, 1], "test/4": [0, 1]},
        {"test/1": "motion/runner", "test/2": "appearance/cart", "test/3": "appearance/smoke", "test/4": ""},
    )
    anomaly = pd.Series([0.2, 0.9, 0.4, 0.3, 0.6, 0.5, 0.8, 0.0])
    areas = auc_by_kind(labels, anomaly)
    expected = {"appearance": 0.375, "appearance/cart": 0.25, "appearance/smoke": 0.5, "motion": 1, "motion/runner": 1}
    assert areas == pytest.approx(expected)
    assert list(areas) == sorted(areas)


def test_without_kinds_there_are_no_areas_by_kind():
    assert auc_by_kind(LABELS.assign(kind=""), GOOD) == {}


def test_a_kind_that_is_also_a_group_counts_all_of_the_group():
    labels = labels_of({"a": [0, 1], "b": [0, 1]}, {"a": "motion", "b": "motion/runner"})
    assert auc_by_kind(labels, pd.Series([0.5, 1.0, 0.5, 0.0])) == {"motion": 0.5, "motion/runner": 0.0}


def test_the_interval_over_frames_is_that_of_frames_drawn_one_by_one():
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 60)
    score = np.round(random.normal(label, 1.5), 1)  # with ties
    found = frame_bootstrap_interval(label, score, n=300, seed=3)
    draws = np.random.default_rng(3)
    areas = [roc_auc_score(label[rows], score[rows]) for rows in (draws.integers(60, size=60) for _ in range(300))]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])), abs=1e-12)
    assert found.resamples == 300

import warnings

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.tables import HIGH, LOW, ped2_labels, scores_of
from vad_pipeline.evaluation.alignment import EvaluationError
from vad_pipeline.evaluation.normality import LEVELS, anomaly_score, normalise, quantiles
from vad_pipeline.evaluation.terms import Term

TERMS = {"psnr": LOW, "distance": HIGH}
SCORES = scores_of(ped2_labels(), psnr=-2.0, distance=1.0)


def test_per_clip_equals_the_slow_loop():
    shuffled = SCORES.sample(frac=1, random_state=1)
    expected = pd.Series(index=shuffled.index, dtype=float)
    for clip in shuffled["clip"].unique():
        values = shuffled.loc[shuffled["clip"] == clip, "psnr"]
        for row, value in values.items():
            expected[row] = (value - min(values)) / (max(values) - min(values))
    got = normalise(shuffled["psnr"], shuffled["clip"])
    pd.testing.assert_series_equal(got, expected, check_names=False, rtol=0, atol=1e-15)
    assert got.groupby(shuffled["clip"]).agg(["min", "max"]).drop_duplicates().to_numpy().tolist() == [[0, 1]]


def test_global_has_one_zero_and_one_one_and_keeps_the_order_of_all_frames():
    got = normalise(SCORES["psnr"], SCORES["clip"], "global")
    assert (got == 0).sum() == (got == 1).sum() == 1
    assert (got.rank() == SCORES["psnr"].rank()).all()


def test_none_leaves_the_values():
    pd.testing.assert_series_equal(normalise(SCORES["psnr"], SCORES["clip"], "none"), SCORES["psnr"])


def test_a_constant_clip_is_one_half_and_named():
    values = pd.Series([3.0, 3.0, 1.0, 2.0], name="psnr")
    with pytest.warns(UserWarning, match=r"psnr: constant over clip test/7;.* 0\.5"):
        got = normalise(values, pd.Series(["test/7", "test/7", "test/8", "test/8"]))
    assert got.tolist() == [0.5, 0.5, 0, 1]


def test_many_constant_clips_make_one_short_warning():
    clips = pd.Series([f"test/{number}" for number in range(8)])
    with pytest.warns(UserWarning, match="clips test/0, test/1, test/2, test/3, test/4 and 3 more") as caught:
        assert set(normalise(pd.Series(np.arange(8.0)), clips)) == {0.5}
    assert len(caught) == 1


def test_constant_scores_have_regularity_one_half_under_global_too():
    constant = SCORES.assign(psnr=30.0)
    with pytest.warns(UserWarning, match="constant over all clips"):
        assert set(1 - anomaly_score(constant, TERMS, {"psnr": 1}, "global")) == {0.5}


def test_a_constant_term_without_weight_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = anomaly_score(SCORES.assign(psnr=30.0), TERMS, {"psnr": 0, "distance": 1})
    assert score.max() == 1


def test_a_bounded_term_is_fused_as_it_is():
    probability = Term(higher_is_anomalous=True, meaning="", bounded=True)
    terms = {**TERMS, "probability": probability}
    scores = SCORES.assign(probability=np.linspace(0.2, 0.4, len(SCORES)))
    for how in ("per_clip", "global"):
        alone = anomaly_score(scores, terms, {"probability": 1}, how)
        assert np.allclose(alone, scores["probability"])
        both = anomaly_score(scores, terms, {"probability": 1, "distance": 1}, how)
        distance = anomaly_score(scores, terms, {"distance": 1}, how)
        assert np.allclose(both, (scores["probability"] + distance) / 2)
    certain = {**terms, "probability": Term(higher_is_anomalous=False, meaning="", bounded=True)}
    assert np.allclose(anomaly_score(scores, certain, {"probability": 1}), 1 - scores["probability"])


def test_an_unknown_way_of_normalising_lists_the_known():
    with pytest.raises(EvaluationError, match="per_clip, global, held_out, none"):
        normalise(SCORES["psnr"], SCORES["clip"], "per_video")  # type: ignore[arg-type]


def test_fusion_is_lgn_nets_normality_score_turned_round():
    mm = {term: normalise(SCORES[term], SCORES["clip"]) for term in TERMS}
    normality = 0.6 * mm["psnr"] + (1 - 0.6) * (1 - mm["distance"])
    got = anomaly_score(SCORES, TERMS, {"psnr": 0.6, "distance": 0.4})
    np.testing.assert_allclose(got, 1 - normality, rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", ["per_clip", "global"])
def test_one_hot_weights_are_the_single_term_whatever_their_size(how):
    got = anomaly_score(SCORES, TERMS, {"psnr": 7.0, "distance": 0.0}, how)
    pd.testing.assert_series_equal(got, anomaly_score(SCORES, TERMS, {"psnr": 1.0}, how))
    np.testing.assert_allclose(got, 1 - normalise(SCORES["psnr"], SCORES["clip"], how), rtol=0, atol=1e-12)


def test_only_the_ratio_of_weights_counts():
    few, many = ({"psnr": k * 3.0, "distance": k * 1.0} for k in (1, 10))
    np.testing.assert_allclose(anomaly_score(SCORES, TERMS, few), anomaly_score(SCORES, TERMS, many))
    assert anomaly_score(SCORES, TERMS, few).between(0, 1).all()


def test_without_normalisation_one_term_is_turned_and_two_are_refused():
    got = anomaly_score(SCORES, TERMS, {"psnr": 2.0, "distance": 0.0}, "none")
    np.testing.assert_array_equal(got, -SCORES["psnr"])
    with pytest.raises(EvaluationError, match="psnr, distance without normalisation"):
        anomaly_score(SCORES, TERMS, {"psnr": 1, "distance": 1}, "none")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"flow_error": 1.0}, "weight of 'flow_error': no such term; the model has distance, psnr"),
        ({"psnr": 1.0, "flow_error": 0.0}, "'flow_error'"),
        ({"psnr": -1.0}, "weight of psnr: -1"),
        ({"psnr": float("nan")}, "weight of psnr: nan"),
        ({"psnr": 0.0}, "no term carries weight; give one of distance, psnr"),
        ({}, "no term carries weight"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, message):
    with pytest.raises(EvaluationError, match=message):
        anomaly_score(SCORES, TERMS, weights)


def test_a_weighted_term_without_a_column_is_named():
    with pytest.raises(EvaluationError, match="term distance: no such column in the scores, which have clip, frame"):
        anomaly_score(SCORES.drop(columns="distance"), TERMS, {"distance": 1})


def test_held_out_quantiles_become_zero_and_one_whatever_the_clip_is():
    normal = np.random.default_rng(0).normal(5, 2, 20_000)
    known = quantiles({"term": normal})
    assert [len(values) for values in known.values()] == [len(LEVELS)]
    values = pd.Series([np.quantile(normal, 0.05), np.quantile(normal, 0.95), 25.0])
    scaled = normalise(values, pd.Series(["a", "b", "b"]), "held_out", known["term"])
    assert scaled.iloc[:2].tolist() == pytest.approx([0, 1])
    assert scaled.iloc[2] > 2, "what is beyond normal footage stays beyond it"
    alone = normalise(values[2:], pd.Series(["b"]), "held_out", known["term"])
    assert alone.iloc[0] == scaled.iloc[2], "a live camera has no other frames of the clip"


def test_held_out_scaling_turns_a_term_whose_high_values_are_normal():
    normal = np.random.default_rng(0).normal(30, 2, 1000)
    table = pd.DataFrame({"clip": "a", "psnr": [30.0, 10.0]})
    terms = {"psnr": Term(higher_is_anomalous=False, meaning="")}
    score = anomaly_score(table, terms, {"psnr": 1.0}, "held_out", quantiles({"psnr": normal}))
    assert score.iloc[0] == pytest.approx(0.5, abs=0.05)
    assert score.iloc[1] > 2


def test_a_term_that_is_constant_on_held_out_frames_counts_for_one_half():
    known = quantiles({"term": np.full(9, 3.0)})["term"]
    with pytest.warns(UserWarning, match="constant on held-out normal frames"):
        scaled = normalise(pd.Series([3.0, 4.0], name="term"), pd.Series(["a", "a"]), "held_out", known)
    assert scaled.tolist() == [0.5, 0.5]


def test_held_out_scaling_without_held_out_frames_says_how_to_get_them():
    with pytest.raises(EvaluationError, match=r"no quantiles of held-out normal frames; set training.held_out above 0"):
        normalise(pd.Series([1.0]), pd.Series(["a"]), "held_out")

import json
import math
import warnings

import numpy as np
import pandas as pd
import pytest

from tests.evaluation.tables import HIGH, LOW, PED2_LENGTHS, labels_of, ped2_labels, scores_of
from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.alignment import EvaluationError, align
from vad_pipeline.evaluation.evaluate import evaluate, fusion_sweep, oracle_metrics, oracle_wanted, scored_frames
from vad_pipeline.evaluation.metrics import bootstrap_interval, macro_auc, micro_auc
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.evaluation.terms import Term

TERMS = {"psnr": LOW, "distance": HIGH}
EQUAL = {"psnr": 0.5, "distance": 0.5}
PREDICTION, RECONSTRUCTION = Window(5, 4), Window(16, 8)
LABELS = ped2_labels()
SCORES = scores_of(LABELS, PREDICTION, psnr=-2.0, distance=1.0)


def oracle(labels: pd.DataFrame, sign: float) -> pd.DataFrame:
    return labels[["clip", "frame"]].assign(term=sign * labels["label"])


@pytest.mark.parametrize(("term", "sign"), [(HIGH, 1), (LOW, -1)])
def test_an_oracle_has_auc_one_and_the_same_scores_declared_the_other_way_zero(term, sign):
    labels = labels_of({f"test/{number}": [0, 0, 1, 1] * 5 for number in range(4)})
    scores = oracle(labels, sign)
    metrics = evaluate(scores, labels, {"term": term}, {"term": 1})
    for name in ("micro_auc", "micro_auc_low", "micro_auc_high", "micro_auc_global", "micro_auc_common", "macro_auc"):
        assert metrics[name] == 1, name
    assert (metrics["average_precision"], metrics["eer"], metrics["gap"]) == (1, 0, 1)
    wrong = evaluate(scores, labels, {"term": LOW if term is HIGH else HIGH}, {"term": 1})
    assert wrong["micro_auc"] == wrong["micro_auc_term_term"] == wrong["micro_auc_global"] == 0
    assert (wrong["eer"], wrong["gap"]) == (1, -1)


@pytest.mark.parametrize(("window", "frames"), [(PREDICTION, 1962), (RECONSTRUCTION, 1830), (Window(1, 0), 2010)])
def test_ped2_has_the_papers_number_of_scored_frames(window, frames):
    metrics = evaluate(scores_of(LABELS, window, psnr=-1.0), LABELS, {"psnr": LOW}, {"psnr": 1})
    assert metrics["frames_scored"] == frames
    assert metrics["clips_scored"] == 12


def test_ped2_has_1648_abnormal_frames():
    assert evaluate(scores_of(LABELS, psnr=0.0), LABELS, {"psnr": LOW}, {"psnr": 1})["frames_abnormal"] == 1648


@pytest.mark.parametrize(
    ("clips", "total", "prediction", "reconstruction"), [(21, 15324, 15240, 15009), (107, 40791, 40363, 39186)]
)
def test_totals_of_avenue_and_shanghaitech_follow_from_their_clips_and_frames(clips, total, prediction, reconstruction):
    # whatever the lengths of the single clips
    lengths = [len(part) for part in np.array_split(np.arange(total), clips)]
    assert sum(len(PREDICTION.scored(length)) for length in lengths) == prediction
    assert sum(len(RECONSTRUCTION.scored(length)) for length in lengths) == reconstruction


def test_the_mapping_holds_what_the_protocol_reports_and_only_floats():
    metrics = evaluate(SCORES, LABELS, TERMS, EQUAL)
    assert set(metrics) == {
        "micro_auc", "micro_auc_low", "micro_auc_high", "micro_auc_global", "micro_auc_common", "macro_auc",
        "average_precision", "eer", "gap", "frames_scored", "frames_abnormal", "clips_scored",
        "micro_auc_term_psnr", "micro_auc_term_distance", "micro_auc_kind_both", "micro_auc_kind_both_cyclist",
        "micro_auc_smoothed", "micro_auc_global_kind_both", "micro_auc_global_kind_both_cyclist",
    }  # fmt: skip
    assert all(type(value) is float for value in metrics.values())
    assert json.loads(json.dumps(metrics)) == metrics


def test_each_figure_is_the_metric_of_its_name():
    metrics = evaluate(SCORES, LABELS, TERMS, EQUAL, seed=4)
    aligned = align(SCORES, LABELS)
    anomaly = anomaly_score(aligned, TERMS, EQUAL)
    interval = bootstrap_interval(aligned, anomaly, seed=4)
    assert metrics["micro_auc"] == micro_auc(aligned["label"], anomaly)
    assert (metrics["micro_auc_low"], metrics["micro_auc_high"]) == (interval.low, interval.high)
    assert metrics["micro_auc_global"] == micro_auc(aligned["label"], anomaly_score(aligned, TERMS, EQUAL, "global"))
    assert metrics["macro_auc"] == macro_auc(aligned["clip"], aligned["label"], anomaly)
    assert metrics["micro_auc"] == metrics["micro_auc_kind_both"] != metrics["micro_auc_global"]
    assert metrics["micro_auc_global"] == metrics["micro_auc_global_kind_both"]


@pytest.mark.parametrize("term", TERMS)
def test_one_hot_weights_are_the_term_alone(term):
    metrics = evaluate(SCORES, LABELS, TERMS, {name: float(name == term) for name in TERMS})
    assert metrics["micro_auc"] == metrics[f"micro_auc_term_{term}"]
    assert metrics["micro_auc"] == evaluate(SCORES, LABELS, TERMS, EQUAL)[f"micro_auc_term_{term}"]


def test_shuffled_tables_give_identical_metrics():
    shuffled = evaluate(SCORES.sample(frac=1, random_state=1), LABELS.sample(frac=1, random_state=2), TERMS, EQUAL)
    assert shuffled == evaluate(SCORES, LABELS, TERMS, EQUAL)


def test_labels_cannot_slip_to_another_clip():
    # clips that differ in length and are named so that text order is 1, 10, 11, 2: any slip breaks the oracle
    random = np.random.default_rng(0)
    labels = labels_of({f"test/{number}": [0, 1, *random.integers(0, 2, 20 + number)] for number in range(1, 12)})
    scores = oracle(labels, 1.0)
    by_text = scores.sort_values(["clip", "frame"], ascending=[False, False])
    assert evaluate(by_text, labels, {"term": HIGH}, {"term": 1})["micro_auc"] == 1


def test_held_out_training_clips_change_nothing():
    held_out = SCORES[SCORES["clip"] == "test/01"].assign(clip="train/16", psnr=1e6)
    assert evaluate(pd.concat([held_out, SCORES]), LABELS, TERMS, EQUAL) == evaluate(SCORES, LABELS, TERMS, EQUAL)


def test_common_frames_make_a_prediction_model_comparable_with_a_reconstruction_model():
    everywhere = scores_of(LABELS, psnr=-2.0)
    every, predicted, reconstructed = (
        evaluate(
            everywhere[[t in window.scored(PED2_LENGTHS[c]) for c, t in everywhere[["clip", "frame"]].to_numpy()]],
            LABELS,
            {"psnr": LOW},
            {"psnr": 1},
        )
        for window in (Window(1, 0), PREDICTION, RECONSTRUCTION)
    )
    assert every["micro_auc_common"] == predicted["micro_auc_common"] == reconstructed["micro_auc"]
    assert reconstructed["micro_auc_common"] == reconstructed["micro_auc"] != predicted["micro_auc"]


def test_lengths_are_read_off_the_labels_or_given():
    by_labels = evaluate(SCORES, LABELS, TERMS, EQUAL)
    assert evaluate(SCORES, LABELS, TERMS, EQUAL, lengths=PED2_LENGTHS) == by_labels
    shorter = evaluate(SCORES, LABELS, TERMS, EQUAL, lengths=dict.fromkeys(PED2_LENGTHS, 100))
    assert shorter["micro_auc_common"] != by_labels["micro_auc_common"]
    with pytest.raises(EvaluationError, match="clip test/02: scored, but its length is not given"):
        evaluate(SCORES, LABELS, TERMS, EQUAL, lengths={"test/01": 180})


def test_clips_too_short_for_the_reconstruction_family_have_no_common_frames():
    labels = labels_of({"test/1": [0, 1, 0, 1], "test/2": [1, 0, 1, 0]})
    with pytest.warns(UserWarning, match="micro_auc_common: undefined") as caught:
        metrics = evaluate(oracle(labels, 1), labels, {"term": HIGH}, {"term": 1})
    assert len(caught) == 1
    assert math.isnan(metrics["micro_auc_common"])
    assert metrics["micro_auc"] == 1


@pytest.mark.parametrize(("label", "missing"), [(0, "abnormal"), (1, "normal")])
def test_one_class_everywhere_gives_nan_and_names_the_other(label, missing):
    labels = LABELS.assign(label=label, kind="")
    with pytest.warns(UserWarning, match=f"no {missing} frame: .* undefined") as caught:
        metrics = evaluate(SCORES, labels, TERMS, EQUAL)
    assert len(caught) == 1
    undefined = {name for name, value in metrics.items() if math.isnan(value)}
    defined = {"macro_auc", "frames_scored", "frames_abnormal", "clips_scored"}
    assert undefined == set(metrics) - defined
    assert metrics["frames_abnormal"] == 1962 * label


@pytest.mark.parametrize("part", ["scores", "labels"])
def test_without_any_scores_or_labels_all_is_nan_and_nothing_crashes(part):
    scores, labels = (SCORES[:0], LABELS) if part == "scores" else (SCORES, LABELS[:0])
    with pytest.warns(UserWarning, match="no normal frame and no abnormal frame"):
        metrics = evaluate(scores, labels, TERMS, EQUAL)
    assert metrics["frames_scored"] == metrics["clips_scored"] == 0
    assert all(math.isnan(value) for name, value in metrics.items() if "auc" in name)


def test_constant_scores_are_one_half_and_each_warning_comes_once():
    with pytest.warns(UserWarning, match="constant over") as caught:
        metrics = evaluate(SCORES.assign(psnr=30.0), LABELS, TERMS, {"psnr": 1})
    assert metrics["micro_auc"] == metrics["micro_auc_global"] == 0.5
    assert metrics["gap"] == 0
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == len(set(messages)) == 2
    assert any(message.startswith("psnr: constant over clips test/01, ") for message in messages)


def test_labelled_clips_without_scores_are_named():
    with pytest.warns(UserWarning, match="labelled but not scored.*: test/03$"):
        metrics = evaluate(SCORES[SCORES["clip"] != "test/03"], LABELS, TERMS, EQUAL)
    assert metrics["clips_scored"] == 11


def test_good_tables_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(SCORES, LABELS, TERMS, EQUAL)["clips_scored"] == 12


def test_a_declared_term_without_a_column_is_named_and_an_undeclared_column_ignored():
    with pytest.raises(EvaluationError, match="term distance: declared, but the scores have clip, frame, psnr"):
        evaluate(SCORES.drop(columns="distance"), LABELS, TERMS, {"psnr": 1})
    assert evaluate(SCORES.assign(spare=np.nan), LABELS, TERMS, EQUAL) == evaluate(SCORES, LABELS, TERMS, EQUAL)


def test_scored_frames_hold_the_score_behind_the_headline():
    frames = scored_frames(SCORES, LABELS, TERMS, EQUAL)
    assert list(frames.columns) == ["clip", "frame", "psnr", "distance", "label", "kind", "anomaly", "regularity"]
    assert micro_auc(frames["label"], frames["anomaly"]) == evaluate(SCORES, LABELS, TERMS, EQUAL)["micro_auc"]
    np.testing.assert_allclose(frames["anomaly"] + frames["regularity"], 1)
    assert frames["regularity"].between(0, 1).all()


def test_the_ends_of_the_sweep_are_the_single_terms():
    sweep = fusion_sweep(SCORES, LABELS, TERMS, "psnr", "distance")
    metrics = evaluate(SCORES, LABELS, TERMS, EQUAL)
    assert list(sweep.columns) == ["weight", "micro_auc_oracle"]
    np.testing.assert_allclose(sweep["weight"], np.arange(11) / 10)
    assert sweep["micro_auc_oracle"].iloc[0] == metrics["micro_auc_term_distance"]
    assert sweep["micro_auc_oracle"].iloc[-1] == metrics["micro_auc_term_psnr"]
    assert sweep["micro_auc_oracle"].iloc[5] == metrics["micro_auc"] > sweep["micro_auc_oracle"].iloc[0]


def test_the_clean_protocol_has_no_oracle_and_the_paper_s_marks_it():
    assert not oracle_wanted("clean")
    assert oracle_wanted("paper")
    with pytest.raises(EvaluationError, match="protocol 'best': set it to clean"):
        oracle_wanted("best")


def test_the_oracle_is_at_least_as_good_as_any_fixed_weight():
    rng = np.random.default_rng(0)
    label = (rng.random(400) < 0.4).astype(int)
    scores = pd.DataFrame({"clip": "test/1", "frame": range(400), "a": label + rng.normal(0, 1.5, 400)})
    scores["b"] = label + rng.normal(0, 0.8, 400)
    labels = pd.DataFrame({"clip": "test/1", "frame": range(400), "label": label, "kind": ""})
    terms = {name: Term(higher_is_anomalous=True, meaning="") for name in "ab"}
    oracle = oracle_metrics(scores, labels, terms, {"a": 0.5, "b": 0.5})
    best_term = oracle.pop("micro_auc_oracle_best_term")
    assert best_term == evaluate(scores, labels, terms, {"b": 1})["micro_auc"]
    assert set(oracle) == {"micro_auc_oracle", "a_weight_oracle", "b_weight_oracle"}
    assert oracle["a_weight_oracle"] + oracle["b_weight_oracle"] == pytest.approx(1)
    for weight in (0.0, 0.5, 1.0):
        fixed = evaluate(scores, labels, terms, {"a": weight, "b": 1 - weight})["micro_auc"]
        assert oracle["micro_auc_oracle"] >= fixed - 1e-12
    assert oracle_metrics(scores, labels, terms, {"b": 1.0}) == {"micro_auc_oracle_best_term": best_term}
    assert oracle_metrics(scores, labels, {"b": terms["b"]}, {"b": 1.0}) == {}
    three = scores.assign(c=rng.random(400))
    terms["c"] = terms["a"]
    best = oracle_metrics(three, labels, terms, dict.fromkeys("abc", 1 / 3))
    assert best["micro_auc_oracle"] >= oracle["micro_auc_oracle"]  # the grid of three holds that of two
    weights = {name: best[f"{name}_weight_oracle"] for name in "abc"}
    assert evaluate(three, labels, terms, weights)["micro_auc"] == pytest.approx(best["micro_auc_oracle"])


def test_images_are_normalised_globally_with_intervals_over_frames_and_no_window():
    random = np.random.default_rng(0)
    labels = labels_of({"test/0": [0] * 40, "test/1": [1] * 40})
    scores = labels[["clip", "frame"]].assign(term=random.normal(labels["label"], 1))
    metrics = evaluate(scores, labels, {"term": HIGH}, {"term": 1}, images=True)
    assert metrics["micro_auc"] == metrics["micro_auc_global"] == metrics["micro_auc_term_term"]
    assert metrics["micro_auc"] > 0.6, "per clip a class would be scaled to itself and the areas be lost"
    assert metrics["micro_auc_low"] < metrics["micro_auc"] < metrics["micro_auc_high"]
    assert "micro_auc_common" not in metrics
    assert "micro_auc_smoothed" not in metrics


def test_held_out_normalisation_stands_beside_where_there_is_a_normaliser():
    labels = labels_of({f"test/{number}": [0, 0, 1, 1] * 5 for number in range(2)})
    scores = oracle(labels, 1)
    known = {"term": np.linspace(-1, 0.5, 9).tolist()}
    assert evaluate(scores, labels, {"term": HIGH}, {"term": 1}, normaliser=known)["micro_auc_held_out"] == 1

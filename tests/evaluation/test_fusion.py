import numpy as np
import pandas as pd
import pytest

from vad_pipeline.evaluation.alignment import EvaluationError
from vad_pipeline.evaluation.fusion import inverse_spread, join_scores
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.evaluation.terms import Term

TERMS = {
    "a": Term(higher_is_anomalous=True, meaning=""),
    "b": Term(higher_is_anomalous=False, meaning=""),
    "c": Term(higher_is_anomalous=True, meaning="", bounded=True),
}


def table(frames, **terms):
    return pd.DataFrame({"clip": "train/1", "frame": list(frames), **terms})


def test_the_frames_that_all_parts_score_are_joined_whatever_their_order():
    one = table([8, 9, 10], a=[1.0, 2.0, 3.0])
    other = table([11, 10, 9, 0], b=[11.0, 10.0, 9.0, 0.0])
    joined = join_scores([one, other])
    assert joined.to_dict("list") == {"clip": ["train/1"] * 2, "frame": [9, 10], "a": [2.0, 3.0], "b": [9.0, 10.0]}


def test_what_cannot_be_joined_says_why():
    with pytest.raises(EvaluationError, match="term a: in two tables"):
        join_scores([table([1], a=[1.0]), table([1], a=[1.0])])
    with pytest.raises(EvaluationError, match="no frame is scored by all parts"):
        join_scores([table([1], a=[1.0]), table([2], b=[1.0])])


def test_weights_are_inverse_to_the_spread_of_the_fused_terms_on_held_out_clips():
    rng = np.random.default_rng(0)
    scores = pd.concat(
        [
            table(range(50), a=rng.normal(size=50), b=rng.uniform(size=50), c=0.1 * rng.random(50)),
            table(range(50), a=100.0, b=rng.random(50), c=1.0).assign(clip="test/1"),
        ]
    )
    weights = inverse_spread(scores, TERMS, list(TERMS), ["train/1"])
    normal = scores[scores["clip"] == "train/1"]
    spread = {term: float(np.std(anomaly_score(normal, TERMS, {term: 1.0}))) for term in TERMS}
    assert sum(weights.values()) == pytest.approx(1)
    for one in TERMS:
        for other in TERMS:
            assert weights[one] / weights[other] == pytest.approx(spread[other] / spread[one])
    assert set(inverse_spread(scores, TERMS, ["a", "b"], ["train/1"])) == {"a", "b"}
    with pytest.raises(EvaluationError, match="no held-out normal clip"):
        inverse_spread(scores, TERMS, list(TERMS), ["train/9"])

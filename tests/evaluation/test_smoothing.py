import math

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter1d

from tests.evaluation.tables import HIGH, labels_of
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.evaluation.smoothing import smoothed


def table(clips):
    """Rows of clips -> frame numbers."""
    parts = [pd.DataFrame({"clip": clip, "frame": np.asarray(numbers)}) for clip, numbers in clips.items()]
    return pd.concat(parts, ignore_index=True)


def noise(n, seed=0):
    return pd.Series(np.random.default_rng(seed).random(n))


def test_inside_a_clip_it_is_a_gaussian_of_three_frames_at_ten_a_second():
    frames, anomaly = table({"test/01": range(80)}), noise(80)
    found = smoothed(frames, anomaly, {"test/01": 10.0})
    np.testing.assert_allclose(found[15:-15], gaussian_filter1d(anomaly, 3.0)[15:-15], atol=1e-4)
    np.testing.assert_array_equal(found, smoothed(frames, anomaly, {"test/01": None}))
    np.testing.assert_array_equal(found, smoothed(frames, anomaly))


def test_the_gaussian_is_as_long_in_seconds_whatever_the_frames_a_second():
    frames, anomaly = table({"test/01": range(200)}), noise(200)
    found = smoothed(frames, anomaly, {"test/01": 25.0})
    np.testing.assert_allclose(found[35:-35], gaussian_filter1d(anomaly, 7.5)[35:-35], atol=1e-4)


def test_clips_do_not_flow_into_each_other():
    both, anomaly = table({"test/01": range(20), "test/02": range(20)}), noise(40)
    one = smoothed(both.iloc[:20], anomaly.iloc[:20])
    np.testing.assert_array_equal(smoothed(both, anomaly)[:20], one)
    constant = pd.Series([0.0] * 20 + [1.0] * 20)
    np.testing.assert_allclose(smoothed(both, constant), constant)


def test_missing_frames_count_by_their_numbers():
    near, far = table({"test/01": [4, 5, 6]}), table({"test/01": [4, 5, 96]})
    anomaly = pd.Series([0.0, 0.0, 1.0])
    assert smoothed(near, anomaly)[1] > 0.2
    assert smoothed(far, anomaly).tolist() == [0, 0, 1]
    weights = np.exp(-0.5 * (np.array([2, 1, 0]) / 3) ** 2)
    assert smoothed(near, anomaly)[2] == pytest.approx(weights[2] / weights.sum())


def test_the_order_of_rows_does_not_matter():
    frames, anomaly = table({"test/01": range(30), "test/02": range(9)}), noise(39)
    order = np.random.default_rng(1).permutation(39)
    np.testing.assert_allclose(
        smoothed(frames.iloc[order], anomaly.iloc[order]).sort_index(), smoothed(frames, anomaly)
    )


def test_smoothing_helps_a_noisy_score_and_leaves_the_headline():
    label = [0] * 40 + [1] * 40
    scores = table({"test/01": range(80)}).assign(term=np.array(label) * 0.3 + noise(80))
    labels = labels_of({"test/01": label})
    metrics, at_25 = (evaluate(scores, labels, {"term": HIGH}, {"term": 1}, fps=fps) for fps in (None, {"test/01": 25}))
    assert metrics["micro_auc_smoothed"] > metrics["micro_auc"] + 0.05
    assert at_25["micro_auc"] == metrics["micro_auc"]
    assert at_25["micro_auc_smoothed"] != metrics["micro_auc_smoothed"]


def test_labels_of_one_class_leave_it_undefined():
    scores = table({"test/01": range(40)}).assign(term=noise(40))
    with pytest.warns(UserWarning, match="class|normal"):
        metrics = evaluate(scores, labels_of({"test/01": [0] * 40}), {"term": HIGH}, {"term": 1})
    assert math.isnan(metrics["micro_auc_smoothed"])

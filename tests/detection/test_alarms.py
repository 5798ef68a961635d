"""Alarms against labels: what is found, what is false, in how much normal footage."""

import numpy as np
import pandas as pd
import pytest

from tests.detection.test_detector import trained
from vad_pipeline.detection.alarms import alarm_metrics
from vad_pipeline.detection.held_out import held_out_anomalies, held_out_threshold, normaliser_of
from vad_pipeline.detection.trained_system import find_trained
from vad_pipeline.models.systems import SYSTEMS, terms_of


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alarms")
    trained(folder, "scene_exemplars")
    return find_trained(folder / "scene_exemplars").checkpoints


def rows_at(checkpoints, loud, frames=200, clip="test/0"):
    """Raw terms of frames, far above the threshold in ``loud``, on the held-out 5% quantile elsewhere."""
    system, normaliser = SYSTEMS["scene_exemplars"], normaliser_of(checkpoints)
    table = pd.DataFrame({"clip": clip, "frame": np.arange(2, frames)})
    for name in terms_of(system):
        quantiles = normaliser[name]
        high = quantiles[-1] + 1000 * (1 + abs(quantiles[-1]))
        table[name] = np.where(table["frame"].isin(loud), high, min(quantiles))
    return table


def labels_of(abnormal, frames=200, clip="test/0"):
    return pd.DataFrame(
        {"clip": clip, "frame": np.arange(frames), "label": np.isin(np.arange(frames), abnormal).astype(int)}
    )


def test_events_found_and_false_alarms_are_counted(checkpoints):
    system = SYSTEMS["scene_exemplars"]
    assert held_out_threshold(system, checkpoints).block_frames == 50
    loud = [*range(20, 25), *range(120, 125)]
    labels = labels_of([*range(22, 30), *range(180, 190)])
    assert alarm_metrics(system, checkpoints, rows_at(checkpoints, loud), labels) == {
        "events_labelled": 2,
        "events_found": 1,
        "false_alarms": 1,
        "normal_seconds": pytest.approx((198 - 18) / 10),
    }


def test_held_out_footage_itself_raises_no_alarm(checkpoints):
    system = SYSTEMS["scene_exemplars"]
    (checkpoint,) = checkpoints.values()
    table = pd.DataFrame({name: values.numpy() for name, values in checkpoint.held_out_scores.items()})
    table["clip"] = [f"test/{number}" for number in table["clip"]]
    labels = table[["clip", "frame"]].assign(label=0)
    found = alarm_metrics(system, checkpoints, table, labels)
    assert (found["events_labelled"], found["false_alarms"]) == (0, 0)
    assert found["normal_seconds"] == pytest.approx(sum(map(len, held_out_anomalies(system, checkpoints))) / 10)


def test_without_labels_there_is_nothing_to_count(checkpoints):
    labels = pd.DataFrame({"clip": [], "frame": [], "label": []})
    found = alarm_metrics(SYSTEMS["scene_exemplars"], checkpoints, rows_at(checkpoints, []), labels)
    assert all(np.isnan(value) for value in found.values())

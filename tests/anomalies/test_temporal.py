import numpy as np
import pytest

from vad_pipeline.anomalies.flow_mixup import FlowMixup, bounding_rectangle
from vad_pipeline.anomalies.pool import Pool, runs_of
from vad_pipeline.anomalies.temporal import largest_part, mixed_rows, temporal_jobs


def masks(count, height=40, width=60):
    found = np.zeros((count, height, width), bool)
    for t in range(count):
        found[t, 5:25, 2 + t : 17 + t] = True
        found[t, 30:34, 50:54] = True
    return found


@pytest.fixture
def stored(store_clips):
    flow = np.random.default_rng(0).normal(0, 2, (11, 20, 30, 2)).astype(np.float16)
    holes = masks(12)
    return store_clips({"train/01": flow, "train/01@0": holes})


def test_only_the_rectangle_of_the_largest_part_changes_at_the_flow_s_own_size(stored):
    (run,) = runs_of({"train/01": 12}, Pool(), 0)
    rows = np.stack(list(mixed_rows(stored["train/01"], stored["train/01@0"], run, FlowMixup(), 0, 0, None)))
    flow = stored["train/01"].array()
    assert rows.shape == flow.shape
    assert rows.dtype == np.float16
    changed = (rows != flow).any(axis=-1)
    for t in range(11):
        top, left, height, width = bounding_rectangle(masks(12)[t] & largest_part(masks(12)[t]))
        inside = np.zeros((20, 30), bool)
        inside[top // 2 : -(-(top + height) // 2), left // 2 : -(-(left + width) // 2)] = True
        assert not changed[t][~inside].any()
    assert changed.any(axis=(1, 2)).mean() > 0.8


def test_a_run_at_the_end_of_a_clip_has_one_row_less_like_its_flow(stored):
    (run,) = runs_of({"train/01": 12}, Pool(), 0)
    job = temporal_jobs(stored, stored, [run], FlowMixup(), 0)["train/01@0"]
    assert job.length == 11
    whole = np.stack(list(job.rows(0, None)))
    assert np.array_equal(np.stack(list(job.rows(3, 7))), whole[3:7])
    again = temporal_jobs(stored, stored, [run], FlowMixup(), 0)["train/01@0"]
    other = temporal_jobs(stored, stored, [run], FlowMixup(), 1)["train/01@0"]
    assert np.array_equal(np.stack(list(again.rows(0, None))), whole)
    assert not np.array_equal(np.stack(list(other.rows(0, None))), whole)
    assert again.fingerprint == job.fingerprint != other.fingerprint


def test_the_largest_part_of_a_mask_is_kept():
    mask = masks(1)[0]
    assert bounding_rectangle(largest_part(mask)) == (5, 2, 20, 15)
    assert not largest_part(np.zeros((4, 5), bool)).any()

import numpy as np
import pytest

from vad_pipeline.flow.comparison import BINS, compare_flows, moving, sampled_pairs


def sliding(n=6, speed=2):
    """A textured square that slides to the right over flat ground."""
    texture = np.random.default_rng(0).integers(60, 255, (12, 12, 1), np.uint8)
    frames = np.full((n, 32, 48, 1), 30, np.uint8)
    for t in range(n):
        frames[t, 8:20, 4 + speed * t : 16 + speed * t] = texture
    return frames


def true_flow(n=6, speed=2):
    flow = np.zeros((n - 1, 32, 48, 2), np.float16)
    for t in range(n - 1):
        flow[t, 8:20, 4 + speed * t : 16 + speed * t, 0] = speed
    return flow


def test_true_flow_beats_no_motion_and_false_flow_does_not(store_clips):
    frames = store_clips({"train/01": sliding()})
    flows = {"tvl1": store_clips({"train/01": true_flow()}), "flownet": store_clips({"train/01": -true_flow()})}
    found = compare_flows(frames, flows).metrics
    assert found["tvl1_warp_error"] < 0.5 * found["no_motion_warp_error"]
    assert found["tvl1_warp_error_moving"] < 0.5 * found["no_motion_warp_error_moving"]
    assert found["flownet_warp_error_moving"] > found["no_motion_warp_error_moving"]


def test_magnitudes_and_disagreement_are_those_of_the_flows(store_clips):
    frames = store_clips({"train/01": sliding()})
    still = np.zeros((5, 32, 48, 2), np.float16)
    found = compare_flows(
        frames, {"tvl1": store_clips({"train/01": true_flow()}), "flownet": store_clips({"train/01": still})}
    )
    share = 12 * 12 / (32 * 48)
    assert found.metrics["tvl1_mean_motion"] == pytest.approx(2 * share)
    assert found.metrics["disagreement"] == pytest.approx(2 * share)
    assert found.magnitudes["flownet"][0] == 1
    bin_of_two = int(np.digitize(2.0, BINS)) - 1
    assert found.magnitudes["tvl1"][bin_of_two] == pytest.approx(share)
    assert found.disagreement.shape == (32, 48)
    assert found.disagreement[0].max() == 0


def test_pairs_are_spread_over_every_clip_that_moves(store_clips):
    frames = store_clips({"train/01": sliding(30, speed=1), "test/01": sliding(3), "test/02": sliding(1)})
    pairs = [(pair.clip, pair.frame) for pair in sampled_pairs(frames, {}, per_clip=4)]
    assert pairs == [("test/01", 0), ("test/01", 1), *(("train/01", t) for t in (0, 9, 19, 28))]


def test_the_disagreement_of_three_estimators_is_the_mean_of_their_pairs(store_clips):
    frames = store_clips({"train/01": sliding()})
    flows = {
        "tvl1": true_flow(),
        "flownet": np.zeros((5, 32, 48, 2), np.float16),
        "dis": true_flow(),
    }
    found = compare_flows(frames, {name: store_clips({"train/01": flow}) for name, flow in flows.items()})
    assert found.metrics["disagreement"] == pytest.approx(2 * 12 * 12 / (32 * 48) * 2 / 3)
    assert found.metrics["dis_warp_error"] == found.metrics["tvl1_warp_error"]


def test_one_estimator_alone_has_no_disagreement(store_clips):
    found = compare_flows(store_clips({"train/01": sliding()}), {"tvl1": store_clips({"train/01": true_flow()})})
    assert found.disagreement is None
    assert "disagreement" not in found.metrics


def test_moving_pixels_are_those_that_change_and_their_neighbours():
    earlier, later = sliding(2)
    where = moving(earlier, later)
    assert where[10:18, 4:18].all()
    assert not where[:3].any()
    assert not where[:, 28:].any()
    assert not moving(earlier, earlier).any()

from dataclasses import asdict

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.flow import tvl1
from vad_pipeline.flow.stored_flow import FlowError
from vad_pipeline.flow.tvl1 import TVL1, tvl1_flow, tvl1_jobs, tvl1_rows
from vad_pipeline.flow.tvl1_solver import Parameters

PRESETS = [TVL1("accurate"), TVL1("fast")]
BY_NAME = pytest.mark.parametrize("config", PRESETS, ids=["accurate", "fast"])
QUICK = TVL1("fast", warps=1, scales=2)
HEIGHT, WIDTH = 64, 80


def affine_motion(matrix, shift=(0.0, 0.0)):
    """Flow float32 (HEIGHT, WIDTH, 2) of turning and stretching about the centre by ``matrix``, then shifting."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    points = np.stack((x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2), axis=-1)
    return (points @ (np.asarray(matrix, np.float32) - np.eye(2)).T + np.asarray(shift)).astype(np.float32)


def moved_texture(matrix, shift=(0.0, 0.0), seed=0):
    """Two frames uint8 (HEIGHT, WIDTH, 1) of a smooth random texture before and after that motion."""
    margin = 40
    noise = np.random.default_rng(seed).normal(size=(HEIGHT + 2 * margin, WIDTH + 2 * margin)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    # what lies at p in the later frame was at matrix^-1 (p - shift) in the earlier one
    backward = affine_motion(np.linalg.inv(matrix), -np.linalg.inv(matrix) @ np.asarray(shift))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) + margin
    later = cv2.remap(texture, x + backward[..., 0], y + backward[..., 1], cv2.INTER_CUBIC)
    earlier = texture[margin:-margin, margin:-margin]
    return tuple(np.clip(np.rint(frame), 0, 255).astype(np.uint8)[..., None] for frame in (earlier, later))


def rotation(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [[c, -s], [s, c]]


def clip_of(n_frames, height=24, width=32, channels=1, seed=0):
    """A smooth texture that drifts by (1, 0.5) pixels a frame, uint8 (n_frames, height, width, channels)."""
    noise = np.random.default_rng(seed).normal(size=(height + 60, width + 60, channels)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 30
    frames = [cv2.remap(texture, x - t, y - 0.5 * t, cv2.INTER_LINEAR) for t in range(n_frames)]
    return np.rint(np.stack(frames)).astype(np.uint8).reshape(n_frames, height, width, channels)


def length(vectors):
    return np.linalg.norm(vectors, axis=-1)


@BY_NAME
@pytest.mark.parametrize(
    ("matrix", "shift"),
    [(np.eye(2), (2.3, -1.6)), (1.05 * np.eye(2), (0, 0)), (rotation(3), (0, 0))],
    ids=["translation", "zoom", "rotation"],
)
def test_a_known_motion_is_recovered_within_a_tenth_of_a_pixel(config, matrix, shift):
    truth = affine_motion(matrix, shift)
    flow = tvl1_flow(*moved_texture(matrix, shift), config)
    assert flow.shape == (HEIGHT, WIDTH, 2)
    assert flow.dtype == np.float32
    inside = (slice(6, -6), slice(6, -6))  # what leaves the frame has no counterpart
    assert length(truth)[inside].mean() > 0.9
    assert length(flow - truth)[inside].mean() < 0.1


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"tau": 0.2, "theta": 0.4, "lambda_": 0.3},
        {"median_filtering": 3, "outer_iterations": 3},
        {"gamma": 3.0},
        {"scales": 3, "scale_step": 0.6},
        {"epsilon": 0.05, "inner_iterations": 100},
    ],
    ids=["plain", "weights", "median", "brightness", "pyramid", "stopping"],
)
def test_fast_takes_the_steps_of_opencv(overrides):
    """Few iterations, before rounding is amplified by the warps that follow."""
    few = {"scales": 1, "warps": 1, "outer_iterations": 1, "inner_iterations": 20, "epsilon": 0.0}
    few["median_filtering"] = 1
    pair = moved_texture(rotation(2), (0.7, 0.4), seed=1)
    accurate, fast, without = (
        tvl1_flow(*pair, TVL1(preset, **settings))
        for preset, settings in (("accurate", {**few, **overrides}), ("fast", {**few, **overrides}), ("fast", few))
    )
    assert length(accurate).mean() > 0.1
    np.testing.assert_allclose(fast, accurate, atol=1e-3)
    assert length(fast - accurate).mean() < 1e-5
    if overrides:
        assert length(fast - without).mean() > 0.01


def test_fast_ends_where_opencv_does():
    pair = moved_texture(rotation(2), (1.5, 0.5), seed=1)
    accurate, fast = (tvl1_flow(*pair, config) for config in PRESETS)
    assert length(accurate - fast).mean() < 0.005


def test_fast_stays_near_accurate_on_the_built_in_scenes(scene_pair):
    """The bar at 256x256 is 0.05 px, 0.1 px where things move (benchmarks/bench_tvl1.py)."""
    accurate, fast = (tvl1_flow(*scene_pair, config) for config in PRESETS)
    moving = length(accurate) > 0.5
    assert moving.mean() > 0.02
    apart = length(accurate - fast)
    assert apart.mean() < 0.05
    assert apart[moving].mean() < 0.1


def test_defaults_are_opencvs():
    theirs = cv2.optflow.DualTVL1OpticalFlow.create()
    assert asdict(TVL1().parameters()) == {
        "tau": theirs.getTau(),
        "lambda_": theirs.getLambda(),
        "theta": theirs.getTheta(),
        "scales": theirs.getScalesNumber(),
        "warps": theirs.getWarpingsNumber(),
        "epsilon": theirs.getEpsilon(),
        "inner_iterations": theirs.getInnerIterations(),
        "outer_iterations": theirs.getOuterIterations(),
        "scale_step": theirs.getScaleStep(),
        "gamma": theirs.getGamma(),
        "median_filtering": theirs.getMedianFiltering(),
    }


def test_overrides_replace_single_parameters():
    assert TVL1(warps=2, lambda_=0.3).parameters() == Parameters(warps=2, lambda_=0.3)


@pytest.mark.parametrize(
    "settings",
    [{"preset": "best"}, {"warps": 0}, {"scale_step": 1.0}, {"median_filtering": 4}, {"innnerIterations": 3}],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        TVL1(**settings)


def test_flow_of_equal_frames_does_not_depend_on_where_they_lie_in_memory():
    earlier, later = clip_of(2, 48, 56)
    flows, kept = [], []
    for size in (1, 3_001, 70_003, 200_017):
        kept.append(np.empty(size, np.uint8))
        flows.append(tvl1_flow(earlier.copy(), later.copy(), TVL1("fast")))
    for flow in flows[1:]:
        np.testing.assert_array_equal(flow, flows[0])


def test_colour_frames_give_the_flow_of_their_gray():
    earlier, later = clip_of(2, channels=3)
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in (earlier, later)]
    np.testing.assert_array_equal(tvl1_flow(earlier, later, QUICK), tvl1_flow(*gray, QUICK))


@BY_NAME
@pytest.mark.parametrize("size", [(20, 24), (12, 40), (3, 3), (3, 200)])
def test_small_frames_get_fewer_scales(config, size):
    earlier, later = clip_of(2, *size)
    flow = tvl1_flow(earlier, later, config)
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all()


def test_frames_that_cannot_be_used_are_refused(store_clips):
    frame = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(FlowError, match=r"unlike shapes, \(8, 8, 1\) and \(8, 9, 1\)"):
        tvl1_flow(frame, np.zeros((8, 9, 1), np.uint8), QUICK)
    with pytest.raises(FlowError, match="not float32"):
        tvl1_flow(frame.astype(np.float32), frame.astype(np.float32), QUICK)
    with pytest.raises(FlowError, match="not uint8"):
        tvl1_flow(frame[..., 0], frame[..., 0], QUICK)
    with pytest.raises(FlowError, match=r"clip test/07: frames of 2x40 pixels.* resize"):
        tvl1_jobs(store_clips({"test/07": clip_of(3, 2, 40)}), QUICK)


@BY_NAME
def test_chunked_equals_unchunked_exactly(config, tmp_path, store_clips):
    jobs = tvl1_jobs(store_clips({"train/01": clip_of(6)}), config)
    job = jobs["train/01"]
    arrays = []
    for chunk in (1, 2, 100):
        pool = ClipPool(str(tmp_path / f"chunk{chunk}"))
        pool.fill(jobs, Parallel("sequential", chunk=chunk), "flow")
        arrays.append(np.array(pool.array(job.fingerprint)))
    assert arrays[0].shape == (5, 24, 32, 2)
    assert arrays[0].dtype == np.float16
    for array in arrays[1:]:
        np.testing.assert_array_equal(array, arrays[0])


def test_processes_compute_what_one_process_does(tmp_path, store_clips):
    jobs = tvl1_jobs(store_clips({"train/01": clip_of(5), "train/02": clip_of(3, seed=1)}), QUICK)
    pools = {backend: ClipPool(str(tmp_path / backend)) for backend in ("sequential", "loky")}
    for backend, pool in pools.items():
        pool.fill(jobs, Parallel(backend, n_jobs=2, chunk=2), "flow")
    for job in jobs.values():
        np.testing.assert_array_equal(*(pool.array(job.fingerprint) for pool in pools.values()))


def test_flow_from_t_to_the_next_frame_is_stored_under_t(store_clips):
    frames = clip_of(4)
    frames[1:] = frames[1]  # motion between the first two frames only
    clip = store_clips({"train/01": frames})["train/01"]
    rows = list(tvl1_rows(clip, TVL1("fast"), 0, None))
    assert len(rows) == 3
    inside = rows[0][6:-6, 6:-6].astype(np.float32)
    np.testing.assert_allclose(inside.mean(axis=(0, 1)), (1, 0.5), atol=0.1)  # x first, towards the later frame
    np.testing.assert_array_equal(rows[1], 0)
    np.testing.assert_array_equal(np.stack(list(tvl1_rows(clip, TVL1("fast"), 0, 2))), np.stack(rows[:2]))


def test_a_clip_of_one_frame_is_stored_with_length_zero_and_a_warning(tmp_path, store_clips):
    frames = store_clips({"train/01": clip_of(1), "train/02": clip_of(2)})
    with pytest.warns(UserWarning, match=r"clip train/01 has one frame.*length 0"):
        jobs = tvl1_jobs(frames, QUICK)
    pool = ClipPool(str(tmp_path / "flow"))
    assert pool.fill(jobs, Parallel("sequential"), "flow") == 2
    assert pool.fill(jobs, Parallel("sequential"), "flow") == 0
    assert pool.header(jobs["train/01"].fingerprint) == ((0, 24, 32, 2), "float16")
    assert pool.header(jobs["train/02"].fingerprint) == ((1, 24, 32, 2), "float16")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_flow_that_is_not_finite_is_never_stored(value, tmp_path, store_clips, monkeypatch):
    def flow(earlier, later, config):
        field = np.zeros((*earlier.shape, 2), np.float32)
        field[3, 4, 0] = value
        return field

    monkeypatch.setattr(tvl1, "_flow_of_gray", flow)
    jobs = tvl1_jobs(store_clips({"train/01": clip_of(3)}), QUICK)
    pool = ClipPool(str(tmp_path / "flow"))
    with pytest.raises(FlowError, match=r"clip train/01, frames 0 to 1: the flow of 1 pixels is not a finite number"):
        pool.fill(jobs, Parallel("sequential"), "flow")
    assert not pool.has(jobs["train/01"].fingerprint)


def test_opencv_without_contrib_is_named_and_fast_does_without(store_clips, monkeypatch):
    frames = store_clips({"train/01": clip_of(2)})
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(ImportError, match="needs the package opencv-contrib-python"):
        tvl1_jobs(frames, TVL1("accurate"))
    with pytest.raises(ImportError, match="opencv-contrib-python"):
        tvl1_flow(*frames["train/01"].array(), TVL1("accurate"))
    assert len(list(tvl1_rows(frames["train/01"], TVL1("fast"), 0, None))) == 1


def test_jobs_differ_by_what_decides_the_flow_and_by_nothing_else(store_clips):
    frames = store_clips({"train/01": clip_of(3)})
    keys = [
        tvl1_jobs(frames, config)["train/01"].fingerprint
        for config in (TVL1("fast"), TVL1("accurate"), TVL1("fast", warps=3))
    ]
    assert len(set(keys)) == 3
    job = tvl1_jobs(frames, TVL1("fast", warps=5))["train/01"]  # OpenCV's own value, said aloud
    assert job.fingerprint == keys[0]
    assert (job.length, job.fps, job.source, job.parameters["preset"]) == (2, 10.0, "a test", "fast")

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.flow import dis
from vad_pipeline.flow.dis import DIS, dis_flow, dis_jobs, dis_rows
from vad_pipeline.flow.stored_flow import FlowError

PRESETS = pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])


def clip_of(n_frames, height=64, width=80, channels=1, shift=(1.0, 0.5), seed=0):
    """A smooth texture that drifts by ``shift`` pixels a frame, uint8 (n_frames, height, width, channels)."""
    noise = np.random.default_rng(seed).normal(size=(height + 60, width + 60, channels)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)
    y, x = np.mgrid[:height, :width].astype(np.float32) + 30
    frames = [cv2.remap(texture, x - shift[0] * t, y - shift[1] * t, cv2.INTER_CUBIC) for t in range(n_frames)]
    return np.clip(np.rint(np.stack(frames)), 0, 255).astype(np.uint8).reshape(n_frames, height, width, channels)


@PRESETS
@pytest.mark.parametrize("shift", [(2.3, -1.6), (-0.6, 0.4), (0.0, 4.0)])
def test_a_known_translation_is_recovered_within_a_fifth_of_a_pixel(preset, shift):
    flow = dis_flow(*clip_of(2, shift=shift), DIS(preset))
    assert flow.shape == (64, 80, 2)
    assert flow.dtype == np.float32
    inside = flow[6:-6, 6:-6]  # what leaves the frame has no counterpart
    assert np.linalg.norm(inside - np.float32(shift), axis=-1).mean() < 0.2


def test_presets_differ():
    pair = clip_of(2, shift=(2.3, -1.6))
    flows = [dis_flow(*pair, DIS(preset)) for preset in dis.PRESETS]
    assert not any(np.array_equal(one, other) for one, other in zip(flows, flows[1:] + flows[:1], strict=True))


def test_flow_is_the_same_whatever_the_number_of_threads():
    pair, before = clip_of(2, 120, 160), cv2.getNumThreads()
    flows = []
    try:
        for threads in (1, 2, 3):
            cv2.setNumThreads(threads)
            flows.append(dis_flow(*pair, DIS()))
    finally:
        cv2.setNumThreads(before)
    for flow in flows[1:]:
        np.testing.assert_array_equal(flow, flows[0])


def test_colour_frames_give_the_flow_of_their_gray():
    earlier, later = clip_of(2, channels=3)
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None] for frame in (earlier, later)]
    np.testing.assert_array_equal(dis_flow(earlier, later, DIS()), dis_flow(*gray, DIS()))


@PRESETS
@pytest.mark.parametrize("size", [(20, 24), (12, 40), (1, 1), (3, 200), (200, 3)])
def test_frames_too_small_for_opencv_have_flow(preset, size):
    flow = dis_flow(*clip_of(2, *size), DIS(preset))
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all()


def test_frames_and_settings_that_cannot_be_used_are_refused():
    frame = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(FlowError, match=r"unlike shapes, \(8, 8, 1\) and \(8, 9, 1\)"):
        dis_flow(frame, np.zeros((8, 9, 1), np.uint8), DIS())
    with pytest.raises(FlowError, match="not float32"):
        dis_flow(frame.astype(np.float32), frame.astype(np.float32), DIS())
    with pytest.raises(FlowError, match="not uint8"):
        dis_flow(frame[..., 0], frame[..., 0], DIS())
    with pytest.raises(ValidationError, match="preset"):
        DIS(preset="slow")


def test_chunks_and_processes_compute_the_same_bytes(tmp_path, store_clips):
    jobs = dis_jobs(store_clips({"train/01": clip_of(6), "train/02": clip_of(3, seed=1)}), DIS())
    ways = [("sequential", 1, 100), ("sequential", 1, 1), ("loky", 2, 2)]
    pools = [ClipPool(str(tmp_path / f"{backend}{chunk}")) for backend, _, chunk in ways]
    for pool, (backend, workers, chunk) in zip(pools, ways, strict=True):
        pool.fill(jobs, Parallel(backend, n_jobs=workers, chunk=chunk), "flow")
    for job in jobs.values():
        arrays = [np.array(pool.array(job.fingerprint)) for pool in pools]
        assert arrays[0].dtype == np.float16
        for array in arrays[1:]:
            np.testing.assert_array_equal(array, arrays[0])


def test_flow_from_t_to_the_next_frame_is_stored_under_t(store_clips):
    frames = clip_of(4)
    frames[1:] = frames[1]  # motion between the first two frames only
    clip = store_clips({"train/01": frames})["train/01"]
    rows = list(dis_rows(clip, DIS(), 0, None))
    assert len(rows) == 3
    inside = rows[0][6:-6, 6:-6].astype(np.float32)
    np.testing.assert_allclose(inside.mean(axis=(0, 1)), (1, 0.5), atol=0.1)  # x first, towards the later frame
    assert max(np.abs(row).max() for row in rows[1:]) < 0.01
    np.testing.assert_array_equal(np.stack(list(dis_rows(clip, DIS(), 1, 3))), np.stack(rows[1:]))


def test_a_clip_of_one_frame_is_stored_with_length_zero_and_a_warning(tmp_path, store_clips):
    frames = store_clips({"train/01": clip_of(1)})
    with pytest.warns(UserWarning, match=r"clip train/01 has one frame.*length 0"):
        jobs = dis_jobs(frames, DIS())
    pool = ClipPool(str(tmp_path / "flow"))
    pool.fill(jobs, Parallel("sequential"), "flow")
    assert pool.header(jobs["train/01"].fingerprint) == ((0, 64, 80, 2), "float16")


def test_flow_that_is_not_finite_is_never_stored(tmp_path, store_clips, monkeypatch):
    def flow(earlier, later, settings):
        return np.full((*earlier.shape, 2), np.nan, np.float32)

    monkeypatch.setattr(dis, "_flow_of_gray", flow)
    jobs = dis_jobs(store_clips({"train/01": clip_of(3)}), DIS())
    with pytest.raises(FlowError, match=r"clip train/01, frames 0 to 1: the flow of 5120 pixels is not a finite"):
        ClipPool(str(tmp_path / "flow")).fill(jobs, Parallel("sequential"), "flow")


def test_jobs_differ_by_clip_and_preset(store_clips):
    one, other = store_clips({"train/01": clip_of(3)}), store_clips({"train/01": clip_of(3, seed=1)})
    keys = {
        dis_jobs(frames, settings)["train/01"].fingerprint
        for frames in (one, other)
        for settings in (DIS(), DIS("fast"))
    }
    assert len(keys) == 4
    assert dis_jobs(one, DIS())["train/01"].fingerprint in keys

import cv2
import numpy as np
import pytest

from vad_pipeline.flow.tvl1 import TVL1, tvl1_flow
from vad_pipeline.flow.warp import photometric_error, resize_flow, warp

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(12, 17), (12, 17, 1), (12, 17, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_warping_by_whole_pixels_fetches_the_later_pixels(shape, dtype):
    later = RNG.integers(0, 256, shape).astype(dtype)
    flow = np.full((12, 17, 2), (3, -2), np.float16)
    warped = warp(later, flow)
    assert warped.shape == shape
    assert warped.dtype == dtype
    np.testing.assert_array_equal(warped[2:, :-3], later[:-2, 3:])
    np.testing.assert_array_equal(warped[2:, -3:], np.repeat(later[:-2, -1:], 3, axis=1))  # beyond the border


def test_warping_between_pixels_is_bilinear():
    ramp = np.tile(np.arange(10, dtype=np.float32), (4, 1))
    np.testing.assert_allclose(warp(ramp, np.full((4, 10, 2), (0.25, 0), np.float32))[:, :-1], ramp[:, :-1] + 0.25)


def test_flow_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"an image of 4x5 needs flow \(4, 5, 2\), not \(5, 4, 2\)"):
        warp(np.zeros((4, 5), np.uint8), np.zeros((5, 4, 2), np.float32))


def test_the_error_of_no_motion_is_the_difference_in_gray_levels():
    earlier = RNG.integers(0, 256, (9, 11, 1), np.uint8)
    later = RNG.integers(0, 256, (9, 11, 1), np.uint8)
    still = np.zeros((9, 11, 2), np.float32)
    difference = np.abs(earlier.astype(float) - later)[..., 0]
    assert photometric_error(earlier, later, still) == pytest.approx(difference.mean(), rel=1e-6)
    left = np.zeros((9, 11), bool)
    left[:, :4] = True
    assert photometric_error(earlier, later, still, left) == pytest.approx(difference[:, :4].mean(), rel=1e-6)
    assert np.isnan(photometric_error(earlier, later, still, np.zeros((9, 11), bool)))


def test_colour_frames_are_compared_in_gray():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert photometric_error(red, np.zeros_like(red), np.zeros((4, 4, 2))) == 76  # 0.299 * 255


@pytest.mark.parametrize("preset", ["accurate", "fast"])
def test_warping_by_the_flow_explains_most_of_what_changed_in_the_built_in_scenes(scene_pair, preset):
    earlier, later = scene_pair
    flow = tvl1_flow(earlier, later, TVL1(preset))
    still = np.zeros_like(flow)
    changed = np.abs(earlier.astype(int) - later).max(axis=-1) > 20
    assert photometric_error(earlier, later, flow) < 0.8 * photometric_error(earlier, later, still)
    assert photometric_error(earlier, later, flow, changed) < 0.4 * photometric_error(earlier, later, still, changed)
    assert photometric_error(earlier, later, -flow, changed) > photometric_error(earlier, later, still, changed)


def test_resizing_flow_scales_its_vectors():
    resized = resize_flow(np.full((10, 20, 2), (3, -2), np.float16), 30, 10)
    assert resized.shape == (30, 10, 2)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized[..., 0], 1.5)
    np.testing.assert_allclose(resized[..., 1], -6)


def test_resized_flow_moves_the_resized_picture():
    noise = RNG.normal(size=(64, 96)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)
    flow = np.zeros((64, 80, 2), np.float32)
    flow[..., 0] = np.linspace(2, 6, 80)
    later = texture[:, 8:88]
    earlier = warp(later, flow)
    size = (40, 32)
    small_earlier, small_later = (
        np.rint(cv2.resize(frame, size)).astype(np.uint8)[..., None] for frame in (earlier, later)
    )
    inside = np.zeros((32, 40), bool)
    inside[:, :-5] = True
    scaled = resize_flow(flow, 32, 40)
    assert photometric_error(small_earlier, small_later, scaled, inside) < 1.5
    assert photometric_error(small_earlier, small_later, scaled * 2, inside) > 5  # vectors left unscaled

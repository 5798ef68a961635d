import numpy as np
import pytest

from vad_pipeline.flow.representation import (
    colour_wheel,
    flow_of,
    hsv_picture,
    represent,
    scaled_uv,
    uv_magnitude,
)

RNG = np.random.default_rng(0)
WITHIN = RNG.uniform(-14, 14, (3, 6, 8, 2)).astype(np.float32)  # every vector shorter than 20


def test_vectors_are_clipped_and_scaled():
    flow = np.array([[[20.0, -10.0], [35.0, -80.0], [0.0, 1.0]]], np.float16)
    scaled = scaled_uv(flow)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[[1, -0.5], [1, -1], [0, 0.05]]])


def test_magnitude_is_that_of_the_flow_before_clipping():
    flow = np.array([[[3.0, -4.0], [0.0, 0.0], [300.0, 0.0]]])
    np.testing.assert_allclose(uv_magnitude(flow, limit=10), [[[0.3, -0.4, 0.5], [0, 0, 0], [1, 0, 1]]], rtol=1e-6)


@pytest.mark.parametrize(("kind", "channels", "dtype"), [("uv", 2, "f4"), ("uv_magnitude", 3, "f4"), ("hsv", 3, "u1")])
def test_a_pair_and_a_clip_are_represented_alike(kind, channels, dtype):
    clip = represent(WITHIN, kind)
    assert clip.shape == (3, 6, 8, channels)
    assert clip.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(represent(WITHIN[1], kind), clip[1])


@pytest.mark.parametrize(("kind", "tolerance"), [("uv", 1e-5), ("uv_magnitude", 1e-5), ("hsv", 20 / 255)])
def test_inverses_give_back_the_flow(kind, tolerance):
    back = flow_of(represent(WITHIN, kind), kind)
    assert back.dtype == np.float32
    assert np.linalg.norm(back - WITHIN, axis=-1).max() < tolerance


def test_what_was_clipped_comes_back_clipped():
    far = np.array([[[50.0, -2.0]]])
    np.testing.assert_allclose(flow_of(represent(far, "uv"), "uv"), [[[20, -2]]], rtol=1e-6)
    back = flow_of(represent(far, "hsv"), "hsv")[0, 0]  # shortened to the limit, its direction kept
    np.testing.assert_allclose(back, 20 * far[0, 0] / np.linalg.norm(far), atol=20 / 255)


@pytest.mark.parametrize(
    ("vector", "colour"),
    [
        ((0, 0), (255, 255, 255)),
        ((5, 0), (255, 0, 0)),
        ((0, 5), (128, 255, 0)),
        ((-5, 0), (0, 255, 255)),
        ((0, -5), (128, 0, 255)),
        ((-2.5, 0), (128, 255, 255)),
        ((99, 0), (255, 0, 0)),
    ],
)
def test_direction_is_hue_and_magnitude_is_saturation(vector, colour):
    picture = hsv_picture(np.array([[vector]], np.float32), limit=5)
    np.testing.assert_allclose(picture[0, 0].astype(int), colour, atol=1)


def test_the_wheel_shows_the_colour_of_each_direction():
    wheel = colour_wheel(101)
    assert wheel.shape == (101, 101, 3)
    assert wheel.dtype == np.uint8
    np.testing.assert_array_equal(wheel[50, 50], (255, 255, 255))
    np.testing.assert_array_equal(wheel[0, 0], (255, 255, 255))  # outside the disc
    for dx, dy in ((40, 0), (0, 40), (-28, 28), (0, -30)):
        expected = hsv_picture(np.array([[[dx, dy]]], np.float32), limit=50.5)[0, 0]
        np.testing.assert_allclose(wheel[50 + dy, 50 + dx].astype(int), expected, atol=1)

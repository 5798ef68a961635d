import itertools
import math

import cv2
import numpy as np
import pytest

from vad_pipeline.flow.layers import CANVAS_SCALE, Layer, inverse, placed, render_layers, similarity

SIZE = 40
SIDE = 11.0  # pixels, of the square in front


def background(motion=None):
    noise = np.random.default_rng(0).integers(0, 255, (SIZE * 2, SIZE * 2, 4), dtype=np.uint8)
    motion = np.eye(3) if motion is None else motion
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    return Layer(smooth, placed((0.3, 0.7), (0, 0)), motion)


def square(motion, at=(19.5, 20.5), angle=0.0, alpha=255):
    """A square of SIDE pixels whose edges run between the pixels' centres."""
    inner, edge = round(SIDE * CANVAS_SCALE), 3
    canvas = np.full((inner + 2 * edge, inner + 2 * edge, 4), 90, np.uint8)
    canvas[..., 3] = 0
    canvas[edge:-edge, edge:-edge, 3] = alpha
    middle = (canvas.shape[0] - 1) / 2
    return Layer(canvas, placed((middle, middle), at, angle), motion)


def within(layer, x, y):
    """How many pixels a point of the earlier frame is inside of the square, negative outside."""
    u, v, _ = layer.place @ (x, y, 1)
    middle = (layer.canvas.shape[0] - 1) / 2
    return SIDE / 2 - max(abs(u - middle), abs(v - middle)) / CANVAS_SCALE


@pytest.mark.parametrize(
    ("motion", "behind"),
    [
        (similarity(0, 1, (0, 0), (4, -3)), np.eye(3)),
        (similarity(0.3, 1.2, (20, 20), (2.6, 1.3)), similarity(0.02, 0.99, (10, 10), (-1.2, 0.4))),
        (similarity(0, 1, (0, 0), (27, 0)), np.eye(3)),  # it leaves
    ],
    ids=["moved", "turned over a moving background", "leaving"],
)
def test_flow_and_occlusion_are_those_found_pixel_by_pixel(motion, behind):
    front = square(motion, angle=0.2)
    pair = render_layers([background(behind), front], SIZE, SIZE)
    checked = 0
    for y, x in itertools.product(range(SIZE), range(SIZE)):
        inside = within(front, x, y)
        surface = motion if inside > 0 else behind
        to_x, to_y, _ = surface @ (x, y, 1)
        outside = not (0 <= to_x <= SIZE - 1 and 0 <= to_y <= SIZE - 1)
        # The background's point is covered where the square's own point, looked up backwards, is inside of the square.
        cover = within(front, *(inverse(motion) @ (to_x, to_y, 1))[:2])
        if abs(inside) < 0.5 or (inside < 0 and abs(cover) < 0.75):
            continue  # at a blurred edge
        checked += 1
        assert pair.flow[y, x] == pytest.approx((to_x - x, to_y - y), abs=1e-4)
        assert pair.occluded[y, x] == (outside or (inside < 0 and cover > 0))
    assert checked > 0.8 * SIZE * SIZE
    assert pair.occluded.any()


def test_the_later_frame_looked_up_along_the_flow_is_the_earlier_one_to_a_small_part_of_a_pixel():
    pair = render_layers([background(similarity(0.05, 1.03, (20, 20), (1.37, -0.71)))], SIZE, SIZE)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)

    def apart(right, down):
        at = x + pair.flow[..., 0] + right, y + pair.flow[..., 1] + down
        back = cv2.remap(pair.later.astype(np.float32), *at, cv2.INTER_LANCZOS4)
        return np.abs(back - pair.earlier)[8:-8, 8:-8, :3].mean()

    assert apart(0, 0) < 1.2
    for off in (0.1, -0.1):
        assert apart(off, 0) > 1.1 * apart(0, 0)
        assert apart(0, off) > 1.1 * apart(0, 0)


def test_a_shadow_darkens_without_flow_or_occlusion():
    shadow = square(similarity(0, 1, (0, 0), (5, 0)), alpha=100)
    pair = render_layers([background(), shadow], SIZE, SIZE)
    assert not np.array_equal(pair.earlier, pair.later)
    assert not pair.flow.any()
    assert not pair.occluded.any()


def test_of_two_things_the_one_in_front_gives_the_flow_and_hides_the_other():
    lower, upper = square(np.eye(3)), square(similarity(0, 1, (0, 0), (-6, 0)), at=(31.5, 20.5))
    pair = render_layers([background(), lower, upper], SIZE, SIZE)
    assert pair.flow[20, 30].tolist() == [-6, 0]
    assert pair.flow[20, 20].tolist() == [0, 0]
    assert not pair.occluded[20, 18]
    assert pair.occluded[20, 22]


def test_a_layer_out_of_the_picture_changes_nothing():
    alone = render_layers([background()], SIZE, SIZE)
    with_it = render_layers([background(), square(np.eye(3), at=(-40, 20))], SIZE, SIZE)
    assert np.array_equal(alone.earlier, with_it.earlier)
    assert np.array_equal(alone.occluded, with_it.occluded)


def test_a_place_puts_its_anchor_there_and_turns_clockwise():
    place = placed((5.0, 7.0), (20.0, 30.0), math.pi / 2)
    assert (place @ (20, 30, 1))[:2] == pytest.approx((5, 7))
    # What is below the anchor on the canvas is to the left of it in the frame.
    assert (inverse(place) @ (5, 7 + CANVAS_SCALE, 1))[:2] == pytest.approx((19, 30))

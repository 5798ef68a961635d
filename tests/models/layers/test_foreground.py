"""Foreground, cells, and a picture that changes as a whole."""

import numpy as np
import pytest

from vad_pipeline.models.layers.foreground import Background, around, cells_of

SCENE = np.tile(np.linspace(60, 160, 96).astype(np.uint8), (64, 1))


def with_thing(scene, row, column, side=12, level=250):
    frame = scene.copy()
    frame[row : row + side, column : column + side] = level
    return frame


def background(running=True, gap=2):
    return Background(SCENE.astype(np.float32), gap, 18.0, running)


def test_a_thing_stands_out_where_it_is_and_nothing_else_does():
    mask = background().foreground(with_thing(SCENE, 20, 40))
    inside = np.zeros_like(mask)
    inside[19:33, 39:53] = True
    assert mask[22:30, 42:50].all()
    assert not mask[~inside].any()


def test_an_even_change_of_light_is_no_foreground():
    assert not background(running=False).foreground(np.clip(SCENE.astype(int) + 40, 0, 255).astype(np.uint8)).any()


@pytest.mark.parametrize("running", [True, False])
def test_a_slow_drift_of_light_is_followed_where_the_background_runs(running):
    seen = background(running)
    ramp = np.linspace(0, 1, 96)[None]  # light comes up on one side
    shares = [seen.foreground((SCENE + 0.15 * t * ramp).astype(np.uint8)).mean() for t in range(300)]
    assert (max(shares) < 0.01) == running


def test_a_thing_that_stands_still_stays_foreground_for_a_minute():
    seen = background()
    shares = [seen.foreground(with_thing(SCENE, 20, 40)).mean() for _ in range(600)]  # at ten frames a second
    assert min(shares[:600]) > 0.9 * 64 / SCENE.size


def test_a_covered_camera_is_lost_after_a_second_and_found_again():
    seen = background()
    covered = np.random.default_rng(0).integers(0, 256, SCENE.shape, np.uint8)
    states = []
    for frame in [SCENE] * 5 + [covered] * 40 + [SCENE] * 60:
        seen.foreground(frame)
        states.append(seen.lost)
    assert not any(states[:14]), "not before a second has passed"
    assert states[14]
    assert not states[-1], "the background has caught up"
    changes = np.abs(np.diff(np.array(states[:45], int))).sum()
    assert changes <= 2, "one event, not many"


def test_cells_are_those_that_foreground_fills_by_more_than_two_fifths():
    mask = np.zeros((64, 96), bool)
    mask[20:24, 40:44] = True
    mask[20:22, 44:47] = True  # 6 of 16
    mask[20:22, 48:52] = True  # 8 of 16
    cells, _ = cells_of(mask, np.zeros((64, 96, 2), np.float32))
    assert np.argwhere(cells).tolist() == [[5, 10], [5, 12]]


def test_cells_at_the_border_of_the_picture_do_not_count():
    cells, _ = cells_of(np.ones((64, 96), bool), np.zeros((64, 96, 2), np.float32), border=2)
    assert cells.sum() == (16 - 4) * (24 - 4)
    assert not cells[:2].any()
    assert not cells[:, -2:].any()


def test_a_cell_moves_as_its_foreground_does_on_average():
    mask = np.zeros((64, 96), bool)
    mask[20:24, 40:44] = True
    mask[20, 40] = False
    flow = np.full((64, 96, 2), 99.0, np.float32)
    flow[20:24, 40:44] = np.arange(32, dtype=np.float32).reshape(4, 4, 2)
    flow[20, 40] = 1000
    cells, velocity = cells_of(mask, flow)
    assert cells[5, 10]
    np.testing.assert_allclose(velocity[5, 10], np.arange(32).reshape(16, 2)[1:].mean(axis=0), rtol=1e-6)


def test_velocities_are_averaged_over_the_foreground_around_like_by_a_slow_loop():
    random = np.random.default_rng(0)
    cells = random.random((16, 24)) < 0.3
    values = (random.normal(size=(16, 24, 2)) * cells[..., None]).astype(np.float32)
    found = around(cells, values, 9, 5)
    for row, column in np.argwhere(cells):
        rows, columns = slice(max(0, row - 4), row + 5), slice(max(0, column - 2), column + 3)
        near = values[rows, columns][cells[rows, columns]]
        np.testing.assert_allclose(found[row, column], near.mean(axis=0), atol=1e-6)


def test_when_a_lost_picture_is_found_again_nothing_is_left_that_stands_out():
    seen, moved = background(), np.roll(SCENE, 30, axis=1)
    masks, lost = [], []
    for frame in [SCENE] * 5 + [moved] * 80:
        masks.append(seen.foreground(frame).any())
        lost.append(seen.lost)
    assert any(lost)
    assert not any(lost[-20:])
    assert not any(standing_out for standing_out, hidden in zip(masks[20:], lost[20:], strict=True) if not hidden)


def test_lights_that_go_off_are_a_change_of_the_picture_as_a_whole_from_the_first_frame():
    seen = background()
    assert seen.things(with_thing(SCENE, 20, 40)).any()
    assert not seen.things(with_thing(SCENE // 16, 20, 40)).any()
    assert not seen.lost, "not before a second has passed"

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from vad_pipeline.flow.rendered_pairs import HELD_OUT, RenderedPairs, render_pair
from vad_pipeline.flow.textures import pattern_pool

DEFAULT = RenderedPairs()
CLEAN = replace(DEFAULT, noise=0.0, light=0.0, compressed=0.0)
EMPTY = replace(CLEAN, objects=(0, 0), static_background=1.0)


def length(flow):
    return np.hypot(flow[..., 0], flow[..., 1])


def looked_up(pair):
    """The later frame along the flow: the earlier one, as far as it is visible."""
    height, width = pair.occluded.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(pair.later.astype(np.float32), x + pair.flow[..., 0], y + pair.flow[..., 1], cv2.INTER_LANCZOS4)


def test_a_pair_is_two_frames_with_flow_and_occlusion():
    pair = render_pair(replace(DEFAULT, height=48, width=100), 0, 3)
    assert pair.earlier.shape == pair.later.shape == (48, 100, 3)
    assert pair.earlier.dtype == pair.later.dtype == np.uint8
    assert pair.flow.shape == (48, 100, 2)
    assert pair.flow.dtype == np.float32
    assert pair.occluded.shape == (48, 100)
    assert pair.occluded.dtype == bool


def test_a_pair_depends_on_seed_and_number_alone():
    pairs = [render_pair(DEFAULT, 0, number) for number in range(4)]
    for number in reversed(range(4)):
        again = render_pair(DEFAULT, 0, number)
        assert all(np.array_equal(one, other) for one, other in zip(pairs[number], again, strict=True))
    assert not np.array_equal(pairs[0].earlier, pairs[1].earlier)
    assert not np.array_equal(pairs[0].earlier, render_pair(DEFAULT, 1, 0).earlier)


def test_an_empty_static_scene_does_not_move():
    for number in range(20):
        pair = render_pair(EMPTY, 0, number)
        assert not pair.flow.any()
        assert not pair.occluded.any()
        assert np.array_equal(pair.earlier, pair.later)


@pytest.mark.parametrize("frames", [False, True], ids=["procedural", "from frames"])
def test_looking_the_later_frame_up_along_the_flow_gives_the_earlier_one(frames):
    textures = [cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8), (0, 0), 2)]
    apart, moved_apart, unmoved_apart = [], [], []
    for number in range(40):
        pair = render_pair(CLEAN, 0, number, textures if frames else None)
        error = np.abs(looked_up(pair) - pair.earlier).mean(axis=2)
        still = np.abs(pair.later.astype(float) - pair.earlier).mean(axis=2)
        moving = ~pair.occluded & (length(pair.flow) > 0.5)
        apart.append(error[~pair.occluded])
        moved_apart.append(error[moving])
        unmoved_apart.append(still[moving])
    moved = np.concatenate(moved_apart).mean()
    # Two roundings to whole grey levels are a third of a level apart on average; edges that cover a pixel in part add.
    assert np.concatenate(apart).mean() < 1
    assert moved < 2
    assert moved < 0.3 * np.concatenate(unmoved_apart).mean()


def test_displacements_are_mostly_small_and_never_above_the_bound():
    fixed = [length(render_pair(replace(DEFAULT, static_background=1.0), 0, n).flow) for n in range(80)]
    lengths = np.stack(fixed)
    moving = lengths[lengths > 0]
    assert 0.05 < (lengths > 0).mean() < 0.4
    assert 0.3 < np.median(moving) < 3
    assert (moving < 1).mean() > 0.2
    assert np.percentile(moving, 99) > 4
    assert moving.max() <= DEFAULT.max_displacement


def test_a_shaking_camera_stays_within_both_bounds():
    shaken = replace(DEFAULT, static_background=0.0, shake=2.0, max_displacement=5.0)
    lengths = np.stack([length(render_pair(shaken, 0, n).flow) for n in range(60)])
    assert lengths.max() <= 5
    empty = np.stack([length(render_pair(replace(shaken, objects=(0, 0)), 0, n).flow) for n in range(60)])
    assert 1 < empty.max() <= 2
    assert (empty > 0).mean() > 0.95


def test_the_number_of_things_and_their_size_vary():
    areas = [(render_pair(replace(EMPTY, objects=(1, 1)), 0, n).flow != 0).any(axis=2).mean() for n in range(100)]
    seen = [area for area in areas if area > 0]
    assert len(seen) > 60
    assert np.median(seen) < 0.05
    assert max(seen) > 5 * np.median(seen)


def test_noise_is_new_in_each_frame_and_leaves_the_scene_as_it_is():
    likeness, deviations = [], []
    for number in range(30):
        clean, noisy = (render_pair(replace(CLEAN, noise=noise), 0, number) for noise in (0, 10.0))
        assert np.array_equal(clean.flow, noisy.flow)
        inner = (clean.earlier > 40) & (clean.earlier < 215) & (clean.later > 40) & (clean.later < 215)
        grains = [
            (after.astype(float) - before)[inner]
            for before, after in zip(clean[:2], noisy[:2], strict=True)
            if inner.sum() > 1000
        ]
        if grains and grains[0].std() > 2:
            likeness.append(np.corrcoef(*grains)[0, 1])
            deviations.append(grains[0].std())
    assert len(likeness) > 10
    assert np.abs(likeness).mean() < 0.03
    assert np.abs(likeness).max() < 0.15
    assert max(deviations) < 10.5


def test_light_and_compression_change_frames_but_not_the_flow():
    for change in (replace(CLEAN, light=0.1), replace(CLEAN, compressed=1.0)):
        pairs = [(render_pair(CLEAN, 0, number), render_pair(change, 0, number)) for number in range(8)]
        assert all(np.array_equal(clean.flow, other.flow) for clean, other in pairs)
        assert sum(not np.array_equal(clean.later, other.later) for clean, other in pairs) >= 3


def test_some_pairs_are_gray_and_some_are_not():
    gray = [np.ptp(render_pair(DEFAULT, 0, number).earlier, axis=2).max() == 0 for number in range(40)]
    assert 0.15 < np.mean(gray) < 0.7


def test_given_frames_become_surfaces():
    red = np.zeros((60, 80, 3), np.uint8)
    red[..., 0] = 200

    def share_of_red(textures):
        pictures = np.stack([render_pair(CLEAN, 0, number, textures).earlier for number in range(40)]).astype(int)
        return ((pictures[..., 0] - pictures[..., 1]) > 90).mean()

    assert share_of_red([red]) > 0.25
    assert share_of_red(None) < 0.05


@pytest.mark.parametrize("shape", [(50, 70), (50, 70, 1), (3, 5, 3)])
def test_frames_may_be_gray_or_smaller_than_a_pair(shape):
    frame = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    assert render_pair(DEFAULT, 0, 1, [frame]).earlier.shape == (128, 128, 3)


@pytest.mark.parametrize("frame", [np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9)), np.zeros((0, 9), np.uint8)])
def test_a_texture_that_is_no_frame_is_named(frame):
    with pytest.raises(ValueError, match=r"texture 1: .*must be uint8"):
        render_pair(DEFAULT, 0, 0, [np.zeros((9, 9), np.uint8), frame])


def test_held_out_pairs_have_patterns_of_their_own():
    training, held_out = pattern_pool(0, False), pattern_pool(0, True)
    closest = [np.abs(training[n].astype(int) - held_out[n]).mean() for n in range(len(training))]
    assert min(closest) > 5
    assert not np.array_equal(render_pair(DEFAULT, 0, 0).earlier, render_pair(DEFAULT, 0, HELD_OUT).earlier)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"objects": (5, 2)}, "fewest"),
        ({"shake": 3.0, "max_displacement": 4.0}, "at most half of max_displacement 4"),
        ({"objets": (1, 2)}, "objets"),
    ],
)
def test_settings_that_make_no_sense_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(RenderedPairs).validate_python(keys)

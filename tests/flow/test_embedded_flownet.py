"""The small FlowNet that comes with the package: what it is, and how well it does."""

import cv2
import numpy as np
import pytest
import torch

from vad_pipeline.fitting.checkpoint import read_checkpoint
from vad_pipeline.flow.flownet import estimate
from vad_pipeline.flow.flownet_checkpoint import EMBEDDED, load_flownet
from vad_pipeline.flow.rendered_pairs import HELD_OUT, RenderedPairs, render_pair
from vad_pipeline.flow.warp import warp


@pytest.fixture(scope="module")
def network():
    return load_flownet(EMBEDDED)


def moved(matrix, shift, seed=0, size=128):
    """A smooth texture before and after an affine motion about its middle, and the exact flow."""
    random = np.random.default_rng(seed)
    texture = sum(
        cv2.resize(random.standard_normal((n, n)), (3 * size, 3 * size), interpolation=cv2.INTER_CUBIC) / n**0.5
        for n in (24, 48, 96)
    )
    texture = ((texture - texture.mean()) / texture.std() * 40 + 128).clip(0, 255).astype(np.uint8)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    points = np.stack([x, y], axis=-1) - (size - 1) / 2
    flow = points @ np.asarray(matrix, np.float32).T + np.float32(shift) - points
    inverse = np.linalg.inv(matrix)

    def look(at):
        at = (at + (3 * size - 1) / 2).astype(np.float32)
        return cv2.remap(texture, at[..., 0], at[..., 1], cv2.INTER_CUBIC)[..., None]

    return look(points), look((points - np.float32(shift)) @ np.float32(inverse).T), flow


def angle(degrees):
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


@pytest.mark.parametrize(
    ("matrix", "shift"),
    [(np.eye(2), (2.3, -1.6)), (np.eye(2), (-3.0, 0.5)), (1.05 * np.eye(2), (0, 0)), (angle(3), (0, 0))],
    ids=["translation", "translation left", "zoom", "rotation"],
)
def test_a_known_motion_is_recovered_within_half_a_pixel_and_a_quarter_of_its_length(network, matrix, shift):
    earlier, later, truth = moved(matrix, shift)
    inside = (slice(8, -8), slice(8, -8))
    error = np.linalg.norm(estimate(network, earlier[None], later[None])[0] - truth, axis=-1)[inside].mean()
    assert error < 0.5
    assert error < np.linalg.norm(truth, axis=-1)[inside].mean() / 4


def test_it_finds_no_motion_where_there_is_none(network):
    still, _, _ = moved(np.eye(2), (0, 0))
    assert np.linalg.norm(estimate(network, still[None], still[None])[0], axis=-1).mean() < 0.05


def test_held_out_errors_are_those_that_its_header_states(network):
    about = read_checkpoint(EMBEDDED).about
    rendered = RenderedPairs(**about["rendered"])
    errors, lengths = [], []
    for number in range(64):
        pair = render_pair(rendered, about["seed"], HELD_OUT + number)
        flow = estimate(network, pair.earlier[None], pair.later[None])[0]
        errors.append(np.linalg.norm(flow - pair.flow, axis=-1).mean())
        lengths.append(np.linalg.norm(pair.flow, axis=-1).mean())
    assert about["textures"] == "procedural"
    assert np.mean(errors) == pytest.approx(about["errors"]["val_epe"], rel=0.25)
    assert np.mean(lengths) == pytest.approx(about["errors"]["val_zero_epe"], rel=0.25)
    assert np.mean(errors) < np.mean(lengths) / 2


def test_it_is_small_and_in_half_precision():
    assert EMBEDDED.stat().st_size < 5e6
    assert {tensor.dtype for tensor in read_checkpoint(EMBEDDED).state.values()} == {torch.float16}


def test_warping_by_its_flow_reduces_the_photometric_error_on_the_built_in_scenes(network, scene_pair):
    earlier, later = scene_pair
    flow = estimate(network, earlier[None], later[None], magnify=2)[0]
    changes = np.abs(later.astype(float) - earlier).mean(axis=-1)
    after = np.abs(warp(later, flow).astype(float) - earlier).mean(axis=-1)
    moving = changes > 10
    assert moving.mean() > 0.005
    assert after[moving].mean() < 0.8 * changes[moving].mean()

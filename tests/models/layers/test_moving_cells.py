"""Cells of what stands out: where they are, how they move."""

import numpy as np
import pytest
import torch

from tests.models.walkers import PEOPLE, STREET, Thing, footage
from vad_pipeline.features.cell_features import CellFeatures, cell_features
from vad_pipeline.models.layers.moving_cells import cells_in_motion, features_of

CPU = torch.device("cpu")


def seen(speed, gap=2, length=5):
    """A window of a thing that moves, and where it is in the target frame."""
    thing = Thing(48, 60, speed, PEOPLE[0])
    frames = footage([thing], length)[..., 0]
    mask = np.zeros(STREET.shape, bool)
    top, bottom, left, right = thing.box(gap)
    mask[top:bottom, left:right] = True
    return list(frames), mask


@pytest.mark.parametrize("speed", [-2.0, 1.0, 2.0])
@pytest.mark.parametrize("length", [3, 5])  # looking back only, and both ways
def test_velocities_are_pixels_a_gap_in_the_direction_of_motion(speed, length):
    places, velocity = cells_in_motion(*seen(speed, length=length), gap=2, border=2)
    assert len(places) >= 12
    np.testing.assert_allclose(np.median(velocity, axis=0), (2 * speed, 0), atol=0.5)


def test_the_cells_are_those_of_the_thing():
    window, mask = seen(1.0)
    places, _ = cells_in_motion(window, mask, gap=2, border=2)
    assert set(places[:, 0]) == set(range(12, 18))
    assert set(places[:, 1]) <= {15, 16, 17, 18}


def test_without_foreground_there_are_no_cells_and_no_features():
    window, mask = seen(1.0)
    places, velocity = cells_in_motion(window, mask & False, gap=2, border=2)
    assert places.shape == velocity.shape == (0, 2)
    assert features_of(STREET[..., None], places, CellFeatures(), CPU).shape == (0, 40)


def test_features_of_some_cells_are_those_of_the_whole_frame():
    frame = footage([Thing(48, 60, 0.0, PEOPLE[0])], 1)[0]
    places = np.array([[0, 3], [13, 16], [14, 16]])
    whole = cell_features(frame[None], CellFeatures(), CPU)[0]
    np.testing.assert_allclose(
        features_of(frame, places, CellFeatures(), CPU), whole[tuple(places.T)], rtol=1e-3, atol=1e-3
    )

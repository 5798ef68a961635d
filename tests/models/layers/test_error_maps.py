import numpy as np
import pytest
import torch

from vad_pipeline.models.layers.error_maps import error_map, worst_place
from vad_pipeline.models.systems import MODELS, model_class


def test_the_worst_place_is_the_highest_mean_of_five_by_five_cells():
    maps = torch.rand(3, 12, 9, generator=torch.Generator().manual_seed(0))
    expected = [max(float(m[y : y + 5, x : x + 5].mean()) for y in range(8) for x in range(5)) for m in maps.numpy()]
    np.testing.assert_allclose(worst_place(maps), expected, rtol=1e-5)


def test_a_small_thing_moves_the_worst_place_and_hardly_the_mean():
    error = torch.full((2, 1, 96, 144), 0.001)
    error[1, :, 40:60, 60:80] = 0.05
    maps = error_map(error)
    assert maps.shape == (2, 24, 36)
    assert maps[1].mean() < 3 * maps[0].mean()
    assert worst_place(maps)[1] > 40 * worst_place(maps)[0]


def test_maps_smaller_than_a_place_have_one():
    assert worst_place(torch.ones(2, 4, 8)).tolist() == [1, 1]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_with_maps_has_a_term_of_the_worst_place(name):
    model = model_class(name)
    if name in ("alps", "scene_exemplars"):
        pytest.skip("its scores are of the worst places as they are")
    assert model.has_maps == bool({"worst_place", "worst_flow"} & set(model.terms))
    assert not {"worst_place", "worst_flow"} & set(model.fusion(model.config_class()))

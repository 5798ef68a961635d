import math

import pytest
import torch
import torch.nn.functional as F

from vad_pipeline.models.layers import memory


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_update(queries, items, subset):
    """The update as Eqs. 4-6 read, one query and one item at a time."""
    score = queries @ items.T
    weights = torch.softmax(score, dim=0)
    new = []
    for i in range(len(items)):
        own = [k for k in range(len(queries)) if int(score[k].argmax()) == i]
        step = torch.zeros_like(items[i])
        if own:
            largest = max(float(weights[k, i]) for k in (own if subset else range(len(queries))))
            for k in own:
                step += weights[k, i] / largest * queries[k]
        new.append(F.normalize(items[i] + step, dim=0))
    return torch.stack(new)


@pytest.mark.parametrize("update_max", ["all", "subset"])
def test_the_update_equals_the_slow_loop(update_max):
    queries, items = unit(90, 16, seed=1), unit(7, 16, seed=2)
    fast = memory.updated_items(queries, items, update_max)
    torch.testing.assert_close(fast, slow_update(queries, items, update_max == "subset"), rtol=1e-5, atol=1e-6)


def test_the_two_ways_of_dividing_by_the_maximum_differ():
    # the query most like the second item is more like the first: its weight counts for ``all`` only
    items = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3]]), dim=1)
    queries = F.normalize(torch.tensor([[1.0, 0.0], [0.2, 1.0]]), dim=1)
    difference = memory.updated_items(queries, items, "all") - memory.updated_items(queries, items, "subset")
    assert difference.abs().max() > 1e-3


def test_the_update_keeps_shape_and_unit_rows_and_leaves_its_input():
    queries, items = unit(50, 8), unit(5, 8, seed=3)
    before = items.clone()
    new = memory.updated_items(queries, items)
    assert new.shape == items.shape
    torch.testing.assert_close(new.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(items, before, rtol=0, atol=0)


def test_an_item_that_no_query_is_nearest_to_stays():
    items = torch.eye(3)
    queries = F.normalize(torch.tensor([[1.0, 0.1, 0.0], [0.9, 0.2, 0.0]]), dim=1)
    new = memory.updated_items(queries, items)
    torch.testing.assert_close(new[1:], items[1:])
    assert not torch.equal(new[0], items[0])


def test_reading_with_one_item_gives_that_item():
    items = unit(1, 8)
    torch.testing.assert_close(memory.read(unit(6, 8, seed=4), items), items.expand(6, -1))


def test_reading_is_the_softmax_mix_of_items():
    """For orthonormal items and a query equal to one of ten, that item's weight is e / (e + 9) = 0.232 (spec 1.8)."""
    mix = memory.read(torch.eye(10)[:1], torch.eye(10))
    assert mix[0, 0] == pytest.approx(0.232, abs=5e-4)
    assert mix[0, 1:].sum() == pytest.approx(1 - 0.232, abs=5e-4)


def test_detached_reading_passes_no_gradient_to_the_queries():
    queries = unit(6, 8).requires_grad_()
    assert memory.read(queries, unit(3, 8, seed=1), detach=False).square().sum().requires_grad
    assert not memory.read(queries, unit(3, 8, seed=1), detach=True).requires_grad


def test_losses_equal_their_definitions():
    queries, items = unit(40, 12, seed=5), unit(6, 12, seed=6)
    compact, separate = [], []
    for q in queries:
        order = torch.argsort(q @ items.T, descending=True)
        first, second = items[order[0]], items[order[1]]
        compact.append(float((q - first).square().mean()))
        separate.append(max(float((q - first + 1e-6).norm() - (q - second + 1e-6).norm() + 0.5), 0))
    assert float(memory.nearest_distance(queries, items).mean()) == pytest.approx(sum(compact) / 40, rel=1e-5)
    assert float(memory.separateness(queries, items, 0.5)) == pytest.approx(sum(separate) / 40, rel=1e-4)


def test_queries_and_features_are_inverse_up_to_length():
    features = torch.randn(2, 5, 3, 4)
    queries = memory.as_queries(features)
    assert queries.shape == (24, 5)
    torch.testing.assert_close(queries.norm(dim=1), torch.ones(24))
    torch.testing.assert_close(memory.as_features(queries, features), F.normalize(features, dim=1))


def test_the_memory_computes_in_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.read(unit(6, 8), unit(3, 8)).dtype == torch.float32
        assert memory.updated_items(unit(6, 8), unit(3, 8)).dtype == torch.float32


def test_initial_items_are_unit_vectors_of_the_positive_orthant():
    items = memory.initial_items(50, 64, torch.Generator().manual_seed(0))
    assert (items >= 0).all()
    torch.testing.assert_close(items.norm(dim=1), torch.ones(50))
    cosines = items @ items.T
    assert cosines[~torch.eye(50, dtype=torch.bool)].mean() == pytest.approx(0.75, abs=0.03)


def test_the_distance_is_the_mean_square_of_the_code_or_the_norm_of_eq_14():
    items = torch.eye(4)[:2]
    queries = torch.tensor([[0.6, 0.0, 0.8, 0.0]])  # nearest to the first item: difference (-0.4, 0, 0.8, 0)
    assert float(memory.nearest_distance(queries, items)) == pytest.approx((0.16 + 0.64) / 4)
    assert float(memory.nearest_distance(queries, items, "l2")) == pytest.approx(0.8**0.5)


def test_the_regular_score_weighs_errors_by_how_large_they_are():
    error = torch.tensor([[[[0.0, 0.5], [0.0, 1.0]]], [[[0.2, 0.2], [0.2, 0.2]]]])
    half, whole = 1 - math.exp(-0.5), 1 - math.exp(-1.0)
    expected = [(half * 0.5 + whole * 1.0) / (half + whole), 0.2]
    torch.testing.assert_close(memory.regular_score(error), torch.tensor(expected))
    assert float(memory.regular_score(torch.zeros(1, 1, 2, 2))) == 0.0, "a perfect prediction"


def test_a_frame_moves_the_memory_only_if_its_score_is_strictly_below_gamma():
    items, queries = unit(5, 8), unit(20, 8, seed=1)
    moving = memory.MovingMemory(items, gamma=0.3)
    moving.observe(queries, 0.3)
    assert moving.items is items
    moving.observe(queries, 0.2999)
    torch.testing.assert_close(moving.items, memory.updated_items(queries, items), rtol=0, atol=0)
    torch.testing.assert_close(items, unit(5, 8), rtol=0, atol=0)


def test_gamma_zero_keeps_the_memory_where_it_is():
    moving = memory.MovingMemory(unit(5, 8), gamma=0.0)
    assert not moving.moves
    moving.observe(unit(20, 8, seed=1), 0.0)
    torch.testing.assert_close(moving.items, unit(5, 8), rtol=0, atol=0)


@pytest.mark.parametrize("reset", ["never", "per_clip"])
def test_the_next_clip_begins_with_the_trained_items_only_where_the_memory_is_reset(reset):
    items = unit(5, 8)
    moving = memory.MovingMemory(items, 1.0, reset)
    moving.begin()
    moving.observe(unit(20, 8, seed=1), 0.0)
    moved = moving.items
    moving.begin()
    assert moving.items is (items if reset == "per_clip" else moved)
    assert not torch.equal(items, moved)


def test_the_moving_memory_divides_by_the_maximum_that_it_is_told():
    items = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.3]]), dim=1)
    queries = F.normalize(torch.tensor([[1.0, 0.0], [0.2, 1.0]]), dim=1)
    moved = []
    for update_max in ("all", "subset"):
        moving = memory.MovingMemory(items, 1.0, update_max=update_max)
        moving.observe(queries, 0.0)
        moved.append(moving.items)
    assert (moved[0] - moved[1]).abs().max() > 1e-3


def test_a_low_temperature_reads_the_nearest_item_and_a_high_one_the_mean_of_all():
    queries, items = torch.eye(3, 8), memory.initial_items(4, 8, torch.Generator().manual_seed(0), "normal")
    nearest = items[(queries @ items.T).argmax(1)]
    torch.testing.assert_close(memory.read(queries, items, temperature=1e-5), nearest)
    torch.testing.assert_close(
        memory.read(queries, items, temperature=1e4), items.mean(0).expand(3, 8), atol=1e-4, rtol=0
    )
    weights = torch.exp(queries @ items.T / 0.1)
    torch.testing.assert_close(
        memory.read(queries, items, temperature=0.1), weights / weights.sum(1, keepdim=True) @ items
    )


def test_normal_items_point_everywhere_and_uniform_ones_into_one_orthant():
    generator = torch.Generator().manual_seed(0)
    for drawn, cosine in (("uniform", 0.75), ("normal", 0.0)):
        items = memory.initial_items(200, 64, generator, drawn)
        torch.testing.assert_close(items.norm(dim=1), torch.ones(200))
        assert (items @ items.T)[~torch.eye(200, dtype=bool)].mean() == pytest.approx(cosine, abs=0.02)


def test_the_distance_is_the_length_to_the_nearest_item():
    queries, items = unit(20, 8, seed=1), unit(4, 8, seed=2)
    expected = [min(float((query - item).norm()) for item in items) for query in queries]
    assert memory.nearest_distance(queries, items, "l2").tolist() == pytest.approx(expected, rel=1e-5)


def test_a_float32_distance_of_near_twins_is_exact():
    items = unit(2, 512, seed=1)
    queries = items + 1e-6 * unit(2, 512, seed=3)
    assert memory.nearest_distance(queries, items, "l2").tolist() == pytest.approx([1e-6, 1e-6], rel=0.05)

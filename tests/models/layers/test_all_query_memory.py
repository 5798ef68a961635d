import math

import pytest
import torch
import torch.nn.functional as F

from tests.models.layers.test_memory import unit
from vad_pipeline.models.layers import all_query_memory, memory


def slow_update(queries, items):
    """Eq. 5 as it reads, one item and one query at a time."""
    new = []
    for item in items:
        exponentials = [math.exp(float(item @ query)) for query in queries]
        moved = item.clone()
        for exponential, query in zip(exponentials, queries, strict=True):
            moved += exponential / sum(exponentials) * query
        new.append(moved / moved.square().sum().sqrt())
    return torch.stack(new)


def test_the_update_equals_the_slow_loop_and_leaves_its_input():
    queries, items = unit(90, 16, seed=1), unit(7, 16, seed=2)
    before = items.clone()
    moved = all_query_memory.items_moved_by_all(queries, items)
    torch.testing.assert_close(moved, slow_update(queries, items), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(items, before, rtol=0, atol=0)


def test_every_query_moves_every_item_where_mnad_s_update_moves_the_nearest_alone():
    items = torch.eye(3)
    queries = F.normalize(torch.tensor([[1.0, 0.1, 0.0], [1.0, 0.0, 0.1]]), dim=1)  # all nearest to the first
    ours, mnad = all_query_memory.items_moved_by_all(queries, items), memory.updated_items(queries, items)
    assert ((ours - items).norm(dim=1) > 0.01).all()
    assert mnad[1:].equal(items[1:])


def test_the_step_is_as_long_however_many_queries_there_are():
    queries, items = unit(5, 8, seed=1), unit(4, 8, seed=2)
    once = all_query_memory.items_moved_by_all(queries, items)
    often = all_query_memory.items_moved_by_all(queries.repeat(20, 1), items)
    torch.testing.assert_close(often, once)


def test_entropy_is_the_sum_of_minus_w_log_w_over_items():
    queries, items = unit(5, 8, seed=1), unit(4, 8, seed=2)
    expected = []
    for query in queries:
        exponentials = [math.exp(float(query @ item)) for item in items]
        weights = [e / sum(exponentials) for e in exponentials]
        expected.append(sum(-w * math.log(w) for w in weights))
    assert all_query_memory.addressing_entropy(queries, items).tolist() == pytest.approx(expected, rel=1e-5)


def test_entropy_is_greatest_where_a_query_is_as_near_to_all_items():
    entropy = all_query_memory.addressing_entropy(torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), torch.eye(3)[:2])
    assert float(entropy[0]) == pytest.approx(math.log(2))
    weight = 1 / (1 + math.exp(-1))
    assert float(entropy[1]) == pytest.approx(-weight * math.log(weight) - (1 - weight) * math.log(1 - weight))


def test_compactness_by_hand():
    """Items (1, 0) and (0, 1), query (1, 0): it reads (e, 1) / (e + 1), whose cosine with it is e / sqrt(e^2 + 1)."""
    query, items = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    cosine = math.e / math.sqrt(math.e**2 + 1)
    assert float(all_query_memory.dissimilarity(query, items, 0.0)) == pytest.approx(1 - cosine, rel=1e-5)
    assert float(all_query_memory.dissimilarity(query, items, 0.04)) == pytest.approx(1 - cosine - 0.04, rel=1e-4)
    assert float(all_query_memory.dissimilarity(query, items, 0.1)) == 0, "within the tolerance"


def test_minimising_compactness_brings_what_is_read_nearer_to_the_query():
    items, free = unit(3, 8, seed=1), unit(6, 8, seed=2).requires_grad_()

    def cosine():
        queries = F.normalize(free, dim=1)
        return F.cosine_similarity(memory.read(queries, items), queries, dim=1)

    before = cosine()
    all_query_memory.dissimilarity(F.normalize(free, dim=1), items, 0.1).mean().backward()
    with torch.no_grad():
        free -= free.grad
    assert (cosine() > before).all()


def test_everything_is_computed_in_float32_under_autocast():
    queries, items = unit(30, 8, seed=1), unit(4, 8, seed=2)
    for function in (
        all_query_memory.items_moved_by_all,
        all_query_memory.addressing_entropy,
        lambda q, i: all_query_memory.dissimilarity(q, i, 0.1),
    ):
        exact = function(queries, items)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(function(queries, items), exact, rtol=0, atol=0)

"""Surprise as -log p by rank among held-out values."""

import numpy as np
import pytest
from scipy.stats import kstest

from vad_pipeline.models.layers.tail import surprise, tail_of


@pytest.mark.parametrize("seed", range(5))
def test_p_values_are_uniform_on_further_normal_values(seed):
    random = np.random.default_rng(seed)
    kept = tail_of(random.gamma(2.0, size=20_000))
    p = np.exp(-surprise(random.gamma(2.0, size=2_000), kept))
    assert kstest(p, "uniform").pvalue > 1e-3


def test_p_is_the_conformal_rank_of_the_held_out_values():
    held_out = np.random.default_rng(0).normal(size=500)
    kept = tail_of(held_out)
    for value in np.quantile(held_out, [0.1, 0.5, 0.9, 0.97]):
        slow = ((held_out >= value).sum() + 1) / (len(held_out) + 1)
        assert np.exp(-surprise(np.array([value]), kept))[0] == pytest.approx(slow, rel=0.05)


def test_surprise_never_falls_as_values_rise_and_goes_on_beyond_all_that_was_seen():
    kept = tail_of(np.random.default_rng(1).exponential(size=3_000))
    found = surprise(np.linspace(-1, 60, 5_000), kept)
    assert (np.diff(found) >= -1e-12).all()
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert surprise(np.array([60.0]), kept)[0] > surprise(np.array([30.0]), kept)[0] + 10


def test_the_tail_of_an_exponential_is_its_own():
    kept = tail_of(np.random.default_rng(2).exponential(size=200_000))
    assert surprise(np.array([12.0]), kept)[0] == pytest.approx(12.0, rel=0.1)


@pytest.mark.parametrize("values", [np.full(50, 3.0), np.array([1.0])])
def test_held_out_values_that_are_all_alike_make_larger_ones_unusual(values):
    kept = tail_of(values)
    low, same, high = surprise(values[0] + np.array([-1.0, 0.0, 1.0]), kept)
    assert low <= same < high
    assert np.isfinite(high)


def test_nothing_is_unusual_where_nothing_was_held_out():
    assert (surprise(np.array([-5.0, 0.0, 1e9]), tail_of(np.zeros(0))) == 0).all()
    assert len(surprise(np.zeros(0), tail_of(np.ones(3)))) == 0

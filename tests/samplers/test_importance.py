"""Weights: what they are worth, their tails, their mean, and resampling."""

import jax
import numpy as np
import pytest
from scipy import stats

from bayescg.samplers.importance import kish, log_mean, pareto_k, smoothed, systematic
from tests.seeds import shifted


def test_kish():
    assert kish(np.full(7, 3.0)) == pytest.approx(7)
    assert kish(np.array([5.0, 0.0, 0.0])) == pytest.approx(1)
    np.testing.assert_allclose(kish(np.array([[1.0, 1.0], [3.0, 1.0]])), [2.0, 1.6])


def test_pareto_k_of_pareto_tails():
    tail = stats.expon.ppf((np.arange(20_000) + 0.5) / 20_000)
    for k in (0.2, 0.5, 0.9):
        # exp(k E) with an exponential E has the tail index k.
        assert pareto_k(k * tail) == pytest.approx(k, abs=0.2)
    assert pareto_k(np.where(np.arange(20_000) % 2 == 0, -np.inf, 0.9 * tail)) > 0.7


def test_tails_without_anything_to_fit():
    assert pareto_k(np.zeros(1000)) == -np.inf
    assert pareto_k(np.zeros(1000), 0.01) == -np.inf
    assert pareto_k(np.where(np.arange(20_000) < 1000, 0.0, -1.0)) == -np.inf
    assert np.isnan(pareto_k(np.arange(24.0)))
    weights, _ = smoothed(np.array([np.log(2.0), np.log(6.0), -np.inf, np.log(8.0)]))
    np.testing.assert_allclose(np.exp(weights), [0.125, 0.375, 0.0, 0.5])


def test_smoothing_keeps_the_bulk_and_the_sum():
    rng = np.random.default_rng(shifted(0))
    logs = rng.normal(size=2000)
    logs[::100] = -np.inf
    weights, k = smoothed(logs)
    assert 0 < k < 0.7  # of log-normal weights: not heavy, but 2000 draws do not know
    assert np.exp(weights).sum() == pytest.approx(1.0)
    assert np.all(np.exp(weights[::100]) == 0)
    bulk = np.isfinite(logs) & (logs < np.quantile(logs, 0.9))
    assert np.ptp(weights[bulk] - logs[bulk]) < 1e-9


def test_log_mean_and_its_error():
    rng = np.random.default_rng(shifted(0))
    # Log-normal of width s about a mean of one; offsets beyond what a float holds.
    width = 0.5
    found = [log_mean(2000 + width * rng.normal(size=400) - 0.5 * width**2) for _ in range(400)]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(2000, abs=4 * values.std() / np.sqrt(400) + 0.002)
    assert errors.mean() == pytest.approx(np.sqrt(np.expm1(width**2) / 400), rel=0.1)
    assert values.std() == pytest.approx(errors.mean(), rel=0.15)
    assert log_mean(np.log([1.0, 3.0]), freedom=1) == pytest.approx((np.log(2.0), 0.5))
    assert log_mean(np.array([-np.inf, 0.0]))[0] == pytest.approx(np.log(0.5))


def test_systematic_resampling_is_right_to_less_than_one_draw():
    rng = np.random.default_rng(0)
    weights = rng.exponential(size=50)
    weights /= weights.sum()
    index = systematic(weights, 400, key=jax.random.key(shifted(0)))
    assert index.shape == (400,)
    assert np.all(np.abs(np.bincount(index, minlength=50) - 400 * weights) < 1)
    np.testing.assert_array_equal(systematic(np.full(9, 1 / 9), 9, key=jax.random.key(1)), np.arange(9))

"""Mass matrices of Gaussians, and step sizes."""

import numpy as np
import pytest

from bayescg.samplers.metric import adapted_step, metric_of, shrunk
from tests.seeds import shifted


def test_the_metric_is_the_covariance_of_a_gaussian():
    rng = np.random.default_rng(shifted(0))
    root = rng.normal(size=(5, 5)) * np.array([1, 1, 10, 0.1, 1])
    covariance = root @ root.T + 0.01 * np.eye(5)
    y = rng.multivariate_normal(np.ones(5), covariance, size=20_000)
    gradients = -(y - 1) @ np.linalg.inv(covariance)
    found = metric_of(y, np.full(len(y), 1 / len(y)), gradients)
    ratio = np.linalg.eigvals(np.linalg.solve(covariance, found)).real
    assert np.all(np.abs(np.log(ratio)) < 0.15)


def test_particles_without_weight_or_gradient_do_not_count():
    rng = np.random.default_rng(shifted(1))
    y = rng.normal(size=(4000, 2)) * [1.0, 3.0]
    gradients, weights = -y / [1.0, 9.0], np.full(4000, 1 / 3000)
    y[::4] *= 50
    weights[::4] = 0
    gradients[::4] = np.nan
    np.testing.assert_allclose(np.diag(metric_of(y, weights, gradients)), [1.0, 9.0], rtol=0.15)


def test_few_samples_lose_their_correlations():
    covariance = np.array([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_array_equal(shrunk(covariance, 1), np.diag([2.0, 3.0]))
    np.testing.assert_allclose(shrunk(covariance, 1000), covariance, rtol=1e-5)


def test_step_sizes_follow_the_acceptance():
    options = {"aim": 0.8, "gain": 1.5, "most": 1.3}
    assert adapted_step(0.5, 0.8, **options) == pytest.approx(0.5)
    assert adapted_step(0.5, 1.0, **options) == pytest.approx(0.5 * np.exp(0.3))
    assert adapted_step(0.5, 0.0, **options) < 0.5
    assert adapted_step(1.25, 1.0, **options) == 1.3

"""Densities by formula: known integrals, wells where they were asked for, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.atomistic import LogDensity, bimodal, double_well_dimer, gaussian_mixture

from .densities import log_densities


def log_integral(target, *axes) -> float:
    """Log Z by the trapezoidal rule, exact to rounding for smooth functions that vanish at the ends."""
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    values = log_densities(target, grid)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    return float(np.log(np.sum(np.exp(values - values.max()))) + values.max() + np.log(cell))


def test_bimodal():
    """FACTS: log Z = 12.06493, minima and well masses."""
    target = bimodal()
    x, y = np.linspace(-6, 6, 801), np.linspace(-8, 8, 201)
    assert log_integral(target, x, y) == pytest.approx(12.06493, abs=5e-6)
    line = np.exp(log_densities(target, np.stack([x, 0 * x], axis=1)))
    assert line[x > 0.16746].sum() / line.sum() == pytest.approx(0.008346, abs=1e-5)
    assert log_densities(target, [[-2.5289, 0], [2.3615, 0]]) == pytest.approx([11.4898, 6.5937], abs=1e-4)
    assert (target.dimension, target.names, target.periodic.any()) == (2, ("x1", "x2"), False)
    np.testing.assert_allclose(log_densities(target, [[1.0, 2.0]], 0.5), 0.5 * log_densities(target, [[1.0, 2.0]]))


def test_gaussian_mixture():
    """Normalized, with the mean and spread that it says; weights need not add up."""
    covariances = [[[1.0, 0.6], [0.6, 0.8]], [[0.3, -0.1], [-0.1, 0.5]]]
    target = gaussian_mixture([[0.0, 0.0], [3.0, -2.0]], covariances, [3.0, 1.0])
    x, y = np.linspace(-8, 9, 301), np.linspace(-9, 7, 301)
    assert log_integral(target, x, y) == pytest.approx(0.0, abs=1e-9)
    weight = np.exp(log_densities(target, np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)))
    weight = (weight / weight.sum()).reshape(301, 301)
    np.testing.assert_allclose(target.location, [weight.sum(1) @ x, weight.sum(0) @ y], atol=1e-8)
    spread = [weight.sum(1) @ (x - target.location[0]) ** 2, weight.sum(0) @ (y - target.location[1]) ** 2]
    np.testing.assert_allclose(target.scale**2, spread, atol=1e-8)
    correlation = np.einsum("ij,i,j", weight, x, y) - target.location.prod()
    assert correlation == pytest.approx(0.75 * 0.6 - 0.25 * 0.1 + 0.75 * 0.25 * 3 * -2, abs=1e-8)


def test_mixtures_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"means \(2,\).*do not fit: they must be \(k, d\)"):
        gaussian_mixture([0.0, 1.0], np.ones((2, 1, 1)), [1.0, 1.0])
    with pytest.raises(ValueError, match="not positive definite"):
        gaussian_mixture([[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]], [1.0])
    for weights in ([1.0, 0.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="all must be positive"):
            gaussian_mixture([[0.0], [1.0]], np.ones((2, 1, 1)), weights)


def test_double_well_dimer():
    """Turning and exchanging the particles changes nothing; wells and barrier are where they were asked for."""
    target = double_well_dimer(barrier=4.0, short=0.8, long=1.8)
    x = np.zeros((3, 6))
    x[:, 0], x[:, 3] = [0.4, 0.65, 0.9], [-0.4, -0.65, -0.9]
    values = log_densities(target, x) + 0.5 * np.sum(x**2, axis=1)
    np.testing.assert_allclose(values, [0, -4, 0], atol=1e-10)
    turned = np.concatenate([x[:, [3, 4, 5]], x[:, :3]], axis=1)[:, [1, 2, 0, 4, 5, 3]]
    np.testing.assert_allclose(log_densities(target, turned), log_densities(target, x), atol=1e-12)
    assert np.all(np.isfinite(jax.grad(target.log_density)(jnp.zeros(6))))
    for short, long in ((2.0, 1.0), (0.0, 1.0), (1.0, 1.0)):
        with pytest.raises(ValueError, match="0 < short < long"):
            double_well_dimer(short=short, long=long)


def test_log_densities_that_cannot_be_used_are_refused():
    def gauss(x):
        return -0.5 * jnp.sum(x**2)

    target = LogDensity(gauss, [1.0, 2.0], 3.0)
    np.testing.assert_array_equal(target.scale, [3, 3])
    assert target.log_density(jnp.array([1.0, 1.0]), 2.0) == -2
    with pytest.raises(ValueError, match=r"has shape \(2,\); it must be a number"):
        LogDensity(lambda x: -0.5 * x**2, [1.0, 2.0], 1.0)
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="needs a positive one"):
            LogDensity(gauss, [1.0, 2.0], [1.0, scale])
    with pytest.raises(ValueError, match=r"scale has shape \(3,\)"):
        LogDensity(gauss, [1.0, 2.0], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"location has shape \(1, 2\)"):
        LogDensity(gauss, [[1.0, 2.0]], 1.0)
    with pytest.raises(ValueError, match=r"periodic \(1,\)"):
        LogDensity(gauss, [1.0, 2.0], 1.0, periodic=[True])
    for function in (lambda x: jnp.log(-x[0]), lambda x: -jnp.inf * x[0]):
        with pytest.raises(ValueError, match=r"at location \[1.\] is (nan|-inf): give a location"):
            LogDensity(function, [1.0], 1.0)
    LogDensity(lambda x: jnp.cos(x[0]) - x[1] ** 2, [0.0, 0.0], 1.0, periodic=[True, False])
    with pytest.raises(ValueError, match="coordinate 2 is said to have the period 2 pi"):
        LogDensity(lambda x: jnp.cos(x[0]) - x[1] ** 2, [0.0, 0.0], 1.0, periodic=[True, True])

"""The Gaussian process of one output."""

import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.backmapping.conditional.model import _log_pdf
from bayescg.backmapping.conditional.regression import Inputs, choose_inputs, fit_regression
from tests.seeds import shifted

_NOISE = 0.3


def _data(count, seed):
    """A zero, one input that acts nonlinearly, one linearly, and ten that do not act."""
    rng = np.random.default_rng(shifted(seed))
    features = np.concatenate([np.zeros((count, 1)), rng.uniform(-1.7, 1.7, (count, 12))], axis=1)
    return features, _truth(features) + _NOISE * rng.normal(size=count)


def _truth(features):
    return 5 + np.sin(2 * features[:, 1]) + 0.3 * features[:, 2]


_BASES = tuple((k,) for k in range(13))


def _fit(features, target, *, rows=None, method="laplace"):
    rows = np.ones(len(target), bool) if rows is None else rows
    inputs = choose_inputs(features[rows], (target[rows] - target[rows].mean()) / target[rows].std(), _BASES)
    kernel = gpjax.kernels.RBF(lengthscale=1.0, variance=1.0)
    options = {"rows": rows, "kernel": kernel, "method": method, "key": jax.random.key(shifted(0))}
    return fit_regression(features, target, inputs, **options)


def _predict(fitted, features):
    mean, doubt, noise = jax.jit(jax.vmap(fitted.predict))(jnp.asarray(features))
    return np.asarray(mean), np.asarray(doubt), np.asarray(noise)


@pytest.mark.parametrize(("count", "method"), [(200, "laplace"), (200, "nuts"), (3000, "laplace")])
def test_predictions_are_calibrated(count, method):
    features, target = _data(count, 0)
    held, value = _data(2000, 1)
    with double_precision():
        fitted = _fit(features, target, method=method)
        mean, doubt, noise = _predict(fitted, held)
    assert set(np.asarray(fitted.linear)) - {0} >= {1, 2}
    error = mean - _truth(held)
    assert np.sqrt(np.mean(error**2)) < 2 * _NOISE * np.sqrt(12 / count) + 0.03
    # The mean's own error bar, and the whole predictive one.
    assert 0.5 < np.mean(error**2 / doubt) < 2.0
    assert np.mean((value - mean) ** 2 / (doubt + noise)) == pytest.approx(1, abs=0.15)
    assert np.mean(np.abs(value - mean) < 1.645 * np.sqrt(doubt + noise)) == pytest.approx(0.9, abs=0.04)


def test_far_from_data_doubt_grows():
    features, target = _data(200, 0)
    with double_precision():
        fitted = _fit(features, target)
        _, near, _ = _predict(fitted, features[:50])
        _, far, _ = _predict(fitted, features[:50] * 4)
    assert np.median(far) > 10 * np.median(near)


def test_rows_that_are_not_chosen_do_not_matter():
    features, target = _data(200, 0)
    rows = np.arange(200) % 2 == 0
    spoiled = np.where(rows, target, 100.0)
    with double_precision():
        one = _predict(_fit(features, spoiled, rows=rows), features)
        other = _predict(_fit(features[rows], target[rows]), features)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_noise_alone_has_no_inputs():
    rng = np.random.default_rng(shifted(0))
    features, _ = _data(400, 0)
    with double_precision():
        fitted = _fit(features, rng.normal(2.0, 0.5, 400))
        mean, doubt, noise = _predict(fitted, features)
    assert np.all(np.asarray(fitted.linear) == 0)
    assert np.allclose(mean, 2.0, atol=0.1)
    assert np.allclose(np.sqrt(doubt + noise), 0.5, rtol=0.1)


def test_inputs_are_few():
    features, target = _data(400, 3)
    inputs = choose_inputs(features, (target - target.mean()) / target.std(), _BASES)
    assert isinstance(inputs, Inputs)
    chosen = set(inputs.linear.tolist()) - {0}
    assert {1, 2} <= chosen
    assert len(chosen) <= 4


def test_a_length_without_an_upper_end_has_a_gradient():
    """Also towards the standard deviation: once it was not a number, and paths over centers of mass did not begin."""
    with double_precision():
        slope = jax.grad(_log_pdf, argnums=(0, 1, 2))(0.156, 0.15, 0.003, 0.0, np.inf, periodic=False)
        assert np.allclose(np.asarray(slope), [-2 / 0.003, 2 / 0.003, 3 / 0.003], rtol=1e-8)

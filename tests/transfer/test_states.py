"""The kernel over states, and what is refused in it."""

import gpjax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.kernels.state_points import Parts, StateKernel, States, farthest, features, sizes


def states(x, rank):
    return States(x[:, :1], x, farthest(x, rank), gpjax.kernels.RBF())


def test_full_rank_is_the_dense_kernel():
    x = np.random.default_rng(0).normal(size=(7, 2))
    length = np.array([1.2, 0.7])
    with double_precision():
        found = features(states(x, 7), {"lengthscale_state": jnp.asarray(length)})
        smooth = np.asarray(found.columns)[:, 2:]
        dense = np.exp(-0.5 * np.sum(((x[:, None] - x[None]) / length) ** 2, axis=-1))
        np.testing.assert_allclose(smooth @ smooth.T, dense, atol=1e-8)
        np.testing.assert_allclose(found.left, 0, atol=1e-8)


@pytest.mark.parametrize("rank", [2, 4])
def test_variance_is_exact_at_any_rank(rank):
    x = np.random.default_rng(1).normal(size=(7, 2))
    with double_precision():
        found = features(states(x, rank), {"lengthscale_state": jnp.asarray([0.8, 0.8])})
        whole = np.sum(np.asarray(found.columns)[:, 2:] ** 2, axis=1) + np.asarray(found.left)
        np.testing.assert_allclose(whole, 1.0, atol=1e-8)
        assert found.columns.shape == (7, 2 + rank)


def test_sizes_of_the_parts():
    given = states(np.random.default_rng(2).normal(size=(5, 2)), 3)
    with double_precision():
        values = {"change_A": jnp.asarray(0.5), "slope_A": jnp.asarray(0.2), "own_A": jnp.asarray(0.1)}
        found = sizes(Parts(1.0, None, None), "A", given, values)
        np.testing.assert_allclose(found.columns, [1.0, 0.2, 0.5, 0.5, 0.5])
        assert float(found.own) == 0.1
        found = sizes(Parts(1.0, 0.3, 0.0), "A", given, {})
        np.testing.assert_allclose(found.columns, [1.0, 0.3, 0.3, 0.3, 0.3])


def test_thermodynamic_descriptors_are_linear():
    kernel = StateKernel()
    assert kernel.split(("temperature", "eps", "mole_fraction_B")) == (("temperature", "mole_fraction_B"), ("eps",))
    assert StateKernel(smooth=("temperature",), linear=()).split(("temperature",)) == ((), ("temperature",))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"own": -1.0}, "own=-1.0"),
        ({"common": 0.0, "change": 0.0, "own": 0.0}, "all 0"),
        ({"rank": 0}, "rank=0"),
        ({"linear": "temperature"}, "tuple of names"),
        ({"shape": gpjax.kernels.RBF() + gpjax.kernels.RBF()}, "no parts"),
    ],
)
def test_bad_kernels_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        StateKernel(**fields)


def test_unknown_descriptor():
    with pytest.raises(ValueError, match="'density'; systems have eps"):
        StateKernel(linear=("density",)).split(("eps",))


def test_inducing_states_are_spread_and_distinct():
    x = np.concatenate([np.zeros((3, 1)), np.ones((1, 1)), np.full((1, 1), 0.5)])
    assert sorted(farthest(x, 5).ravel().tolist()) == [0.0, 0.5, 1.0]

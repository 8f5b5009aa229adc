"""The share of a variance that is scatter of the data, against matrices written out and against scatter itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.inference.linear.draws import data_share
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.kernels.priors import IndependentPrior
from bayescg.potentials import Pair, Potential

SIZE, AMPLITUDE = 5, 1.7


def prior():
    one = IndependentPrior("A-A", np.eye(SIZE), np.zeros(SIZE), 1.0)
    return Prior(Potential(Pair("A", "A", 1.0)), (one,), {"A-A": None}, (), ())


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    half = random.normal(size=(SIZE, 3))
    gram = half @ half.T
    root = half @ random.normal(size=(3, 3))
    return gram, root, random.normal(size=(4, SIZE))


@pytest.mark.parametrize("calibrated", [True, False])
def test_share_equals_the_matrices_written_out(data, calibrated):
    gram, root, rows = data
    covariance = AMPLITUDE**2 * np.eye(SIZE)
    a = np.linalg.inv(np.linalg.inv(covariance) + gram)
    scatter = a @ (root @ root.T if calibrated else gram) @ a
    pulled = a @ np.linalg.inv(covariance) @ a
    wanted = np.diag(rows @ scatter @ rows.T) / np.diag(rows @ (scatter + pulled) @ rows.T)
    with double_precision():
        zero = jnp.zeros(1)
        found = data_share(
            prior(),
            Reduced(jnp.asarray(gram[None]), jnp.zeros((1, SIZE)), zero, zero),
            {"amplitude_A-A": np.array(AMPLITUDE)},
            rows,
            root=jnp.asarray(root) if calibrated else None,
        )
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_means_of_one_truth_scatter_as_much_as_the_share_says(data):
    gram, root, rows = data
    covariance = AMPLITUDE**2 * np.eye(SIZE)
    a = np.linalg.inv(np.linalg.inv(covariance) + gram)
    truth = np.random.default_rng(1).normal(size=SIZE)
    noise = np.random.default_rng(2).normal(size=(20000, 3)) @ root.T
    means = (noise + gram @ truth) @ a
    whole = a @ np.linalg.inv(covariance) @ a + a @ root @ root.T @ a
    z = (means - truth) @ rows.T / np.sqrt(np.diag(rows @ whole @ rows.T))
    with double_precision():
        zero = jnp.zeros(1)
        sums = Reduced(jnp.asarray(gram[None]), jnp.zeros((1, SIZE)), zero, zero)
        found = data_share(prior(), sums, {"amplitude_A-A": np.array(AMPLITUDE)}, rows, root=jnp.asarray(root))
    np.testing.assert_allclose(z.var(axis=0), found, rtol=0.05)
    assert jax.numpy.all(found < 1)

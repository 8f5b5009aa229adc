"""Elimination of own parts: against dense formulas, limits, and refits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bayescg._runtime import double_precision
from bayescg.transfer.gaussian import Design, Noise, cavity, eliminate, log_evidence, solve

SYSTEMS, DATA, FREE, FEATURES = 5, 6, 4, 3


def design(seed=0, *, sizes=None, own=None):
    """Some model, with sizes that differ between two terms of two coefficients each; system 2 lacks the second term."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SYSTEMS, DATA, FREE))
    x[2, :, 2:] = 0.0
    x[4, 4:] = 0.0
    y = rng.normal(size=(SYSTEMS, DATA))
    y[4, 4:] = 0.0
    columns = np.concatenate([np.ones((SYSTEMS, 1)), rng.normal(size=(SYSTEMS, FEATURES - 1))], axis=1)
    sizes = np.repeat(rng.uniform(0.3, 1.5, (FEATURES, 2)), 2, axis=1) if sizes is None else sizes
    own = np.repeat(rng.uniform(0.1, 0.8, (SYSTEMS, 2)), 2, axis=1) if own is None else own
    return Design(*(jnp.asarray(part) for part in (x, y, columns, sizes, own)))


def prior_covariance(model):
    """Dense covariance of (v_1, ..., v_S)."""
    columns, sizes, own = (np.asarray(part) for part in (model.columns, model.sizes, model.own))
    shared = np.einsum("sj,ja,tj,ab,jb->satb", columns, sizes, columns, np.eye(FREE), sizes)
    shared = shared.reshape(SYSTEMS * FREE, SYSTEMS * FREE)
    return shared + np.diag((own**2).ravel())


def dense(model):
    """Mean and covariance of all coefficients, and the log evidence, without any elimination."""
    x = np.zeros((SYSTEMS * DATA, SYSTEMS * FREE))
    for s in range(SYSTEMS):
        x[s * DATA : (s + 1) * DATA, s * FREE : (s + 1) * FREE] = model.x[s]
    k, y = prior_covariance(model), np.asarray(model.y).ravel()
    of_y = x @ k @ x.T + np.eye(len(x))
    gain = k @ x.T @ np.linalg.inv(of_y)
    return gain @ y, k - gain @ x @ k, multivariate_normal(np.zeros(len(y)), of_y).logpdf(y)


def quiet():
    return Noise(jnp.zeros((SYSTEMS, DATA)), jnp.zeros((SYSTEMS, FREE)), jnp.zeros(FEATURES * FREE))


@pytest.mark.parametrize("seed", range(3))
def test_elimination_equals_dense_formulas(seed):
    with double_precision():
        model = design(seed)
        mean, covariance, evidence = dense(model)
        np.testing.assert_allclose(float(log_evidence(model)), evidence, rtol=1e-11)
        np.testing.assert_allclose(np.asarray(solve(model, quiet()).systems).ravel(), mean, atol=1e-10)
        # Draws are linear in independent noise: their covariance is that of the linear map.
        slope = jax.jacobian(lambda noise: solve(model, noise).systems.ravel())(quiet())
        moved = np.concatenate([np.asarray(part).reshape(SYSTEMS * FREE, -1) for part in slope], axis=1)
        np.testing.assert_allclose(moved @ moved.T, covariance, atol=1e-10)


def test_gradient_of_the_evidence():
    with double_precision():
        model = design(1)
        found = jax.grad(log_evidence)(model)
        step = 1e-5
        for part, entry in (("own", (1, 2)), ("sizes", (1, 0)), ("columns", (3, 2)), ("x", (0, 1, 1))):
            ends = [
                log_evidence(model._replace(**{part: getattr(model, part).at[entry].add(sign * step)}))
                for sign in (1, -1)
            ]
            np.testing.assert_allclose(getattr(found, part)[entry], (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_common_part_alone_is_the_extended_ensemble():
    """All systems have one potential: Gram matrices and cross sums add up."""
    with double_precision():
        sizes = np.concatenate([np.full((1, FREE), 0.7), np.zeros((FEATURES - 1, FREE))])
        model = design(2, sizes=sizes, own=np.zeros((SYSTEMS, FREE)))
        gram = np.einsum("skf,skg->fg", model.x, model.x)
        cross = np.einsum("skf,sk->f", model.x, model.y)
        pooled = np.linalg.solve(gram + np.eye(FREE) / 0.7**2, cross)
        found = np.asarray(solve(model, quiet()).systems)
        np.testing.assert_allclose(found, np.tile(pooled, (SYSTEMS, 1)), atol=1e-8)


def test_own_parts_alone_are_separate_fits():
    with double_precision():
        model = design(3, sizes=np.zeros((FEATURES, FREE)), own=np.full((SYSTEMS, FREE), 0.9))
        found, evidence = np.asarray(solve(model, quiet()).systems), 0.0
        for s in range(SYSTEMS):
            x, y = np.asarray(model.x[s]), np.asarray(model.y[s])
            alone = np.linalg.solve(x.T @ x + np.eye(FREE) / 0.9**2, x.T @ y)
            np.testing.assert_allclose(found[s], alone, atol=1e-8)
            evidence += multivariate_normal(np.zeros(DATA), 0.81 * x @ x.T + np.eye(DATA)).logpdf(y)
        np.testing.assert_allclose(float(log_evidence(model)), evidence, rtol=1e-11)


@pytest.mark.parametrize("system", [0, 2, 4])
def test_leaving_one_out_equals_a_refit_without_it(system):
    with double_precision():
        model = design(4)
        found = cavity(model, eliminate(model), system)
        without = model._replace(x=model.x.at[system].set(0.0), y=model.y.at[system].set(0.0))
        mean, covariance, _ = dense(without)
        own = slice(system * FREE, (system + 1) * FREE)
        np.testing.assert_allclose(found.mean, mean[own], atol=1e-8)
        np.testing.assert_allclose(found.spread @ found.spread.T, covariance[own, own], atol=1e-8)
        # The same from the whole fit alone: Q = (I - C G)^-1, mean Q (m - C h), covariance Q C.
        mean, covariance, _ = dense(model)
        x, y = np.asarray(model.x[system]), np.asarray(model.y[system])
        q = np.linalg.inv(np.eye(FREE) - covariance[own, own] @ x.T @ x)
        np.testing.assert_allclose(found.mean, q @ (mean[own] - covariance[own, own] @ x.T @ y), atol=1e-8)
        np.testing.assert_allclose(found.spread @ found.spread.T, q @ covariance[own, own], atol=1e-8)

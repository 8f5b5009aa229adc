"""Curves over bins: Kronecker algebra against dense, gradients, leaving out against removing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayescg._runtime import double_precision
from bayescg.surrogates.level_prediction import _conditionals
from bayescg.surrogates.levels import density, separable
from bayescg.surrogates.levels.model import between_bins, joint
from tests.seeds import shifted
from tests.surrogates.levels.written_out import problem_of, values_of

BINS = np.linspace(0.0, 1.0, 6)


def curves(rng, alike=True):
    """Two levels of 5 and 3 states; errors that are one covariance times a number, or not."""
    root = rng.normal(size=(6, 6))
    shape = root @ root.T / 6 + 0.1 * np.eye(6)
    out = []
    for count in (5, 3):
        error = rng.uniform(0.1, 0.3, count)[:, None, None] * shape
        if not alike:
            error = error + rng.uniform(0, 0.1, (count, 6))[:, :, None] * np.eye(6)
        out.append((rng.uniform(0, 1, (count, 2)), rng.normal(size=(count, 6)), error))
    return out


def values_for(rng):
    found = {name: jnp.asarray(v) for name, v in values_of(rng, 2, 2).items()}
    return {**found, "bin_lengthscale": jnp.asarray(0.3)}


def as_dense(problem):
    """The same problem without its Kronecker form."""
    fields = {name: getattr(problem, name) for name in problem.__dataclass_fields__}
    return type(problem)(**{**fields, "scale": None, "shape": None})


def test_kronecker_is_dense():
    rng = np.random.default_rng(shifted(3))
    with double_precision():
        _, problem = problem_of(curves(rng), bins=BINS)
        values, new = values_for(rng), jnp.asarray(rng.uniform(0, 1, (2, 2)))
        assert problem.shape is not None
        plain = as_dense(problem)
        here = (problem.x, problem.level)
        gram = np.kron(
            joint(problem.kernel, values, here, here, problem.box), between_bins(problem.kernel, values, BINS)
        )
        for k in range(8):
            gram[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] += problem.error[k]
        expected = stats.multivariate_normal(cov=gram).logpdf(np.asarray(problem.y).reshape(-1))
        one, keys = {name: v[None] for name, v in values.items()}, jax.random.split(jax.random.key(0), 1)
        for each in (problem, plain):
            assert float(density.factored(each, values).log_density) == pytest.approx(expected, abs=1e-7)
        for fast, slow in zip(
            (*_conditionals(problem, one, new, keys)[:2], *density.left_out(problem, values)),
            (*_conditionals(plain, one, new, keys)[:2], *density.left_out(plain, values)),
            strict=True,
        ):
            np.testing.assert_allclose(fast, slow, atol=1e-7)


def test_gradient_of_the_kronecker_density_where_eigenvalues_are_equal():
    rng = np.random.default_rng(shifted(4))
    root, y = rng.normal(size=(3, 3)), rng.normal(size=(4, 3))

    def parts(t):
        rows = (1 + t) * jnp.eye(4).at[0, 1].set(0.3 * t).at[1, 0].set(0.3 * t)
        return rows, jnp.asarray(root @ root.T) * (1 + t**2), jnp.asarray(y) * (1 + t)

    def slow(t):
        rows, columns, values = parts(t)
        return jax.scipy.stats.multivariate_normal.logpdf(
            values.reshape(-1), jnp.zeros(12), jnp.kron(rows, columns) + jnp.eye(12)
        )

    with double_precision():
        for t in (0.0, 0.4):
            fast = jax.value_and_grad(lambda s: separable.log_density(*parts(s)))(t)
            np.testing.assert_allclose(fast, jax.value_and_grad(slow)(t), atol=1e-10)


@pytest.mark.parametrize("alike", [True, False])
def test_leaving_out_is_removing(alike):
    rng = np.random.default_rng(shifted(5))
    data = curves(rng, alike)
    with double_precision():
        _, problem = problem_of(data, bins=BINS)
        assert (problem.shape is not None) == alike
        values = values_for(rng)
        found = [np.asarray(v) for v in density.left_out(problem, values)]
        last = data[1]
        fewer = [data[0], tuple(part[:-1] for part in last)]
        _, rest = problem_of(fewer, bins=BINS)
        # Inputs keep the box of all.
        rest = type(rest)(**{**{n: getattr(rest, n) for n in rest.__dataclass_fields__}, "box": problem.box})
        one, keys = {name: v[None] for name, v in values.items()}, jax.random.split(jax.random.key(0), 1)
        mean, sd, _ = (np.asarray(v) for v in _conditionals(rest, one, jnp.asarray(last[0][-1:]), keys))
    np.testing.assert_allclose(found[0][-1], mean[0, 1, 0], atol=1e-7)
    np.testing.assert_allclose(found[1][-1], sd[0, 1, 0] ** 2 + np.diag(last[2][-1]), atol=1e-7)

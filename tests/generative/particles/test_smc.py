"""Tempered SMC: known integrals, honest errors, every evaluation counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from bayescg.atomistic import LogDensity, bimodal
from bayescg.generative.particles.smc import Particles, rejuvenate, tempered_smc
from tests.seeds import shifted


def von_mises(x):
    return 2.0 * jnp.sum(jnp.cos(x - 0.7))


PRODUCT = LogDensity(von_mises, [0.7] * 3, np.pi, periodic=[True] * 3)


def mean(particles: Particles, function) -> float:
    return float(particles.weights @ function(particles.coordinates))


@pytest.mark.parametrize(
    ("target", "log_z", "observable", "expected"),
    [
        (bimodal(), 12.06493, lambda y: y[:, 0] < 0.16746, 0.991654),
        (PRODUCT, 3 * np.log(2 * np.pi * scipy.special.i0(2.0)), lambda y: np.cos(y[:, 0] - 0.7), 0.697774658),
    ],
    ids=["bimodal", "periodic"],
)
def test_known_integrals(target, log_z, observable, expected):
    """Within four of the error that is reported, which is small enough for that to mean something."""
    found = tempered_smc(target, particles=2000, moves=2, key=jax.random.key(shifted(1)))
    assert found.log_z_se < 0.1
    assert abs(found.log_z - log_z) < 4 * found.log_z_se
    assert found.weights.sum() == pytest.approx(1.0)
    assert 500 < found.ess <= 2000
    assert abs(mean(found, observable) - expected) < 4 * 0.5 * found.log_z_se
    assert np.all(np.abs(found.coordinates[:, target.periodic]) <= np.pi)
    moved, sweeps = rejuvenate(target, found, sweeps=3, key=jax.random.key(shifted(2)))
    assert sweeps.shape == (3, 2000, target.dimension)
    np.testing.assert_array_equal(sweeps[-1], moved.coordinates)
    assert np.all(np.abs(sweeps[:, :, target.periodic]) <= np.pi)
    assert abs(mean(moved, observable) - expected) < 4 * 0.5 * found.log_z_se
    assert not np.array_equal(sweeps[0], sweeps[1])


def test_a_density_with_an_edge():
    """Half of a Gaussian: most particles start where the density is zero."""
    target = LogDensity(lambda x: jnp.where(x[0] > 1.0, -0.5 * x[0] ** 2, -jnp.inf), [1.2], 1.0)
    found = tempered_smc(target, particles=2000, key=jax.random.key(shifted(0)))
    assert abs(found.log_z - np.log(np.sqrt(2 * np.pi) * scipy.stats.norm.sf(1))) < 4 * found.log_z_se
    assert found.coordinates[found.weights > 0].min() > 1


@pytest.mark.parametrize("periodic", [False, True])
def test_every_evaluation_is_counted(periodic):
    """Against calls of the function; of one kind only as many as are counted, and no more than one in ten less."""
    calls = []

    def function(x):
        jax.debug.callback(lambda _: calls.append(1), x[0])
        return jnp.sum(jnp.cos(x)) if periodic else -0.5 * jnp.sum(x**2)

    target = LogDensity(function, [0.3], 2.0, periodic=[periodic])
    jax.effects_barrier()
    calls.clear()
    found = tempered_smc(target, particles=40, moves=1, key=jax.random.key(0))
    jax.effects_barrier()
    assert 0.9 * found.evaluations < len(calls) <= found.evaluations
    calls.clear()
    moved, _ = rejuvenate(target, found, sweeps=2, key=jax.random.key(1))
    jax.effects_barrier()
    assert 0.9 * (moved.evaluations - found.evaluations) < len(calls) <= moved.evaluations - found.evaluations


def test_budgets_and_densities_that_do_not_do_are_refused():
    with pytest.raises(ValueError, match=r"budget of 50000 energy evaluations ends at lambda = .*fewer particles"):
        tempered_smc(bimodal(), particles=1000, budget=50_000, key=jax.random.key(0))
    target = LogDensity(lambda x: jnp.where(jnp.abs(x[0]) < 1e-6, 0.0, -jnp.inf), [0.0], 1.0)
    with pytest.raises(ValueError, match="no particle has a finite density"):
        tempered_smc(target, particles=100, key=jax.random.key(0))

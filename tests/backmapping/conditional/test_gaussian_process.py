"""The Gaussian-process conditional against planted densities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.backmapping.conditional.gaussian_process import fit_conditional
from tests.atomistic.molecules import rotation
from tests.backmapping import planted
from tests.seeds import shifted

_BONDS = [(0, 1), (1, 2), (2, 3), (3, 4)]
_DISTANCES = np.linspace(0.222, 0.278, 8)
_ROWS, _COUNT = 400, 200


@pytest.fixture(scope="module")
def chain():
    molecule = planted.universe(planted.chain(500, 0).positions, _BONDS)
    return fit_conditional(molecule, planted.kept(molecule, "index 0 1 2"), key=jax.random.key(shifted(0)))


@eqx.filter_jit
def _run(conditional, beads, keys):
    def one(given):
        b, key = given
        guide = conditional.guide(b)

        def draw(key):
            x = guide.sample(key=key)
            return conditional.coordinates.to_internal(x, b), x, guide.log_density(x)

        return jax.vmap(draw)(jax.random.split(key, _COUNT))

    return jax.lax.map(one, (beads, keys))


def _draws(conditional, sites):
    """Draws for each of `_ROWS` sites: coordinates (row, draw, coordinate), positions, log density."""
    with double_precision():
        keys = jax.random.split(jax.random.key(shifted(1)), len(sites))
        return tuple(np.asarray(part) for part in _run(conditional, jnp.asarray(sites), keys))


@pytest.fixture(scope="module")
def drawn(chain):
    """Draws at eight distances, (distance, draw, ...)."""
    found = _draws(chain, planted.triangle(np.repeat(_DISTANCES, _ROWS // 8)))
    return tuple(part.reshape(8, -1, *part.shape[2:]) for part in found)


def _columns(internal):
    """From lengths, angles, dihedrals of atoms (3, 4) to the order of the planted molecule."""
    return internal[..., [0, 2, 4, 1, 3, 5]]


def test_kept_atoms_stay_and_the_mean_is_learned(drawn):
    internal, positions, _ = drawn
    sites = planted.triangle(_DISTANCES)[:, None]
    np.testing.assert_array_equal(positions[:, :, :3], np.broadcast_to(sites, (8, positions.shape[1], 3, 3)))
    torsion = _columns(internal)[..., 2]
    expected = planted.torsion_mean(_DISTANCES)
    mean = expected + np.mean((torsion - expected[:, None] + np.pi) % (2 * np.pi) - np.pi, axis=1)
    # 500 frames with noise of 0.25 leave 0.03 at each of some eight places.
    assert np.sqrt(np.mean((mean - expected) ** 2)) < 0.06
    assert np.ptp(expected) > 1.0


def test_probability_of_the_wells(chain, drawn):
    assert len(chain.model.mixtures) == 1
    share = np.mean(_columns(drawn[0])[..., 5] > 0, axis=1)
    expected = planted.positive_well(_DISTANCES)
    assert np.ptp(expected) > 0.6
    assert np.sqrt(np.mean((share - expected) ** 2)) < 0.06


def test_intervals_are_calibrated(chain):
    held = planted.chain(_ROWS, 99)
    draws = _columns(_draws(chain, held.positions[:, :3])[0])
    rank = []
    for k in range(6):
        center = planted.torsion_mean(held.distance) if k == 2 else 0.0 if k == 5 else None
        value, sample = held.internal[:, k], draws[..., k]
        if center is not None:
            center = np.broadcast_to(center, value.shape)
            value = np.angle(np.exp(1j * (value - center)))
            sample = np.angle(np.exp(1j * (sample - center[:, None])))
        rank.append(np.mean(sample < value[:, None], axis=1))
    covered = np.mean((np.array(rank) > 0.05) & (np.array(rank) < 0.95), axis=1)
    assert np.all((covered > 0.85) & (covered < 0.95)), covered
    assert 0.88 < covered.mean() < 0.92


def test_density_is_normalized_and_that_of_the_draws(drawn):
    """E_q[p / q] = 1 for the planted density p, known without any code of the library."""
    internal, _, log_q = drawn
    for k, distance in enumerate(_DISTANCES):
        log_p = planted.log_density(distance, _columns(internal[k]))
        weight = np.exp(log_p - log_q[k])
        error = weight.std() / np.sqrt(len(weight))
        assert error < 0.03
        assert abs(weight.mean() - 1) < 4 * error
        # The learned density is close to the planted one: this is what 500 frames give.
        assert 1 / np.mean(weight**2) > 0.5


def test_density_turns_and_moves_with_the_molecule(chain):
    rng = np.random.default_rng(0)
    x = planted.chain(3, 5).positions
    with double_precision():
        density = jax.jit(lambda x: chain.guide(x[:3]).log_density(x))
        for positions in x:
            turned = positions @ rotation(rng).T + rng.normal(size=3)
            assert float(density(jnp.asarray(turned))) == pytest.approx(
                float(density(jnp.asarray(positions))), abs=1e-8
            )
        gradient = jax.jit(jax.grad(lambda x: chain.guide(x[:3]).log_density(x)))(jnp.asarray(x[0]))
        step = 1e-6 * rng.normal(size=(5, 3))
        slope = (density(jnp.asarray(x[0] + step)) - density(jnp.asarray(x[0] - step))) / 2
        assert float(jnp.sum(gradient * step)) == pytest.approx(float(slope), rel=1e-4)


def test_complaints(chain):
    sites = planted.triangle(np.array([0.25]))[0]
    assert chain.complaint(sites) is None
    assert "Angstrom" in chain.complaint(10 * sites)
    assert "apart" in chain.complaint(sites * [[1], [1], [2.5]])
    assert "3 beads" in chain.complaint(sites[:2])
    assert "finite" in chain.complaint(sites * np.nan)

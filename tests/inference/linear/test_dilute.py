"""A dilute gas: few contacts in each knot interval, where a wall of the prior could stand inside the data."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.inference.linear.predictive import doubts
from bayescg.posterior import curves

BEADS, SIDE, EPSILON, SIGMA, KELVIN, CUTOFF = 27, 6.0, 1.2552, 0.34, 200.0, 0.9
KT = 8.31446261815324e-3 * KELVIN
DISTANCES = np.array([0.36, 0.40, 0.45, 0.5, 0.6, 0.7, 0.8])
TRUTH = 24 * EPSILON * (2 * SIGMA**12 / DISTANCES**13 - SIGMA**6 / DISTANCES**7)


def pair_vectors(x):
    d = x[:, None] - x[None]
    d -= np.rint(d / SIDE) * SIDE
    r = np.linalg.norm(d, axis=-1)
    np.fill_diagonal(r, 9.0)
    return d, r


def energy(x):
    r = pair_vectors(x)[1][np.triu_indices(BEADS, 1)]
    s = (SIGMA / r[r < CUTOFF]) ** 6
    return 4 * EPSILON * np.sum(s**2 - s)


def forces(x):
    d, r = pair_vectors(x)
    f = np.where(r < CUTOFF, 24 * EPSILON * (2 * SIGMA**12 / r**13 - SIGMA**6 / r**7), 0.0)
    return ((f / r)[..., None] * d).sum(axis=1)


@pytest.fixture(scope="module")
def gas():
    """Frames by Monte Carlo, forces with noise of 5 kJ/mol/nm: about 500 contacts."""
    rng = np.random.default_rng(0)
    x = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2.0
    found, e = [], energy(x)
    for step in range(101 * 150):
        y = x.copy()
        y[rng.integers(BEADS)] += rng.normal(size=3) * 0.8
        if np.log(rng.uniform()) < (e - (new := energy(y))) / KT:
            x, e = y, new
        if step % 150 == 0:
            found.append((x.copy(), forces(x) + rng.normal(size=(BEADS, 3)) * 5))
    positions, noisy = (np.array(part) for part in zip(*found, strict=True))
    return bcg.from_arrays(positions, [SIDE] * 3, "A", temperature=KELVIN, forces=noisy)


@pytest.mark.parametrize("spacing", [0.01, 0.03])
def test_few_contacts_in_each_knot_interval(gas, spacing):
    potential = bcg.Potential(bcg.Pair("A", "A", CUTOFF, knot_spacing=spacing))
    posterior = bcg.force_match(potential, gas, method="laplace", key=jax.random.key(0))["posterior"]
    draws = posterior["coefficients"].values.reshape(-1, potential.n_basis)
    found = curves(potential, "A-A", draws, DISTANCES)[1]
    assert np.all(np.abs(found.mean(axis=0) - TRUTH) < 4 * found.std(axis=0))
    assert np.all(found.std(axis=0) < 3.0)
    assert posterior.attrs["held_out_r2"] > 0.3


def test_chunks_have_the_same_pilot(gas):
    """A pilot of the first chunk alone knows too few contacts: it takes as many as it needs."""
    potential = bcg.Potential(bcg.Pair("A", "A", CUTOFF, knot_spacing=0.03))
    chunks = (gas.isel(frame=slice(begin, begin + 10)) for begin in range(0, 101, 10))
    found = bcg.force_statistics(potential, chunks)
    assert found.n_frames == 101
    assert found.pilot == bcg.fit_pilot(potential, gas)


def test_doubts_about_a_fit():
    assert doubts(0.5, 0.1) == []
    assert doubts(-0.1, 0.1) == []
    assert "must not be used" in doubts(-12.0, 3.0)[0]
    assert "must not be used" in doubts(-12.0, float("nan"))[0]
    assert "unknown" in doubts(float("nan"), float("nan"))[0]

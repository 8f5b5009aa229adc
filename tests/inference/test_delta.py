"""Δ-learning: a fitted posterior below another term."""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.posterior import as_baseline, curves, from_coefficients, mean_coefficients
from tests.inference import systems
from tests.studies.many_body import planted_library

PAIR = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.02))


def bump(r):
    return 3.0 * np.exp(-0.5 * ((r - 0.55) / 0.05) ** 2)


@pytest.fixture(scope="module")
def data():
    """Noisy forces of the liquid, and the same with a bump added to the potential."""
    clean = planted_library.liquid(40).isel(frame=slice(0, 16))
    noisy = systems.with_noise(clean, 0.3 * float(clean["forces"].std()), 0)
    r = np.linspace(0.0, systems.CUTOFF, 200)
    extra = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, baseline=bcg.table(r, bump(r)), learn=False))
    return noisy, noisy.assign(forces=noisy["forces"] + systems.forces_of(extra, clean))


def fit(potential, data):
    return bcg.force_match(potential, data, method="laplace", calibration="none", key=jax.random.key(0))


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_a_correction_over_a_fitted_pair_is_the_correction(data):
    before, after = data
    first = fit(PAIR, before)
    (known,) = as_baseline(first)
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.02, baseline=known.baseline))
    correction = fit(potential, after)
    r = np.linspace(0.36, 0.8, 80)
    total = curves(potential, "A-A", mean_coefficients(correction), r)[1]
    base = curves(PAIR, "A-A", mean_coefficients(first), r)[1]
    expected = bump(r) * (r - 0.55) / 0.05**2
    assert np.sqrt(np.mean((total - base - expected) ** 2)) < 0.1 * np.sqrt(np.mean(expected**2))
    direct = curves(PAIR, "A-A", mean_coefficients(fit(PAIR, after)), r)[1]
    assert np.sqrt(np.mean((total - direct) ** 2)) < 0.05 * np.sqrt(np.mean(direct**2))
    # What the first fit got wrong is not in the second one's band, only its own noise is: said in the docs.
    assert bcg.Potential.from_json(correction.attrs["potential"]) == potential


def test_a_fixed_term_keeps_its_own_baseline():
    term = bcg.Pair("A", "A", systems.CUTOFF, baseline=systems.LJ)
    w = 0.1 * np.random.default_rng(1).normal(size=(3, term.n_basis))
    posterior = from_coefficients(bcg.Potential(term), w, temperature=300.0)
    frozen = bcg.Potential(*as_baseline(posterior), bcg.Pair("A", "B", systems.CUTOFF))
    assert frozen.n_basis == bcg.Pair("A", "B", systems.CUTOFF).n_basis
    assert bcg.Potential.from_json(frozen.to_json()) == frozen
    r = np.linspace(0.3, 0.9, 50)
    both = curves(bcg.Potential(term), "A-A", w.mean(axis=0), r)
    alone = curves(frozen, "A-A", np.zeros(frozen.n_basis), r)
    np.testing.assert_allclose(alone, both, atol=1e-8)
    with pytest.raises(ValueError, match="not a bayescg posterior"):
        as_baseline({})

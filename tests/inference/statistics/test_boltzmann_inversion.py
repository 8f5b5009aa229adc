"""Boltzmann inversion gives back potentials whose distributions are known exactly."""

import dataclasses

import numpy as np
import pytest

import bayescg as bcg
from bayescg.inference.statistics.boltzmann_inversion import boltzmann_inversion
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.posterior import curves
from bayescg.units import BOLTZMANN

kT = BOLTZMANN * 300.0


def statistics_of(term, energy):
    """Statistics whose histogram is the exact Boltzmann distribution of a curve, a million interactions."""
    spline = term.spline
    x = 0.5 * (spline.knots[1:] + spline.knots[:-1])
    jacobian = {"pair": x**2, "bond": x**2, "angle": np.sin(x)}.get(term.kind, np.ones_like(x))
    density = jacobian * np.exp(-energy(x) / kT)
    counts = np.random.default_rng(0).poisson(1e6 * density / density.sum()).astype(float)
    potential = bcg.Potential(term)
    sampled = x[counts > 0]
    ranges = {term.name: (float(sampled[0]), float(sampled[-1]))}
    of_one = {"data": "one"}, {"one": 1.0}
    visits = {"one": {term.name: counts}}
    found = ForceStatistics(potential, 300.0, potential.bead_types, {}, {}, {}, visits, ranges, *of_one)
    return dataclasses.replace(found, weighed={"data": (1.0, 1.0)})


@pytest.mark.parametrize(
    ("term", "energy"),
    [
        (bcg.Bond("A", "A", start=0.2, stop=0.5), lambda x: 0.5 * 8000 * (x - 0.35) ** 2),
        (bcg.Angle("A", "A", "A"), lambda x: 0.5 * 60 * (x - 2.0) ** 2),
        (bcg.Dihedral("A", "A", "A", "A"), lambda x: 3.0 * (1 + np.cos(3 * x))),
        (bcg.Pair("A", "A", 0.9), lambda x: 4 * ((0.3 / x) ** 12 - (0.3 / x) ** 6)),
    ],
    ids=lambda item: getattr(item, "kind", ""),
)
def test_known_curve_comes_back(term, energy):
    statistics = statistics_of(term, energy)
    inverted = boltzmann_inversion(statistics)
    low, high = statistics.ranges[term.name]
    x = np.linspace(low, high, 200)
    x = x[energy(x) < energy(x).min() + 4 * kT]
    found, force = curves(inverted, term.name, np.zeros(inverted.n_basis), x)
    shift = np.mean(found - energy(x))
    np.testing.assert_allclose(found - shift, energy(x), atol=0.1 * kT)
    exact = -np.gradient(energy(x), x)
    assert np.sqrt(np.mean((force - exact)[3:-3] ** 2)) < 0.1 * np.sqrt(np.mean(exact**2))


def test_outside_the_samples_it_confines():
    term = bcg.Bond("A", "A", start=0.2, stop=0.5)
    statistics = statistics_of(term, lambda x: 0.5 * 8000 * (x - 0.35) ** 2)
    inverted = boltzmann_inversion(statistics)
    force = curves(inverted, term.name, np.zeros(inverted.n_basis), np.array([0.15, 0.22, 0.48, 0.6]))[1]
    assert np.all(force[:2] > 50)
    assert np.all(force[2:] < -50)


def test_refusals():
    term = bcg.Bond("A", "A", start=0.2, stop=0.5)
    statistics = statistics_of(term, lambda x: 0.5 * 8e6 * (x - 0.35) ** 2)
    with pytest.raises(ValueError, match="too few to invert"):
        boltzmann_inversion(statistics)
    with_baseline = dataclasses.replace(term, baseline=bcg.Harmonic(0.35, 100.0))
    with pytest.raises(ValueError, match="already has a baseline"):
        boltzmann_inversion(statistics_of(with_baseline, lambda x: 0.5 * 8000 * (x - 0.35) ** 2))

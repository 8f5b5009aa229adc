"""Systems whose potential is known: does the fit find it, and do its error bars cover it as often as they say?"""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.posterior import curves, draw_coefficients, from_coefficients, mean_coefficients
from tests.inference import systems

REPLICATES, FRAMES = 40, 5
PLAN = Sampling(chains=1, warmup=1, draws=1000)


@pytest.fixture(scope="module")
def liquid():
    return systems.lennard_jones(REPLICATES * FRAMES)


@pytest.fixture(scope="module")
def chain_liquid():
    return systems.chains(REPLICATES * FRAMES)


def fit(potential, data, key):
    statistics = bcg.force_statistics(potential, data)
    posterior = bcg.force_match(potential, statistics, method="laplace", sampling=PLAN, key=jax.random.key(key))
    return statistics, posterior


def radial_weights(statistics, name):
    """g(r) on the knot intervals, up to a constant."""
    knots = statistics.potential.term(name).spline.knots
    middle = 0.5 * (knots[1:] + knots[:-1])
    return middle, statistics.counts[name] / middle**2


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_noise_free_forces_give_back_the_pair_potential(liquid):
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
    statistics, posterior = fit(potential, liquid.isel(frame=slice(0, 40, 2)), 0)
    r, weight = radial_weights(statistics, "A-A")
    found = curves(potential, "A-A", mean_coefficients(posterior), r)[1]
    truth = systems.true_force(systems.LJ, r)
    error = np.sqrt(np.sum((weight * (found - truth) ** 2)[weight > 0]) / np.sum((weight * truth**2)[weight > 0]))
    assert error < 0.01


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_noise_free_forces_give_back_bonds_and_angles(chain_liquid):
    potential = bcg.Potential(
        bcg.Pair("A", "A", systems.CUTOFF), bcg.Bond("A", "A"), bcg.Angle("A", "A", "A"), exclude_bonds=2
    )
    statistics, posterior = fit(potential, chain_liquid.isel(frame=slice(0, 40, 2)), 0)
    w = mean_coefficients(posterior)
    for name, truth in (("A-A", systems.LJ), ("bond_A-A", systems.BOND), ("angle_A-A-A", systems.ANGLE)):
        knots = statistics.potential.term(name).spline.knots
        x = 0.5 * (knots[1:] + knots[:-1])
        weight = statistics.counts[name] / (x**2 if name == "A-A" else 1.0)
        found = curves(statistics.potential, name, w, x)[1]
        exact = systems.true_force(truth, x)
        error = np.sqrt(np.sum((weight * (found - exact) ** 2)[weight > 0]) / np.sum((weight * exact**2)[weight > 0]))
        assert error < 0.01, name


def covered(potential, data, truths, key):
    """Whether the 90 % band holds the truth, on a grid over the sampled range of each term."""
    noise = float(data["forces"].std())
    result = {name: [] for name in truths}
    for replicate in range(REPLICATES):
        part = data.isel(frame=slice(replicate * FRAMES, (replicate + 1) * FRAMES))
        statistics, posterior = fit(potential, systems.with_noise(part, noise, replicate), key + replicate)
        draws = posterior["posterior"]["coefficients"].values[0]
        for name, (truth, low, high) in truths.items():
            x = np.linspace(low, high, 61)
            x = x[(x > statistics.ranges[name][0]) & (x < statistics.ranges[name][1])]
            lower, upper = np.quantile(curves(statistics.potential, name, draws, x)[1], [0.05, 0.95], axis=0)
            exact = systems.true_force(truth, x)
            result[name].append((lower <= exact) & (exact <= upper))
    return {name: np.concatenate(parts) for name, parts in result.items()}


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_pair_bands_cover_the_truth(liquid):
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
    inside = covered(potential, liquid, {"A-A": (systems.LJ, 0.30, systems.CUTOFF - 0.005)}, 100)
    assert 0.85 < inside["A-A"].mean() < 0.95


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_bond_and_angle_bands_cover_the_truth(chain_liquid):
    potential = bcg.Potential(
        bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.02),
        bcg.Bond("A", "A", start=0.25, stop=0.55, knot_spacing=0.01),
        bcg.Angle("A", "A", "A", knot_spacing=np.pi / 45),
        exclude_bonds=2,
    )
    truths = {
        "A-A": (systems.LJ, 0.30, systems.CUTOFF - 0.005),
        "bond_A-A": (systems.BOND, 0.30, 0.46),
        "angle_A-A-A": (systems.ANGLE, 1.3, 2.7),
    }
    inside = covered(potential, chain_liquid, truths, 200)
    pooled = np.concatenate(list(inside.values()))
    assert 0.85 < pooled.mean() < 0.95, {name: values.mean() for name, values in inside.items()}


def test_never_sampled_distances_repel_in_every_draw():
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=20)
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, start=0.15))
    statistics, posterior = fit(potential, cg, 3)
    drawn = draw_coefficients(posterior, 32, key=jax.random.key(0)).coefficients
    below = np.linspace(0, statistics.ranges["W-W"][0], 300)
    assert np.all(curves(potential, "W-W", drawn, below)[1] > 0)
    # A crowded start that visits those distances: pairs are pushed apart, nothing blows up.
    crowded = cg.isel(frame=-1)
    crowded = crowded.assign(positions=crowded["positions"].copy())
    crowded["positions"][1] = crowded["positions"][0] + np.array([0.2, 0, 0])
    tree = from_coefficients(potential, drawn[:2], temperature=300.0)
    run = bcg.simulate(
        tree, crowded, draws=2, time=1.0, dynamics=bcg.Langevin(equilibration=1.0), engine="jax", key=jax.random.key(1)
    )
    assert not run["failed"].any()
    assert abs(float(run["temperature"].mean()) - 300) < 20

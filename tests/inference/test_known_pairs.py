"""A liquid whose pair potential is known: does the fit find it, and do its error bars cover it as often as they say?"""

import jax
import numpy as np
import pytest

import bayescg as bcg
from bayescg.posterior import curves, draw_coefficients, from_coefficients
from tests.compilation import optimized
from tests.inference import systems
from tests.inference.known_truth import FRAMES, REPLICATES, covered, fit, relative_error


@pytest.fixture(scope="module")
def liquid():
    return systems.lennard_jones(REPLICATES * FRAMES, beads=343)


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_noise_free_forces_give_back_the_pair_potential(liquid):
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
    statistics, posterior = fit(potential, liquid.isel(frame=slice(0, 40, 2)), 0)
    assert relative_error(statistics, posterior, "A-A", systems.LJ) < 0.01


@pytest.mark.filterwarnings("ignore:Pareto k")
@optimized()
def test_pair_bands_cover_the_truth(liquid):
    potential = bcg.Potential(bcg.Pair("A", "A", systems.CUTOFF))
    x, inside = covered(potential, liquid, {"A-A": (systems.LJ, 0.30, systems.CUTOFF - 0.005)}, 100)["A-A"]
    # To here four fifths of the variance are scatter of the data. In the tail a fifth is, the prior decides most of a
    # band, and one truth is inside always or never.
    assert 0.85 < inside[x < 0.45].mean() < 0.95
    assert inside[x >= 0.45].mean() > 0.85


def test_never_sampled_distances_repel_in_every_draw():
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0, stop=20)
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9, start=0.15))
    statistics, posterior = fit(potential, cg, 3)
    drawn = draw_coefficients(posterior, 32, key=jax.random.key(0)).coefficients
    below = np.linspace(0, statistics.ranges["W-W"][0], 300)
    assert np.all(curves(potential, "W-W", drawn, below)[1] > 0)
    # Two beads that start there are pushed apart, and nothing blows up.
    apart = np.array([[[0.0, 0, 0], [below[-1] - 0.005, 0, 0]]])
    close = bcg.from_arrays(apart, np.eye(3) * 2.0, ["W", "W"], temperature=300.0, mass=[18.0, 18.0])
    tree = from_coefficients(potential, drawn[:2], temperature=300.0)
    run = bcg.simulate(
        tree, close, draws=2, time=1.0, dynamics=bcg.Langevin(equilibration=0.0), engine="jax", key=jax.random.key(1)
    )
    assert not run["failed"].any()
    distance = np.linalg.norm(np.diff(run["positions"].values, axis=2)[:, :, 0], axis=-1)
    assert np.all(distance > below[-1])

"""Chains whose bond and angle potentials are known: does the fit find them, and do its error bars cover them?"""

import numpy as np
import pytest

import bayescg as bcg
from tests.inference import systems
from tests.inference.known_truth import FRAMES, REPLICATES, covered, fit, relative_error


@pytest.fixture(scope="module")
def chain_liquid():
    return systems.chains(REPLICATES * FRAMES)


@pytest.mark.filterwarnings("ignore:Pareto k")
def test_noise_free_forces_give_back_bonds_and_angles(chain_liquid):
    potential = bcg.Potential(
        bcg.Pair("A", "A", systems.CUTOFF), bcg.Bond("A", "A"), bcg.Angle("A", "A", "A"), exclude_bonds=2
    )
    statistics, posterior = fit(potential, chain_liquid.isel(frame=slice(0, 40, 2)), 0)
    for name, truth in (("A-A", systems.LJ), ("bond_A-A", systems.BOND), ("angle_A-A-A", systems.ANGLE)):
        assert relative_error(statistics, posterior, name, truth) < 0.01, name


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
    pooled = np.concatenate([held for _, held in inside.values()])
    assert 0.85 < pooled.mean() < 0.95, {name: held.mean() for name, (_, held) in inside.items()}

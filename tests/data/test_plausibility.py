"""Equilibrium itself says in which unit the forces are."""

import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain, datasets, from_arrays, with_forces
from bayescg.data.plausibility import configurational_temperature, errors_apart

from .systems import KT

FACTORS = {
    "kcal/mol/Angstrom;": 1 / 41.84,
    "kJ/mol/Angstrom;": 0.1,
    "eV/Angstrom;": 1 / 964.8533,
    "Hartree/Bohr": 1 / 49614.75,
    "J/mol/nm": 1000.0,
    "opposite sign": -1.0,
}


def dumbbells(stiffness, n_frames=16, n_pairs=200, seed=0):
    """Pairs of beads joined by U = k r^2/2, drawn exactly: the bond vector is Gaussian with variance kT/k."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 50, (n_frames, n_pairs, 3))
    bond = rng.normal(0, np.sqrt(KT / stiffness), a.shape)
    positions = np.stack([a, a + bond], axis=2).reshape(n_frames, -1, 3)
    forces = np.stack([stiffness * bond, -stiffness * bond], axis=2).reshape(n_frames, -1, 3)
    return positions, forces


@pytest.mark.parametrize("stiffness", [100.0, 5000.0])
def test_configurational_temperature_of_dumbbells(stiffness):
    positions, forces = dumbbells(stiffness)
    data = with_forces(from_arrays(positions, [50, 50, 50], "A", temperature=300.0), forces, check=False)
    temperature, error = configurational_temperature(data)
    assert abs(temperature - 300.0) < 3 * error
    assert error < 60.0


@pytest.fixture(scope="module")
def water():
    universe = datasets.water().universe()
    return coarse_grain(universe, Mapping.center_of_mass(universe), temperature=300.0)


def test_water_is_at_300_kelvin(water):
    temperature, error = configurational_temperature(water)
    assert abs(temperature - 300.0) < 3 * error
    assert error < 40.0


@pytest.mark.parametrize("unit", FACTORS)
def test_unit_is_named(water, unit):
    with pytest.raises(ValueError, match=unit) as error:
        with_forces(water, water["forces"].values * FACTORS[unit])
    assert 'forces="unchecked"' in str(error.value)
    assert "bayescg.data.with_forces(" in str(error.value)


@pytest.mark.parametrize("unit", ["eV/Angstrom", "Hartree/Bohr", "J/mol/nm"])
def test_one_frame_is_enough_for_gross_errors(water, unit):
    factor = next(value for key, value in FACTORS.items() if key.startswith(unit))
    with pytest.raises(ValueError, match=f"implausible.*{unit}"):
        with_forces(water.isel(frame=[0]), water["forces"].values[:1] * factor)


@pytest.mark.parametrize("scale", [3.0, 30.0, 300.0, 3000.0])
def test_toy_forces_that_belong_to_no_equilibrium_pass(scale):
    rng = np.random.default_rng(3)
    positions, forces = rng.uniform(0, 3, (20, 100, 3)), rng.normal(0, scale, (20, 100, 3))
    assert "forces" in from_arrays(positions, [3, 3, 3], "A", temperature=300.0, forces=forces)


def test_dilute_gas_and_single_bead_pass():
    positions, forces = dumbbells(20.0, n_pairs=3)
    assert "forces" in from_arrays(positions, [50, 50, 50], "A", temperature=300.0, forces=forces)
    assert "forces" in from_arrays(positions[:, :1], [50, 50, 50], "A", temperature=300.0, forces=forces[:, :1])


def moved(shift, frames=16):
    """Bundled water in memory, its forces those of the frames `shift` later."""
    source = datasets.water().universe()
    steps = [
        (step.positions.copy(), step.forces.copy(), step.dimensions) for step in source.trajectory[: frames + shift]
    ]
    positions, forces, boxes = (np.array(part) for part in zip(*steps, strict=True))
    memory = datasets.water().universe()
    return memory.load_new(positions[:frames], forces=forces[shift:], dimensions=boxes[:frames])


def test_forces_of_another_frame_are_doubted_when_they_are_read():
    universe = moved(1)
    mapping = Mapping.center_of_mass(universe)
    with pytest.warns(UserWarning, match=r"errors from 300 K: they do not belong together"):
        coarse_grain(universe, mapping, temperature=300.0)
    coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    coarse_grain(universe, mapping, temperature=300.0, forces=False)


def test_right_forces_are_not_doubted(water):
    """By no part of the trajectory, and not for a temperature that is wrong by less than its error."""
    for begin in range(0, 96, 16):
        found = configurational_temperature(water.isel(frame=slice(begin, begin + 16)))
        assert errors_apart(*found, 300.0) is None
        assert errors_apart(*found, 320.0) is None
    assert errors_apart(float("nan"), float("inf"), 300.0) is None
    assert errors_apart(150.0, 25.0, 300.0) == 6.0

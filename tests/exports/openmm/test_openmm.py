"""OpenMM runs exported potentials: forces and energies of the Reference platform are those of the fit."""

import subprocess
import sys

import numpy as np
import pytest

from bayescg.exports import export

mm = pytest.importorskip("openmm", reason="needs OpenMM: pip install 'bayescg[openmm]'")

pytestmark = pytest.mark.filterwarnings("ignore:no pair term for C-D")


def evaluate(folder, positions, platform="Reference"):
    """Energy [kJ/mol] and forces [kJ/mol/nm] of an exported System."""
    system = mm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(platform))
    context.setPositions(np.asarray(positions, float))
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, np.asarray(state.getForces(asNumpy=True)._value)


@pytest.mark.parametrize("name", ["orthogonal_liquid", "trimer", "tetramer"])
def test_forces_and_energy_equal_the_fit(name, request, tmp_path):
    system = request.getfixturevalue(name)
    export(system.posterior, tmp_path / "out", format="openmm", initial=system.cg)
    energy, forces = evaluate(tmp_path / "out", system.cg["positions"].values[-1])
    system.check(energy, forces, system.coefficients.mean(axis=0))


@pytest.mark.parametrize("name", ["liquid", "trimer"])
def test_single_precision_platform_agrees(name, request, tmp_path):
    # The triclinic liquid only here: the neighbor list of OpenMM 8.6's Reference platform misses some of its pairs.
    system = request.getfixturevalue(name)
    export(system.posterior, tmp_path / "out", format="openmm", initial=system.cg)
    energy, forces = evaluate(tmp_path / "out", system.cg["positions"].values[-1], "CPU")
    system.check(energy, forces, system.coefficients.mean(axis=0))


def test_every_draw_is_its_own_potential(trimer, tmp_path):
    export(trimer.posterior, tmp_path, format="openmm", initial=trimer.cg, draws=2)
    for number in range(2):
        energy, forces = evaluate(tmp_path / f"draw_{number:03d}", trimer.cg["positions"].values[-1])
        trimer.check(energy, forces, trimer.coefficients[number])


def test_a_stretched_bond_still_pulls(tetramer, tmp_path):
    export(tetramer.posterior, tmp_path, format="openmm", initial=tetramer.cg)
    system = mm.XmlSerializer.deserialize((tmp_path / "system.xml").read_text())
    bonds = next(force for force in system.getForces() if force.getName() == "bond_C-D")
    bonds.setUsesPeriodicBoundaryConditions(False)
    for index in reversed(range(system.getNumForces())):
        if system.getForce(index).getName() != "bond_C-D":
            system.removeForce(index)
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    positions = np.zeros((system.getNumParticles(), 3))
    (first, second), _ = bonds.getBondParameters(0)
    for length in (0.8, 2.5):
        positions[:, 2] = 0.26 * np.arange(len(positions))
        positions[second] = positions[first] + [length, 0, 0]
        context.setPositions(positions)
        pull = np.asarray(context.getState(forces=True).getForces(asNumpy=True)._value)[first, 0]
        # The mean of both draws is u = 1.05e4 (r - 0.26)^2 up to the last knot at 0.4 nm, then a constant force.
        np.testing.assert_allclose(pull, 1.05 * 2e4 * (0.40 - 0.26), rtol=1e-4)


def test_exported_script_runs(trimer, tmp_path):
    export(trimer.posterior, tmp_path, format="openmm", initial=trimer.cg)
    done = subprocess.run(
        [sys.executable, "run.py", "1000"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    step, energy, *_ = done.stdout.splitlines()[-1].split(",")
    assert step == "1000"
    assert np.isfinite(float(energy))
    assert (tmp_path / "trajectory.dcd").stat().st_size > 0

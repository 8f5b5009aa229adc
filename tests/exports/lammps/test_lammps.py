"""LAMMPS runs exported potentials: `run 0` gives the forces and energies of the fit."""

import numpy as np
import pytest

from bayescg.exports import export
from bayescg.exports.lammps.commands import interaction_commands
from bayescg.exports.lammps.data import bead_types_of, write_data_file
from bayescg.exports.lammps.tables import write_tables
from bayescg.exports.tables.configuration import reduce_box
from bayescg.potentials import LennardJones, Pair, Potential

pytestmark = pytest.mark.filterwarnings("ignore:no pair term for C-D")


def run(lammps, folder, monkeypatch, commands=("run 0",), script="in.bayescg"):
    """Energy [kJ/mol] and forces [kJ/mol/nm] in bead order, after the set-up part of the exported script."""
    monkeypatch.chdir(folder)
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lines = [line for line in (folder / script).read_text().splitlines() if not line.startswith("run")]
    lmp.commands_list([*lines, *commands])
    count = lmp.get_natoms()
    order = lmp.numpy.extract_atom("id")[:count] - 1
    forces = np.zeros((count, 3))
    forces[order] = lmp.numpy.extract_atom("f")[:count] * 41.84
    energy = lmp.get_thermo("pe") * 4.184
    lmp.close()
    return energy, forces


@pytest.mark.parametrize("name", ["liquid", "orthogonal_liquid", "trimer", "tetramer"])
def test_forces_and_energy_equal_the_fit(name, request, lammps, tmp_path, monkeypatch):
    system = request.getfixturevalue(name)
    export(system.posterior, tmp_path / "out", format="lammps", initial=system.cg)
    # Langevin's random force comes on top of a post-force: without the thermostat forces are the potential's.
    energy, forces = run(lammps, tmp_path / "out", monkeypatch, ("unfix thermostat", "run 0"))
    system.check(energy, forces, system.coefficients.mean(axis=0))


def test_every_draw_is_its_own_potential(trimer, lammps, tmp_path, monkeypatch):
    export(trimer.posterior, tmp_path / "out", format="lammps", initial=trimer.cg, draws=2)
    for number in range(2):
        folder = tmp_path / "out" / f"draw_{number:03d}"
        energy, forces = run(lammps, folder, monkeypatch, ("unfix thermostat", "run 0"))
        trimer.check(energy, forces, trimer.coefficients[number])


def test_exported_input_runs(tetramer, lammps, tmp_path, monkeypatch):
    export(tetramer.posterior, tmp_path / "out", format="lammps", initial=tetramer.cg)
    energy, forces = run(lammps, tmp_path / "out", monkeypatch, ("run 200",))
    assert np.isfinite(energy)
    assert np.all(np.isfinite(forces))
    assert (tmp_path / "out" / "trajectory.lammpstrj").exists()


def test_close_contact_is_pushed_apart(liquid, lammps, tmp_path, monkeypatch):
    # 0.01 nm: far below anything sampled, yet inside the table and repulsive.
    positions = liquid.cg["positions"].values.copy()
    positions[0, 1] = positions[0, 0] + [0.01, 0.0, 0.0]
    close = liquid.cg.assign(positions=(("frame", "bead", "xyz"), positions))
    export(liquid.posterior, tmp_path / "out", format="lammps", initial=close)
    _, forces = run(lammps, tmp_path / "out", monkeypatch, ("unfix thermostat", "run 0"))
    assert forces[1, 0] > 1e4
    assert forces[0, 0] < -1e4


def test_singular_core_stays_finite(liquid, lammps, tmp_path, monkeypatch):
    term = Pair("W", "W", cutoff=0.9, baseline=LennardJones(0.33, 1.2, 0.9), learn=False)
    potential = Potential(term)
    system = type(liquid)(liquid.cg, potential, np.zeros((1, 0)))
    export(system.posterior, tmp_path / "out", format="lammps", initial=liquid.cg)
    table = np.loadtxt(tmp_path / "out" / "pair.table", skiprows=6)
    assert np.abs(table[:, 2]).max() < 1e8
    energy, forces = run(lammps, tmp_path / "out", monkeypatch, ("unfix thermostat", "run 0"))
    system.check(energy, forces, np.zeros(0))


def test_without_a_configuration_there_are_tables_and_commands(trimer, tmp_path):
    paths = export(trimer.posterior, tmp_path, format="lammps")
    names = ["angle.table", "bond.table", "manifest.json", "pair.table", "potential.in"]
    assert [path.name for path in paths] == names
    text = (tmp_path / "potential.in").read_text()
    assert "special_bonds lj/coul 0.0 0.0 1.0" in text
    assert "# atom type 2: B" in text
    assert "# bond type 1: bond_A-B" in text


def test_writers_take_plain_coefficients(tetramer, tmp_path):
    tables = write_tables(tetramer.potential, tetramer.coefficients[0], tmp_path / "with space")
    types = bead_types_of(tetramer.potential, tetramer.cg)
    commands = interaction_commands(tetramer.potential, tables, types, other_bonds=True, relative=False)
    assert "pair_coeff 1 2 none" in commands
    assert any(line.startswith("bond_style hybrid table linear") for line in commands)
    assert f'"{tmp_path / "with space" / "pair.table"}"' in " ".join(commands)


def test_reduced_box_is_the_same_lattice():
    box = np.array([[2.0, 0, 0], [1.7, 2.1, 0], [-1.4, 1.9, 2.2]])
    reduced = reduce_box(box)
    change = reduced @ np.linalg.inv(box)
    np.testing.assert_allclose(change, np.round(change), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(change), 1.0)
    assert abs(reduced[1, 0]) <= 1.0 + 1e-12
    assert abs(reduced[2, 0]) <= 1.0 + 1e-12
    assert abs(reduced[2, 1]) <= 1.05 + 1e-12


def test_types_with_two_masses_are_refused(liquid, tmp_path):
    mass = liquid.cg["mass"].values.copy()
    mass[0] = 40.0
    with pytest.raises(ValueError, match="type W have masses"):
        write_data_file(tmp_path / "x.data", liquid.cg.assign_coords(mass=("bead", mass)), liquid.potential)
    assert not list(tmp_path.iterdir())

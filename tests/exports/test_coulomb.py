"""Charges in other programs: LAMMPS and OpenMM find the forces of the model, and files are read back."""

import re

import numpy as np
import pytest

from bayescg.data import Topology, from_arrays
from bayescg.exports import export
from bayescg.exports.lammps.charges import Charges
from bayescg.exports.lammps.tables import write_tables
from bayescg.potentials import WCA, Bond, Coulomb, Harmonic, Pair, Potential
from tests.exports.conftest import BOXES, System

CHARGES = {"A": 1.0, "B": -1.0}
METHODS = ("ewald", "reaction_field")


def system(method, *, learn=False, pairs=True, exclude_bonds=1, dielectric=2.0, bonds=True):
    """Dimers A-B and neutral W between them, in a triclinic box."""
    rng = np.random.default_rng(8)
    box = 1.1 * BOXES["triclinic"]
    sites = (np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3) / 3) @ box
    shape = np.array([[0.0, 0, 0], [0.28, 0, 0], [0.14, 0.35, 0.1]])
    x = (sites[:, None] + shape).reshape(-1, 3) + rng.uniform(-0.04, 0.04, (81, 3))
    cg = from_arrays(
        x[None],
        box[None],
        ["A", "B", "W"] * 27,
        temperature=300.0,
        mass=[20.0, 30.0, 18.0] * 27,
        topology=Topology.from_bonds(81, [(3 * k, 3 * k + 1) for k in range(27)]),
    )
    core = WCA(0.3, 1.0)
    names = [("A", "A"), ("A", "B"), ("B", "B"), ("A", "W"), ("B", "W"), ("W", "W")] if pairs else []
    terms = [Pair(a, b, 0.5, baseline=core, learn=False) for a, b in names]
    bond = Bond("A", "B", start=0.1, stop=0.5, baseline=Harmonic(0.28, 1e4), learn=False)
    charges = Coulomb(1.05, method, CHARGES, dielectric=dielectric, learn=learn)
    potential = Potential(*terms, *([bond] if bonds else []), charges, exclude_bonds=exclude_bonds)
    return System(cg, potential, np.full((2, potential.n_basis), 0.3))


def lammps_forces(lammps, folder, monkeypatch):
    monkeypatch.chdir(folder)
    program = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lines = (folder / "in.bayescg").read_text().splitlines()
    program.commands_list([line for line in lines if not line.startswith(("run", "fix thermostat", "dump"))])
    program.command("run 0")
    count = program.get_natoms()
    forces = np.zeros((count, 3))
    forces[program.numpy.extract_atom("id")[:count] - 1] = program.numpy.extract_atom("f")[:count] * 41.84
    energy = program.get_thermo("pe") * 4.184
    program.close()
    return energy, forces


def openmm_forces(folder, x):
    mm = pytest.importorskip("openmm")
    found = mm.XmlSerializer.deserialize((folder / "system.xml").read_text())
    # OpenMM 8.6's Reference platform misses one pair 0.59 nm apart in this box; its CPU platform does not.
    context = mm.Context(found, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("CPU"))
    context.setPositions(x)
    state = context.getState(getForces=True, getEnergy=True)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize(
    "choice",
    [
        {"method": "ewald"},
        {"method": "ewald", "exclude_bonds": 0, "learn": True},
        {"method": "reaction_field", "learn": True},
    ],
    ids=str,
)
def test_programs_find_the_forces_of_the_model(choice, lammps, tmp_path, monkeypatch):
    model = system(**choice)
    for program in ("lammps", "openmm"):
        export(model.posterior, tmp_path / program, format=program, initial=model.cg)
    w = model.coefficients[0]
    model.check(*lammps_forces(lammps, tmp_path / "lammps", monkeypatch), w)
    model.check(*openmm_forces(tmp_path / "openmm", model.cg["positions"].values[-1].astype(float)), w)


@pytest.mark.filterwarnings("ignore:no pair term")
@pytest.mark.parametrize(
    "choice",
    [
        {"method": "ewald"},
        {"method": "reaction_field"},
        # LAMMPS' errors are absolute: in water they must not hide behind the small forces of charges.
        {"method": "ewald", "dielectric": 70.0, "bonds": False},
    ],
    ids=str,
)
def test_charges_without_pairs(choice, lammps, tmp_path, monkeypatch):
    model = system(pairs=False, **choice)
    export(model.posterior, tmp_path, format="lammps", initial=model.cg)
    model.check(*lammps_forces(lammps, tmp_path, monkeypatch), model.coefficients[0])


@pytest.mark.parametrize("method", METHODS)
def test_files_are_read_back(method, tmp_path):
    model = system(method)
    w, types = model.coefficients[0], ("A", "B", "W")
    path = write_tables(model.potential, w, tmp_path, bead_types=types).paths["coulomb"]
    style = Charges(model.potential.term("coulomb"))
    assert style.compare(model.potential, w, types, path)[0].error < 1e-9
    text = path.read_text()
    for damaged in (text.replace("charge 1", "charge 1.001"), re.sub(r"dielectric.*\n", "", text), ""):
        path.write_text(damaged)
        assert style.compare(model.potential, w, types, path)[0].error > 1e-4


def test_openmm_notices_a_changed_charge(tmp_path):
    pytest.importorskip("openmm")
    from bayescg.exports.openmm.system import compare_system

    model = system("ewald")
    export(model.posterior, tmp_path, format="openmm", initial=model.cg)
    path = tmp_path / "system.xml"
    errors = {each.name: each.error for each in compare_system(path, model.potential, model.coefficients[0])}
    assert errors["coulomb"] == 0
    path.write_text(re.sub(r'q="\.?[\d.]+"', 'q=".9"', path.read_text(), count=1))
    errors = {each.name: each.error for each in compare_system(path, model.potential, model.coefficients[0])}
    assert errors["coulomb"] > 1e-4


@pytest.mark.parametrize("program", ["lammps", "openmm"])
def test_a_permittivity_below_zero_is_refused(program, tmp_path):
    model = system("ewald", learn=True)
    broken = System(model.cg, model.potential, -model.coefficients)
    with pytest.raises(ValueError, match=r"inverse permittivity of -0.3.*dielectric="):
        export(broken.posterior, tmp_path / "out", format=program, initial=model.cg)


def test_gromacs_refuses_charges(tmp_path):
    with pytest.raises(ValueError, match="GROMACS has nothing for coulomb"):
        export(system("ewald").posterior, tmp_path / "out", format="gromacs")

"""LAMMPS dumps: units that were said wrongly, units lj, open boundaries, noise of a thermostat, names of files."""

import MDAnalysis as mda
import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain
from bayescg.data.dumps import LennardJonesUnits, boundaries
from bayescg.data.plausibility import configurational_temperature
from bayescg.data.trajectories.universe import open_universe
from tests.data.lammps import EPSILON, KELVIN, KT, MASS, SIGMA, argon, dump


def read(universe, temperature=KELVIN, **options):
    return coarse_grain(universe, Mapping.center_of_mass(universe, by="atoms"), temperature=temperature, **options)


@pytest.fixture(scope="module")
def fluid():
    return argon()


# Unit of force in kJ/mol/nm and of length in nm.
STYLES = {"real": (41.84, 0.1), "metal": (964.8533212331, 0.1)}


@pytest.mark.parametrize("said", ["real", "metal"])
@pytest.mark.parametrize("true", ["real", "metal"])
def test_units_that_were_said(fluid, tmp_path, said, true):
    positions, forces, side = fluid
    force, length = STYLES[true]
    files = dump(tmp_path, positions / length, forces / force, side / length)
    universe = open_universe(*files, units=said, timestep=0.001)
    if said == true:
        data = read(universe)
        np.testing.assert_allclose(data["forces"], forces, rtol=1e-5, atol=1e-3)
        temperature, error = configurational_temperature(data)
        assert abs(temperature - KELVIN) < 4 * error
        assert error < 0.15 * KELVIN
    else:
        with pytest.raises(ValueError, match=f"look like forces of a dump in `units {true}`, of which units='{said}'"):
            read(universe)


def test_units_lj(fluid, tmp_path):
    positions, forces, side = fluid
    unit = LennardJonesUnits(energy=EPSILON, length=SIGMA, mass=MASS)
    files = dump(tmp_path, positions / SIGMA, forces / (EPSILON / SIGMA), side / SIGMA, mass=1.0)
    universe = open_universe(*files, units=unit, timestep=0.005)
    data = read(universe)
    np.testing.assert_allclose(data["positions"], positions, atol=1e-5)
    np.testing.assert_allclose(data["forces"], forces, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(data["mass"], MASS)
    # tau = sigma sqrt(m / epsilon), 2.15 ps for argon.
    assert unit.time == pytest.approx(2.15, abs=0.01)
    np.testing.assert_allclose(np.diff(data["time"]), 100 * 0.005 * unit.time, rtol=1e-6)
    with pytest.raises(ValueError, match=r"length=-0.3: units lj need a positive"):
        LennardJonesUnits(1.0, -0.3, 1.0)


@pytest.mark.parametrize("name", ["run.lammpstrj", "run.dump", "dump.run", "run.lammpsdump", "run"])
def test_dumps_of_any_name(fluid, tmp_path, name):
    positions, forces, side = fluid
    files = dump(tmp_path, 10 * positions[:2], forces[:2] / 41.84, 10 * side, name=name)
    assert read(open_universe(*files, units="real")).sizes["frame"] == 2
    with pytest.raises(ValueError, match="a LAMMPS dump does not say its units"):
        read(open_universe(*files))


def test_noise_of_a_thermostat(fluid, tmp_path):
    """Variance 2 m kT / (damp dt) on every component, as `fix langevin` adds it."""
    positions, forces, side = fluid
    damp, timestep = 1.0, 0.001
    noise = np.random.default_rng(1).normal(0, np.sqrt(2 * MASS * KT / (damp * timestep)), forces.shape)
    files = dump(tmp_path, 10 * positions, (forces + noise) / 41.84, 10 * side)
    with pytest.warns(UserWarning, match=r"do not add up to zero.*fix langevin.*damp = ([\d.]+) ps.*rerun") as caught:
        data = read(open_universe(*files, units="real"))
    text = str(caught[0].message)
    assert float(text.split("damp = ")[1].split()[0]) == pytest.approx(damp, rel=0.5)
    share = float(text.split("holds ")[1].split("%")[0]) / 100
    assert share == pytest.approx(noise.var() / (data["forces"].values.var()), rel=0.5)


def test_open_boundaries(fluid, tmp_path):
    positions, forces, side = fluid
    files = dump(tmp_path, 10 * positions[:2], forces[:2] / 41.84, 10 * side, bounds="pp pp ff")
    assert boundaries(files[1]) == ("pp", "pp", "ff")
    with pytest.raises(ValueError, match=r"boundaries ff pp: systems that are periodic in some directions only"):
        read(open_universe(*files, units="real"))
    files = dump(tmp_path, 10 * positions[:2], forces[:2] / 41.84, 10 * side, bounds="ss ss ss")
    data = read(open_universe(*files, units="real"))
    assert data.attrs["boundary"] == "open"
    assert data["box"].values[0, 0, 0] > 4 * side
    np.testing.assert_allclose(data["positions"], positions[:2], atol=1e-5)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_files_that_are_something_else(fluid, tmp_path):
    positions, forces, side = fluid
    data, path = dump(tmp_path, 10 * positions[:2], forces[:2] / 41.84, 10 * side)
    with pytest.raises(ValueError, match=r"run.lammpsdump is a trajectory, not a topology: .* swapped"):
        open_universe(path, data)
    text = tmp_path / "text.trr"
    text.write_text("this is no trajectory")
    with pytest.raises(ValueError, match=r"text.trr is not a GROMACS TRR, whatever its name says"):
        open_universe(data, text)
    top = tmp_path / "system.top"
    top.write_text('#include "oplsaa.ff/forcefield.itp"\n[ system ]\nwater\n')
    with pytest.raises(ValueError, match=r"system.top is an input of gmx grompp: give the .tpr"):
        open_universe(top, path)


@pytest.mark.filterwarnings("ignore:Unknown masses")
def test_masses_by_name(tmp_path):
    lines = "".join(f"{k:5d}{'G':5s}{'AR':>5s}{k:5d}{0.5 * k:8.3f}{0:8.3f}{0:8.3f}\n" for k in range(1, 4))
    (tmp_path / "a.gro").write_text(f"t\n3\n{lines}   3.0   3.0   3.0\n")
    given = (tmp_path / "a.gro", tmp_path / "a.gro")
    universe = open_universe(*given, masses={"AR": 39.948})
    assert Mapping.center_of_mass(universe, by="atoms").mass.tolist() == [39.948] * 3
    with pytest.raises(ValueError, match="masses: no atom is called Ar; the topology has AR"):
        open_universe(*given, masses={"Ar": 39.948, "AR": 1.0})


def test_a_molecule_bonded_to_its_own_image():
    """A chain of ten atoms around the box: along its bonds it never ends."""
    positions = np.zeros((1, 10, 3))
    positions[0, :, 0] = np.arange(10) * 2.0
    universe = mda.Universe.empty(10, trajectory=True, forces=True, atom_resindex=[0] * 10, n_residues=1)
    for name, values in (("names", ["C"] * 10), ("resnames", ["P"]), ("masses", [12.0] * 10)):
        universe.add_TopologyAttr(name, values)
    bonds = [(k, k + 1) for k in range(9)]
    for closed in (False, True):
        copy = universe.copy()
        copy.add_TopologyAttr("bonds", bonds + ([(9, 0)] if closed else []))
        copy.load_new(positions.astype(np.float32), dimensions=np.array([[20.0, 20, 20, 90, 90, 90]]))
        mapping = Mapping.center_of_mass(copy, constraints="none")
        if closed:
            with pytest.raises(ValueError, match=r"bead P \(number 0\) is bonded to its own periodic image"):
                coarse_grain(copy, mapping, temperature=300.0, forces=False)
        else:
            data = coarse_grain(copy, mapping, temperature=300.0, forces=False)
            assert data["positions"].values[0, 0, 0] == pytest.approx(0.9)


def test_a_molecule_in_vacuum():
    """No box: the same beads as in a large one."""
    rng = np.random.default_rng(0)
    positions = np.cumsum(rng.normal(0, 1.0, (4, 12, 3)), axis=1)
    universe = mda.Universe.empty(12, trajectory=True, atom_resindex=np.repeat(range(3), 4), n_residues=3)
    for name, values in (("names", ["C"] * 12), ("resnames", ["P"] * 3), ("masses", [12.0] * 12)):
        universe.add_TopologyAttr(name, values)
    universe.add_TopologyAttr("bonds", [(k, k + 1) for k in range(11)])
    universe.load_new(positions.astype(np.float32))
    data = coarse_grain(universe, Mapping.center_of_mass(universe, constraints="none"), temperature=300.0, forces=False)
    assert data.attrs["boundary"] == "open"
    np.testing.assert_allclose(data["positions"], positions.reshape(4, 3, 4, 3).mean(2) / 10, atol=1e-5)
    assert len(np.unique(data["box"].values)) == 2

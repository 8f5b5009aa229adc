"""What a mapping must not be: guessed masses, beads as wide as the box, one type for different things."""

import MDAnalysis as mda
import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain
from tests.data.systems import universe_of

pytestmark = pytest.mark.filterwarnings("ignore:Unknown masses")

GRO = "%5d%-5s%5s%5d%8.3f%8.3f%8.3f\n"


def gro(tmp_path, names, *, residues=4, one_residue=False, box=3.0, seed=0):
    """A GRO file of equal residues at random, which has names and nothing else."""
    rng = np.random.default_rng(seed)
    centers = np.repeat(rng.uniform(0, box, (residues, 3)), len(names), 0)
    positions = centers + 0.05 * rng.normal(size=centers.shape)
    lines = [
        GRO % (1 if one_residue else k // len(names) + 1, "MOL", names[k % len(names)], k + 1, *x)
        for k, x in enumerate(positions)
    ]
    path = tmp_path / "system.gro"
    path.write_text(f"t\n{len(lines)}\n{''.join(lines)}{box:10.5f}{box:10.5f}{box:10.5f}\n")
    return mda.Universe(str(path))


def lammps_data(tmp_path, kinds):
    """A LAMMPS data file of molecules given as types of atoms in a row; single atoms have molecule number zero."""
    rng = np.random.default_rng(0)
    rows, bonds = [], []
    for number, types in enumerate(kinds):
        corner, first = rng.uniform(0, 20, 3), len(rows) + 1
        for k, kind in enumerate(types):
            molecule = number + 1 if len(types) > 1 else 0
            x, y, z = corner
            rows.append(f"{len(rows) + 1} {molecule} {kind} 0.0 {x + k:.4f} {y:.4f} {z:.4f}")
        bonds += [(first + k, first + k + 1) for k in range(len(types) - 1)]
    masses = "\n".join(f"{k + 1} {mass}" for k, mass in enumerate((16.0, 1.008, 14.0, 23.0, 35.5)))
    text = f"m\n\n{len(rows)} atoms\n{len(bonds)} bonds\n5 atom types\n1 bond types\n\n"
    text += "".join(f"0 20 {axis}lo {axis}hi\n" for axis in "xyz")
    text += f"\nMasses\n\n{masses}\n\nAtoms # full\n\n" + "\n".join(rows) + "\n\nBonds\n\n"
    text += "\n".join(f"{k + 1} 1 {a} {b}" for k, (a, b) in enumerate(bonds)) + "\n"
    path = tmp_path / "system.data"
    path.write_text(text)
    return mda.Universe(str(path))


def test_a_guessed_mass_of_zero_is_refused(tmp_path):
    for names, unknown in ((["AR"], "AR"), (["C", "XQ", "OA"], "XQ")):
        universe = gro(tmp_path, names)
        with pytest.raises(
            ValueError, match=rf"atoms called .*{unknown}.* have no mass in the topology.*input: masses"
        ):
            Mapping.center_of_geometry(universe, by="residues", constraints="none")
        with pytest.raises(ValueError, match="have no mass in the topology"):
            Mapping.center_of_mass(universe, by="residues", constraints="none")
    # Said to be zero, it is a virtual site.
    universe.add_TopologyAttr("masses", [12.0, 0.0, 16.0] * 4)
    assert Mapping.center_of_mass(universe, by="residues", constraints="none").mass.tolist() == [28.0] * 4


def test_united_atoms_with_the_mass_of_bare_carbon(tmp_path):
    with pytest.warns(UserWarning, match=r"atoms called CH2, CH3 have the mass of bare carbon, 12.011 Da"):
        Mapping.center_of_mass(gro(tmp_path, ["CH3", "CH2", "CH3"]), by="residues", constraints="none")


def test_all_molecules_under_one_number(tmp_path):
    universe = gro(tmp_path, ["OW", "HW1", "HW2"], residues=200, one_residue=True)
    with pytest.raises(ValueError, match=r"bead W \(number 0\) holds 600 atoms in 600 parts .* it is no bead"):
        Mapping.center_of_mass(universe, by="residues", names={"MOL": "W"})


def test_parts_that_no_bond_connects(tmp_path):
    """Two molecules in one bead, near each other: perhaps meant."""
    positions = np.array([[[0, 0, 0], [1, 0, 0], [3, 0, 0], [4, 0, 0.0]]])
    bonds = [(0, 1), (2, 3)]
    given = {"names": list("ABCD"), "resnames": ["M"], "masses": [12.0] * 4}
    with pytest.warns(UserWarning, match="bead M holds 2 parts that no bond connects"):
        Mapping.center_of_mass(universe_of(positions, None, bonds=bonds, **given), constraints="none")
    # A bonded chain may be as long as it likes.
    long = np.stack([np.arange(30) * 1.5, np.zeros(30), np.zeros(30)], axis=1)[None]
    chain = universe_of(
        *(long, None),
        bonds=[(k, k + 1) for k in range(29)],
        **{"names": ["C"] * 30, "resnames": ["M"], "masses": [12.0] * 30},
    )
    assert Mapping.center_of_mass(chain, constraints="none").n_beads == 1


def test_one_type_is_one_kind_of_thing():
    positions = np.random.default_rng(0).uniform(0, 20, (1, 4, 3))
    given = {"names": list("ABCD"), "resnames": ["M", "M"], "residues": [0, 0, 1, 1]}
    with pytest.raises(ValueError, match=r"type M have different masses: 24 Da \(1 beads\), 60 Da \(1 beads\)"):
        Mapping.center_of_mass(
            universe_of(positions * 0.1, None, masses=[12.0, 12, 30, 30], **given), constraints="none"
        )
    with pytest.warns(UserWarning, match=r"type M have different masses: 24 Da .*25 Da"):
        Mapping.center_of_mass(
            universe_of(positions * 0.1, None, masses=[12.0, 12, 12, 13], **given), constraints="none"
        )


def test_a_bead_of_virtual_sites_has_no_mass():
    positions = np.random.default_rng(0).uniform(0, 1, (1, 4, 3))
    universe = universe_of(
        *(positions, None),
        **{"names": list("ABCD"), "resnames": ["M", "V"], "residues": [0, 0, 1, 1], "masses": [12.0, 12, 0, 0]},
    )
    with pytest.raises(ValueError, match=r"bead V .* has no mass: it consists of virtual sites alone"):
        Mapping.center_of_geometry(universe, constraints="none")


@pytest.mark.parametrize("name", ["A/B", "A\nB", "A\x07", "", " A", "A\\B"])
def test_names_that_no_file_can_carry(name):
    universe = universe_of(np.zeros((1, 1, 3)), None, names=["A"], resnames=["M"], masses=[12.0])
    with pytest.raises(ValueError, match=r"bead type .* a name must have printable characters"):
        Mapping.center_of_mass(universe, names={"M": name}, constraints="none")


@pytest.mark.parametrize("by", ["residues", "molecules", "fragments"])
def test_kinds_of_molecules_without_names(tmp_path, by):
    kinds = [(1, 2, 2)] * 30 + [(3, 3)] * 20 + [(4,), (5,)] * 5
    universe = lammps_data(tmp_path, kinds)
    mapping = Mapping.center_of_mass(universe, by=by)
    types, counts = np.unique(mapping.bead_type, return_counts=True)
    assert dict(zip(types.tolist(), counts.tolist(), strict=True)) == {"X1": 30, "X2": 20, "X3": 5, "X4": 5}
    for name, mass in (("X1", 18.016), ("X2", 28.0), ("X3", 23.0), ("X4", 35.5)):
        np.testing.assert_allclose(mapping.mass[mapping.bead_type == name], mass)
    named = Mapping.center_of_mass(universe, by=by, names={"X1": "W", "X2": "N"})
    assert set(named.bead_type.tolist()) == {"W", "N", "X3", "X4"}
    with pytest.raises(ValueError, match=r"called Y; the universe has X1 \(atom types 1 2 2\), X2 \(atom types 3 3\)"):
        Mapping.center_of_mass(universe, by=by, names={"Y": "W"})


def test_one_kind_without_a_name_is_x(tmp_path):
    assert set(Mapping.center_of_mass(lammps_data(tmp_path, [(1, 2, 2)] * 5)).bead_type.tolist()) == {"X"}


def test_kinds_without_names_in_a_mapping_file(tmp_path):
    universe = lammps_data(tmp_path, [(1, 2, 2)] * 3 + [(3, 3)] * 2)
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "molecules:\n  X2:\n    beads:\n      A: {atoms: [0]}\n      B: {atoms: [1]}\n    bonds: [[A, B]]\n"
    )
    with pytest.warns(UserWarning, match="9 atoms are in no bead"):
        mapping = Mapping.from_yaml(path, universe)
    assert mapping.bead_type.tolist() == ["A", "B"] * 2
    path.write_text("molecules:\n  X:\n    beads:\n      W: {atoms: all}\n")
    with pytest.raises(ValueError, match=r"no molecule is called X; the universe has X1 \(atom types 1 2 2\)"):
        Mapping.from_yaml(path, universe)


def test_forces_of_atoms_with_masses_given_are_counted(tmp_path):
    """The case behind: partly unknown masses lost the forces of their atoms."""
    rng = np.random.default_rng(0)
    universe = gro(tmp_path, ["CH3", "XQ", "OA"], residues=5)
    universe.add_TopologyAttr("masses", [15.0, 40.0, 16.0] * 5)
    forces = rng.normal(size=(1, 15, 3)) * 20
    universe.load_new(universe.atoms.positions[None], forces=forces, dimensions=np.array([[30, 30, 30, 90, 90, 90.0]]))
    mapping = Mapping.center_of_mass(universe, by="residues", constraints="none")
    data = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    np.testing.assert_allclose(
        data["forces"].values[0], 10 * forces[0].reshape(5, 3, 3).sum(axis=1), rtol=1e-4, atol=1e-2
    )

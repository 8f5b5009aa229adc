import MDAnalysis as mda
import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain, datasets, minimum_image, stream
from tests.data.systems import TRICLINIC, reopen, universe_of, waters, write

UNCHECKED = {"temperature": 300.0, "forces": "unchecked"}


@pytest.fixture(scope="module")
def water():
    return datasets.water().universe()


@pytest.fixture(scope="module")
def one_bead(water):
    return Mapping.center_of_mass(water, names={"SOL": "W"})


def test_bundled_water_is_the_long_run_thinned(water, one_bead, shared):
    data = coarse_grain(water, one_bead, temperature=300.0)
    with np.load(shared / "spce" / "cg_long.npz") as long:
        positions, forces = long["positions"][:200:2], long["forces"][:200:2]
    for frame in range(100):
        difference = minimum_image(data["positions"].values[frame] - positions[frame], data["box"].values[frame])
        assert np.abs(difference).max() < 2e-6
    np.testing.assert_allclose(data["forces"].values, forces, atol=2e-3)
    assert data["time"].values[:3].tolist() == [0.0, 2.0, 4.0]
    assert data.sizes["bonds" if "bonds" in data.sizes else "bond"] == 0


def test_force_variance_of_water(water, one_bead):
    # 61,400 (kJ/mol/nm)^2 per component in the 200 frames from which these were cut.
    data = coarse_grain(water, one_bead, temperature=300.0)
    assert float((data["forces"] ** 2).mean()) == pytest.approx(61_400, rel=0.02)


def test_hexane_from_votca_equals_yaml(shared, tmp_path):
    for name in ("topol.tpr", "traj.trr"):
        (tmp_path / name).write_bytes((shared / "hexane" / name).read_bytes())
    universe = mda.Universe(str(tmp_path / "topol.tpr"), str(tmp_path / "traj.trr"))
    (tmp_path / "m.yaml").write_text(
        "molecules: {HEX: {beads: {A1: {type: A, atoms: C1 H1 H2 H3 C2 H4 H5}, B1: {type: B, atoms: C3 H6 H7 C4 H8 H9},"
        "A2: {type: A, atoms: C5 H10 H11 C6 H12 H13 H14}}, bonds: [{beads: [A1, B1], group: bond}, "
        "{beads: [B1, A2], group: bond}], angles: [{beads: [A1, B1, A2], group: angle}]}}"
    )
    votca = Mapping.from_votca(shared / "hexane" / "votca" / "mapping.xml", universe)
    ours = Mapping.from_yaml(tmp_path / "m.yaml", universe)
    assert votca.n_beads == 480
    a = coarse_grain(universe, votca, temperature=300.0, stop=5)
    b = coarse_grain(universe, ours, temperature=300.0, stop=5)
    np.testing.assert_allclose(a["positions"], b["positions"], atol=1e-5)
    np.testing.assert_array_equal(a["forces"], b["forces"])
    for name in ("bonds", "angles", "bond_group", "angle_group", "bead_type", "molecule"):
        np.testing.assert_array_equal(a[name], b[name])
    # Two frames of a bonded liquid are enough to see that no bond was torn at the boundary.
    i, j = a["bonds"].values.T
    bonds = minimum_image(a["positions"].values[0, i] - a["positions"].values[0, j], a["box"].values[0])
    assert 0.15 < np.linalg.norm(bonds, axis=1).min() < np.linalg.norm(bonds, axis=1).max() < 0.30
    with pytest.raises(ValueError, match="Krämer"):
        Mapping.from_votca(shared / "hexane" / "votca" / "mapping.xml", universe, constraints="all-bonds")


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_are_the_whole(water, one_bead, chunk):
    whole = coarse_grain(water, one_bead, start=3, stop=40, step=3, **UNCHECKED)
    parts = list(stream(water, one_bead, start=3, stop=40, step=3, chunk=chunk, **UNCHECKED))
    assert [part.sizes["frame"] for part in parts[:-1]] == [chunk] * (len(parts) - 1)
    assert whole["frame"].values.tolist() == list(range(3, 40, 3))
    for name in ("positions", "forces", "box", "time", "frame"):
        np.testing.assert_array_equal(np.concatenate([part[name].values for part in parts]), whole[name].values)
    assert {part.attrs["source"] for part in parts} == {whole.attrs["source"]}


def test_streaming_reads_no_further_than_asked(water, one_bead):
    chunks = stream(water, one_bead, chunk=5, **UNCHECKED)
    next(chunks)
    assert water.trajectory.frame == 4
    chunks.close()


def test_the_universe_stays_at_its_frame(water, one_bead):
    water.trajectory[7]
    coarse_grain(water, one_bead, stop=3, **UNCHECKED)
    assert water.trajectory.frame == 7


def test_source_does_not_depend_on_the_part_read(water, one_bead):
    a = coarse_grain(water, one_bead, stop=1, **UNCHECKED)
    b = coarse_grain(water, one_bead, start=50, stop=51, **UNCHECKED)
    assert a.attrs["source"] == b.attrs["source"]
    other = waters()
    assert coarse_grain(other, Mapping.center_of_mass(other), **UNCHECKED).attrs["source"] != a.attrs["source"]


@pytest.mark.parametrize("box", [(20.0, 20.0, 20.0, 90.0, 90.0, 90.0), TRICLINIC])
@pytest.mark.parametrize("name", ["traj.trr", "traj.ncdf", "traj.h5md"])
def test_formats(tmp_path, name, box):
    universe = waters(box=box)
    mapping = Mapping.center_of_mass(universe)
    expected = coarse_grain(universe, mapping, **UNCHECKED)
    source = universe if name != "traj.h5md" else reopen(universe, write(universe, tmp_path / "first.trr"))
    data = coarse_grain(
        reopen(universe, write(source, tmp_path / name, **({"forces": True} if name.endswith("ncdf") else {}))),
        mapping,
        **UNCHECKED,
    )
    for variable, tolerance in (("positions", 1e-5), ("forces", 1e-2), ("box", 1e-5), ("time", 1e-6)):
        np.testing.assert_allclose(data[variable].values, expected[variable].values, atol=tolerance)


def test_several_files_are_one_trajectory(tmp_path):
    universe = waters()
    paths = [write(universe, tmp_path / f"{i}.trr") for i in range(2)]
    mapping = Mapping.center_of_mass(universe)
    chained = universe.copy()
    chained.load_new([str(path) for path in paths])
    data = coarse_grain(chained, mapping, continuous=False, **UNCHECKED)
    assert data["frame"].values.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(data["forces"].values[3:], data["forces"].values[:3])
    chained.trajectory[5]
    assert coarse_grain(chained, mapping, start=4, **UNCHECKED).attrs["source"] == data.attrs["source"]


def lammps(tmp_path, units, tilt=None):
    """Ten argon atoms in a dump whose numbers are exact; the universe, positions and forces."""
    rng = np.random.default_rng(1)
    positions, forces = rng.uniform(0, 20, (2, 10, 3)).round(4), rng.normal(0, 5, (2, 10, 3)).round(4)
    head = "LAMMPS\n\n10 atoms\n1 atom types\n" + "".join(f"0 20 {axis}lo {axis}hi\n" for axis in "xyz")
    head += "\nMasses\n\n1 39.9\n\nAtoms # atomic\n\n"
    rows = [f"{i + 1} 1 {x} {y} {z}\n" for i, (x, y, z) in enumerate(positions[0])]
    (tmp_path / "system.data").write_text(head + "".join(rows))
    text = ""
    for frame in range(2):
        text += f"ITEM: TIMESTEP\n{10 * frame}\nITEM: NUMBER OF ATOMS\n10\nITEM: BOX BOUNDS pp pp pp\n" + "0 20\n" * 3
        text += "ITEM: ATOMS id type x y z fx fy fz\n"
        for i in rng.permutation(10):
            numbers = [*positions[frame, i], *forces[frame, i]]
            text += f"{i + 1} 1 {' '.join(str(number) for number in numbers)}\n"
    (tmp_path / "traj.lammpsdump").write_text(text)
    options = {} if units is None else {"units": units}
    files = (str(tmp_path / "system.data"), str(tmp_path / "traj.lammpsdump"))
    universe = mda.Universe(*files, atom_style="id type x y z", dt=0.002, **options)
    return universe, positions, forces


@pytest.mark.parametrize(("units", "factor"), [("real", 41.84), ("metal", 964.8533212)])
def test_lammps_dump(tmp_path, units, factor):
    universe, positions, forces = lammps(tmp_path, units)
    data = coarse_grain(universe, Mapping.center_of_mass(universe, by="atoms", names={"1": "AR"}), **UNCHECKED)
    np.testing.assert_allclose(data["positions"].values, positions / 10, atol=1e-6)
    np.testing.assert_allclose(data["forces"].values, forces * factor, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(data["mass"].values, 39.9)
    np.testing.assert_allclose(data["time"].values, [0.0, 0.02])


@pytest.mark.parametrize("units", [None, "lj"])
def test_lammps_dump_must_say_its_units(tmp_path, units):
    universe, _, _ = lammps(tmp_path, units)
    with pytest.raises(ValueError, match="LAMMPS dump does not say its units"):
        coarse_grain(universe, Mapping.center_of_mass(universe, by="atoms"), temperature=300.0)


def test_single_atoms_keep_everything():
    rng = np.random.default_rng(0)
    positions, forces = rng.uniform(0, 20, (2, 9, 3)), rng.normal(0, 30, (2, 9, 3))
    universe = universe_of(positions, forces, names=["AR"] * 9, resnames=["AR"], masses=[39.9] * 9)
    data = coarse_grain(universe, Mapping.center_of_mass(universe, by="atoms"), **UNCHECKED)
    np.testing.assert_allclose(data["positions"], positions / 10, rtol=1e-6)
    np.testing.assert_allclose(data["forces"], forces * 10, rtol=1e-6)

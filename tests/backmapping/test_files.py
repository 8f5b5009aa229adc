"""Placed atoms written to files, and beads read from those of other programs."""

import numpy as np
import pytest
import xarray as xr

from bayescg import backmapping
from bayescg.data import read_beads
from bayescg.data.trajectories.universe import open_universe

MDAnalysis = pytest.importorskip("MDAnalysis")

BOX = np.array([[2.0, 0, 0], [0, 2.5, 0], [0, 0, 3.0]])


@pytest.fixture(scope="module")
def universe():
    """Names of six atoms, without positions."""
    made = MDAnalysis.Universe.empty(6, n_residues=2, atom_resindex=[0, 0, 0, 1, 1, 1], trajectory=False)
    made.add_TopologyAttr("names", ["O", "H1", "H2"] * 2)
    made.add_TopologyAttr("resnames", ["SOL", "SOL"])
    made.add_TopologyAttr("masses", [16.0, 1.0, 1.0] * 2)
    return made


@pytest.fixture(scope="module")
def result() -> xr.Dataset:
    """Three draws of two frames."""
    x = np.random.default_rng(0).uniform(0, 2, (3, 2, 6, 3))
    data = {
        "positions": (("draw", "frame", "atom", "xyz"), x),
        "log_weight": (("draw", "frame"), np.log([[0.9, 1 / 3], [0.05, 1 / 3], [0.05, 1 / 3]])),
        "box": (("frame", "vector", "xyz"), np.stack([BOX, 1.1 * BOX])),
    }
    return xr.Dataset(data, {"frame": [4, 9], "time": ("frame", [2.0, 7.0])})


@pytest.mark.filterwarnings("ignore:Element information is missing")
@pytest.mark.parametrize(("suffix", "tolerance"), [("xtc", 6e-4), ("trr", 1e-6), ("dcd", 1e-6), ("pdb", 6e-5)])
def test_frames_come_back(result, universe, tmp_path, suffix, tolerance):
    path = backmapping.write_atoms(result, tmp_path / f"atoms.{suffix}", universe, draw=slice(None))
    back = MDAnalysis.Universe(str(path)) if suffix == "pdb" else universe.copy()
    if suffix != "pdb":
        back.load_new(str(path))
    read = np.stack([0.1 * step.positions.astype(float) for step in back.trajectory])
    expected = result["positions"].transpose("frame", "draw", "atom", "xyz").values.reshape(6, 6, 3)
    assert np.abs(read - expected).max() < tolerance
    if suffix in ("xtc", "trr"):
        assert [round(step.time, 3) for step in back.trajectory] == [2.0] * 3 + [7.0] * 3
        assert back.trajectory[5].dimensions[:3] == pytest.approx([22.0, 27.5, 33.0], rel=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir() if "offsets" not in p.name and "lock" not in p.name) == [path.name]


def test_one_draw_of_one_frame_with_names(result, universe, tmp_path):
    path = backmapping.write_atoms(result, tmp_path / "atoms.gro", universe, draw=1, frame=1)
    back = MDAnalysis.Universe(str(path))
    assert back.atoms.names.tolist() == ["O", "H1", "H2"] * 2
    assert np.abs(0.1 * back.atoms.positions - result["positions"].values[1, 1]).max() < 6e-4


def test_draws_of_large_weight_are_written_more_often(result, universe, tmp_path):
    path = backmapping.write_atoms(result, tmp_path / "atoms.trr", universe)
    back = universe.copy()
    back.load_new(str(path))
    x = np.stack([0.1 * step.positions for step in back.trajectory])
    first = result["positions"].values[0, 0]
    assert [bool(np.abs(frame - first).max() < 1e-6) for frame in x] == [True] * 3 + [False] * 3
    assert np.abs(x[5] - result["positions"].values[2, 1]).max() < 1e-6


def test_what_cannot_be_written_is_refused(result, universe, tmp_path):
    with pytest.raises(ValueError, match="one draw and one frame"):
        backmapping.write_atoms(result, tmp_path / "atoms.gro", universe)
    with pytest.raises(ValueError, match=r"'\.nothing'"):
        backmapping.write_atoms(result, tmp_path / "atoms.nothing", universe)
    with pytest.raises(ValueError, match="the universe has 6"):
        backmapping.write_atoms(result.isel(atom=slice(5)), tmp_path / "atoms.xtc", universe)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Reader has no dt information", "ignore:Unknown masses")
def test_beads_of_gromacs(tmp_path):
    lines = ["beads", "4"]
    lines += [
        f"{1 + k // 2:5d}{'HEX':<5}{'AB'[k % 2]:>5}{k + 1:5d}{0.3 * k:8.3f}{0.1:8.3f}{0.2:8.3f}" for k in range(4)
    ]
    (tmp_path / "beads.gro").write_text("\n".join([*lines, "   2.00000   2.50000   3.00000"]) + "\n")
    universe = open_universe(tmp_path / "beads.gro", tmp_path / "beads.gro")
    beads = read_beads(universe, temperature=300.0)
    assert beads["bead_type"].values.tolist() == ["A", "B", "A", "B"]
    assert beads["molecule"].values.tolist() == [0, 0, 1, 1]
    assert np.abs(beads["positions"].values[0, :, 0] - 0.3 * np.arange(4)).max() < 1e-6
    assert beads["box"].values[0] == pytest.approx(BOX)


def test_beads_of_lammps(tmp_path):
    data = "beads\n\n3 atoms\n1 bonds\n2 atom types\n1 bond types\n\n0 20 xlo xhi\n0 25 ylo yhi\n0 30 zlo zhi\n\n"
    data += "Masses\n\n1 15.0\n2 14.0\n\n"
    data += "Atoms # molecular\n\n1 1 1 1 2 3\n2 1 2 4 5 6\n3 2 1 7 8 9\n\nBonds\n\n1 1 1 2\n"
    (tmp_path / "beads.data").write_text(data)
    dump = []
    for step in (0, 1000):
        dump += [
            "ITEM: TIMESTEP",
            step,
            "ITEM: NUMBER OF ATOMS",
            3,
            "ITEM: BOX BOUNDS pp pp pp",
            "0 20",
            "0 25",
            "0 30",
        ]
        # Not in order, as LAMMPS writes them.
        dump += ["ITEM: ATOMS id type x y z", f"3 1 7 8 {9 + step / 1000}", "1 1 1 2 3", "2 2 4 5 6"]
    (tmp_path / "beads.lammpsdump").write_text("\n".join(map(str, dump)) + "\n")
    universe = open_universe(tmp_path / "beads.data", tmp_path / "beads.lammpsdump", units="real", timestep=0.002)
    beads = read_beads(universe, temperature=300.0, start=1)
    assert beads["bead_type"].values.tolist() == ["1", "2", "1"]
    assert beads["molecule"].values.tolist() == [0, 0, 1]
    assert beads["mass"].values.tolist() == [15.0, 14.0, 15.0]
    assert beads["positions"].values[0] == pytest.approx(np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 1.0]]))

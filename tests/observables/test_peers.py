"""Distributions of real trajectories against VOTCA's csg_stat on the same frames."""

import shutil

import numpy as np
import pytest

from bayescg import observables as obs
from bayescg.data.dataset import from_arrays
from bayescg.data.mapping.topology import Topology

pytestmark = pytest.mark.peer


def table(path):
    """Grid and values of a VOTCA table; bins are centered on the grid."""
    return np.loadtxt(path, usecols=(0, 1)).T


def centered(grid, low=0.0):
    """Edges of bins around a grid, the first of them cut off at `low`."""
    step = grid[1] - grid[0]
    return np.maximum(np.append(grid - step / 2, grid[-1] + step / 2), low)


@pytest.fixture(scope="module")
def hexane(shared, tmp_path_factory):
    """The 100 hexane frames as three beads at the centers of mass, mapped here by hand."""
    import MDAnalysis as mda

    folder = tmp_path_factory.mktemp("hexane")
    for name in ("conf.gro", "traj.trr"):
        shutil.copy(shared / "hexane" / name, folder)
    universe = mda.Universe(str(folder / "conf.gro"), str(folder / "traj.trr"))
    mass = np.where([n.startswith("C") for n in universe.atoms.names[:20]], 12.011, 1.008)
    parts = [slice(0, 7), slice(7, 13), slice(13, 20)]
    frames, boxes = [], []
    for step in universe.trajectory:
        x = step.positions.astype(np.float64).reshape(160, 20, 3) / 10
        box = step.dimensions[:3].astype(np.float64) / 10
        beads = []
        for part in parts:
            inner = x[:, part] - x[:, part][:, :1]
            inner -= np.round(inner / box) * box
            beads.append(x[:, part][:, 0] + np.average(inner, axis=1, weights=mass[part]))
        frames.append(np.stack(beads, 1).reshape(-1, 3))
        boxes.append(box)
    first = np.arange(160)[:, None] * 3 + np.arange(2)
    topology = Topology.from_bonds(480, np.stack([first.ravel(), first.ravel() + 1], 1))
    return from_arrays(np.array(frames), np.array(boxes), list("ABA") * 160, temperature=300.0, topology=topology)


@pytest.mark.parametrize(("a", "b"), [("A", "A"), ("A", "B"), ("B", "B")])
def test_hexane_rdf_equals_csg_stat(hexane, shared, a, b):
    """csg_stat leaves out all pairs that a bond or an angle ties: exclude_bonds=2."""
    grid, peer = table(shared / "hexane" / "votca" / f"{a}-{b}.dist.new")
    ours = obs.rdf(hexane, a, b, cutoff=grid[-1] + 0.0025, bins=centered(grid), exclude_bonds=2).mean("block").values
    counts = {"AA": 320**2 / 2, "AB": 320 * 160, "BB": 160**2 / 2}[a + b]
    one = float(np.linalg.det(hexane["box"][0])) / (4 / 3 * np.pi * np.diff(centered(grid) ** 3)) / counts / 100
    # Of a million pairs a few lie so close to an edge that single precision puts them on its other side.
    difference = (ours - peer)[1:] / one[1:]
    assert np.abs(difference).max() < 2.5
    assert np.abs(difference).sum() < 40


def test_hexane_bonded_distributions_equal_csg_stat(hexane, shared):
    grid, peer = table(shared / "hexane" / "votca" / "bond.dist.new")
    ours = obs.bond_distribution(hexane, "A", "B", bins=centered(grid)).mean("block").values
    # One bond in one frame makes 1 / (320 * 100 * 0.001) = 0.03125.
    assert np.abs(ours - peer).sum() / 0.03125 < 8
    grid, peer = table(shared / "hexane" / "votca" / "angle.dist.new")
    edges = np.minimum(centered(grid), np.pi)
    ours = obs.bonded_angle_distribution(hexane, "A", "B", "A", bins=edges).mean("block").values
    # csg_stat divides by the step it was asked for, 0.01, not by that of its grid; its last bin reaches beyond pi.
    counts, expected = (ours * np.diff(edges) * 16000)[:-1], (peer * 0.01 * 16000)[:-1]
    assert np.abs(counts - expected).sum() < 4


def test_water_rdf_agrees_with_csg_stat(shared):
    """2000 of the 3000 frames that csg_stat used, every fourth of them: within the errors that `summarize` states."""
    frames = np.load(shared / "spce" / "cg_long.npz")
    dataset = from_arrays(frames["positions"][::4], frames["box"][::4], "W", temperature=300.0)
    grid, peer = table(shared / "spce" / "votca" / "CG-CG.rdf.3000frames")
    grid, peer = grid[:180], peer[:180]
    g = obs.rdf(dataset, "W", "W", cutoff=grid[-1] + 0.0025, bins=centered(grid))
    summary = obs.summarize(g)
    seen = (summary["mean"].values > 0) & (grid > 0.25)
    z = (summary["mean"].values - peer)[seen] / summary["sd"].values[seen]
    # A subset of one sixth of the frames: its mean differs from the whole by sqrt(5/6) of its own error; scatter of ten
    # blocks widens z to sqrt(9/7).
    assert np.sqrt((z**2).mean()) == pytest.approx(np.sqrt(5 / 6 * 9 / 7), rel=0.25)
    assert abs(z.mean()) < 0.4
    inside = (peer > summary["lower"].values) & (peer < summary["upper"].values)
    assert 0.85 < inside[seen].mean() < 0.99

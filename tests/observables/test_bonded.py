"""Bond, angle and dihedral distributions against exact answers."""

import numpy as np
import pytest
from scipy import stats

from bayescg import observables as obs
from bayescg.data.dataset import from_arrays
from bayescg.data.mapping.topology import Topology
from tests.seeds import shifted

from .systems import CUBIC, TRICLINIC, chains


def four_beads(phi, theta=1.9, box=CUBIC, types="ABCD"):
    """One molecule with known internal coordinates, its last bead wrapped to the other side of the box."""
    x = np.zeros((4, 3))
    x[0] = [0.3 * np.sin(theta), 0.0, 0.3 * np.cos(theta)]
    x[2] = [0.0, 0.0, 0.25]
    x[3] = [0.2 * np.cos(phi), 0.2 * np.sin(phi), 0.25 + 0.05]
    x += np.array([1.0, 1.0, 0.5])
    x[3] += box[2] - box[0]
    topology = Topology.from_bonds(4, [[0, 1], [1, 2], [2, 3]], ["end", "", ""])
    return from_arrays(x, box, list(types), temperature=300.0, topology=topology)


@pytest.mark.parametrize("box", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
def test_known_geometry(box):
    dataset = four_beads(phi=1.0, box=box)
    for pair, length in [("AB", 0.3), ("BC", 0.25), ("DC", np.hypot(0.2, 0.05))]:
        p = obs.bond_distribution(dataset, *pair).isel(block=0)
        assert float(p.r[p.argmax("r")]) == pytest.approx(length, abs=0.002)
        assert float(p.sum()) * 0.002 == pytest.approx(1.0)
    p = obs.bonded_angle_distribution(dataset, "C", "B", "A", bins=[0, 1.899, 1.901, 3]).isel(block=0)
    np.testing.assert_allclose(p, [0, 500, 0])


@pytest.mark.parametrize("phi", [-3.0, -1.0, 0.5, 2.0])
def test_dihedral_has_the_sign_of_mdanalysis(phi):
    from MDAnalysis.lib.distances import calc_dihedrals

    dataset = four_beads(phi=phi)
    x = dataset["positions"].values[0] * 10
    expected = calc_dihedrals(*x[:, None].astype(np.float32), box=[25, 20, 22.5, 90, 90, 90]).item()
    for types in (tuple("ABCD"), tuple("DCBA")):
        p = obs.dihedral_distribution(dataset, *types).isel(block=0)
        assert float(p.phi[p.argmax("phi")]) == pytest.approx(expected, abs=np.pi / 72 + 1e-5)
        assert float(p.max()) == pytest.approx(72 / (2 * np.pi))


def test_groups_and_directions():
    dataset = four_beads(phi=1.0, types="ABBA")
    both = obs.bond_distribution(dataset, "B", "A")
    assert (both > 0).sum() == 2
    end = obs.bond_distribution(dataset, "A", "B", group="end")
    assert (end > 0).sum() == 1
    assert float(end.r[end.argmax("r")].item()) == pytest.approx(0.3, abs=0.002)
    rest = obs.bond_distribution(dataset, "A", "B", group="")
    assert float(rest.r[rest.argmax("r")].item()) == pytest.approx(np.hypot(0.2, 0.05), abs=0.002)
    with pytest.raises(ValueError, match=r"no bond A-B is in group 'x'; its groups are \['', 'end'\]"):
        obs.bond_distribution(dataset, "A", "B", group="x")
    with pytest.raises(ValueError, match="no bond A-A; those listed are A-B, B-B"):
        obs.bond_distribution(dataset, "A", "A")
    with pytest.raises(ValueError, match="no angle A-B-A; those listed are A-B-B"):
        obs.bonded_angle_distribution(dataset, "A", "B", "A")
    with pytest.raises(ValueError, match="no dihedral A-B-A-B; those listed are A-B-B-A"):
        obs.dihedral_distribution(dataset, *"ABAB")


def test_random_directions_give_sine_and_flat():
    rng = np.random.default_rng(shifted(0))
    steps = rng.normal(size=(4000, 4, 3))
    steps *= 0.2 / np.linalg.norm(steps, axis=-1, keepdims=True)
    x = np.cumsum(steps, 1).reshape(1, -1, 3)
    first = np.arange(4000)[:, None] * 4 + np.arange(3)
    topology = Topology.from_bonds(16000, np.stack([first.ravel(), first.ravel() + 1], 1))
    dataset = from_arrays(x, [2.0, 2.0, 2.0], "A", temperature=300.0, topology=topology)
    edges = np.linspace(0, np.pi, 21)
    p = obs.bonded_angle_distribution(dataset, *"AAA", bins=20).isel(block=0).values * np.diff(edges)
    exact = -np.diff(np.cos(edges)) / 2
    assert stats.chi2(19).cdf((8000 * (p - exact) ** 2 / exact).sum()) < 0.999
    q = obs.dihedral_distribution(dataset, *"AAAA", bins=20).isel(block=0).values * 2 * np.pi / 20
    assert stats.chi2(19).cdf((4000 * (q - 0.05) ** 2 / 0.05).sum()) < 0.999


def test_density_counts_what_is_outside_of_the_bins():
    dataset = chains("AB", molecules=100, frames=4)
    whole = obs.bond_distribution(dataset, "A", "B", blocks=1).isel(block=0)
    part = obs.bond_distribution(dataset, "A", "B", blocks=1, bins=[0.1, 0.2, 0.3]).isel(block=0)
    inside = whole.sel(r=slice(0.1, 0.3)).sum() * 0.002
    assert float(whole.sum()) * 0.002 == pytest.approx(1.0)
    assert float(part.sum()) * 0.1 == pytest.approx(float(inside))
    assert float(inside) < 0.9


def test_default_bins_of_different_runs_match():
    p = obs.bond_distribution(chains("AB", frames=3, seed=1), "A", "B")
    q = obs.bond_distribution(chains("AB", frames=2, seed=5), "A", "B")
    common = np.intersect1d(p.r, q.r)
    assert len(common) > 50
    assert len(np.unique(np.round(np.concatenate([p.r, q.r]), 5))) == len(np.union1d(p.r, q.r))

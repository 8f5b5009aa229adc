"""Radial distribution functions, coordination numbers and neighbor angles against exact answers."""

import numpy as np
import pytest
from scipy import stats

from bayescg import observables as obs
from bayescg.data.dataset import from_arrays
from tests.seeds import shifted

from .systems import CUBIC, TRICLINIC, chains, count_pairs, gas, images, smooth_gas

MIXED = ["A"] * 60 + ["B"] * 120


def shells(edges):
    return 4 / 3 * np.pi * np.diff(edges**3)


def lattice(constant=0.4, cells=6, types=("A", "A")):
    """Simple cubic lattice; two types alternate as in rock salt."""
    index = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    kinds = np.where(index.sum(1) % 2 == 0, *types)
    return from_arrays(index[None] * constant + 0.01, [constant * cells] * 3, kinds, temperature=300.0)


@pytest.mark.parametrize("box", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
@pytest.mark.parametrize(("a", "b", "level"), [("A", "A", 1 - 1 / 60), ("A", "B", 1.0), ("B", "B", 1 - 1 / 120)])
def test_ideal_gas_is_flat(box, a, b, level):
    dataset = smooth_gas(box, MIXED, frames=150, seed=shifted(0))
    g = obs.rdf(dataset, a, b, cutoff=0.8, bins=16, blocks=5).mean("block")
    edges = np.linspace(0, 0.8, 17)
    n_pairs = {"AA": 60**2 / 2, "AB": 60 * 120, "BB": 120**2 / 2}[a + b]
    expected = 150 * n_pairs * level * shells(edges) / abs(np.linalg.det(box))
    z = (g.values / level - 1) * np.sqrt(expected)
    assert stats.chi2(16).cdf((z**2).sum()) < 0.999
    assert abs(z.sum()) / 4 < 3.3
    assert g.sel(r=slice(0.3, None)).mean() == pytest.approx(level, abs=0.01)


def test_lattice_shells_hold_known_numbers():
    edges = np.arange(180) * 0.005 + 0.0025
    g = obs.rdf(lattice(), "A", "A", cutoff=0.9, bins=edges, blocks=1).isel(block=0)
    density = 1 / 0.4**3
    neighbors = g.values * density * shells(edges)
    seen = {round(float(g.r[k]), 4): neighbors[k] for k in np.flatnonzero(neighbors)}
    # 6 at 1, 12 at sqrt 2, 8 at sqrt 3, 6 at 2, 24 at sqrt 5 lattice constants.
    assert list(seen.values()) == pytest.approx([6, 12, 8, 6, 24])
    assert np.abs(np.array(list(seen)) - 0.4 * np.sqrt([1, 2, 3, 4, 5])).max() <= 0.0026


def test_coordination_numbers_of_rock_salt():
    dataset = lattice(types=("A", "B"))
    for a, b, cutoff, number in [("A", "B", 0.45, 6), ("B", "A", 0.45, 6), ("A", "A", 0.6, 12), ("A", "B", 0.7, 14)]:
        result = obs.coordination_number(dataset, a, b, cutoff=cutoff)
        assert result.dims == ("block",)
        assert result.item() == pytest.approx(number)


def test_coordination_number_is_the_integral_of_g():
    dataset = gas(CUBIC, MIXED, frames=4)
    edges = np.linspace(0, 0.7001, 36)
    g = obs.rdf(dataset, "A", "B", cutoff=0.7001, bins=edges, blocks=1).isel(block=0)
    around_a = (g.values * shells(edges)).sum() * 120 / np.linalg.det(CUBIC)
    around_b = (g.values * shells(edges)).sum() * 60 / np.linalg.det(CUBIC)
    assert obs.coordination_number(dataset, "A", "B", cutoff=0.7001, blocks=1).item() == pytest.approx(around_a)
    assert obs.coordination_number(dataset, "B", "A", cutoff=0.7001, blocks=1).item() == pytest.approx(around_b)


@pytest.mark.parametrize("box", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
@pytest.mark.parametrize(("a", "b"), [("A", "A"), ("A", "B"), ("B", "A"), ("B", "B")])
def test_counts_equal_those_of_mdanalysis(box, a, b):
    import MDAnalysis as mda
    from MDAnalysis.analysis.rdf import InterRDF
    from MDAnalysis.lib.mdamath import triclinic_box

    dataset = gas(box, MIXED, frames=5)
    universe = mda.Universe.empty(len(MIXED), trajectory=True)
    universe.add_TopologyAttr("name", MIXED)
    coordinates = (dataset["positions"].values * 10).astype(np.float32)
    universe.load_new(coordinates, order="fac", dimensions=triclinic_box(*(box * 10)))
    groups = [universe.select_atoms(f"name {t}") for t in (a, b)]
    peer = InterRDF(*groups, nbins=90, range=(0.0, 8.871), exclusion_block=(1, 1) if a == b else None).run()
    ours = obs.rdf(dataset, a, b, cutoff=0.8871, bins=90, blocks=5)
    edges = np.linspace(0, 0.8871, 91)
    n_pairs = len(groups[0]) * len(groups[1])
    counts = ours.mean("block").values * shells(edges) * n_pairs * 5 / abs(np.linalg.det(box))
    np.testing.assert_allclose(counts, peer.results.count, rtol=1e-12, atol=1e-9)
    # InterRDF takes the excluded self-pairs off its number of pairs; its box is in single precision.
    like = (1 - 1 / len(groups[0])) if a == b else 1.0
    np.testing.assert_allclose(ours.mean("block"), peer.results.rdf * like, rtol=1e-6)


@pytest.mark.parametrize("exclude_bonds", [0, 1, 2, 3])
@pytest.mark.parametrize(("a", "b"), [("A", "A"), ("A", "B"), ("B", "B")])
def test_exclusions_along_bonds(exclude_bonds, a, b):
    dataset = chains("ABBA", molecules=40, frames=3)
    edges = np.linspace(0, 0.8871, 31)
    expected = count_pairs(dataset, a, b, edges, exclude_bonds).mean(0)
    g = obs.rdf(dataset, a, b, cutoff=0.8871, bins=30, blocks=1, exclude_bonds=exclude_bonds).isel(block=0)
    n_pairs = 80 * 80 / (2 if a == b else 1)
    np.testing.assert_allclose(g.values * shells(edges) * n_pairs / np.linalg.det(CUBIC), expected, atol=1e-9)
    marked = dataset.assign_attrs(exclude_bonds=exclude_bonds)
    np.testing.assert_array_equal(obs.rdf(marked, a, b, cutoff=0.8871, bins=30, blocks=1).isel(block=0), g)
    share = 1 if a != b else 2
    number = obs.coordination_number(marked, a, b, cutoff=0.8871, blocks=1).item()
    assert number == pytest.approx(expected.sum() * share / 80)


@pytest.mark.parametrize("box", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
def test_translation_and_wrapping_change_nothing(box):
    dataset = gas(box, MIXED, frames=3)
    shift = np.round(np.random.default_rng(3).normal(0, 3, 3) * 64) / 64
    wraps = np.random.default_rng(4).integers(-2, 3, dataset["positions"].shape)
    moved = dataset.assign(positions=dataset["positions"] + shift + (wraps @ box))
    for measure in (
        lambda d: obs.rdf(d, "A", "B", cutoff=0.8871),
        lambda d: obs.coordination_number(d, "A", "A", cutoff=0.8871),
        lambda d: obs.angle_distribution(d, "A", "B", "A", cutoff=0.51, bins=7),
    ):
        np.testing.assert_allclose(measure(moved), measure(dataset), rtol=1e-12)


def test_order_of_types_does_not_matter():
    dataset = gas(CUBIC, MIXED, frames=3)
    np.testing.assert_array_equal(obs.rdf(dataset, "A", "B", cutoff=0.8), obs.rdf(dataset, "B", "A", cutoff=0.8))


def test_volume_of_each_frame_counts():
    positions = np.array([[[0.0, 0, 0], [0.5, 0, 0]]] * 2)
    dataset = from_arrays(positions, [[2.0, 2.0, 2.0], [4.0, 2.0, 2.0]], "A", temperature=300.0)
    g = obs.rdf(dataset, "A", "A", cutoff=1.0, bins=[0.4, 0.6], blocks=2).isel(r=0)
    assert g[1] / g[0] == pytest.approx(2.0)


def test_angles_of_a_simple_cubic_lattice():
    p = obs.angle_distribution(lattice(), "A", "A", "A", cutoff=0.45, bins=[0, 1.5, 1.7, 3.0, np.pi]).isel(block=0)
    # 15 pairs of six neighbors: 12 at a right angle, 3 opposite.
    widths = np.diff([0, 1.5, 1.7, 3.0, np.pi])
    np.testing.assert_allclose(p.values * widths, [0, 0.8, 0, 0.2], atol=1e-12)
    mixed = obs.angle_distribution(
        lattice(types=("A", "B")), "A", "B", "A", cutoff=0.45, bins=[0, 1.5, 1.7, 3.0, np.pi]
    )
    np.testing.assert_allclose(mixed.isel(block=0).values * widths, [0, 0.8, 0, 0.2], atol=1e-12)


@pytest.mark.parametrize("abc", ["AAA", "AAB", "ABA", "ABB", "BAA", "ABC"])
def test_neighbor_angles_equal_a_triple_loop(abc):
    a, b, c = abc
    dataset = smooth_gas(TRICLINIC, list("AABBBC" * 12), frames=2)
    types, cutoff = dataset["bead_type"].values, 0.5
    angles = []
    for x in dataset["positions"].values:
        for center in np.flatnonzero(types == b):
            vectors = images(x - x[center], TRICLINIC)
            length = np.linalg.norm(vectors, axis=1)
            near = [k for k in np.flatnonzero(length < cutoff) if k != center]
            chosen = [(k, m) for k in near for m in near if types[k] == a and types[m] == c and k != m]
            angles += [np.arccos(vectors[k] @ vectors[m] / length[k] / length[m]) for k, m in chosen if a != c or k < m]
    expected, _ = np.histogram(angles, 9, (0, np.pi), density=True)
    p = obs.angle_distribution(dataset, a, b, c, cutoff=cutoff, bins=9, blocks=1).isel(block=0)
    np.testing.assert_allclose(p, expected, atol=1e-9)
    reverse = obs.angle_distribution(dataset, c, b, a, cutoff=cutoff, bins=9, blocks=1).isel(block=0)
    np.testing.assert_allclose(p, reverse, rtol=1e-12)


def test_neighbor_angles_respect_exclusions():
    dataset = chains("ABA", molecules=3, frames=1, seed=2)
    free = obs.angle_distribution(dataset, "A", "B", "A", cutoff=0.9, blocks=1)
    apart = obs.angle_distribution(dataset.assign_attrs(exclude_bonds=1), "A", "B", "A", cutoff=0.9, blocks=1)
    assert abs(free - apart).max() > 0.1


def test_labels_for_plots():
    g = obs.rdf(gas(CUBIC, MIXED, frames=3), "A", "B", cutoff=0.9)
    assert g.name == "rdf"
    assert g.dims == ("block", "r")
    assert g.sizes == {"block": 3, "r": 180}
    assert g.attrs["units"] == "1"
    assert g["r"].attrs["units"] == "nm"
    np.testing.assert_allclose(g["r"], (np.arange(180) + 0.5) * 0.005)
    p = obs.angle_distribution(gas(CUBIC, MIXED, frames=3), "A", "B", "A", cutoff=0.5)
    assert p["theta"].attrs["units"] == "rad"
    assert p.attrs["units"] == "1/rad"


def test_bad_input_is_refused_with_the_remedy():
    dataset = gas(CUBIC, MIXED, frames=3)
    with pytest.raises(ValueError, match=r"no bead of type 'X'; the types are A, B"):
        obs.rdf(dataset, "A", "X", cutoff=0.9)
    with pytest.raises(ValueError, match="half the shortest box height"):
        obs.rdf(dataset, "A", "B", cutoff=1.1)
    with pytest.raises(ValueError, match="leave the range"):
        obs.rdf(dataset, "A", "B", cutoff=0.9, bins=[0.0, 0.5, 1.0])
    with pytest.raises(ValueError, match="ascending"):
        obs.rdf(dataset, "A", "B", cutoff=0.9, bins=[0.5, 0.2])
    with pytest.raises(ValueError, match="positive number of bins"):
        obs.rdf(dataset, "A", "B", cutoff=0.9, bins=0)
    with pytest.raises(ValueError, match="exclude_bonds=4"):
        obs.rdf(dataset, "A", "B", cutoff=0.9, exclude_bonds=4)
    with pytest.raises(ValueError, match="one bead of type 'C' only"):
        obs.rdf(gas(CUBIC, [*MIXED, "C"], frames=2), "C", "C", cutoff=0.9)
    with pytest.raises(ValueError, match="nothing to average"):
        obs.angle_distribution(lattice(types=("A", "B")), "A", "A", "A", cutoff=0.45)


def test_vacuum_has_no_density():
    dataset = gas(CUBIC, MIXED, frames=3).assign_attrs(boundary="open")
    with pytest.raises(ValueError, match=r"in vacuum .*no mean density for g\(r\).*coordination_number"):
        obs.rdf(dataset, "A", "B", cutoff=0.9)
    with pytest.raises(ValueError, match="no volume that could have a pressure"):
        obs.virial_pressure(dataset)
    periodic = gas(CUBIC, MIXED, frames=3)
    for observe, beads in ((obs.coordination_number, "AB"), (obs.angle_distribution, "ABA")):
        np.testing.assert_array_equal(observe(dataset, *beads, cutoff=0.5), observe(periodic, *beads, cutoff=0.5))

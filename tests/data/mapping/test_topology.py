import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from bayescg.data import Topology, exclusions


def test_chain_angles_and_dihedrals_are_listed_once():
    topology = Topology.from_bonds(6, [(0, 1), (2, 1), (2, 3), (3, 4)], ["x", "", "", "y"])
    assert topology.angles.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert topology.dihedrals.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert topology.molecule.tolist() == [0, 0, 0, 0, 0, 1]
    assert topology.bond_groups.tolist() == ["x", "", "", "y"]
    assert topology.angle_groups.tolist() == ["", "", ""]


@pytest.mark.parametrize(("size", "angles", "dihedrals"), [(3, 3, 0), (4, 4, 4), (6, 6, 6)])
def test_rings(size, angles, dihedrals):
    topology = Topology.from_bonds(size, [(i, (i + 1) % size) for i in range(size)])
    assert len(topology.angles) == angles
    assert len(topology.dihedrals) == dihedrals


def test_star_has_all_pairs_of_arms_as_angles():
    topology = Topology.from_bonds(5, [(0, i) for i in range(1, 5)])
    assert len(topology.angles) == 6
    assert set(topology.angles[:, 1].tolist()) == {0}
    assert len(topology.dihedrals) == 0


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda p: p[0] < p[1]), min_size=1, max_size=10))
def test_derived_terms_and_exclusions_against_shortest_paths(bonds):
    pairs = np.array(sorted(bonds))
    distance = shortest_path(coo_array((np.ones(len(pairs)), pairs.T), shape=(8, 8)), directed=False, unweighted=True)
    for depth in (0, 1, 2, 3):
        expected = np.argwhere(np.triu((distance <= depth), 1))
        np.testing.assert_array_equal(exclusions(pairs, 8, depth), expected)
    linked = distance == 1
    topology = Topology.from_bonds(8, pairs)
    angles = [(a, b, c) for b in range(8) for a in range(8) for c in range(a + 1, 8) if linked[a, b] and linked[b, c]]
    assert {tuple(x) for x in topology.angles.tolist()} == set(angles)
    assert len(topology.angles) == len(angles)
    ways = [
        (a, b, c, d)
        for a in range(8)
        for b in range(8)
        for c in range(8)
        for d in range(8)
        if b < c and len({a, b, c, d}) == 4 and linked[a, b] and linked[b, c] and linked[c, d]
    ]
    assert len(topology.dihedrals) == len(ways)
    assert {tuple(x) for x in topology.dihedrals.tolist()} == set(ways)


@pytest.mark.parametrize(
    ("bonds", "message"),
    [
        ([(0, 4)], "names bead 4"),
        ([(1, 1)], "names a bead twice"),
        ([(0, 1), (1, 0)], "listed twice"),
        ([(0.0, 1.0)], "integers"),
        ([(0, 1, 2)], "shape"),
    ],
)
def test_bad_bonds(bonds, message):
    with pytest.raises(ValueError, match=message):
        Topology.from_bonds(4, bonds)


def test_bad_exclusions_and_groups():
    with pytest.raises(ValueError, match="exclude_bonds=4"):
        exclusions([(0, 1)], 2, 4)
    with pytest.raises(ValueError, match="one group per bond"):
        Topology.from_bonds(2, [(0, 1)], ["a", "b"])

"""Molecules that internal coordinates cannot take: rings, pieces, straight lines."""

import numpy as np
import pytest

from bayescg.atomistic.internal_coordinates import internal_coordinates
from bayescg.atomistic.zmatrix import choose_zmatrix

from .molecules import MOLECULES


@pytest.mark.parametrize(
    ("elements", "bonds", "message"),
    [
        (["C"] * 3, [(0, 1), (1, 2), (2, 0)], r"close a ring.*not supported"),
        (["C"] * 4, [(0, 1), (1, 2)], r"atom 3 is not connected.*CONECT"),
        (["O", "H", "H", "O", "H", "H"], [(0, 1), (0, 2), (3, 4), (3, 5)], "atom 3 is not connected"),
        (["H", "H"], [(0, 1)], "at least three atoms; this molecule has 2"),
        ([], [], "this molecule has 0"),
        (["O", "H", "H"], [(0, 1), (0, 3)], r"bond \(0, 3\).*3 atoms"),
        (["O", "H", "H"], [(0, 1), (0, -1)], r"bond \(-1, 0\).*3 atoms"),
        (["O", "H", "H"], [(0, 1), (0, 2), (1, 1)], r"bond \(1, 1\)"),
    ],
)
def test_bonds_that_make_no_tree_are_refused(elements, bonds, message):
    with pytest.raises(ValueError, match=message):
        choose_zmatrix(elements, bonds)


def test_linear_groups_are_refused():
    """Also the triple that the others are placed by, and lines that are only almost straight."""
    dioxide = np.array([[0, 0, 0], [0.12, 0, 0], [-0.12, 0, 0.0]])
    with pytest.raises(ValueError, match=r"straight.*linear groups are not supported"):
        internal_coordinates(["C", "O", "O"], [(0, 1), (0, 2)], dioxide)
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4)]
    for bend in (0.0, 0.001):
        alkyne = np.array([[0.1, 0.1, 0], [0, 0, 0], [0, bend, 0.12], [0, 0, 0.24], [0, 0.08, 0.3]])
        with pytest.raises(ValueError, match=r"atoms \d-\d-\d.*straight.*linear groups"):
            internal_coordinates(["C"] * 5, bonds, alkyne)
    alkyne[3] = alkyne[2]
    with pytest.raises(ValueError, match="straight line or coincide"):
        internal_coordinates(["C"] * 5, bonds, alkyne)
    alkyne[:] = [[0.1, 0.1, 0], [0, 0, 0], [0, 0.03, 0.12], [0, 0, 0.24], [0, 0.08, 0.3]]
    internal_coordinates(["C"] * 5, bonds, alkyne)


def test_positions_that_do_not_fit_are_refused():
    elements, bonds = MOLECULES["water"]
    with pytest.raises(ValueError, match=r"shape \(2, 3\); the topology has 3 atoms"):
        internal_coordinates(elements, bonds, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="not all finite"):
        internal_coordinates(elements, bonds, np.full((3, 3), np.nan))

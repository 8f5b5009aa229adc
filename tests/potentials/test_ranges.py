"""What terms leave open is filled in from data: known lengths and densities give known knots."""

import numpy as np
import pytest

import bayescg as bcg
from bayescg.data import Topology
from bayescg.potentials import Bond, LocalDensity, Pair, Potential, SmoothOverlap

BOX = np.eye(3) * 3.0


def dimers(*lengths, **options):
    """One dimer A-B a frame, across the boundary of the box."""
    positions = np.array([[[2.95, 1.0, 1.0], [2.95 + length, 1.0, 1.0]] for length in lengths])
    boxes = np.broadcast_to(BOX, (len(lengths), 3, 3))
    topology = Topology.from_bonds(2, [(0, 1)])
    return bcg.from_arrays(positions, boxes, ["A", "B"], temperature=300.0, topology=topology, **options)


def test_bonds_get_knots_around_the_sampled_lengths():
    cg = dimers(0.339, 0.301, 0.32)
    open_ended = Potential(Bond("A", "B"), Pair("A", "B", 0.9), exclude_bonds=1)
    filled = bcg.fill_ranges(open_ended, cg)
    # Half the span of 0.038 nm as margin, out to the next knot 0.0025 nm apart.
    assert filled == Potential(Bond("A", "B", start=0.28, stop=0.36), Pair("A", "B", 0.9), exclude_bonds=1)
    assert open_ended.filled_by(filled)
    assert not open_ended.filled_by(
        Potential(Bond("A", "B", start=0.28, stop=0.36), Pair("A", "B", 0.8), exclude_bonds=1)
    )
    assert not filled.filled_by(open_ended)
    # What is given stays; four knots are the least margin.
    half = bcg.fill_ranges(Potential(Bond("A", "B", start=0.1)), dimers(0.301))
    assert half == Potential(Bond("A", "B", start=0.1, stop=0.3125))
    assert bcg.fill_ranges(filled, dimers(0.5)) == filled


def test_local_densities_get_knots_up_to_the_highest_density():
    center, apart = np.array([2.95, 1.0, 1.0]), 0.2
    ring = center + apart * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    positions = np.concatenate([[center], ring, [[1.0, 2.5, 2.5]]])[None]
    cg = bcg.from_arrays(positions, BOX[None], list("ABBBB"), temperature=300.0)
    (term,) = bcg.fill_ranges(Potential(LocalDensity("A", "B", 0.25, 0.4)), cg).terms
    assert term == LocalDensity("A", "B", 0.25, 0.4, stop=3.4)  # three neighbors, and a tenth more


def test_what_the_data_do_not_show_is_refused():
    cg = dimers(0.3)
    with pytest.raises(ValueError, match=r"bond_A-B has no range yet: .*fill_ranges"):
        _ = Bond("A", "B").n_basis
    with pytest.raises(ValueError, match=r"bond_B-B: the data have no bond between B-B"):
        bcg.fill_ranges(Potential(Bond("B", "B")), cg)
    with pytest.raises(ValueError, match=r"density_A-B: no B within 0.2 nm of a A in 1 frames"):
        bcg.fill_ranges(Potential(LocalDensity("A", "B", 0.1, 0.2)), cg)
    with pytest.raises(ValueError, match=r"no inducing points yet: .*fill_ranges"):
        _ = SmoothOverlap("A", ("B",), 0.5).points

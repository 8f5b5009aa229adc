"""The wall that all systems together show: exact power laws, and pairs counted on a common axis."""

import numpy as np
import pytest

import bayescg as bcg
from bayescg.transfer.walls import innermost_wall, pooled_counts

TERM = bcg.Pair("A", "A", cutoff=1.0, start=0.2, knot_spacing=0.02)
FINE = bcg.Pair("A", "A", cutoff=1.0, start=0.2, knot_spacing=0.01)


def power_law(power, edge, force):
    """Coefficients whose force is force (edge / r)^power, to 0.3 % with knots 0.01 nm apart."""
    sites = np.asarray(FINE.spline.sites)
    energy = force * edge / (power - 1) * (edge / sites) ** (power - 1)
    return np.linalg.solve(FINE.spline.matrix(sites), energy)[: FINE.n_basis]


@pytest.mark.parametrize("power", [13.0, 19.0])
def test_a_power_law_is_read_back(power):
    counts = np.zeros(FINE.bins)
    counts[12:] = 1000.0
    counts[10:12] = 20.0
    wall = innermost_wall(FINE, counts, power_law(power, 0.34, 250.0), 2.5)
    # Twenty pairs between 0.30 and 0.31 nm, and none below.
    assert wall.edge == pytest.approx(0.31)
    assert wall.force == pytest.approx(250.0 * (0.34 / 0.31) ** power, rel=0.01)
    assert wall.power == pytest.approx(power, rel=0.01)
    assert wall.seen


def test_pairs_are_counted_at_equal_multiples_of_contact():
    counts = np.zeros(TERM.bins)
    counts[10] = 8.0  # 0.40 to 0.42 nm
    axis = bcg.Pair("A", "A", cutoff=1.2, start=0.2, knot_spacing=0.01)
    found = pooled_counts(TERM, axis, [counts, None, 2 * counts], np.array([1.0, 1.3, 0.5]))
    wanted = np.zeros(axis.bins)
    wanted[20:22], wanted[0] = 4.0, 16.0  # halves of one interval, and 0.20 to 0.21 nm
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert found.sum() == pytest.approx(24.0)


def test_pairs_beyond_the_common_axis_are_kept():
    counts = np.full(TERM.bins, 3.0)
    axis = bcg.Pair("A", "A", cutoff=0.9, start=0.3, knot_spacing=0.02)
    assert pooled_counts(TERM, axis, [counts], np.array([1.0])).sum() == pytest.approx(counts.sum())

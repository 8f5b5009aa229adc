"""What the prior of a pair leaves to the data, and where a wall that no data show begins."""

import gpjax
import numpy as np
import pytest

from bayescg import Pair
from bayescg._runtime import double_precision
from bayescg.kernels import pairs

TERM, KT, CONTACT = Pair("A", "A", 1.0, knot_spacing=0.005), 2.5, 0.3


def prior(wall=None):
    wall = pairs.Wall(CONTACT, 200.0, 12.0) if wall is None else wall
    return pairs.pair_prior(TERM, np.ones(TERM.bins), (0.28, 1.0), KT, wall)


def test_powers_of_distance_end_at_the_cutoff_and_have_the_curvature_of_their_law():
    spline, x = TERM.spline, np.linspace(0.31, 0.95, 50)
    found = prior().drift
    raw = np.linalg.solve(spline.matrix(spline.sites), found)
    np.testing.assert_allclose(raw[-3:], 0, atol=1e-9)
    for k, n in enumerate((3, 6, 12)):
        # A parabola is taken off, so that third derivatives are those of the law.
        third = np.diff(spline.matrix(x, 2) @ raw[:, k]) / np.diff(x)
        middle = 0.5 * (x[1:] + x[:-1])
        law = -4 * KT * n * (n + 1) * (n + 2) * CONTACT**n / middle ** (n + 3)
        # Cubic splines have a constant third derivative in each interval.
        np.testing.assert_allclose(third, law, rtol=0.05, atol=1e-3 * np.abs(law).max())


@pytest.mark.parametrize("depth", [0.5, 2.0])
def test_a_well_costs_little_whatever_the_amplitude(depth):
    """A Lennard-Jones well of kT has a likely weight of each power, though the kernel's amplitude is a tenth of it."""
    spline = TERM.spline
    shapes = np.linalg.solve(spline.matrix(spline.sites), prior().drift)
    x = np.linspace(0.32, 0.9, 200)
    sigma = CONTACT
    force = 4 * depth * KT * (12 * (sigma / x) ** 12 - 6 * (sigma / x) ** 6) / x
    rows = -spline.matrix(x, 1) @ shapes
    weights, *_ = np.linalg.lstsq(rows, force, rcond=None)
    assert np.abs(rows @ weights - force).max() < 0.02 * np.abs(force).max()
    assert np.abs(weights).max() < 2.5
    with double_precision():
        small = {"amplitude_A-A": np.array(0.1), "lengthscale_A-A": np.array(0.1), "warp_A-A": np.array(5.0)}
        gram = np.asarray(prior().gram(gpjax.kernels.Matern52(), small))
    assert np.sqrt(np.diag(gram)[60]) > KT


def test_a_wall_that_no_data_show_begins_below_them():
    """Soft beads, whose force at the closest contact holds nothing apart."""
    counts = np.zeros(TERM.bins)
    counts[40:] = 50
    soft = TERM.spline.interpolate(3.0 * np.exp(-((TERM.spline.sites / 0.5) ** 2)))[: TERM.n_basis]
    wall = pairs.wall_of(TERM, counts, soft, KT)
    assert wall.edge == pytest.approx(0.2 - 2 * 0.005)
    hard = TERM.spline.interpolate(np.exp(-(TERM.spline.sites - 0.25) / 0.02))[: TERM.n_basis]
    assert pairs.wall_of(TERM, counts, hard, KT).edge >= 0.2


def test_beads_that_were_met_far_inside_are_not_held_apart():
    """A force of 100 kJ/mol/nm from 0.35 nm inward, and contacts down to 0.2 nm: no power law rises between them."""
    counts = np.zeros(TERM.bins)
    counts[40:60], counts[60:] = 1, 50
    steep = TERM.spline.interpolate(100.0 * np.maximum(0.35 - TERM.spline.sites, 0.0))[: TERM.n_basis]
    assert pairs.wall_of(TERM, counts, steep, KT).edge == pytest.approx(0.2 - 2 * 0.005)
    counts[40:56] = 0
    assert pairs.wall_of(TERM, counts, steep, KT).edge > 0.28

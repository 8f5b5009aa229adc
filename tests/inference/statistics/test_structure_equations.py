"""E[Phi . f] = -kT E[div Phi] for every basis field, by quadrature over systems of two and three beads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.potentials import Angle, Bond, Configuration, Harmonic, LennardJones, Pair, ThreeBody
from bayescg.units import BOLTZMANN

kT = BOLTZMANN * 300.0
BOX = 10.0 * np.eye(3)


@pytest.fixture(autouse=True)
def _in_double_precision():
    with double_precision():
        yield


def gauss(low, high, pieces, order):
    """Nodes and weights, Gauss-Legendre on each of equal pieces: splines are polynomials between knots only."""
    x, w = np.polynomial.legendre.leggauss(order)
    edges = np.linspace(low, high, pieces + 1)
    half = 0.5 * np.diff(edges)
    return (0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def imbalance(term, tuples, positions, measure, energy):
    """Largest |E[Phi . f] + kT E[div Phi]| of any basis field over the largest of its parts.

    Args:
        term: whose fields.
        tuples: of the term.
        positions: (node, bead, 3).
        measure: (node,) weight of each node, with the Jacobian.
        energy: positions of the beads -> energy.
    """

    @jax.jit
    def both(x):
        configuration = Configuration(x, jnp.asarray(BOX), tuples)
        f = -jax.grad(energy)(x)
        work = jnp.einsum("nkx,nx->k", term.design_rows(configuration), f)
        return work, jnp.sum(term.divergence_rows(configuration), axis=0)

    u = jax.vmap(energy)(jnp.asarray(positions))
    p = measure * np.exp(-(u - u.min()) / kT)
    work, divergence = jax.lax.map(both, jnp.asarray(positions), batch_size=512)
    p = p / p.sum()
    left, right = p @ np.asarray(work), -kT * (p @ np.asarray(divergence))
    assert np.sum(np.abs(left) > 1e-2 * np.abs(left).max()) > 3
    return np.abs(left - right).max() / np.abs(left).max()


def line(r):
    """Two beads at distances r."""
    return np.stack([np.zeros((len(r), 3)), r[:, None] * [1.0, 0, 0]], axis=1)


def curve(baseline):
    return lambda x: baseline.energy(jnp.linalg.norm(x[1] - x[0]))


def test_harmonic_bond():
    term, truth = Bond("A", "A", start=0.2, stop=0.6, knot_spacing=0.02), Harmonic(0.4, 2000.0)
    r, w = gauss(0.2, 0.6, 20, 6)
    assert imbalance(term, {term.name: np.array([[0, 1]])}, line(r), w * r**2, curve(truth)) < 1e-6


def test_lennard_jones_pair():
    term, truth = Pair("A", "A", 0.9, knot_spacing=0.02), LennardJones(0.34, 2.0, 0.9)
    r, w = gauss(0.2, 0.9, 35, 8)
    assert imbalance(term, {term.name: np.array([[0, 1]])}, line(r), w * r**2, curve(truth)) < 1e-6


def test_harmonic_angle():
    term, bend, stretch = Angle("A", "A", "A", knot_spacing=np.pi / 20), Harmonic(1.9, 20.0), Harmonic(0.4, 6000.0)
    (r, v), (t, w) = gauss(0.25, 0.55, 1, 30), gauss(0.0, np.pi, 20, 6)
    one, two, angle = (each.ravel() for each in np.meshgrid(r, r, t, indexing="ij"))
    measure = np.einsum("i,j,k->ijk", v * r**2, v * r**2, w * np.sin(t)).ravel()
    positions = np.zeros((len(one), 3, 3))
    positions[:, 0, 0] = one
    positions[:, 2, 0], positions[:, 2, 1] = two * np.cos(angle), two * np.sin(angle)

    def energy(x):
        a, b = x[0] - x[1], x[2] - x[1]
        lengths = [jnp.linalg.norm(side) for side in (a, b)]
        theta = jnp.arctan2(jnp.linalg.norm(jnp.cross(a, b)), a @ b)
        return bend.energy(theta) + sum(stretch.energy(length) for length in lengths)

    assert imbalance(term, {term.name: np.array([[0, 1, 2]])}, positions, measure, energy) < 1e-6


def test_triangle_of_three_beads():
    # All sides are about 0.3 nm, so that every triple of sides is a triangle; its measure is the product of the sides.
    term, stretch = ThreeBody("A", "B", "C", 0.45, 0.1, 0.05, 0.1), Harmonic(0.3, 1.0e4)
    r, w = gauss(0.2, 0.4, 4, 8)
    one, two, three = (each.ravel() for each in np.meshgrid(r, r, r, indexing="ij"))
    measure = np.einsum("i,j,k->ijk", w * r, w * r, w * r).ravel()
    positions = np.zeros((len(one), 3, 3))
    positions[:, 1, 0] = one
    cosine = (one**2 + two**2 - three**2) / (2 * one * two)
    positions[:, 2, 0], positions[:, 2, 1] = two * cosine, two * np.sqrt(1 - cosine**2)
    triangle, sides, sides_of = np.array([[0, 1, 2]]), np.array([[0, 1, 0], [0, 2, 1]]), np.array([[0, 1]])
    tuples = dict(zip(term._tables, (triangle, sides, sides_of), strict=True))

    def energy(x):
        return sum(stretch.energy(jnp.linalg.norm(x[i] - x[j])) for i, j in ((0, 1), (0, 2), (1, 2)))

    assert imbalance(term, tuples, positions, measure, energy) < 1e-6

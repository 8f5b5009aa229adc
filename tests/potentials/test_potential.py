"""Terms and potentials: finite differences, invariances, known splines, JSON."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from MDAnalysis.lib.distances import calc_dihedrals

from bayescg._runtime import double_precision
from bayescg.potentials import (
    WCA,
    Angle,
    Bond,
    Configuration,
    Dihedral,
    Harmonic,
    LennardJones,
    Pair,
    Potential,
    Spline,
    UniformSpline,
    freeze,
    table,
)
from bayescg.potentials.potential import Potential as _Potential

BOX = np.array([[3.0, 0, 0], [0.4, 2.8, 0], [-0.3, 0.5, 2.9]])


@pytest.fixture(autouse=True)
def _in_double_precision():
    with double_precision():
        yield


@pytest.fixture
def chain():
    """A four-bead chain that crosses the boundary of a triclinic box, and a potential with every kind of term."""
    rng = np.random.default_rng(3)
    positions = np.array([[2.9, 0.1, 0.0], [3.2, 0.15, 0.1], [3.3, 0.45, 0.15], [3.55, 0.5, 0.4]])
    potential = Potential(
        Pair("A", "A", cutoff=1.2, start=0.1, knot_spacing=0.1, baseline=WCA(0.6, 2.0)),
        Bond("A", "A", start=0.1, stop=0.6, knot_spacing=0.05, baseline=Harmonic(0.3, 500.0)),
        Angle("A", "A", "A", knot_spacing=0.3),
        Dihedral("A", "A", "A", "A", knot_spacing=0.5),
    )
    tuples = {
        "A-A": np.array([[0, 2], [0, 3], [1, 3], [0, 0]]),
        "bond_A-A": np.array([[0, 1], [1, 2], [2, 3]]),
        "angle_A-A-A": np.array([[0, 1, 2], [1, 2, 3]]),
        "dihedral_A-A-A-A": np.array([[0, 1, 2, 3]]),
    }
    return potential, Configuration(positions, BOX, tuples), rng.normal(size=potential.n_basis)


def test_forces_are_minus_the_energy_gradient(chain):
    potential, configuration, w = chain
    forces = jax.jit(potential.forces)(jax.tree.map(jnp.asarray, configuration), jnp.asarray(w))

    def energy(x):
        return potential.energy(configuration._replace(positions=x), jnp.asarray(w))

    numeric = np.zeros((4, 3))
    energy = jax.jit(energy)
    for index in np.ndindex(4, 3):
        shift = np.zeros((4, 3))
        shift[index] = 1e-6
        numeric[index] = -(energy(configuration.positions + shift) - energy(configuration.positions - shift)) / 2e-6
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * np.abs(numeric).max())
    np.testing.assert_allclose(np.sum(forces, 0), 0, atol=1e-10)


def test_forces_and_energy_are_linear_in_coefficients(chain):
    potential, configuration, w = chain
    configuration = jax.tree.map(jnp.asarray, configuration)
    rows, base, forces, basis = jax.jit(
        lambda c, w: (
            potential.design_rows(c),
            potential.baseline_forces(c).sum(axis=1),
            potential.forces(c, w),
            potential.basis_energies(c),
        )
    )(configuration, w)
    energies = jax.jit(potential.energy)
    zero, energy = energies(configuration, np.zeros(potential.n_basis)), energies(configuration, w)
    np.testing.assert_allclose(np.einsum("bkx,k->bx", rows, w) + base, forces, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(zero + basis @ w, energy, rtol=1e-12)


def test_invariances(chain):
    potential, configuration, w = chain
    evaluate = jax.jit(potential.forces)
    forces = evaluate(configuration, w)
    images = configuration.positions + np.array([[1, 0, 0], [0, -1, 0], [2, 1, -1], [0, 0, 3]]) @ BOX + 0.123
    moved = evaluate(configuration._replace(positions=images), w)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    turned = configuration._replace(positions=configuration.positions @ rotation, box=BOX @ rotation)
    rotated = evaluate(turned, w)
    np.testing.assert_allclose(moved, forces, atol=1e-9)
    np.testing.assert_allclose(rotated, forces @ rotation, atol=1e-9)


def test_virial_matches_a_finite_strain(chain):
    potential, configuration, w = chain
    w = jnp.asarray(w)
    virial = jax.jit(potential.virial)(jax.tree.map(jnp.asarray, configuration), w)

    def energy(scale):
        stretch = jnp.diag(jnp.array([1.0, scale, 1.0]))
        return potential.energy(
            configuration._replace(positions=configuration.positions @ stretch, box=BOX @ stretch), w
        )

    energy = jax.jit(energy)
    numeric = -(energy(1 + 1e-6) - energy(1 - 1e-6)) / 2e-6
    np.testing.assert_allclose(virial[1, 1], numeric, rtol=1e-6)


def test_pair_vanishes_smoothly_at_the_cutoff():
    term = Pair("A", "B", cutoff=0.9)
    w = jnp.asarray(np.random.default_rng(0).normal(size=term.n_basis))
    energy, slope = jax.jit(term.curve)(w, np.array([0.9 - 1e-9, 0.9, 1.5]))
    curvature = jax.jit(jax.jacfwd(lambda x: term.curve(w, x)[1]))(0.9 - 1e-9)
    np.testing.assert_allclose(energy, 0, atol=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-9)
    assert abs(curvature) < 1e-9 * 1e3 / 0.01**2  # u'' ~ w (rc - r) / h^3


def test_spline_reproduces_a_cubic_and_extends_linearly():
    spline = UniformSpline(0.2, 1.0, 8)
    cubic = np.polynomial.Polynomial([1.0, -2.0, 0.5, 3.0])
    w = spline.interpolate(cubic(spline.sites))
    x = np.linspace(0.2, 1.0, 37)
    np.testing.assert_allclose(spline.matrix(x) @ w, cubic(x), atol=1e-12)
    np.testing.assert_allclose(spline.matrix(x, 1) @ w, cubic.deriv()(x), atol=1e-11)
    np.testing.assert_allclose(spline.matrix(x, 2) @ w, cubic.deriv(2)(x), atol=1e-9)
    np.testing.assert_allclose(spline.matrix([0.1]) @ w, cubic(0.2) - 0.1 * cubic.deriv()(0.2), atol=1e-12)
    first, values, slopes = jax.jit(spline.windows)(x)
    window = w[np.asarray(first)[:, None] + np.arange(4)]
    np.testing.assert_allclose(np.sum(window * values, 1), cubic(x), atol=1e-12)
    np.testing.assert_allclose(np.sum(window * slopes, 1), cubic.deriv()(x), atol=1e-11)


def test_periodic_spline_closes():
    spline = UniformSpline(-np.pi, np.pi, 30, periodic=True)
    w = spline.interpolate(np.cos(spline.sites - 0.3))
    x = np.linspace(-np.pi, np.pi, 100)
    np.testing.assert_allclose(spline.matrix(x) @ w, np.cos(x - 0.3), atol=1e-4)
    np.testing.assert_allclose(spline.matrix([-np.pi], 1), spline.matrix([np.pi], 1), atol=1e-12)


@pytest.mark.parametrize(
    "baseline", [WCA(0.3, 1.5), LennardJones(0.3, 1.5, 0.9), Harmonic(0.4, 100.0)], ids=lambda b: type(b).__name__
)
def test_table_baseline_follows_its_curve(baseline):
    x, exact = np.linspace(0.28, 0.9, 400), jax.jit(baseline.energy)
    copy = table(x, exact(x))
    inner = np.linspace(0.3, 0.89, 97)
    np.testing.assert_allclose(jax.jit(copy.energy)(inner), exact(inner), atol=1e-3)
    assert isinstance(copy, Spline)


def test_force_shifted_lennard_jones_ends_flat():
    energy = LennardJones(0.3, 1.5, 0.9).energy
    slope, value = jax.jit(jax.grad(energy))(0.9 - 1e-12), jax.jit(energy)(0.9)
    assert abs(slope) < 1e-9
    assert abs(value) < 1e-12


def test_collinear_angle_is_finite():
    term = Angle("A", "A", "A")
    straight = np.array([[0.0, 0, 0], [0.3, 0, 0], [0.6, 0, 0]])
    w = term.spline.interpolate(np.cos(term.sites) * 5)
    configuration = Configuration(straight, BOX, {term.name: np.array([[0, 1, 2]])})
    forces = jax.jit(term.forces)(configuration, w)
    assert np.all(np.isfinite(forces))
    assert np.abs(forces).max() < 1e-2


def test_dihedral_sign_follows_iupac():
    # Looking from b to c, d is turned clockwise by 90 degrees from a: +90.
    beads = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0], [0, 1.0, 1.0]]) * 0.3
    term = Dihedral("A", "A", "A", "A")
    phi, _ = jax.jit(term.descriptor)(Configuration(beads, BOX, {term.name: np.array([[0, 1, 2, 3]])}))
    np.testing.assert_allclose(phi, [np.pi / 2], atol=1e-12)
    np.testing.assert_allclose(phi[0], calc_dihedrals(*beads), atol=1e-6)  # MDAnalysis


def test_json_round_trip(chain):
    potential, _, w = chain
    assert Potential.from_json(potential.to_json()) == potential
    assert hash(Potential.from_json(potential.to_json())) == hash(potential)
    plain = Potential(Pair("A", "A", 1.0))
    learned = freeze(plain, w[: plain.n_basis].tolist() + [0.0] * max(0, plain.n_basis - len(w)))
    assert _Potential.from_json(Potential(*learned).to_json()) == Potential(*learned)


def test_frozen_term_is_the_same_curve():
    term = Pair("A", "A", 1.0)
    w = np.random.default_rng(1).normal(size=term.n_basis)
    (frozen,) = freeze(Potential(term), w)
    x = np.linspace(0.05, 1.2, 50)
    np.testing.assert_allclose(jax.jit(frozen.curve)(np.zeros(0), x), jax.jit(term.curve)(w, x), atol=1e-5)
    assert frozen.n_basis == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (Potential, "at least one term"),
        (lambda: Potential(Pair("A", "B", 1.0), Pair("B", "A", 0.9)), "same interaction"),
        (lambda: Potential(Pair("A", "B", 1.0), exclude_bonds=4), "exclude_bonds"),
        (lambda: Pair("A", "B", -1.0), "cutoff must be positive"),
        (lambda: Pair("A", "B", 1.0, start=2.0), "start must lie"),
        (lambda: Pair("A", "B", 1.0, learn=False), "needs a baseline"),
        (lambda: Bond("A", "B").spline, "no range yet"),
        (lambda: Pair("A", "B", 1.0, knot_spacing=0.5).spline, "at least 4"),
        (lambda: Pair("A", "B", 0.9, baseline=LennardJones(0.3, 1.0, 1.2)), "does not vanish at the cutoff"),
        (lambda: Pair(1, 2, 1.0), "bead types are names"),
        (lambda: WCA(-1.0, 1.0), "sigma must be positive"),
        (lambda: Bond("A", "B", start=0.5, stop=0.3), "start must lie in"),
        (lambda: Potential("W-W"), "takes terms such as"),
        (lambda: Potential(Bond("A", "B"), Bond("A", "B", group="x")), "would count twice"),
        (lambda: Potential.from_json('{"format": 99}'), "not the JSON"),
        (lambda: Potential.from_json("hello"), "not the JSON"),
        (lambda: table([0, 1, 1, 2], [1, 2, 3, 4]), "increasing"),
        (lambda: table([0, 1, 2, 3], [1, 2, np.nan, 4]), "finite"),
    ],
)
def test_bad_input_names_the_remedy(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_terms_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Pair("A", "B", 1.0).cutoff = 2.0

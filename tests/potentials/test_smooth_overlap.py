"""Smooth-overlap terms: densities against analytic integrals, invariances, gradients, cutoff, Gay-Berne pairs."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data.orientation import shape_tensors, with_shapes
from bayescg.potentials import Configuration, Interactions, Pair, Potential, SmoothOverlap, fill_ranges
from bayescg.potentials.interactions import shapes_of
from bayescg.potentials.many_body.density_expansion import DensityBasis, power_spectrum
from tests.studies.many_body.gay_berne import held_out, pairs

BOX = np.array([[1.5, 0, 0], [0.1, 1.45, 0], [-0.1, 0.2, 1.55]])
TERMS = {
    "round": SmoothOverlap("A", ("A", "B"), 0.6, width=0.12, degree=2, power=3, inducing=4),
    "ellipsoids": SmoothOverlap("A", ("A", "B"), 0.6, width=0.12, degree=2, power=3, ellipsoids=True, inducing=4),
}


@pytest.fixture(autouse=True)
def _in_double_precision():
    with double_precision():
        yield


def ellipsoids(count, rng):
    """Random second moments of ellipsoidal beads."""
    axes = Rotation.random(count, rng=rng).as_matrix()
    radii = rng.uniform(0.05, 0.5, (count, 3))
    return axes, radii, np.einsum("bkx,bk,bky->bxy", axes, radii**2 / 5, axes)


@pytest.fixture(scope="module")
def system():
    """Nine beads of two types, and terms whose inducing points are neighborhoods of others."""
    rng = np.random.default_rng(5)
    types = np.array(["A", "B", "A"] * 3)
    axes, radii, _ = ellipsoids(18, rng)
    cg = bcg.from_arrays(rng.uniform(0, 1.5, (2, 9, 3)), BOX, types, temperature=300.0)
    cg = with_shapes(cg, axes.reshape(2, 9, 3, 3), radii.reshape(2, 9, 3))
    with double_precision():
        potentials = {name: fill_ranges(Potential(term), cg.isel(frame=[1])) for name, term in TERMS.items()}
    return cg.isel(frame=[0]), potentials


def configuration_of(potential, cg, positions=None, shapes=None):
    x = cg["positions"].values[0] if positions is None else positions
    shapes = shape_tensors(cg)[0] if shapes is None else shapes
    found = Interactions.of(potential, cg).configuration(x, cg["box"].values[0])
    return found._replace(shapes=shapes) if potential.terms[0].ellipsoids else found


def test_projections_on_flat_functions_are_moments_of_the_gaussian():
    basis = DensityBasis(1e4, 1e4, 1, 3)
    rng = np.random.default_rng(0)
    (x, y, z), cov = rng.normal(size=3), ellipsoids(1, rng)[2][0] + 0.01 * np.eye(3)
    found = np.asarray(jax.jit(basis.project)(np.array([x, y, z]), cov))[0]
    exponent = 0.5e-8
    means = {
        (0, 0): np.sqrt(1 / (4 * np.pi)),
        (1, -1): np.sqrt(3 / (4 * np.pi)) * y,
        (2, -2): np.sqrt(15 / (4 * np.pi)) * (x * y + cov[0, 1]),
        (2, 0): np.sqrt(5 / (16 * np.pi)) * (2 * (z**2 + cov[2, 2]) - x**2 - cov[0, 0] - y**2 - cov[1, 1]),
        (3, -2): np.sqrt(105 / (4 * np.pi)) * (x * y * z + x * cov[1, 2] + y * cov[0, 2] + z * cov[0, 1]),
    }
    for (order, m), mean in means.items():
        norm = np.sqrt(0.5 * math.gamma(order + 1.5) / (2 * exponent) ** (order + 1.5))
        np.testing.assert_allclose(found[order**2 + order + m] * norm, mean, rtol=1e-6)


def test_sums_of_projections_are_overlaps_of_gaussians():
    basis = DensityBasis(0.1, 0.6, 9, 7)
    rng = np.random.default_rng(1)
    centers = rng.uniform(-0.2, 0.2, (3, 3))
    cov = ellipsoids(3, rng)[2] + 0.04 * np.eye(3)
    project = jax.jit(basis.project)
    found = np.asarray(project(centers, cov))
    for a, b in itertools.combinations_with_replacement(range(3), 2):
        total, apart = cov[a] + cov[b], centers[a] - centers[b]
        exact = np.exp(-0.5 * apart @ np.linalg.solve(total, apart)) / np.sqrt(np.linalg.det(2 * np.pi * total))
        np.testing.assert_allclose(np.sum(found[a] * found[b]), exact, rtol=0.01)
    alike = project(centers, np.tile(0.05 * np.eye(3), (3, 1, 1)))
    np.testing.assert_allclose(jax.jit(lambda x: basis.project(x, 0.05))(centers), alike, atol=1e-10)


def test_products_of_spectra_are_squared_overlaps_averaged_over_rotations():
    basis = DensityBasis(0.1, 0.3, 3, 2)
    rng = np.random.default_rng(2)
    centers, cov = rng.normal(size=(2, 2, 3)) * 0.2, ellipsoids(4, rng)[2].reshape(2, 2, 3, 3) + 0.01 * np.eye(3)
    heights, weights = np.polynomial.legendre.leggauss(5)
    turns = np.arange(6) * np.pi / 3
    angles = np.array([(a, np.arccos(h), c) for a, h, c in itertools.product(turns, heights, turns)])
    shares = np.array([w for _, w, _ in itertools.product(turns, weights, turns)]) / 72
    rotations = Rotation.from_euler("ZYZ", angles).as_matrix()
    turned = np.einsum("rxy,py->rpx", rotations, centers[1])
    tensors = np.einsum("rxy,pyz,rwz->rpxw", rotations, cov[1], rotations)
    project = jax.jit(basis.project)
    fixed = np.asarray(project(centers[0], cov[0])).sum(axis=0)
    others = np.asarray(project(turned, tensors)).sum(axis=1)
    mean = shares @ np.einsum("nk,rnk->r", fixed, others) ** 2
    spectra = np.asarray(jax.jit(power_spectrum)(np.stack([fixed, others[7]])))
    np.testing.assert_allclose(spectra[0] @ spectra[1], mean, rtol=1e-10)


@pytest.mark.parametrize("name", TERMS)
def test_energy_forces_and_basis_agree(name, system):
    cg, potentials = system
    potential = potentials[name]
    term = potential.terms[0]
    assert term.n_basis == 4
    configuration = configuration_of(potential, cg)
    w = jnp.asarray(np.random.default_rng(1).normal(size=4)) * 100

    @jax.jit
    def everything(x):
        moved = configuration._replace(positions=x)
        return term.energy(moved, w), term.forces(moved, w), term.basis_energies(moved)

    x = np.asarray(configuration.positions)
    energy, forces, basis = everything(x)
    rows, laplacian = jax.jit(lambda c: (term.design_rows(c), term.laplacian(c, w)))(configuration)
    assert abs(energy) > 0.1
    np.testing.assert_allclose(basis @ w, energy, rtol=1e-10)
    np.testing.assert_allclose(np.einsum("nkx,k->nx", rows, w), forces, atol=1e-10 * np.abs(forces).max())
    step, second = 1e-5, 0.0
    for bead, axis in itertools.product(range(len(x)), range(3)):
        shift = np.zeros_like(x)
        shift[bead, axis] = step
        above, below = everything(x + shift), everything(x - shift)
        slope = (above[0] - below[0]) / (2 * step)
        np.testing.assert_allclose(-slope, forces[bead, axis], rtol=1e-5, atol=1e-6 * np.abs(forces).max())
        second -= (above[1][bead, axis] - below[1][bead, axis]) / (2 * step)
    np.testing.assert_allclose(laplacian, second, rtol=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_order_rotation_translation_and_images_do_not_matter(name, system):
    cg, potentials = system
    potential = potentials[name]
    term = potential.terms[0]
    w = jnp.asarray(np.random.default_rng(1).normal(size=4)) * 100
    rng = np.random.default_rng(3)
    configuration = configuration_of(potential, cg)
    x, shapes = np.asarray(configuration.positions), shape_tensors(cg)[0]
    both = jax.jit(lambda c: (term.energy(c, w), term.forces(c, w)))
    energy, forces = both(configuration)
    order = rng.permutation(len(x))
    shuffled = cg.isel(bead=order)
    found = both(configuration_of(potential, shuffled))
    np.testing.assert_allclose(found[0], energy, rtol=1e-10)
    np.testing.assert_allclose(found[1], forces[order], atol=1e-9 * np.abs(forces).max())
    for moved in (x + rng.normal(size=3), x + rng.integers(-2, 3, x.shape) @ BOX):
        np.testing.assert_allclose(both(configuration_of(potential, cg, moved))[0], energy, rtol=1e-9)
    turn = Rotation.random(rng=rng).as_matrix()
    rotated = configuration._replace(positions=x @ turn.T, box=BOX @ turn.T)
    if term.ellipsoids:
        assert abs(both(rotated)[0] - energy) > 1e-3 * abs(energy)
        rotated = rotated._replace(shapes=turn @ shapes @ turn.T)
    found = both(rotated)
    np.testing.assert_allclose(found[0], energy, rtol=1e-9)
    np.testing.assert_allclose(found[1], forces @ turn.T, atol=1e-9 * np.abs(forces).max())


def test_torques_are_slopes_and_conserve_angular_momentum(system):
    cg, potentials = system
    potential = potentials["ellipsoids"]
    term = potential.terms[0]
    w = jnp.asarray(np.random.default_rng(1).normal(size=4)) * 100
    # In a large box no image is met.
    cg = cg.assign(box=cg["box"] * 4, positions=cg["positions"] * 0.5)
    configuration = configuration_of(potential, cg)
    energy, forces, torques = jax.jit(lambda c: (term.energy(c, w), term.forces(c, w), term.torques(c, w)))(
        configuration
    )
    assert abs(energy) > 0.1
    total = np.cross(configuration.positions, forces) + torques
    np.testing.assert_allclose(total.sum(axis=0), 0, atol=1e-9 * np.abs(torques).max())
    shapes, evaluate = np.asarray(configuration.shapes), jax.jit(lambda c: term.energy(c, w))
    for axis in np.eye(3):
        ends = []
        for step in (1e-5, -1e-5):
            turn = Rotation.from_rotvec(step * axis).as_matrix()
            turned = shapes.copy()
            turned[4] = turn @ turned[4] @ turn.T
            ends.append(float(evaluate(configuration._replace(shapes=turned))))
        np.testing.assert_allclose(-(ends[0] - ends[1]) / 2e-5, torques[4] @ axis, rtol=1e-5, atol=1e-7)


def test_energy_vanishes_with_two_slopes_at_the_cutoff(system):
    term = system[1]["ellipsoids"].terms[0]
    shapes = ellipsoids(2, np.random.default_rng(4))[2]
    rows = {term.name: np.array([[0, 1, 0], [1, 0, 0]])}

    @jax.jit
    def energies(r):
        return jax.vmap(
            lambda d: term.basis_energies(
                Configuration(jnp.zeros((2, 3)).at[1, 2].set(d), jnp.eye(3) * 9, rows, jnp.asarray(shapes))
            )
        )(r)

    gaps = np.array([0.02, 0.01, 0.005, 0.0, -0.05])
    found = np.asarray(energies(jnp.asarray(term.cutoff - gaps)))
    size = np.linalg.norm(found, axis=1)
    assert size[2] > 1e-9
    np.testing.assert_allclose(size[0] / size[1], 8, rtol=0.15)
    np.testing.assert_allclose(size[1] / size[2], 8, rtol=0.08)
    np.testing.assert_allclose(found[3:], 0, atol=1e-14)


def test_gay_berne_pairs_need_ellipsoids():
    data = pairs(1100, np.random.default_rng(11))
    scores = {kind: held_out(data, 800, ellipsoids=kind, inducing=150) for kind in (True, False)}
    assert scores[True] > 0.95
    assert scores[False] < 0.7


def test_json_keeps_inducing_points(system):
    potential = system[1]["round"]
    assert Potential.from_json(potential.to_json()) == potential
    assert Potential(TERMS["round"]).filled_by(potential)


def test_bad_input_is_refused(system):
    cg, potentials = system
    with pytest.raises(ValueError, match="3 width < cutoff"):
        SmoothOverlap("A", ("A",), 0.2, width=0.1)
    with pytest.raises(ValueError, match="at least one type"):
        SmoothOverlap("A", (), 0.6)
    with pytest.raises(ValueError, match="degree is a whole number"):
        SmoothOverlap("A", ("A",), 0.6, degree=40)
    with pytest.raises(ValueError, match="no inducing points yet"):
        _ = TERMS["round"].gram
    with pytest.raises(ValueError, match="as far as which neighbors are listed"):
        Potential(Pair("A", "A", 0.5), TERMS["round"])
    bare = cg.drop_vars(["axes", "radii"])
    with pytest.raises(ValueError, match="have no orientation"):
        shapes_of(potentials["ellipsoids"], bare)
    found = Interactions.of(potentials["ellipsoids"], bare).configuration(bare["positions"].values[0], BOX)
    with pytest.raises(ValueError, match="needs the orientation"):
        potentials["ellipsoids"].terms[0].basis_energies(found)

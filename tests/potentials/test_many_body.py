"""Three-body and local-density terms: gradients, invariances, edges, exclusions, types, input that is refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data.mapping.topology import Topology
from bayescg.potentials import Interactions, LocalDensity, Pair, Potential, ThreeBody

BOX = np.array([[1.3, 0, 0], [0.1, 1.25, 0], [-0.1, 0.2, 1.35]])
TERMS = {
    "one type": ThreeBody("A", "A", "A", 0.45, 0.1, 0.05, 0.15),
    "two types": ThreeBody("A", "B", "A", 0.45, 0.1, 0.05, 0.15),
    "like neighbors": ThreeBody("B", "A", "A", 0.45, 0.1, 0.05, 0.15),
    "density": LocalDensity("A", "B", 0.25, 0.5, stop=6.0),
    "own density": LocalDensity("A", "A", 0.25, 0.5, stop=6.0),
}


@pytest.fixture(autouse=True)
def _in_double_precision():
    with double_precision():
        yield


def system(term, positions, types, box=BOX, exclude=0, bonds=None):
    """The interactions of one term, and of one frame of beads."""
    potential = Potential(term, exclude_bonds=exclude)
    topology = None if bonds is None else Topology.from_bonds(len(types), bonds)
    cg = bcg.from_arrays(positions[None], box[None], types, temperature=300.0, topology=topology)
    return Interactions.of(potential, cg)


@pytest.fixture(scope="module")
def beads():
    rng = np.random.default_rng(5)
    return rng.uniform(0, 1.3, (24, 3)), np.array(["A", "B"])[np.arange(24) % 2]


@pytest.mark.parametrize("name", TERMS)
def test_energy_forces_and_basis_agree(name, beads):
    positions, types = beads
    term = TERMS[name]
    interactions = system(term, positions, types)
    configuration = interactions.configuration(positions, BOX)
    w = jnp.asarray(np.random.default_rng(1).normal(size=term.n_basis))

    @jax.jit
    def everything(x):
        moved = configuration._replace(positions=x)
        parts = term.energy(moved, w), term.forces(moved, w), term.basis_energies(moved), term.design_rows(moved)
        return *parts, term.laplacian(moved, w)

    energy, forces, basis, rows, laplacian = everything(jnp.asarray(positions))
    assert abs(energy) > 0.1
    np.testing.assert_allclose(basis @ w, energy, rtol=1e-10)
    np.testing.assert_allclose(np.einsum("nkx,k->nx", rows, w), forces, atol=1e-10 * np.abs(forces).max())
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10 * np.abs(forces).max())
    step = 1e-6
    second = 0.0
    for bead, axis in itertools.product(range(len(positions)), range(3)):
        shift = np.zeros_like(positions)
        shift[bead, axis] = step
        above, below = everything(jnp.asarray(positions + shift)), everything(jnp.asarray(positions - shift))
        slope = (above[0] - below[0]) / (2 * step)
        np.testing.assert_allclose(-slope, forces[bead, axis], rtol=1e-5, atol=1e-6 * np.abs(forces).max())
        second -= (above[1][bead, axis] - below[1][bead, axis]) / (2 * step)
    np.testing.assert_allclose(laplacian, second, rtol=1e-4, atol=1e-6 * np.abs(forces).max() / step * 1e-3)


@pytest.mark.parametrize("name", TERMS)
def test_order_rotation_translation_and_images_do_not_matter(name, beads):
    positions, types = beads
    term = TERMS[name]
    rng = np.random.default_rng(2)
    w = jnp.asarray(rng.normal(size=term.n_basis))
    evaluate = jax.jit(lambda c: (term.energy(c, w), term.forces(c, w)))

    def at(x, names, box=BOX):
        return evaluate(system(term, x, names, box).configuration(x, box, sizes=dict.fromkeys(sizes, 4096)))

    sizes = system(term, positions, types).pairs(positions, BOX)
    energy, forces = at(positions, types)
    order = rng.permutation(len(types))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    # A rotation that keeps the box lower triangular turns the lattice instead: x' = x R, box' = box R.
    for x, names, box, expected in (
        (positions[order], types[order], BOX, forces[order]),
        (positions + rng.normal(size=3), types, BOX, forces),
        (positions + rng.integers(-2, 3, positions.shape) @ BOX, types, BOX, forces),
    ):
        found = at(x, names, box)
        np.testing.assert_allclose(found[0], energy, rtol=1e-9)
        np.testing.assert_allclose(found[1], expected, atol=1e-9 * np.abs(forces).max())
    configuration = system(term, positions, types).configuration(positions, BOX, sizes=dict.fromkeys(sizes, 4096))
    turned = evaluate(configuration._replace(positions=positions @ rotation, box=BOX @ rotation))
    np.testing.assert_allclose(turned[0], energy, rtol=1e-9)
    np.testing.assert_allclose(turned[1], forces @ rotation, atol=1e-9 * np.abs(forces).max())


def brute_force(term, w, positions, types, box, excluded=()):
    """Energy by loops over centers and pairs of neighbors in their nearest images."""
    total, surface = 0.0, jax.jit(term.surface)
    inverse = np.linalg.inv(box)
    for i in range(len(types)):
        near = []
        for j in range(len(types)):
            v = positions[j] - positions[i]
            v = v - np.round(v @ inverse) @ box
            if i != j and types[i] == term.center and np.linalg.norm(v) < term.cutoff and {i, j} not in excluded:
                near.append((types[j], v))
        for (one, v), (two, u) in itertools.combinations(near, 2):
            if sorted((one, two)) == sorted((term.a, term.b)):
                p, q = (v, u) if one == term.a else (u, v)
                sides = np.array([np.linalg.norm(p), np.linalg.norm(q), np.linalg.norm(q - p)])
                total += float(surface(w, sides)[0])
    return total


@pytest.mark.parametrize("name", ["one type", "two types", "like neighbors"])
def test_every_triplet_counts_once_and_excluded_sides_do_not(name, beads):
    positions, types = beads
    term = TERMS[name]
    w = jnp.asarray(np.random.default_rng(1).normal(size=term.n_basis))
    bonds = np.array([[0, 2], [3, 4], [5, 6], [7, 9], [8, 10], [20, 22]])
    energies = []
    for exclude in (0, 1):
        interactions = system(term, positions, types, exclude=exclude, bonds=bonds)
        excluded = [set(pair) for pair in bonds.tolist()] if exclude else []
        energies.append(float(jax.jit(term.energy)(interactions.configuration(positions, BOX), w)))
        np.testing.assert_allclose(energies[-1], brute_force(term, w, positions, types, BOX, excluded), rtol=1e-9)


def test_density_counts_neighbors():
    term = LocalDensity("A", "B", 0.2, 0.4, stop=5.0)
    values, slopes = map(np.asarray, jax.jit(term.weight)(np.array([0.1, 0.2, 0.3, 0.4, 0.5])))
    np.testing.assert_allclose(values[[0, 1, 3, 4]], [1, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(slopes[[0, 1, 3, 4]], 0, atol=1e-12)
    assert 0 < values[2] < 1
    positions = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.15, 0], [0, 0, 0.39], [0.6, 0.6, 0.6]])
    types = np.array(["A", "B", "B", "B", "B"])
    box = np.eye(3) * 1.2
    configuration = system(term, positions, types, box).configuration(positions, box)
    densities = jax.jit(term.densities)(configuration)
    np.testing.assert_allclose(densities[0], 2 + float(jax.jit(term.weight)(0.39)[0]))


@pytest.mark.parametrize("which", ["side", "opposite", "start", "density"])
def test_energy_and_force_are_smooth_across_edges(which):
    # Jumps would show as differences that do not shrink with the step.
    term = TERMS["density"] if which == "density" else TERMS["one type"]
    w = jnp.asarray(np.random.default_rng(3).normal(size=term.n_basis))
    if which == "density":

        def curve(t):
            rho = term.weight(t)[0] + 1.3
            return term.curve(w, rho)[0], term.curve(w, rho)[1] * term.weight(t)[1]

        edges = [term.inner, term.outer]
    else:

        def curve(t):
            fixed = jnp.full_like(t, 0.31)
            sides = {
                "side": (t, fixed, fixed),
                "opposite": (fixed, fixed, t),
                "start": (t, jnp.full_like(t, 0.2), jnp.full_like(t, 0.25)),
            }[which]
            energy, slopes = term.surface(w, jnp.stack(sides, -1))
            return energy, slopes[..., 2 if which == "opposite" else 0]

        edges = {"side": [term.cutoff], "opposite": [term.start], "start": [term.start]}[which]
    curve = jax.jit(curve)
    for edge in edges:
        steps = np.array([1e-3, 1e-4, 1e-5])
        for part in (0, 1):
            jump = np.abs(curve(edge + steps)[part] - curve(edge - steps)[part])
            scale = np.abs(np.asarray(curve(np.linspace(0.15, 0.4, 50))[part])).max()
            assert jump[2] < 1e-3 * scale, (which, edge, part, jump)
            assert jump[2] <= 0.2 * jump[1] + 1e-12 * scale
    if which != "density":
        beyond = {"side": 0.5, "opposite": 0.05, "start": 0.05}[which]
        assert float(curve(np.array([beyond]))[0][0]) == 0.0


def test_bad_input():
    three = ThreeBody("A", "A", "A", 0.4)
    with pytest.raises(ValueError, match=r"reaches to 0\.4 nm.*only to 0\.35 nm"):
        Potential(Pair("A", "A", cutoff=0.35), three)
    with pytest.raises(ValueError, match="describe the same interaction"):
        Potential(ThreeBody("A", "A", "B", 0.4), ThreeBody("A", "B", "A", 0.4))
    Potential(ThreeBody("A", "B", "C", 0.4), ThreeBody("C", "A", "B", 0.4), ThreeBody("B", "A", "C", 0.4))
    with pytest.raises(ValueError, match="knot intervals"):
        ThreeBody("A", "A", "A", 0.4, knot_spacing=0.1)
    with pytest.raises(ValueError, match="inner < outer"):
        LocalDensity("A", "A", 0.4, 0.3)
    assert three.graph is None
    potential = Potential(Pair("A", "A", cutoff=0.6), three, LocalDensity("A", "A", 0.2, 0.3, stop=3.0))
    assert Potential.from_json(potential.to_json()) == potential


def test_functions_that_no_triangle_reaches_are_left_out():
    term = ThreeBody("A", "A", "A", 0.45, 0.1, 0.05, 0.05)
    grid = term.grid
    assert term.n_basis < grid.shape[0] * (grid.shape[0] + 1) // 2 * grid.shape[2]
    rng = np.random.default_rng(0)
    v, u = rng.uniform(-0.45, 0.45, (2, 200_000, 3))
    sides = np.stack([np.linalg.norm(v, axis=1), np.linalg.norm(u, axis=1), np.linalg.norm(u - v, axis=1)], axis=1)
    dense = Potential(term)
    assert dense.n_basis == term.n_basis
    full = np.asarray(grid.side.matrix(sides[:, 0])[:, 3:-3]), np.asarray(grid.side.matrix(sides[:, 1])[:, 3:-3])
    reach = np.einsum("ta,tb,tc->abc", *full, grid.opposite.matrix(sides[:, 2])[:, 3:])
    kept = np.zeros(grid.shape, bool)
    for order in ((0, 1), (1, 0)):
        kept[grid.columns[order[0]], grid.columns[order[1]], grid.columns[2]] = True
    assert np.all(reach[~kept] == 0)

"""Internal coordinates: round trips, the Jacobian, signs, handedness, rotors."""

from functools import partial

import jax
import jax.numpy as jnp
import MDAnalysis.lib.distances as distances
import numpy as np
import pytest

from bayescg._runtime import double_precision
from bayescg.atomistic.internal_coordinates import InternalCoordinates, internal_coordinates
from bayescg.atomistic.zmatrix import choose_zmatrix

from .molecules import MOLECULES, Molecule, grow, molecule, rotation, superposed, turned

ROTORS = {"ethane": 1, "neopentane": 4, "chain": 2, "acetone": 2}
TURNING = ["ethane", "acetone"]


def called(function, *arguments):
    """In double precision, as one program."""
    with double_precision():
        return jax.tree.map(np.asarray, jax.jit(function)(*(jnp.asarray(a, float) for a in arguments)))


def of(mol: Molecule, **options) -> InternalCoordinates:
    with double_precision():
        return internal_coordinates(mol.elements, mol.bonds, mol.positions, **options)


def internal(coordinates: InternalCoordinates, x) -> np.ndarray:
    """Coordinates of one configuration or several."""
    with double_precision():
        found = np.array(_internal(coordinates, np.reshape(x, (-1, coordinates.n_atoms, 3))))
    return found[0] if np.ndim(x) == 2 else found


@partial(jax.jit, static_argnums=0)
def _internal(coordinates, x):
    return jax.vmap(coordinates.to_internal)(x)


def cartesian(coordinates: InternalCoordinates, y) -> np.ndarray:
    """Positions of one vector of coordinates."""
    with double_precision():
        return np.asarray(_cartesian(coordinates, y))


@partial(jax.jit, static_argnums=0)
def _cartesian(coordinates, y):
    return coordinates.to_cartesian(y)


def apart(y, other, periodic) -> float:
    """Largest difference, of periodic coordinates modulo a turn."""
    gap = np.asarray(y) - other
    return np.abs(np.where(periodic, (gap + np.pi) % (2 * np.pi) - np.pi, gap)).max()


def shaken(coordinates: InternalCoordinates, x, count: int) -> np.ndarray:
    """Coordinates around those of x, with any torsions."""
    rng = np.random.default_rng(3)
    y = internal(coordinates, x)
    width = np.where(np.arange(len(y)) < coordinates.n_atoms - 1, 0.003, 0.08)
    near = y + width * rng.normal(size=(count, len(y)))
    return np.where(coordinates.periodic, rng.uniform(-np.pi, np.pi, near.shape), near)


@pytest.mark.parametrize(
    ("name", "fold"), [*((name, True) for name in MOLECULES if name not in ("tree 1", "tree 3")), ("acetone", False)]
)
def test_round_trip_and_jacobian(name, fold):
    """Positions and coordinates come back to 1e-10; log |det| is autodiff's to 1e-8 (issue, point 2)."""
    mol = molecule(name)
    coordinates = of(mol, fold=fold)
    n = len(mol.elements)
    assert coordinates.dimension == len(coordinates.names) == len(coordinates.periodic) == 3 * n - 6
    assert len(set(coordinates.names)) == 3 * n - 6
    rotors = ROTORS.get(name, 0)
    assert name.startswith("tree") or len(coordinates.zmatrix.rotors) == rotors
    rotors = len(coordinates.zmatrix.rotors) if fold else 0
    moved = mol.positions @ rotation(np.random.default_rng(1)) + [0.3, -1, 2]
    points = shaken(coordinates, moved, 4)

    def everything(x, y):
        def placed(y):
            at = coordinates.to_cartesian(y)
            slope = jax.jacfwd(coordinates.to_cartesian)(y).reshape(3 * n, -1)
            shifts = jnp.tile(jnp.eye(3), (n, 1))
            turns = jnp.stack([jnp.cross(e, at).ravel() for e in jnp.eye(3)], axis=1)
            volume = jnp.linalg.slogdet(jnp.concatenate([slope, shifts, turns], axis=1))[1]
            return coordinates.to_internal(at), volume, coordinates.log_jacobian(y), coordinates.within(y)

        return coordinates.to_cartesian(coordinates.to_internal(x)), *jax.vmap(placed)(y)

    x, y, volume, log_jacobian, within = called(everything, moved, points)
    assert superposed(x, moved) < 1e-10
    assert apart(y, points, coordinates.periodic) < 1e-10
    np.testing.assert_allclose(volume, log_jacobian - rotors * np.log(3), atol=1e-8, rtol=0)
    assert np.all(within)


def test_torsions_have_the_sign_and_atoms_that_they_are_named_by():
    """Against MDAnalysis, which follows IUPAC."""
    mol = molecule("tree 1")
    coordinates = of(mol, fold=False)
    y = internal(coordinates, mol.positions)
    for value, name in zip(y, coordinates.names, strict=True):
        kind, atoms = name.split()
        x = [mol.positions[int(k)].astype(np.float32) for k in atoms.split("-")]
        if kind == "torsion":
            assert value == pytest.approx(distances.calc_dihedrals(*x).item(), abs=1e-5), name
        elif kind == "angle":
            assert value == pytest.approx(distances.calc_angles(*x).item(), abs=1e-5), name
        elif kind == "bond":
            assert value == pytest.approx(distances.calc_bonds(*x).item(), abs=1e-6), name
    kinds = [name.split()[0] for name in coordinates.names]
    assert np.array_equal(coordinates.periodic, np.array(kinds) == "torsion")
    # One torsion for every bond that turns: both ends have other neighbors. The rest are branches.
    degree = np.bincount(np.ravel(mol.bonds))
    assert kinds.count("torsion") == sum(degree[i] > 1 and degree[j] > 1 for i, j in mol.bonds)


@pytest.mark.parametrize("name", TURNING)
def test_relabeled_rotors_are_one_state(name):
    """Any even relabeling of any rotor, and any turn by a third, has the same coordinates; an odd one is no state."""
    mol = molecule(name)
    coordinates = of(mol)
    rng = np.random.default_rng(2)
    x = mol.positions + 0.004 * rng.normal(size=mol.positions.shape)
    same, odd = [x], []
    for group in coordinates.zmatrix.rotors:
        atoms = np.asarray(coordinates.zmatrix.order)[list(group)]
        center, other = (coordinates.zmatrix.order[k] for k in coordinates.zmatrix.references[group[0] - 3][:2])
        for times in (1, 2):
            rolled = same[-1].copy()
            rolled[atoms] = rolled[np.roll(atoms, times)]
            same.append(rolled)
        swapped = x.copy()
        swapped[atoms[[0, 1]]] = x[atoms[[1, 0]]]
        odd.append(swapped)
    y = internal(coordinates, np.array(same))
    assert apart(y, y[0], coordinates.periodic) < 1e-9
    within = called(jax.vmap(lambda x: coordinates.within(coordinates.to_internal(x))), np.array([x, *odd]))
    assert within.tolist() == [True] + [False] * len(odd)
    # The rotor's coordinate is three times the turn of its atoms, so that a third of a turn is a period.
    y = []
    for angle in (0.0, 0.3, 2 * np.pi / 3, 0.3 - 2 * np.pi / 3, np.pi):
        moved = x.copy()
        moved[atoms] = (x[atoms] - x[center]) @ turned(x[center] - x[other], angle).T + x[center]
        y.append(internal(coordinates, moved))
    at = group[0] - 3 + 2 * coordinates.n_atoms - 3
    assert coordinates.names[at].startswith("rotor")
    assert coordinates.periodic[at]
    shift = np.zeros(coordinates.dimension)
    shift[at] = 0.9
    assert apart(y[1], y[0] + shift, coordinates.periodic) < 1e-9
    # The three atoms are not at equal distances here: another one leads after a third of a turn.
    assert np.abs(np.sort(y[2]) - np.sort(y[1])).max() > 1e-3
    assert apart(y[2][at], y[0][at], periodic=True) < 1e-9
    assert apart(y[3][at], y[1][at], periodic=True) < 1e-9
    assert apart(y[4][at], y[0][at] + 3 * np.pi, periodic=True) < 1e-9
    lengths = slice(0, coordinates.n_atoms - 1)
    np.testing.assert_allclose(np.sort(y[2][lengths]), np.sort(y[0][lengths]), atol=1e-10)


@pytest.mark.parametrize("offset", [1e-4, -1e-4])
def test_torsions_go_on_past_half_a_turn(offset):
    """At +-pi a torsion jumps by a whole turn and a rotor is relabeled: nothing else changes."""
    mol = molecule("peroxide")
    coordinates = of(mol)
    y = internal(coordinates, mol.positions)
    y[-1] = np.pi + offset
    x = cartesian(coordinates, y)
    back = internal(coordinates, x)
    assert -np.pi <= back[-1] < np.pi
    assert apart(back, y, coordinates.periodic) < 1e-9
    mol = molecule("acetone")
    coordinates = of(mol)
    y = internal(coordinates, mol.positions)
    rotors = [k for k, name in enumerate(coordinates.names) if name.startswith("rotor")]
    y[rotors] = np.pi + offset, -np.pi + offset
    x = cartesian(coordinates, y)
    back = internal(coordinates, x)
    assert apart(back[rotors], y[rotors], periodic=True) < 1e-9
    assert np.all(np.abs(back[rotors]) <= np.pi)
    # The same configuration with other labels: each heavy atom has the same distances to hydrogens.
    again = cartesian(coordinates, back)
    for atom in range(4):
        np.testing.assert_allclose(*(np.sort(np.linalg.norm(p[4:] - p[atom], axis=1)) for p in (x, again)), atol=1e-10)


@pytest.mark.parametrize(("name", "kept"), [("methane", True), ("ethane", True), ("water", False), ("peroxide", False)])
def test_handedness(name, kept):
    """Mirror images of molecules with tetrahedral centers are other molecules; of others, other configurations."""
    mol = molecule(name)
    coordinates = of(mol)
    image = mol.positions * [1, 1, -1]

    def run(x):
        y = coordinates.to_internal(x)
        return coordinates.within(y), coordinates.to_cartesian(y)

    assert called(run, mol.positions)[0]
    within, x = called(run, image)
    assert within == (not kept)
    if not kept:
        assert superposed(x, image) < 1e-9


def test_a_flat_center_turns_inside_out():
    """Three neighbors: planar and both pyramids are configurations of one molecule."""
    elements, bonds = MOLECULES["formaldehyde"]
    mol = Molecule(elements, bonds, np.array([[0, 0, 0.02], [0.12, 0, 0], [-0.05, 0.09, 0], [-0.05, -0.09, 0]]))
    coordinates = of(mol)
    for height in (0.05, 0.0, -0.05):
        x = mol.positions.copy()
        x[0, 2] = height
        y = internal(coordinates, x)
        assert called(coordinates.within, y)
        assert superposed(cartesian(coordinates, y), x) < 1e-10


def test_outside_the_domain():
    """Impossible values are outside, and neither they nor degenerate positions have gradients that are not finite."""
    mol = molecule("acetone")
    coordinates = of(mol)
    n = coordinates.n_atoms
    y = internal(coordinates, mol.positions)
    bad = np.tile(y, (7, 1))
    bad[0, 2], bad[1, 0], bad[2, n], bad[3, n - 1], bad[4, -1] = 0.0, -0.1, -0.1, np.pi + 0.2, y[-1] + 2 * np.pi
    bad[5, n + 1], bad[6, 3] = np.pi, np.nan
    positions = np.tile(mol.positions, (4, 1, 1))
    positions[0, 1] = positions[0, 0]
    positions[1] = np.linspace(0, 1, n)[:, None] * [1, 2, 3]
    positions[2] = 0.5
    positions[3, :, 2] = 0

    def run(y, x):
        def value(y):
            return coordinates.log_jacobian(y) + jnp.sum(coordinates.to_cartesian(y) ** 2)

        slopes = jax.vmap(jax.grad(lambda x: jnp.sum(coordinates.to_internal(x))))(x)
        return jax.vmap(coordinates.within)(y), jax.vmap(jax.value_and_grad(value))(y[:-1]), slopes

    within, (values, gradient), slopes = called(run, bad, positions)
    assert not within.any()
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(slopes))


def test_single_precision():
    """What sampling uses: dihedrals to 1e-4, positions to 1e-6 nm."""
    mol = molecule("chain")
    coordinates = of(mol)
    exact = internal(coordinates, mol.positions)
    x = np.asarray(jax.jit(coordinates.to_cartesian)(jnp.asarray(exact, jnp.float32)))
    assert x.dtype == np.float32
    assert superposed(x.astype(float), mol.positions) < 1e-6
    assert apart(jax.jit(coordinates.to_internal)(jnp.asarray(x)), exact, coordinates.periodic) < 1e-4


def test_the_choice_of_atoms():
    """Heavy atoms lead: torsions are the backbone's. Numbering does not matter; long chains have no deep tree."""
    mol = molecule("chain")
    heavy = {name.split()[1] for name in of(mol).names if name.startswith("torsion")}
    assert {"-".join(sorted(name.split("-"))) for name in heavy} == {"0-1-2-3", "1-2-3-4", "2-3-4-5"}
    order = np.random.default_rng(0).permutation(len(mol.elements))
    place = np.argsort(order)
    shuffled = Molecule(
        [mol.elements[k] for k in order], [(int(place[i]), int(place[j])) for i, j in mol.bonds], mol.positions[order]
    )
    coordinates = of(shuffled)
    kinds = sorted(name.split()[0] for name in coordinates.names)
    assert kinds == sorted(name.split()[0] for name in of(mol).names)
    x = called(lambda x: coordinates.to_cartesian(coordinates.to_internal(x)), shuffled.positions)
    assert superposed(x, shuffled.positions) < 1e-10
    long = grow(["C"] * 41, [(k, k + 1) for k in range(40)])
    zmatrix = choose_zmatrix(long.elements, long.bonds)
    assert zmatrix.order[1] == 20

"""Conditionals of all kinds of maps, rotors and chiral centers, and what is refused."""

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm, vonmises

import bayescg
from bayescg._runtime import double_precision
from bayescg.backmapping import Learning
from bayescg.backmapping.conditional.gaussian_process import fit_conditional
from bayescg.backmapping.conditional.molecules import find_molecule, read_positions
from tests.atomistic.molecules import rotation
from tests.backmapping import planted
from tests.seeds import shifted

_METHYL = [(0, 1), (1, 2), (2, 3), (2, 4), (2, 5)]
_WATER = [(0, 1), (0, 2)]
_FRAMES = 500


def _fitted(positions, bonds, select, elements=None, **options):
    molecule = planted.universe(positions, bonds, elements)
    return fit_conditional(molecule, planted.kept(molecule, select), key=jax.random.key(shifted(0)), **options)


@eqx.filter_jit
def _draw(guide, keys):
    def one(key):
        x = guide.sample(key=key)
        return x, guide.log_density(x)

    return jax.vmap(one)(keys)


def _draws(conditional, beads, count=10000):
    with double_precision():
        guide = conditional.guide(jnp.asarray(beads))
        return tuple(np.asarray(part) for part in _draw(guide, jax.random.split(jax.random.key(shifted(2)), count)))


def _is_one(log_p, log_q, error):
    weight = np.exp(log_p - log_q)
    found = weight.std() / np.sqrt(len(weight))
    assert found < error
    assert abs(weight.mean() - 1) < 4 * found
    return 1 / np.mean(weight**2)


def test_a_symmetric_rotor_is_folded_exactly():
    conditional = _fitted(planted.methyl(_FRAMES, 0), _METHYL, "index 0 1 2", "CCCHHH")
    assert len(conditional.coordinates.zmatrix.rotors) == 1
    assert conditional.model.mixtures == ()
    sites = planted.triangle(np.array([0.25]))[0]
    positions, log_q = _draws(conditional, sites)
    # Over the whole fibre, with all three labelings: a factor of three would be seen.
    assert _is_one(planted.log_density_methyl(positions), log_q, 0.03) > 0.5
    labels = planted.dihedral(*(positions[:, k] for k in (3, 2, 1, 0)))
    thirds = np.bincount(np.rint(np.mod(labels - 0.4, 2 * np.pi) / (2 * np.pi / 3)).astype(int) % 3)
    assert np.allclose(thirds / len(labels), 1 / 3, atol=0.03)
    turned = positions[0][[0, 1, 2, 5, 3, 4]]
    with double_precision():
        assert float(conditional.guide(sites).log_density(jnp.asarray(turned))) == pytest.approx(log_q[0], abs=1e-8)


def test_no_draw_is_a_mirror_image():
    positions = planted.methyl(_FRAMES, 0, third="Cl")
    conditional = _fitted(positions, _METHYL, "index 0 1 2", ["C", "C", "C", "H", "F", "Cl"])
    assert conditional.coordinates.zmatrix.rotors == ()
    sites = planted.triangle(np.array([0.25]))[0]
    drawn, log_q = _draws(conditional, sites, 2000)

    def hand(x):
        return np.einsum("fi,fi->f", np.cross(x[:, 3] - x[:, 2], x[:, 4] - x[:, 2]), x[:, 5] - x[:, 2])

    assert np.all(hand(drawn) * hand(positions)[0] > 0)
    assert np.all(np.isfinite(log_q))
    with double_precision():
        mirror = jnp.asarray(drawn[0] * [1, 1, -1])
        assert float(conditional.guide(sites).log_density(mirror)) == -np.inf
        assert not conditional.allowed(mirror)
        assert conditional.allowed(jnp.asarray(drawn[0]))
    flipped = positions.copy()
    flipped[100:110] *= [1, 1, -1]
    with pytest.raises(ValueError, match=r"changes its handedness: atom .* in 10 of 500 frames"):
        _fitted(flipped, _METHYL, "index 0 1 2", ["C", "C", "C", "H", "F", "Cl"])


def test_one_kept_atom_leaves_the_direction_free():
    conditional = _fitted(planted.water(_FRAMES, 0), _WATER, "index 0", "OHH")
    positions, log_q = _draws(conditional, [[0.3, -0.2, 0.1]])
    assert _is_one(planted.log_density_water(positions), log_q, 0.03) > 0.5
    arm = positions[:, 1] - positions[:, 0]
    arm /= np.linalg.norm(arm, axis=1, keepdims=True)
    assert np.allclose(arm.mean(axis=0), 0, atol=4 / np.sqrt(3 * len(arm)))
    assert np.allclose(arm.T @ arm / len(arm), np.eye(3) / 3, atol=0.02)
    turn = rotation(np.random.default_rng(0))
    with double_precision():
        moved = jnp.asarray((positions[0] - positions[0, 0]) @ turn.T)
        assert float(conditional.guide(moved[:1]).log_density(moved)) == pytest.approx(log_q[0], abs=1e-8)


def test_two_kept_atoms_leave_the_turn_about_them_free():
    conditional = _fitted(planted.water(_FRAMES, 0), _WATER, "index 0 1", "OHH")
    positions, log_q = _draws(conditional, [[0.3, -0.2, 0.1], [0.3, -0.1, 0.1]])
    given = planted.log_density_water(positions)
    # Of the three atoms' density, what is left when one arm is given: the density of that arm is divided out.
    arm = np.linalg.norm(positions[:, 1] - positions[:, 0], axis=1)
    given -= -0.5 * ((arm - 0.1) / 0.004) ** 2 - np.log(0.004 * np.sqrt(2 * np.pi)) - np.log(4 * np.pi * arm**2)
    assert _is_one(given, log_q, 0.03) > 0.5


def test_centers_of_several_atoms():
    """All atoms are placed about the centers, nearly on the fibre, by a density over all of them that is normalized."""
    chain = planted.chain(_FRAMES, 0).positions[:, :4]
    molecule = planted.universe(chain, [(0, 1), (1, 2), (2, 3)], "COCC")
    conditional = fit_conditional(molecule, _halves(molecule), key=jax.random.key(shifted(0)))
    beads = conditional.fibre.matrix @ chain[7]
    positions, log_q = _draws(conditional, beads)
    assert conditional.guide(beads).space == "atoms"
    misses = np.einsum("ba,nax->nbx", conditional.fibre.matrix, positions) - beads
    assert np.sqrt(np.mean(misses**2)) < 0.01
    # E_q[g / q] = 1 for any normalized g: here independent Gaussians of lengths and angles, a broad torsion, and a
    # pose that is looser in its place and free in its turn, from formulas of their own.
    length = [np.linalg.norm(positions[:, a] - positions[:, b], axis=1) for a, b in ((0, 1), (1, 2), (2, 3))]
    bend = [planted.angle(*(positions[:, k] for k in abc)) for abc in ((0, 1, 2), (1, 2, 3))]
    turn = planted.dihedral(*(positions[:, k] for k in (3, 2, 1, 0)))
    shape = np.stack([*length, *bend], axis=1)
    log_g = multivariate_normal(shape.mean(axis=0), 0.7 * np.cov(shape.T)).logpdf(shape)
    center = np.angle(np.mean(np.exp(1j * turn)))
    log_g += vonmises(1 / np.var(np.angle(np.exp(1j * (turn - center)))), loc=center).logpdf(turn)
    log_g -= sum(2 * np.log(r) for r in length) + sum(np.log(np.sin(b)) for b in bend)
    moved = misses.mean(axis=1)
    log_g += norm.logpdf(moved, scale=0.003).sum(axis=1)
    axis = beads[1] - beads[0]
    kappa = np.sum(axis**2) / 0.004**2
    own = np.einsum("ba,nax->nbx", conditional.fibre.matrix, positions)
    cosine = ((own[:, 1] - own[:, 0]) @ axis) / np.linalg.norm(own[:, 1] - own[:, 0], axis=1) / np.linalg.norm(axis)
    log_g += np.log(kappa / (2 * np.pi)) + kappa * (cosine - 1) - np.log(2 * np.pi)
    _is_one(log_g, log_q, 0.1)


def _halves(molecule):
    from bayescg.data.mapping.beads import BeadSpec
    from bayescg.data.mapping.mapping import build

    specs = [BeadSpec("A", "A", np.array([0, 1]), None), BeadSpec("B", "B", np.array([2, 3]), None)]
    return build(molecule, specs, None, constraints="none", kind="halves")


def test_many_molecules_across_a_boundary_are_one_kind():
    frames = planted.water(_FRAMES, 0)
    rng = np.random.default_rng(shifted(0))
    # Ten molecules in fifty frames, wrapped atom by atom into a small box.
    packed = frames.reshape(50, 10, 3, 3) + rng.uniform(0, 2, (50, 10, 1, 3))
    packed = np.mod(packed, 2.0).reshape(50, 30, 3)
    bonds = [(3 * k + i, 3 * k + j) for k in range(10) for i, j in _WATER]
    molecule = planted.universe(packed, bonds, "OHH" * 10)
    molecule.trajectory.dimensions_array[:] = [20, 20, 20, 90, 90, 90]
    every = " ".join(str(3 * k) for k in range(10))
    conditional = fit_conditional(molecule, planted.kept(molecule, f"index {every}"), key=jax.random.key(shifted(0)))
    assert conditional.rows == _FRAMES
    assert conditional.fibre.n_atoms == 3
    positions, log_q = _draws(conditional, [[0.0, 0.0, 0.0]])
    assert _is_one(planted.log_density_water(positions), log_q, 0.03) > 0.5


def test_a_molecule_without_a_box_is_whole_already(tmp_path):
    """A flat molecule in an open dump: its bounds enclose it, narrower than its bonds, and are no lattice."""
    x = planted.water(60, 0)
    memory = planted.universe(x, _WATER, "OHH")
    memory.atoms.write(str(tmp_path / "traj.trr"), frames="all")
    text = ""
    for step, frame in enumerate(10 * x):
        ends = "".join(f"{a:.8g} {b:.8g}\n" for a, b in zip(frame.min(axis=0), frame.max(axis=0), strict=True))
        rows = "".join(f"{k} 1 {a:.8g} {b:.8g} {c:.8g}\n" for k, (a, b, c) in enumerate(frame, 1))
        text += f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS ss ss ss\n{ends}"
        text += f"ITEM: ATOMS id type x y z\n{rows}"
    (tmp_path / "traj.lammpsdump").write_text(text)
    for name, options in (("traj.trr", {}), ("traj.lammpsdump", {"dt": 1.0})):
        universe = planted.universe(x, _WATER, "OHH").load_new(str(tmp_path / name), **options)
        molecule = find_molecule(universe, planted.kept(universe, "index 0"))
        found = read_positions(universe, molecule, slice(None), 60)
        # The reader of dumps moves the origin.
        np.testing.assert_allclose(found - found[:, :1], x - x[:, :1], atol=1e-5)


def test_what_is_refused():
    x = planted.water(100, 0)
    good = planted.universe(x, _WATER, "OHH")
    mapping = planted.kept(good, "index 0")

    def fit(molecule, mapping=mapping, **options):
        return fit_conditional(molecule, mapping, key=jax.random.key(0), **options)

    with pytest.raises(ValueError, match="mapping is of 3 atoms and the universe has 5"):
        fit(planted.universe(planted.chain(60, 0).positions, [(0, 1), (1, 2), (2, 3), (3, 4)]))
    with pytest.raises(ValueError, match="has no bonds"):
        fit(planted.universe(x, []))
    with pytest.raises(ValueError, match="40 frames are too few"):
        fit(good, settings=Learning(stop=40))
    with pytest.raises(ValueError, match="chooses none"):
        fit(good, settings=Learning(start=500))
    with pytest.raises(ValueError, match=r"no bonds lead from a kept atom or bead to the molecule of atom 2"):
        fit(planted.universe(x, [(0, 1)]))
    with pytest.raises(ValueError, match=r"bonds of the trajectory are 0.0\d+ nm long"):
        fit(planted.universe(x, _WATER, "OHH", scale=1.0))
    with pytest.raises(ValueError, match="not finite"):
        fit(planted.universe(np.where(np.arange(100)[:, None, None] == 7, np.nan, x), _WATER, "OHH"))
    with pytest.raises(ValueError, match="stationary GPJax kernel"):
        fit(good, kernels=gpjax.kernels.Linear())
    with pytest.raises(ValueError, match=r"unknown kinds of coordinates \['length'\]; there are bond, angle, torsion"):
        fit(good, kernels={"length": "RBF"})
    with pytest.raises(ValueError, match="unmapped='ignore'"):
        Learning(unmapped="ignore")
    with pytest.raises(ValueError, match="method='map'"):
        fit(good, method="map")
    pair = planted.universe(np.concatenate([x, x[:, :2] + 1], axis=1), [*_WATER, (3, 4)], "OHHOH")
    with pytest.raises(ValueError, match="molecules of atoms 0 and 3 differ"):
        fit(pair, planted.kept(pair, "index 0 3"))
    whole = planted.universe(x, _WATER, "OHH")
    mixed = bayescg.Mapping.center_of_mass(whole, by="residues", constraints="none")
    double = planted.universe(np.concatenate([x, x + 1], axis=1), [*_WATER, (3, 4), (3, 5)], "OHHOHH")
    with pytest.warns(UserWarning, match="2 parts that no bond connects"):
        both = bayescg.Mapping.center_of_mass(double, by="residues", constraints="none")
    with pytest.raises(ValueError, match="atoms of several molecules"):
        fit(double, both)
    assert mixed.n_beads == 1

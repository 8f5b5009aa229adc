"""Liquids: energies of molecules, and a small one whose averages are known from independent draws."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jaxtyping import Array
from scipy.spatial.transform import Rotation

from bayescg import backmapping
from bayescg._runtime import double_precision
from bayescg.atomistic import ForceField, translate
from bayescg.backmapping.liquid.energy import split
from bayescg.backmapping.liquid.moves import Around, Setup, proposed, state_of
from bayescg.backmapping.liquid.neighbors import Extent
from bayescg.backmapping.liquid.surroundings import environment, surroundings
from tests.seeds import shifted
from tests.studies.backmapping import methanol

KT = 8.31446261815324e-3 * 300.0
BOX, LENGTH, STIFFNESS, WIDTH = 1.2, 0.16, 8e3, 0.08
SIDES = np.array([(0, 1), (0, 2), (1, 2)])
SITES = np.array([(0.1, 0.1, 0.1), (0.45, 0.1, 0.1), (1.15, 0.42, 0.1), (0.4, 0.45, 0.15)])
"""One pair is nearest across the boundary."""


class Cloud(backmapping.Guide):
    """Atoms near their center, each by itself: knows nothing of bonds, and misses the center."""

    beads: Array

    @property
    def normalized(self) -> bool:
        return True

    @property
    def space(self):
        return "atoms"

    def log_density(self, positions):
        return -0.5 * jnp.sum((positions - self.beads) ** 2) / WIDTH**2 - 9 * np.log(WIDTH * np.sqrt(2 * np.pi))

    def sample(self, *, key):
        return self.beads + WIDTH * jax.random.normal(key, (3, 3))


class Clouds(backmapping.Conditional):
    """The cloud about any bead."""

    fibre: backmapping.Fibre

    def guide(self, beads):
        return Cloud(beads)


@pytest.fixture(scope="module")
def triangles() -> ForceField:
    """Four molecules of three atoms with charges in a periodic box."""
    openmm = pytest.importorskip("openmm")
    system, bonds, pairs = openmm.System(), openmm.HarmonicBondForce(), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*(openmm.Vec3(*row) for row in BOX * np.eye(3)))
    pairs.setNonbondedMethod(pairs.CutoffPeriodic)
    pairs.setCutoffDistance(0.58)
    pairs.setUseDispersionCorrection(False)
    for k in range(len(SITES)):
        for charge in (0.2, 0.0, -0.2):
            system.addParticle(12.0)
            pairs.addParticle(charge, 0.25, 0.5)
        for i, j in (3 * k + SIDES).tolist():
            bonds.addBond(i, j, LENGTH, STIFFNESS)
            pairs.addException(i, j, 0, 1, 0)
    system.addForce(bonds)
    system.addForce(pairs)
    return translate(system)


class Known(NamedTuple):
    """Mean and sd of the energy between molecules [kJ/mol], of bond lengths [nm], and errors of both means."""

    energy: float
    spread: float
    length: float
    errors: tuple[float, float]


def _alone(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact draws of four molecules about the origin, (draw, 4, 3, 3), and their sides, (3, draw, 4).

    The volume of all positions of three points is r12 r13 r23 dr12 dr13 dr23, times turns and translations.
    """
    rng = np.random.default_rng(shifted(0))
    r = np.linspace(LENGTH - 0.075, LENGTH + 0.075, 4000)
    cumulative = np.cumsum(r * np.exp(-0.5 * STIFFNESS * (r - LENGTH) ** 2 / KT))
    # Their ends are four standard deviations away, where any three still are sides of a triangle.
    a, b, c = length = np.interp(rng.random((3, count, 4)), cumulative / cumulative[-1], r)
    along = (a**2 + b**2 - c**2) / (2 * a)
    zero = np.zeros_like(a)
    flat = np.stack([[zero, zero, zero], [a, zero, zero], [along, np.sqrt(b**2 - along**2), zero]])
    flat = np.moveaxis(flat - flat.mean(axis=0), (0, 1), (2, 3))
    turns = Rotation.random(4 * count, rng).as_matrix().reshape(count, 4, 3, 3)
    return np.einsum("nmxy,nmay->nmax", turns, flat), length


@pytest.fixture(scope="module")
def known(triangles) -> Known:
    """Of exact draws of single molecules, weighted by the energy between them."""
    x, length = _alone(60_000)
    x = (SITES[:, None] + x).reshape(len(x), 12, 3)
    with double_precision():
        field = next(term for term in triangles.terms if hasattr(term, "cutoff"))
        energy = np.asarray(jax.jit(lambda x: jax.lax.map(field.energy, x, batch_size=500))(jnp.asarray(x)))
    weight = np.exp(-(energy - energy.min()) / KT)
    weight /= weight.sum()
    bond = length.mean(axis=(0, 2))
    mean, middle = float(weight @ energy), float(weight @ bond)
    first, second = (float(np.sqrt(np.sum((weight * (v - m)) ** 2))) for v, m in ((energy, mean), (bond, middle)))
    return Known(mean, float(np.sqrt(weight @ (energy - mean) ** 2)), middle, (first, second))


@pytest.fixture(scope="module")
def conditional():
    """Three atoms about their center."""
    return Clouds(backmapping.Fibre(np.full((1, 3), 1 / 3), bonds=SIDES))


@pytest.fixture(scope="module")
def frame() -> xr.Dataset:
    """The CG frame, its beads wrapped anyhow."""
    beads = SITES + BOX * np.random.default_rng(shifted(1)).integers(-1, 2, SITES.shape)
    data = {
        "positions": (("frame", "bead", "xyz"), beads[None]),
        "box": (("frame", "vector", "xyz"), BOX * np.eye(3)[None]),
    }
    return xr.Dataset(data, {"frame": [7], "molecule": ("bead", np.arange(4))}, {"temperature": 300.0})


@pytest.fixture(scope="module")
def atoms(conditional, frame, triangles) -> xr.Dataset:
    """What is sampled."""
    how = backmapping.Annealing(chains=16, rise=10, settle=10, between=5)
    return backmapping.sample(conditional, frame, triangles, draws=192, tempering=how, key=jax.random.key(shifted(0)))


def test_frames_after_a_stop_are_those_of_one_run(conditional, frame, triangles, tmp_path):
    """What is the same for all frames comes from the first one, which is not placed again."""
    moved = frame.assign(positions=frame["positions"] + 0.01).assign_coords(frame=[8])
    both = xr.concat([frame, moved], "frame", data_vars="minimal", coords="minimal")
    how = backmapping.Annealing(chains=16, rise=10, settle=10, between=5)
    options = {"draws": 32, "tempering": how, "floor": 0.0, "checkpoint": tmp_path, "key": jax.random.key(0)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so short a run is not reliable
        whole = backmapping.sample(conditional, both, triangles, **options)
        (tmp_path / "frame_000001_00000.npz").unlink()
        xr.testing.assert_identical(backmapping.sample(conditional, both, triangles, **options), whole)
    assert whole.sizes["frame"] == 2


def _between(atoms: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Energies between molecules [kJ/mol] and mean bond lengths [nm] of draws."""
    x = atoms["positions"].values[:, 0].reshape(-1, 4, 3, 3)
    length = np.linalg.norm(x[:, :, SIDES[:, 0]] - x[:, :, SIDES[:, 1]], axis=-1).reshape(len(x), -1)
    return atoms["energy"].values[:, 0] - (0.5 * STIFFNESS * (length - LENGTH) ** 2).sum(axis=1), length.mean(axis=1)


def test_averages_are_those_of_independent_draws(atoms, known):
    energy, length = _between(atoms)
    ess = float(atoms["ess"].item())
    assert ess > 150
    assert bool(atoms["reliable"].item())
    for values, exact, error in zip((energy, length), (known.energy, known.length), known.errors, strict=True):
        assert abs(values.mean() - exact) < 4 * np.hypot(values.std() / np.sqrt(ess), error)
    assert energy.std() == pytest.approx(known.spread, rel=0.2)
    assert known.errors[0] < 0.03 * known.spread


def test_without_the_environment_the_check_fails(atoms, conditional, frame, triangles, known):
    alone = backmapping.sample(conditional, frame, triangles, draws=200, method="gp", key=jax.random.key(shifted(0)))
    assert abs(_between(alone)[0].mean() - known.energy) > 10 * known.spread / np.sqrt(200)
    assert alone.attrs["exact"] == 0
    assert "rhat" in atoms


def test_beads_are_where_they_were(atoms, frame):
    x = atoms["positions"].values.reshape(-1, 4, 3, 3)
    assert np.abs(x.mean(axis=2) - frame["positions"].values).max() < 1e-12
    assert atoms["positions"].dims == ("draw", "frame", "atom", "xyz")
    assert atoms["frame"].item() == 7
    assert "log_z" not in atoms


def test_proposals_of_the_guide_alone_keep_the_density(conditional, triangles):
    x, length = _alone(1500)
    x = x.reshape(-1, 3, 3)
    with double_precision():
        extent = Extent((0, 0, 0), (1.0,), 0)
        setup = Setup(conditional, split(triangles, 4), extent, 1, float(WIDTH / np.sqrt(3)), (0, 1, 2), KT, True)
        nothing = surroundings(setup.energy.pairs, extent, np.zeros((1, 3)), jnp.zeros((1, 3, 3)), np.zeros(1, bool), 1)
        around = Around(np.zeros((1, 3)), nothing, jnp.asarray(1.0))

        @jax.jit
        @jax.vmap
        def moved(x, key):
            def step(state, key):
                return proposed(setup, around, state, key=key)

            end, accepted = jax.lax.scan(step, state_of(setup, around, x), jax.random.split(key, 60))
            return end.x, accepted.mean()

        after, accepted = map(np.asarray, moved(jnp.asarray(x), jax.random.split(jax.random.key(shifted(0)), len(x))))
    found = np.linalg.norm(after[:, SIDES[:, 0]] - after[:, SIDES[:, 1]], axis=-1)
    assert accepted.mean() > 0.005
    assert np.abs(after.mean(axis=1)).max() < 1e-12
    # As a factor of the density, the guide would make bonds shorter by 0.0025 nm.
    assert abs(found.mean() - length.mean()) < 4 * np.sqrt(2) * length.std() / np.sqrt(length.size)


def test_energy_is_that_of_all_atoms(atoms, triangles):
    with double_precision():
        energy = float(jax.jit(triangles.energy)(jnp.asarray(atoms["positions"].values[0, 0])))
    assert atoms["energy"].values[0, 0] == pytest.approx(energy, rel=1e-10)


class Liquid(NamedTuple):
    """Twelve molecules of methanol as their study has them: switched Lennard-Jones, reaction field, exceptions."""

    field: ForceField
    positions: np.ndarray


BEADS = (0, 0, 0, 0, 1, 1)
"""Of each atom: CH3 and OH."""


@pytest.fixture(scope="module", params=[1.85, 3.0])
def methanols(request) -> Liquid:
    """In a box where images have to be found for each pair, and in one where once for each bead is enough."""
    pytest.importorskip("openmm")
    x = methanol.start(12, 1.2, seed=3) + 0.01 * np.random.default_rng(0).normal(size=(72, 3))
    return Liquid(translate(methanol.system(12, request.param)), x.reshape(12, 6, 3))


def around(liquid: Liquid, center, others, room: int = 66):
    """What a molecule sees that has both beads at a center."""
    parts, extent = split(liquid.field, 12), Extent(BEADS, (0.3, 0.3), 0)
    return surroundings(parts.pairs, extent, jnp.tile(center, (2, 1)), others, np.ones(11, bool), room)


def energy_of(liquid: Liquid, scale: float = 1.0):
    """Energy of a molecule, itself and with others, from its positions and those of the others."""
    parts, extent = split(liquid.field, 12), Extent(BEADS, (0.3, 0.3), 0)

    def energy(x, others):
        near = around(liquid, jax.lax.stop_gradient(x).mean(axis=0), others)
        return parts.own.energy(x) + environment(parts.pairs, extent, x, near, jnp.asarray(scale))

    return energy


def test_energy_of_a_molecule_changes_as_that_of_all(methanols):
    field, x = methanols
    rng = np.random.default_rng(0)
    with double_precision():
        total, block = jax.jit(field.energy), jax.jit(energy_of(methanols))
        for k in (0, 5, 11):
            moved = x.copy()
            moved[k] += 0.01 * rng.normal(size=(6, 3)) + rng.normal(size=3)
            after, before = (float(block(jnp.asarray(y[k]), jnp.asarray(np.delete(y, k, axis=0)))) for y in (moved, x))
            whole = float(total(jnp.asarray(moved.reshape(-1, 3))) - total(jnp.asarray(x.reshape(-1, 3))))
            assert abs(after - before - whole) < 1e-6 * max(1.0, abs(whole))


def test_forces_on_a_molecule_are_those_of_all(methanols):
    field, x = methanols
    with double_precision():
        others = jnp.asarray(np.delete(x, 5, axis=0))
        whole = jax.jit(jax.grad(field.energy))(jnp.asarray(x.reshape(-1, 3))).reshape(12, 6, 3)
        own = jax.jit(jax.grad(energy_of(methanols)))(jnp.asarray(x[5]), others)
        assert float(jnp.abs(own - whole[5]).max()) < 1e-9 * float(jnp.abs(whole).max())
        # Halfway along the path there is no energy of all to compare with: finite differences.
        soft = jax.jit(jax.value_and_grad(energy_of(methanols, scale=0.05)))
        step = np.zeros((6, 3))
        step[2, 1] = 1e-6
        high, low = (float(soft(jnp.asarray(x[5] + sign * step), others)[0]) for sign in (1, -1))
        assert float(soft(jnp.asarray(x[5]), others)[1][2, 1]) == pytest.approx((high - low) / 2e-6, rel=1e-5)


def test_atoms_without_room_are_noticed(methanols):
    with double_precision():
        x, others = methanols.positions[5], jnp.asarray(np.delete(methanols.positions, 5, axis=0))
        near = around(methanols, x.mean(axis=0), others)
        most = max(int(np.sum(np.any(part.terms[0].product != 0, axis=0))) for part in near.parts)
        assert 12 < most <= 66
        assert not near.overflow
        assert around(methanols, x.mean(axis=0), others, room=most - 1).overflow


def test_softened_energies_are_finite_where_atoms_meet(methanols):
    x = jnp.asarray(methanols.positions[:1].repeat(12, axis=0))
    with double_precision():
        energy = float(jax.jit(energy_of(methanols, scale=0.01))(x[0], x[1:]))
        alone = float(split(methanols.field, 12).own.energy(x[0]))
        # Eleven molecules at the same place.
        assert abs(energy - alone) < 11e4


def test_molecules_that_differ_are_refused(triangles):
    with pytest.raises(ValueError, match="not 5 equal molecules"):
        split(triangles, 5)
    with pytest.raises(ValueError, match="joins two molecules"):
        split(triangles, 6)


def test_what_does_not_belong_together_is_refused(conditional, frame, triangles):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="the box of frame 0"):
        backmapping.sample(conditional, frame.assign(box=1.1 * frame["box"]), triangles, key=key)
    with pytest.raises(ValueError, match="for one molecule"):
        backmapping.sample(conditional, frame, triangles, method="imh", key=key)
    with pytest.raises(ValueError, match="Annealing"):
        backmapping.sample(conditional, frame, triangles, tempering=backmapping.Tempering(), key=key)
    with pytest.raises(ValueError, match="are of 2 molecules"):
        backmapping.sample(conditional, frame.assign_coords(molecule=("bead", [0, 0, 1, 1])), triangles, key=key)

"""Alanine dipeptide, amber96 + implicit/obc1, no constraints, 300 K: what the Ramachandran plot really is.

Replica exchange of Hamiltonian Monte Carlo moves with the library's translated energy: every move is accepted or
rejected by the energy itself, so there is no time step error. Independent ladders give the errors. Masses are free,
because only configurations count: hydrogens weigh 6 Da, which makes room for a longer step.

The run is split into chunks; after each one its state and its result are written, and a second call goes on.
"""

from __future__ import annotations

import importlib.resources
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bayescg._runtime import atomic_path
from bayescg.atomistic.force_field import ForceField, translate

RESULT = Path(__file__).with_name("alanine_reference.npz")
STATE = Path(tempfile.gettempdir()) / "bayescg-alanine-reference-state.npz"
TEMPERATURES = np.geomspace(300, 700, 6)
LADDERS = 20
STEP = 0.0025
"""Mean leapfrog step [ps]; each move draws its own between 0.8 and 1.2 of it, so that no vibration is in phase."""
STEPS = 60
TWISTS = 12
"""Attempts to turn phi, psi or both before each trajectory."""
MOVES = 50
"""Per chunk of compiled code; one exchange and one sample after each."""
BURN_IN = 20
"""Chunks: the first half at 700 K for all replicas, which start in different basins then."""
BINS = 72
BLOCK = 20
"""Chunks in one entry of the time series."""

PHI, PSI, OMEGAS = (4, 6, 8, 14), (6, 8, 14, 16), ((1, 4, 6, 8), (8, 14, 16, 18))
CHIRAL = (6, 14, 10)
"""N, C and CB around CA (8), left-handed triple product in L-alanine as this order is written."""

BOXES = ("alpha_R", "C5/PII", "alpha_L/C7ax")
"""A partition of the plane; borders lie where a pilot run of 2 minutes had its fewest samples, on edges of 24 bins:
alpha_L/C7ax has phi in [0, 150) degrees; of the rest, alpha_R has psi in [-120, 15) and C5/PII all other psi."""

_KB = 0.00831446261815324


def build() -> tuple[ForceField, np.ndarray]:
    """The force field and a minimized configuration [nm]."""
    from openmm import app, unit

    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        pdb = app.PDBFile(str(path))
    field = app.ForceField("amber96.xml", "implicit/obc1.xml")
    system = field.createSystem(pdb.topology, constraints=None, rigidWater=False)
    return translate(system), pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)


def dihedral(x, atoms) -> jax.Array:
    """Angle [degrees] in [-180, 180), IUPAC's sign."""
    a, b, c, d = (x[..., i, :] for i in atoms)
    first, axis, last = b - a, c - b, d - c
    normal = jnp.cross(axis, last)
    y = jnp.linalg.norm(axis, axis=-1) * jnp.sum(first * normal, -1)
    return jnp.degrees(jnp.arctan2(y, jnp.sum(jnp.cross(first, axis) * normal, -1)))


def box_of(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Index of the box of `BOXES` for angles in degrees, or centers of bins."""
    return np.where((phi >= 0) & (phi < 150), 2, np.where((psi >= -120) & (psi < 15), 0, 1))


def rotated(x, bond: tuple[int, int], angle) -> jax.Array:
    """One configuration with all atoms beyond a bond (they have higher indices) turned about it by an angle [rad]."""
    origin = x[bond[0]]
    axis = x[bond[1]] - origin
    axis = axis / jnp.linalg.norm(axis)
    v = x - origin
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    turned = v * cosine + jnp.cross(axis[None], v) * sine + (v @ axis)[:, None] * axis * (1 - cosine)
    return jnp.where((np.arange(len(x)) > bond[1])[:, None], turned + origin, x)


def twists(field: ForceField, x, energy, beta, key):
    """Metropolis moves that turn phi, psi or both by any angle: exact, and free of the barriers between basins.

    Returns:
        Positions, energies, and how many were accepted.
    """
    energies = jax.vmap(jax.vmap(field.energy))
    turn = jax.vmap(jax.vmap(rotated, (0, None, 0)), (0, None, 0))

    def attempt(carry, key):
        x, energy, accepted = carry
        k = jax.random.split(key, 3)
        angles = jax.random.uniform(k[0], (2, *energy.shape), x.dtype, -jnp.pi, jnp.pi)
        which = jax.random.randint(k[1], energy.shape, 0, 3)
        new = turn(x, (6, 8), jnp.where(which != 1, angles[0], 0))
        new = turn(new, (8, 14), jnp.where(which != 0, angles[1], 0))
        e = energies(new)
        accept = jnp.log(jax.random.uniform(k[2], e.shape, x.dtype)) < -beta * (e - energy)
        return (jnp.where(accept[..., None, None], new, x), jnp.where(accept, e, energy), accepted + accept), None

    return jax.lax.scan(attempt, (x, energy, jnp.zeros_like(energy)), jax.random.split(key, TWISTS))[0]


@partial(jax.jit, static_argnums=0)
def chunk(field: ForceField, x, beta, key):
    """MOVES moves of all replicas, (ladder, temperature), each with an attempted exchange.

    Returns:
        The positions, and for each move: phi and psi of all replicas, their energies, accepted moves,
        exchanges, accepted twists.
    """
    mass = jnp.asarray([max(mass, 6.0) for mass in field.masses], x.dtype)[:, None]
    potential = jax.vmap(jax.vmap(jax.value_and_grad(field.energy)))

    def move(carry, step):
        k = jax.random.split(jax.random.fold_in(key, step), 5)
        x, _, twisted = twists(field, *carry, beta, k[4])
        energy, gradient = potential(x)
        length = STEP * jax.random.uniform(k[0], (*x.shape[:2], 1, 1), x.dtype, 0.8, 1.2)
        momentum = jax.random.normal(k[1], x.shape, x.dtype) * jnp.sqrt(mass / beta[:, None, None])

        def leap(_, inner):
            q, p, _, g = inner
            p = p - 0.5 * length * g
            q = q + length * p / mass
            e, g = potential(q)
            return q, p - 0.5 * length * g, e, g

        q, p, e, _ = jax.lax.fori_loop(0, STEPS, leap, (x, momentum, energy, gradient))
        kinetic = 0.5 * jnp.sum((p**2 - momentum**2) / mass, (-1, -2))
        odds = -beta * (e - energy + kinetic)
        accept = jnp.log(jax.random.uniform(k[2], odds.shape, x.dtype)) < odds  # NaN rejects
        x = jnp.where(accept[..., None, None], q, x)
        energy = jnp.where(accept, e, energy)
        # Neighbors 0-1, 2-3, .. and 1-2, 3-4, .. in turn: who is whose partner, itself at the ends.
        rank = jnp.arange(len(beta))
        partner = rank + jnp.where((rank + step) % 2 == 0, 1, -1)
        partner = jnp.where((partner < 0) | (partner >= len(beta)), rank, partner)
        odds = (beta - beta[partner]) * (energy - energy[:, partner])
        draw = jax.random.uniform(k[3], odds.shape, x.dtype)
        swap = jnp.log(draw[:, jnp.minimum(rank, partner)]) < odds
        x = jnp.where(swap[..., None, None], x[:, partner], x)
        energy = jnp.where(swap, energy[:, partner], energy)
        # The center drifts; float32 likes small numbers.
        x = x - x.mean(-2, keepdims=True)
        exchanged = swap & (partner > rank)
        return (x, energy), (dihedral(x, PHI), dihedral(x, PSI), energy, accept, exchanged, twisted)

    (x, _), seen = jax.lax.scan(move, (x, potential(x)[0]), jnp.arange(MOVES))
    return x, seen


class Tally:
    """What is kept of the samples; arrays with a first axis `ladder`."""

    def __init__(self, found: dict | None = None):
        shape = (LADDERS, len(TEMPERATURES))
        empty = {
            "counts": np.zeros((LADDERS, BINS, BINS), np.int32),
            "energy_sums": np.zeros((*shape, 3)),
            "accepted": np.zeros(shape),
            "exchanged": np.zeros(shape),
            "twisted": np.zeros(shape),
            "hot_counts": np.zeros((24, 24), np.int64),
            "series": np.zeros((0, LADDERS, len(BOXES)), np.int32),
            "wrong_hand": np.zeros((), np.int64),
            "cis": np.zeros((), np.int64),
            "chunks": np.zeros((), np.int64),
            "seconds": np.zeros(()),
        }
        self.data = empty if found is None else {name: np.array(found[name]) for name in empty}

    def add(self, x: np.ndarray, seen: tuple, seconds: float) -> None:
        """One chunk."""
        phi, psi, energy, accepted, exchanged, twisted = seen
        data = self.data
        for ladder in range(LADDERS):
            data["counts"][ladder] += _histogram(phi[:, ladder, 0], psi[:, ladder, 0], BINS).astype(np.int32)
        data["hot_counts"] += _histogram(phi[..., -1].ravel(), psi[..., -1].ravel(), 24).astype(np.int64)
        energy = energy.astype(float)
        data["energy_sums"] += np.stack([np.ones_like(energy), energy, energy**2], -1).sum(0)
        data["accepted"] += accepted.sum(0)
        data["exchanged"] += exchanged.sum(0)
        data["twisted"] += twisted.sum(0)
        boxes = box_of(phi[..., 0], psi[..., 0])
        if data["chunks"] % BLOCK == 0:
            data["series"] = np.concatenate([data["series"], np.zeros((1, LADDERS, len(BOXES)), np.int32)])
        data["series"][-1] += np.stack([(boxes == k).sum(0) for k in range(len(BOXES))], -1).astype(np.int32)
        data["wrong_hand"] += int((_handedness(x) < 0).sum())
        data["cis"] += int(sum((np.abs(dihedral(x[:, 0], omega)) < 90).sum() for omega in OMEGAS))
        data["chunks"] += 1
        data["seconds"] += seconds

    def save(self, path: Path) -> None:
        """Write the result."""
        evaluations = (
            int(self.data["chunks"] + BURN_IN) * LADDERS * len(TEMPERATURES) * (MOVES * (STEPS + TWISTS + 1) + 1)
        )
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                **self.data,
                edges=np.linspace(-180, 180, BINS + 1),
                temperatures=TEMPERATURES,
                evaluations=evaluations,
                boxes=np.array(BOXES),
            )


def _histogram(phi: np.ndarray, psi: np.ndarray, bins: int) -> np.ndarray:
    edges = np.linspace(-180, 180, bins + 1)
    return np.histogram2d(np.clip(phi, -180, 179.999), np.clip(psi, -180, 179.999), bins=(edges, edges))[0]


def _handedness(x: np.ndarray) -> np.ndarray:
    n, c, cb = (x[..., i, :] - x[..., 8, :] for i in CHIRAL)
    return np.sum(n * np.cross(c, cb), axis=-1)


def run(minutes: float, result: Path = RESULT, state: Path = STATE) -> None:
    """Go on for some minutes from where the last run stopped."""
    field, start = build()
    beta = jnp.asarray(1 / (_KB * TEMPERATURES), jnp.float32)
    if state.exists():
        with np.load(state) as found:
            x, number, tally = jnp.asarray(found["x"]), int(found["number"]), Tally(dict(found))
    else:
        x = jnp.broadcast_to(
            jnp.asarray(start - start.mean(0), jnp.float32), (LADDERS, len(TEMPERATURES), *start.shape)
        )
        number, tally = 0, Tally()
    sign = np.sign(_handedness(start))
    end, saved = time.monotonic() + 60 * minutes, time.monotonic()
    while time.monotonic() < end:
        begin = time.monotonic()
        hot = number < BURN_IN // 2
        x, seen = chunk(field, x, jnp.full_like(beta, beta[-1]) if hot else beta, jax.random.key(number))
        seen = tuple(np.asarray(values) for values in seen)
        number += 1
        if number > BURN_IN:
            tally.add(np.asarray(x) * sign, seen, time.monotonic() - begin)
        if time.monotonic() - saved > 60:
            _keep(state, x, number, tally)
            tally.save(result)
            saved = time.monotonic()
    _keep(state, x, number, tally)
    tally.save(result)


def _keep(state: Path, x: jax.Array, number: int, tally: Tally) -> None:
    with atomic_path(state) as temporary, temporary.open("wb") as file:
        np.savez(file, x=np.asarray(x), number=number, **tally.data)


def show(path: Path = RESULT) -> None:
    """Free energies of the boxes and how well the histogram is known, from the spread of the ladders."""
    with np.load(path) as found:
        data = dict(found)
    counts = data["counts"].astype(float)
    share = counts / counts.sum((1, 2), keepdims=True)
    ladders = len(share)
    moments = data["energy_sums"].sum(0)
    energy = moments[:, 1] / moments[:, 0]
    spread = np.sqrt(moments[:, 2] / moments[:, 0] - energy**2)
    attempts = data["energy_sums"][..., 0].sum(0)
    print(
        f"{int(data['evaluations']):.3g} energy evaluations, {data['seconds']:.0f} s, {int(counts.sum())} samples at "
        f"300 K in {ladders} ladders; wrong hand {data['wrong_hand']}, cis {data['cis']}"
    )
    print(
        f"accepted {np.mean(data['accepted'].sum(0) / attempts):.2f} of trajectories, "
        f"{data['twisted'].sum(0)[0] / attempts[0] / TWISTS:.2f} of twists at 300 K, "
        f"{np.mean(2 * data['exchanged'].sum(0)[:-1] / attempts[:-1]):.2f} of exchanges"
    )
    print("energy [kJ/mol], mean and sd: " + ", ".join(f"{e:.2f} {s:.2f}" for e, s in zip(energy, spread, strict=True)))
    middle = (data["edges"][1:] + data["edges"][:-1]) / 2
    box = box_of(*np.meshgrid(middle, middle, indexing="ij"))
    for index, name in enumerate(BOXES):
        each = share[:, box == index].sum(1)
        mean, error = each.mean(), each.std(ddof=1) / np.sqrt(ladders)
        print(f"{name:13s} share {mean:.5f} +- {error:.5f}, F = {-np.log(mean):.3f} +- {error / mean:.3f} kT")
    coarse = share.reshape(ladders, 24, BINS // 24, 24, BINS // 24).sum((2, 4))
    rng = np.random.default_rng(0)
    halves = [coarse[rng.permutation(ladders)] for _ in range(200)]
    apart = np.mean([0.5 * np.abs(h[::2].mean(0) - h[1::2].mean(0)).sum() for h in halves])
    print(
        f"total variation on 24 x 24 bins between halves of the ladders {apart:.4f}: floor of the whole {apart / 2:.4f}"
    )


def main(minutes: float = 50) -> None:
    """Show the stored reference; make one first if there is none."""
    if not RESULT.exists():
        run(minutes)
    show()

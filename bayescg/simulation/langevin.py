"""Langevin dynamics in JAX: BAOAB over padded neighbor lists, compiled once for all draws.

The list is checked *before* each force: the compiled loop stops at the step at which any bead has moved half the skin,
hands the positions to the neighbor search and goes on from there. No force is ever computed from an outdated list, and
nothing has to be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from bayescg.potentials import Potential
from bayescg.simulation import forces as engine
from bayescg.simulation.dynamics import System, Trajectory
from bayescg.simulation.lists import Lists, largest_skin
from bayescg.units import BOLTZMANN

SKIN = 0.18
"""Default skin [nm]: where rebuilding and longer lists cost the same for water-like liquids on a CPU."""
_MANY_BODY_SKIN = 0.06
"""With three-body terms [nm]: triplets within reach grow with its sixth power."""
_ALL_PAIRS = 4096
"""Beads up to which a GPU searches neighbors among all pairs."""


class Settings(NamedTuple):
    """Constants of the integrator; mass-dependent ones are (bead, 1).

    Attributes:
        half: half a timestep [ps].
        kick: timestep / mass.
        keep: exp(-friction timestep), what the O step leaves of a velocity.
        noise: standard deviation of what it adds [nm/ps].
        limit: square of the largest allowed displacement since the lists were built [nm^2].
    """

    half: Float[Array, ""]
    kick: Float[Array, "bead 1"]
    keep: Float[Array, ""]
    noise: Float[Array, "bead 1"]
    limit: Float[Array, ""]


class Walkers(NamedTuple):
    """State of all draws that are simulated together.

    Attributes:
        positions: (draw, bead, 3) [nm], unwrapped.
        velocities: (draw, bead, 3) [nm/ps], before the kick by the forces at `positions`.
        reference: positions for which the lists were built.
        key: (draw,) random keys.
        active: (draw,) False for a draw that has failed: it rests.
    """

    positions: Float[Array, "draw bead 3"]
    velocities: Float[Array, "draw bead 3"]
    reference: Float[Array, "draw bead 3"]
    key: Array
    active: Bool[Array, " draw"]


def settings(system: System, skin: float) -> Settings:
    """Constants of BAOAB for a system."""
    dt, mass = system.dynamics.timestep, jnp.asarray(system.mass, float)[:, None]
    keep = math.exp(-system.dynamics.friction * dt)
    thermal = jnp.sqrt(BOLTZMANN * system.temperature / mass)
    return Settings(
        jnp.asarray(dt / 2), dt / mass, jnp.asarray(keep), math.sqrt(1 - keep**2) * thermal, jnp.asarray(skin**2 / 4)
    )


def start(system: System, keys: Array) -> Walkers:
    """All draws at the start, with velocities of their own from the Maxwell-Boltzmann distribution."""
    shape = system.positions.shape
    thermal = jnp.sqrt(BOLTZMANN * system.temperature / jnp.asarray(system.mass, float))[:, None]
    velocities = thermal * jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, 0), shape, jnp.float32))(keys)
    positions = jnp.broadcast_to(jnp.asarray(system.positions, float), (len(keys), *shape))
    return Walkers(positions, velocities, positions, keys, jnp.ones(len(keys), bool))


@partial(jax.jit, static_argnums=(0, 1))
def advance(
    potential: Potential,
    orthorhombic: bool,
    arrays: engine.Layout,
    constants: Settings,
    draws: engine.Curves,
    lists: tuple[Int[Array, "draw _ _"], ...],
    walkers: Walkers,
    steps: tuple[Int[Array, ""], Int[Array, ""]],
) -> tuple[Walkers, Int[Array, ""], Float[Array, " draw"]]:
    """BAOAB steps from `steps[0]` until `steps[1]`, or until a list is outdated for any draw.

    B: v += F/m dt/2; A: x += v dt/2; O: v = exp(-gamma dt) v + noise; A; B (Leimkuhler & Matthews,
    doi:10.1093/amrx/abs010), whose configurations are right to higher order than its momenta. A loop pass begins at
    the force: the closing B of one step and the opening B of the next use the same one.

    Returns:
        Walkers, the step reached, and the largest squared displacement of each draw (NaN where it blew up).
    """
    first, last = steps

    def move(draw, near, positions, velocities, key, step):
        force = engine.forces(potential, orthorhombic, arrays, draw, near, positions)
        velocities = velocities + constants.kick * force
        positions = positions + constants.half * velocities
        # Noise in float32 has all the resolution that noise needs, at half the price.
        noise = jax.random.normal(jax.random.fold_in(key, step), positions.shape, jnp.float32)
        velocities = constants.keep * velocities + constants.noise * noise
        return positions + constants.half * velocities, velocities

    def body(state):
        step, positions, velocities, _ = state
        # One draw alone is not batched: that would turn its gathers into slower batched ones.
        if positions.shape[0] == 1:
            one = jax.tree.map(lambda leaf: leaf[0], (draws, lists, positions, velocities, walkers.key))
            new = jax.tree.map(lambda leaf: leaf[None], move(*one, step=step))
        else:
            batched = jax.vmap(move, in_axes=(0, 0, 0, 0, 0, None))
            new = batched(draws, lists, positions, velocities, walkers.key, step)
        rest = walkers.active[:, None, None]
        new = jnp.where(rest, new[0], positions), jnp.where(rest, new[1], velocities)
        return step + 1, *new, moved(new[0])

    def moved(positions):
        return jnp.max(jnp.sum((positions - walkers.reference) ** 2, axis=-1), axis=-1)

    def valid(state):
        # NaN compares false: a blown-up draw stops the loop.
        return (state[0] < last) & jnp.all((state[3] <= constants.limit) | ~walkers.active)

    begin = (first, walkers.positions, walkers.velocities, moved(walkers.positions))
    step, positions, velocities, far = lax.while_loop(valid, body, begin)
    return walkers._replace(positions=positions, velocities=velocities), step, far


@partial(jax.jit, static_argnums=(0, 1))
def full_velocities(potential, orthorhombic, arrays, constants, draws, lists, walkers) -> Float[Array, "draw bead 3"]:
    """Velocities at the time of the positions: those of `Walkers` with the closing half kick."""

    def one(draw, near, positions, velocities):
        force = engine.forces(potential, orthorhombic, arrays, draw, near, positions)
        return velocities + constants.kick * force / 2

    return jax.vmap(one)(draws, lists, walkers.positions, walkers.velocities)


class Batch:
    """Draws that run together in one compiled program; on a CPU usually one.

    Args:
        system: what is simulated.
        coefficients: (draw, basis) [kJ/mol].
        keys: (draw,) random keys.
        skin: of the neighbor lists [nm], at most what the box leaves.

    Use inside a float64 scope.
    """

    def __init__(
        self, system: System, coefficients: Float[np.ndarray, "draw basis"], keys: Array, skin: float = SKIN
    ) -> None:
        potential = system.interactions.potential
        if any(term.cutoff and term.body > 2 for term in potential.terms):
            skin = min(skin, _MANY_BODY_SKIN)
        skin = largest_skin(potential.cutoff, system.box, skin)
        self.system = system
        self.box = np.asarray(system.box, float)
        on_device = jax.default_backend() != "cpu" and len(system.mass) <= _ALL_PAIRS
        self.lists = Lists(system.interactions, self.box, skin, on_device)
        self.static = potential, engine.is_orthorhombic(self.box)
        self.arrays = engine.layout(system.interactions, self.box)
        # Without neighbors there is no list to outdate.
        self.constants = settings(system, skin if potential.cutoff else np.inf)
        each = [engine.curves(potential, w) for w in coefficients]
        self.draws = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        self.walkers = start(system, keys)
        self.failure: list[str | None] = [None] * len(coefficients)
        self.step = 0
        self._rebuild()

    def run(self, advanced: Callable[[float], object], stopped: Callable[[], bool]) -> list[Trajectory] | None:
        """Equilibrate, then sample all frames.

        Args:
            advanced: called with the number of steps done since the last call, summed over draws.
            stopped: asked between segments; True ends the run.

        Returns:
            A trajectory for each draw, or None if stopped.
        """
        system, dynamics = self.system, self.system.dynamics
        n_draws, n_beads = len(self.failure), len(system.mass)
        positions = np.full((n_draws, system.frames, n_beads, 3), np.nan, np.float32)
        temperature = np.full((n_draws, system.frames), np.nan)
        for frame in range(system.frames):
            target = dynamics.equilibration_steps + (frame + 1) * dynamics.stride
            while self.step < target and self.walkers.active.any():
                if stopped():
                    return None
                before = self.step
                self._segment(target)
                advanced(n_draws * (self.step - before))
            if not self.walkers.active.any():
                advanced(n_draws * (dynamics.equilibration_steps + system.frames * dynamics.stride - self.step))
                break
            alive = np.asarray(self.walkers.active)
            positions[alive, frame] = np.asarray(self.walkers.positions)[alive]
            velocities = full_velocities(
                *self.static, self.arrays, self.constants, self.draws, self.current, self.walkers
            )
            temperature[alive, frame] = system.kinetic_temperature(np.asarray(velocities))[alive]
        return [
            Trajectory(positions[k], temperature[k], failure, self.lists.rebuilds, self.lists.overflows)
            for k, failure in enumerate(self.failure)
        ]

    def _segment(self, target: int) -> None:
        self.walkers, step, far = advance(
            *self.static,
            self.arrays,
            self.constants,
            self.draws,
            self.current,
            self.walkers,
            (jnp.asarray(self.step), jnp.asarray(target)),
        )
        self.step, far = int(step), np.asarray(far)
        self._watch(far)
        if np.any(~(far <= float(self.constants.limit)) & np.asarray(self.walkers.active)):
            self._rebuild()

    def _watch(self, far: Float[np.ndarray, " draw"]) -> None:
        """Take draws that have blown up out of the run."""
        hot = self.system.kinetic_temperature(np.asarray(self.walkers.velocities))
        bad = (~np.isfinite(far) | ~(hot <= self.system.hottest)) & np.asarray(self.walkers.active)
        if not bad.any():
            return
        time = self.step * self.system.dynamics.timestep
        for k in np.flatnonzero(bad):
            what = f"reached {hot[k]:.3g} K" if np.isfinite(hot[k]) else "became infinite"
            self.failure[k] = f"{what} after {time:.4g} ps"
        resting = jnp.asarray(bad)[:, None, None]
        self.walkers = self.walkers._replace(
            positions=jnp.where(resting, self.walkers.reference, self.walkers.positions),
            velocities=jnp.where(resting, 0.0, self.walkers.velocities),
            active=self.walkers.active & ~jnp.asarray(bad),
        )

    def _rebuild(self) -> None:
        self.current = self.lists.build(self.walkers.positions)
        self.walkers = self.walkers._replace(reference=self.walkers.positions)

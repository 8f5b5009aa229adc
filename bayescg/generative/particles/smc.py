"""Tempered sequential Monte Carlo from a broad start: particles of the target that know of no model.

The path goes from p_0, Gaussian for stiff coordinates and uniform for periodic ones, to the target through
p_0^(1-lambda) p^lambda (Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 68, 411 (2006),
doi:10.1111/j.1467-9868.2006.00553.x); the particles move at each step. It cannot lose a mode
silently as long as the path keeps it connected: a mode is lost only with all particles that could have led there, and
the spread of the particles' ancestors shows how near that was.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.smc import adaptive_tempered, extend_params
from jaxtyping import Float

from bayescg._runtime import progress
from bayescg.atomistic.target import Target
from bayescg.generative.particles.moves import TURNS, build_move, move_cost
from bayescg.samplers.importance import kish, systematic
from bayescg.samplers.lineages import ess_of_lineages
from bayescg.samplers.metric import adapted_step
from bayescg.samplers.tempering import BATCH, FLOOR, Account, bounded, build_kernel

SPREAD = 1.5
"""Width of the start in units of the target's scale."""
_STEPS = {"aim": 0.75, "most": 1.5}
"""Of trajectories: acceptance that their step size aims at, and the largest one."""
_SHARE = 0.5
"""Effective share of the particles that a step of lambda leaves."""


class Particles(NamedTuple):
    """Weighted samples of a target.

    Attributes:
        coordinates: shape (particle, dimension).
        weights: normalized, shape (particle,).
        log_z: log of the target's integral.
        log_z_se: its standard error, from the particles' ancestors (Lee and Whiteley, Biometrika 105, 609 (2018),
            doi:10.1093/biomet/asy028).
        evaluations: of the target's density that were made.
        step_size: of the last moves, in units of `widths`.
        widths: of the coordinates, shape (dimension,).
    """

    coordinates: np.ndarray
    weights: np.ndarray
    log_z: float
    log_z_se: float
    evaluations: int
    step_size: float
    widths: np.ndarray

    @property
    def ess(self) -> float:
        """Kish's effective number of samples. It knows the weights only, not how far particles are related."""
        return float(kish(self.weights))


def tempered_smc(target: Target, *, particles: int = 4096, moves: int = 2, budget: int | None = None, key) -> Particles:
    """Sample a target by tempered sequential Monte Carlo, without a model.

    The path of densities is p_0^(1 - lambda) p^lambda, from a broad p_0 about the target's location (Del Moral, Doucet
    and Jasra, J. R. Stat. Soc. B 68, 411 (2006), doi:10.1111/j.1467-9868.2006.00553.x).

    Args:
        target: what to sample.
        particles: number of them.
        moves: of each particle at each step (turns of torsions and a Hamiltonian trajectory).
        budget: largest number of evaluations of the density; None for no limit.
        key: JAX random key.

    Returns:
        Weighted samples, with log Z and its error.

    Raises:
        ValueError: if the density is not finite anywhere at the start, or the budget ends before the target is reached.
    """
    key, subkey = jax.random.split(key)
    start = _start(target, particles, subkey)
    ends = (partial(_log_start, target), bounded(target.log_density))
    kernel = jax.jit(build_kernel(*ends, build_move(target.periodic), particles, share=_SHARE), static_argnums=2)
    state = adaptive_tempered.init(start)
    # Without a finite density the search for the first temperature would creep on for ever.
    begin = jax.jit(partial(jax.lax.map, target.log_density, batch_size=min(BATCH, particles)))(start)
    refuse_nan(target, start, np.asarray(begin))
    if not np.any(np.isfinite(begin)):
        raise ValueError(
            "no particle has a finite density: the target's location and scale must reach where it has mass"
        )
    account, evaluations, step = Account.begin(particles), particles, 0.2
    # One for the step of lambda, one for the weights, one to begin to move.
    cost = particles * (moves * move_cost(target.periodic) + 3)
    with progress("Tempered SMC", 100) as advance:
        while float(state.tempering_param) < 1:
            if budget is not None and evaluations + cost > budget:
                raise ValueError(
                    f"the budget of {budget} energy evaluations ends at lambda = {float(state.tempering_param):.2g}, "
                    "before the target is reached: use a larger budget or fewer particles"
                )
            before = float(state.tempering_param)
            widths = _widths(target, np.asarray(state.particles), np.asarray(state.weights))
            parameters = {"step_size": jnp.asarray(step), "inverse_mass_matrix": jnp.asarray(widths**2, start.dtype)}
            key, subkey = jax.random.split(key)
            state, info = kernel(subkey, state, moves, extend_params(parameters))
            evaluations += cost
            account = account.after(info)
            if not 1e-10 * FLOOR < account.log_z < np.inf:
                raise ValueError(
                    "no particle has a finite density: the target's location and scale must reach where it has mass"
                )
            if not np.all(np.isfinite(np.asarray(state.weights))):
                raise ValueError("the particles' weights are not finite: the density is NaN or infinite somewhere")
            step = adapted_step(step, float(jnp.mean(info.update_info.acceptance_rate)), gain=1.0, **_STEPS)
            advance(100 * (float(state.tempering_param) - before))
    weights = np.asarray(state.weights, float)
    weights = weights / weights.sum()
    return Particles(
        np.asarray(jax.jit(jax.vmap(target.canonical))(state.particles), float),
        weights,
        account.log_z,
        1 / np.sqrt(ess_of_lineages(weights, account.ancestors)),
        evaluations,
        step,
        _widths(target, np.asarray(state.particles), weights),
    )


def refuse_nan(target: Target, coordinates, log_density: np.ndarray) -> None:
    """Raise ValueError if a density is not a number: minus infinity is a density of zero, NaN is a fault."""
    wrong = np.flatnonzero(np.isnan(log_density))
    if len(wrong):
        example = dict(zip(target.names[:6], np.asarray(coordinates[wrong[0]])[:6].round(4).tolist(), strict=False))
        raise ValueError(
            f"the log density is NaN for {len(wrong)} of {len(log_density)} configurations, such as one that begins "
            f"{example}: check the energy function there; where a state is impossible it must be -inf"
        )


def rejuvenate(
    target: Target, particles: Particles, *, sweeps: int, turns: int = TURNS, key
) -> tuple[Particles, np.ndarray]:
    """Move particles on at the target's own temperature and keep every sweep.

    Args:
        target: what the particles sample.
        particles: resampled by their weights, then moved.
        sweeps: moves of each particle.
        turns: torsions that are tried anew at each move; none keeps a particle in its well.
        key: random key.

    Returns:
        The particles after the last sweep, equally weighted, and all sweeps, shape (sweep, particle, dimension).
    """
    key, subkey = jax.random.split(key)
    count = len(particles.weights)
    index = np.arange(count)
    if not np.allclose(particles.weights, 1 / count):  # equal weights keep every particle, in order
        index = systematic(particles.weights, count, key=subkey)
    state = jnp.asarray(particles.coordinates[index])
    kernel = build_move(target.periodic, turns)
    inverse_mass = jnp.asarray(particles.widths**2, state.dtype)

    @jax.jit
    def sweep(key, positions, step):
        def one(argument):
            key, position = argument
            begin = blackjax.hmc.init(position, target.log_density)
            end, info = kernel(key, begin, target.log_density, step, inverse_mass)
            return end.position, info.acceptance_rate

        return jax.lax.map(one, (jax.random.split(key, count), positions), batch_size=min(BATCH, count))

    canonical = jax.jit(jax.vmap(target.canonical))
    kept, step = [], particles.step_size
    with progress("Moves at the target", sweeps) as advance:
        for _ in range(sweeps):
            key, subkey, jitter = jax.random.split(key, 3)
            # Trajectories of one length can return to where they began; lengths that vary do not.
            state, rate = sweep(subkey, state, step * jax.random.uniform(jitter, minval=0.7, maxval=1.1))
            step = adapted_step(step, float(jnp.mean(rate)), gain=0.3, **_STEPS)
            kept.append(np.asarray(canonical(state), float))
            advance(1)
    moved = particles._replace(
        coordinates=kept[-1] if kept else np.asarray(canonical(state), float),
        weights=np.full(count, 1 / count),
        evaluations=particles.evaluations + sweeps * count * (move_cost(target.periodic, turns) + 1),
        step_size=step,
    )
    return moved, np.stack(kept) if kept else np.zeros((0, count, target.dimension))


def _start(target: Target, count: int, key) -> Float[jax.Array, "particle coordinate"]:
    first, second = jax.random.split(key)
    shape = (count, target.dimension)
    stiff = jnp.asarray(target.location) + SPREAD * jnp.asarray(target.scale) * jax.random.normal(first, shape)
    # Three turns: particles cross from one into the next, and a molecule's rotor is back at its own labels after three.
    # With one turn only the tempered densities, which do not know of relabeling, would not be those of the start.
    free = jax.random.uniform(second, shape, minval=-3 * np.pi, maxval=3 * np.pi)
    return jnp.where(jnp.asarray(target.periodic), free, stiff)


def _log_start(target: Target, y):
    width = SPREAD * target.scale
    stiff = -0.5 * ((y - jnp.asarray(target.location)) / jnp.asarray(width)) ** 2
    stiff = stiff - jnp.asarray(np.log(width * np.sqrt(2 * np.pi)))
    return jnp.sum(jnp.where(jnp.asarray(target.periodic), -np.log(2 * np.pi), stiff))


def _widths(target: Target, coordinates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Standard deviations; of a periodic coordinate at most one radian, the scale of torsional energies."""
    mean = weights @ coordinates
    stiff = np.sqrt(np.maximum(weights @ (coordinates - mean) ** 2, 1e-20))
    resultant = np.abs(weights @ np.exp(1j * coordinates))
    free = np.sqrt(np.clip(-2 * np.log(np.maximum(resultant, 1e-3)), 0.0025, 1.0))
    return np.where(target.periodic, free, stiff)

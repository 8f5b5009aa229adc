"""How particles move: turns of torsions, then a Hamiltonian trajectory."""

from __future__ import annotations

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc.random_walk import build_rmh
from blackjax.mcmc.random_walk import init as start_turns

LEAPFROG = 16
"""Steps of one trajectory: together a few widths of a Gaussian, at the step sizes that are accepted."""
TURNS = 8
"""Torsions that are tried anew before it, where there are any."""


def build_move(periodic: np.ndarray, turns: int = TURNS):
    """A Markov kernel in blackjax's form that leaves any density of these coordinates invariant.

    Torsional wells lie behind barriers that trajectories seldom cross; one torsion (or two) drawn anew, uniformly, and
    accepted by Metropolis's rule, goes to another well at once. In internal coordinates everything beyond the bond
    turns with it.

    Args:
        periodic: which coordinates have the period 2 pi.
        turns: torsions that are tried anew; none keeps a particle in its well.

    Returns:
        `kernel(key, state, log_density, step_size, inverse_mass_matrix)` for states of `blackjax.hmc.init`.
    """
    trajectory, turn = blackjax.hmc.build_kernel(), build_rmh()
    free = np.flatnonzero(periodic)

    def propose(key, position):
        which, second, both, angle = jax.random.split(key, 4)
        chosen = jax.random.choice(which, free)
        # The second one is the same as often as not: single turns and pairs.
        other = jnp.where(jax.random.bernoulli(both), jax.random.choice(second, free), chosen)
        # Over three turns, the period of a rotor that keeps its labels: over one, no proposal would lead back out.
        angles = jax.random.uniform(angle, (2,), position.dtype, minval=-3 * np.pi, maxval=3 * np.pi)
        return position.at[other].set(angles[1]).at[chosen].set(angles[0])

    def kernel(key, state, log_density, step_size, inverse_mass_matrix):
        first, second = jax.random.split(key)
        if len(free) and turns:

            def one(walker, key):
                return turn(key, walker, log_density, propose)[0], None

            walker = start_turns(state.position, log_density)
            walker, _ = jax.lax.scan(one, walker, jax.random.split(first, turns))
            state = blackjax.hmc.init(walker.position, log_density)
        return trajectory(second, state, log_density, step_size, inverse_mass_matrix, LEAPFROG)

    return kernel


def move_cost(periodic: np.ndarray, turns: int = TURNS) -> int:
    """Evaluations of the density that one move makes."""
    return LEAPFROG + (turns + 2 if turns and np.any(periodic) else 0)

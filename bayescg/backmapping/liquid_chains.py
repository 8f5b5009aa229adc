"""Chains of a whole liquid: sweeps of moves over its molecules, all chains of a CG frame at a time."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg.backmapping.liquid_moves import Around, Setup, proposed, state_of, trajectory, turned

LIGHT, TURNS, LEAPS = 3, 3, 4
"""Sweeps without trajectories before one with; turns of a molecule in a sweep; steps of a trajectory."""

_GOALS = {"turn": 0.35, "step": 0.8}
_RATE = 0.5


class Chains(NamedTuple):
    """States of all chains.

    Attributes:
        positions: (chain, molecule, atom, 3) [nm].
        turn: largest angle of a turn [rad].
        step: of trajectories.
    """

    positions: jax.Array
    turn: jax.Array
    step: jax.Array


class Trace(NamedTuple):
    """What happened in each round.

    Attributes:
        own: (round, chain) change of the molecules' own energy, in kT.
        environment: (round, chain) change of the energy between molecules; meaningless while the scale changes.
        accepted: (round, move) shares of turns, trajectories and proposals of the guide.
    """

    own: jax.Array
    environment: jax.Array
    accepted: jax.Array


def evaluations(setup: Setup) -> int:
    """Energies of one molecule in a round of one chain; an energy with its gradient counts once."""
    light = 1 + (TURNS if setup.turns else 0) + int(setup.normalized)
    return setup.energy.molecules * ((LIGHT + 1) * light + LEAPS + 1)


@eqx.filter_jit
def place(setup: Setup, beads, keys):
    """Draws of the guide for each molecule of each chain, put on the fibre, with their own energy in kT.

    Args:
        setup: the liquid.
        beads: (molecule, bead, 3) [nm].
        keys: one for each chain.
    """
    fibre = setup.conditional.fibre

    def one(argument):
        b, key = argument
        x = fibre.project(setup.conditional.guide(b).sample(key=key), b)
        return x, setup.energy.own.energy(x) / setup.thermal

    def chain(key):
        return jax.lax.map(one, (beads, jax.random.split(key, len(beads))), batch_size=32)

    return jax.lax.map(chain, keys)


@eqx.filter_jit
def run(setup: Setup, chains: Chains, beads, neighbors, scales, adapt, keys):
    """Rounds of sweeps, one for each scale.

    Args:
        setup: the liquid.
        chains: to go on from.
        beads: (molecule, bead, 3) [nm].
        neighbors: lists (index, mask).
        scales: (round,) of the environment's energy.
        adapt: whether step sizes follow the acceptance; not in rounds that count.
        keys: (round,).

    Returns:
        The chains and what happened.
    """
    molecules, count = len(beads), chains.positions.shape[0]
    index, mask = neighbors

    def sweep(positions, chains: Chains, scale, key, leaps: bool):
        def visit(positions, argument):
            m, key = argument

            def one(x, key):
                around = Around(beads[m], x[index[m]], mask[m], scale)
                return _visit(setup, around, x[m], chains, leaps, key)

            x, *told = jax.vmap(one)(positions, jax.random.split(key, count))
            return positions.at[:, m].set(x), told

        order, key = jax.random.split(key)
        which = jax.random.permutation(order, molecules)
        positions, (own, environment, accepted) = jax.lax.scan(
            visit, positions, (which, jax.random.split(key, molecules))
        )
        return positions, own.sum(axis=0), environment.sum(axis=0), jnp.nanmean(accepted, axis=(0, 1))

    def light(chains, scale, keys):
        def one(positions, key):
            positions, *told = sweep(positions, chains, scale, key, False)
            return positions, told

        positions, told = jax.lax.scan(one, chains.positions, keys)
        return positions, told

    def turn(chains: Chains, argument):
        scale, key = argument
        first, second = jax.random.split(key)
        positions, (own, environment, accepted) = light(chains, scale, jax.random.split(first, LIGHT))
        positions, more, around, shares = sweep(positions, chains, scale, second, True)
        shares = jnp.array(
            [(LIGHT * accepted[:, 0].mean() + shares[0]) / (LIGHT + 1), shares[1], accepted[:, 2].mean()]
        )
        # Frozen in rounds that count.
        rate = jnp.where(adapt, _RATE, 0.0)
        gain = jnp.nan_to_num(shares[:2] - jnp.array(list(_GOALS.values())))
        chains = Chains(
            positions,
            jnp.minimum(chains.turn * jnp.exp(rate * gain[0]), np.pi),
            chains.step * jnp.exp(rate * gain[1]),
        )
        return chains, Trace(own.sum(axis=0) + more, environment.sum(axis=0) + around, shares)

    return jax.lax.scan(turn, chains, (scales, keys))


def _visit(setup: Setup, around: Around, x, chains: Chains, leaps: bool, key):
    """All moves of one molecule: its positions, changes of its energies, acceptance of the moves."""
    state = begin = state_of(setup, around, x)
    keys = jax.random.split(key, TURNS + 2)
    share = leap = drawn = jnp.nan
    if setup.turns:

        def step(state, key):
            return turned(setup, around, state, chains.turn, key=key)

        state, each = jax.lax.scan(step, state, keys[:TURNS])
        share = jnp.nanmean(each)
    if setup.normalized:
        state, drawn = proposed(setup, around, state, key=keys[-1])
    if leaps:
        state, leap = trajectory(setup, around, state, chains.step, steps=LEAPS, key=keys[-2])
    told = jnp.array([share, leap, drawn])
    return state.x, state.own - begin.own, state.environment - begin.environment, told

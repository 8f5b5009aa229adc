"""Chains of a whole liquid: sweeps of moves over its molecules, all chains of a CG frame at a time."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid.moves import Around, Setup, proposed, state_of, trajectory, turned
from bayescg.backmapping.liquid.surroundings import surroundings

LIGHT = {1: 7, 2: 1}
"""Sweeps of turns only before a full one, by the beads of a molecule; with two there is only one axis to turn about."""

TURNS, LEAPS, PROPOSALS = 3, 16, 10
"""Turns of a molecule in a sweep; steps of a trajectory; proposals of the guide. Between proposals torsions move in
trajectories only: with 4 steps molecules of hexane took more than twice as long to find their places, with 32 no less
than with 16. With one proposal they kept the wells that they began with, and 0.9 kJ/mol each."""

_GOALS = {"turn": 0.35, "step": 0.8}
_RATE = 0.5
_BATCH = 32


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
        pose: (round, chain, molecule, 3) position of the atom farthest from its bead [nm].
        overflow: (round,) whether atoms were missing around a molecule, for want of room.
    """

    own: jax.Array
    environment: jax.Array
    accepted: jax.Array
    pose: jax.Array
    overflow: jax.Array


def evaluations(setup: Setup) -> int:
    """Energies of one molecule in a round of one chain; an energy with its gradient counts once."""
    light = 1 + TURNS
    full = 2 + PROPOSALS * int(setup.normalized) + LEAPS
    return setup.energy.molecules * (full + (_light(setup) * light + TURNS if setup.turns else 0))


def _light(setup: Setup) -> int:
    return LIGHT.get(setup.conditional.fibre.n_beads, 0)


@eqx.filter_jit
def place(conditional: Conditional, beads, keys):
    """Draws of the guide of molecules.

    Args:
        conditional: of one molecule.
        beads: (molecule, bead, 3) [nm].
        keys: (molecule,).

    Returns:
        The draws, (molecule, atom, 3) [nm]; the same on their fibres; and by how much beads of the former miss theirs.
    """
    fibre = conditional.fibre

    def one(argument):
        b, key = argument
        x = conditional.guide(b).sample(key=key)
        return x, fibre.project(x, b), fibre.beads(x) - b

    return jax.lax.map(one, (beads, keys), batch_size=min(len(beads), _BATCH))


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

    def sweep(positions, chains: Chains, scale, key, *, full: bool):
        def visit(positions, argument):
            m, key = argument

            def one(x, key):
                pairs, others = setup.energy.pairs, x[index[m]]
                near = surroundings(pairs, setup.extent, beads[m], others, mask[m], setup.room)
                return *_visit(setup, Around(beads[m], near, scale), x[m], chains, full, key), near.overflow

            x, *told = jax.vmap(one)(positions, jax.random.split(key, count))
            return positions.at[:, m].set(x), told

        order, key = jax.random.split(key)
        which = jax.random.permutation(order, molecules)
        positions, (own, environment, accepted, overflow) = jax.lax.scan(
            visit, positions, (which, jax.random.split(key, molecules))
        )
        shares = jnp.nanmean(accepted, axis=(0, 1))
        return positions, own.sum(axis=0), environment.sum(axis=0), shares, overflow.any()

    def turn(chains: Chains, argument):
        scale, key = argument
        first, second = jax.random.split(key)

        def light(positions, key):
            positions, *told = sweep(positions, chains, scale, key, full=False)
            return positions, told

        positions, before = jax.lax.scan(light, chains.positions, jax.random.split(first, _light(setup)))
        positions, own, environment, shares, overflow = sweep(positions, chains, scale, second, full=True)
        # Frozen in rounds that count.
        rate = jnp.where(adapt, _RATE, 0.0)
        gain = jnp.nan_to_num(shares[:2] - jnp.array(list(_GOALS.values())))
        chains = Chains(
            positions,
            jnp.minimum(chains.turn * jnp.exp(rate * gain[0]), np.pi),
            chains.step * jnp.exp(rate * gain[1]),
        )
        pose = positions[:, :, setup.extent.far]
        own, environment = before[0].sum(axis=0) + own, before[1].sum(axis=0) + environment
        return chains, Trace(own, environment, shares, pose, overflow | before[3].any())

    return jax.lax.scan(turn, chains, (scales, keys))


def _visit(setup: Setup, around: Around, x, chains: Chains, full: bool, key):
    """All moves of one molecule: its positions, changes of its energies, acceptance of the moves."""
    state = begin = state_of(setup, around, x)
    keys = jax.random.split(key, TURNS + 2)
    share = leap = drawn = jnp.nan
    if setup.turns:

        def step(state, key):
            return turned(setup, around, state, chains.turn, key=key)

        state, each = jax.lax.scan(step, state, keys[:TURNS])
        share = jnp.nanmean(each)
    if full:
        # Trajectories do not leave a well of the torsions, proposals of the guide do.
        if setup.normalized:

            def draw(state, key):
                return proposed(setup, around, state, key=key)

            state, each = jax.lax.scan(draw, state, jax.random.split(keys[-1], PROPOSALS))
            drawn = jnp.mean(each)
        state, leap = trajectory(setup, around, state, chains.step, steps=LEAPS, key=keys[-2])
    told = jnp.array([share, leap, drawn])
    return state.x, state.own - begin.own, state.environment - begin.environment, told

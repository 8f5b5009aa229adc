"""Moves of one molecule among others: turns, Hamiltonian trajectories, and proposals from the guide.

All leave the path's density of the molecule given the others, exp[-beta (own + environment)] on the fibre of its
beads, as it is; so does any sequence of them over the molecules.
"""

from __future__ import annotations

from typing import NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid.energy import LiquidEnergy
from bayescg.backmapping.liquid.neighbors import Extent
from bayescg.backmapping.liquid.orientation import aligned, rotate
from bayescg.backmapping.liquid.surroundings import Surroundings, environment

_WIDE = 0.4
"""Share of turns by any angle, about an axis of the molecule."""


class Setup(eqx.Module):
    """What does not change from frame to frame.

    Attributes:
        conditional: gives the guide of each molecule.
        energy: of the liquid.
        extent: how far atoms may be from their beads.
        room: most atoms near a bead.
        missed: standard deviation [nm] by which the beads of the guide's draws miss theirs; 0 on the fibre.
        marks: atoms that tell how a molecule is turned; None where the guide depends on that.
        thermal: kT [kJ/mol].
        normalized: whether the guide is.
    """

    conditional: Conditional
    energy: LiquidEnergy
    extent: Extent
    room: int = eqx.field(static=True)
    missed: float = eqx.field(static=True)
    marks: tuple[int, ...] | None = eqx.field(static=True)
    thermal: float = eqx.field(static=True)
    normalized: bool = eqx.field(static=True)

    @property
    def turns(self) -> bool:
        """Whether a molecule can be turned with its beads in place: about one, or about the axis of two."""
        return self.conditional.fibre.n_beads <= 2


class Around(NamedTuple):
    """What a molecule sees.

    Attributes:
        beads: its own, (bead, 3) [nm].
        near: atoms of others.
        scale: of the environment's energy.
    """

    beads: Array
    near: Surroundings
    scale: Array


class State(NamedTuple):
    """A molecule.

    Attributes:
        x: (atom, 3) [nm].
        own: its own energy in kT.
        environment: that with the others, as the scale has it.
    """

    x: Array
    own: Array
    environment: Array


def state_of(setup: Setup, around: Around, x: Float[Array, "atom 3"]) -> State:
    """Energies of a molecule."""
    return State(x, setup.energy.own.energy(x) / setup.thermal, _environment(setup, around, x))


def _environment(setup: Setup, around: Around, x) -> Array:
    """In kT."""
    return environment(setup.energy.pairs, setup.extent, x, around.near, around.scale) / setup.thermal


def _accept(setup: Setup, around: Around, old: State, new: State, log_ratio, key) -> tuple[State, Array]:
    change = new.own - old.own + new.environment - old.environment
    log_ratio = jnp.where(setup.extent.holds(new.x, around.beads), log_ratio - change, -jnp.inf)
    # Not a number is no: a proposal without an energy is none.
    accepted = jnp.log(jax.random.uniform(key, minval=1e-300)) < log_ratio
    return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), new, old), accepted


def turned(setup: Setup, around: Around, state: State, size: Array, *, key) -> tuple[State, Array]:
    """One turn about the bead, or about the axis of two; by an angle up to `size`, now and then by any.

    Turns by any angle are about an axis through the bead along the line of two atoms, which such a turn leaves as it
    is: a hydroxyl group turns about its bond and bonds to another neighbor, where all else has no room to move.

    Args:
        setup: the liquid.
        around: the others.
        state: of the molecule.
        size: largest angle [rad].
        key: random key.

    Returns:
        The state, and whether the turn was accepted; NaN for one by any angle.
    """
    keys = jax.random.split(key, 5)
    wide = jax.random.uniform(keys[0]) < _WIDE
    angle = jnp.where(wide, np.pi, size) * jax.random.uniform(keys[1], minval=-1.0)
    if setup.conditional.fibre.n_beads == 1:
        first, second = jax.random.choice(keys[3], len(state.x), (2,), replace=False)
        axis = jnp.where(wide, state.x[first] - state.x[second], jax.random.normal(keys[2], (3,)))
    else:
        axis = around.beads[1] - around.beads[0]
    x = rotate(state.x, around.beads[0], axis, angle)
    # The molecule's own energy is that of before.
    new = State(x, state.own, _environment(setup, around, x))
    state, accepted = _accept(setup, around, state, new, 0.0, keys[4])
    return state, jnp.where(wide, jnp.nan, accepted)


def trajectory(setup: Setup, around: Around, state: State, step: Array, *, steps: int, key) -> tuple[State, Array]:
    """One Hamiltonian trajectory in the fibre's free coordinates, all with the same mass.

    Bonds of different atoms are about as stiff: with the true masses those to hydrogen would oscillate fastest.

    Args:
        setup: the liquid.
        around: the others.
        state: of the molecule.
        step: mean step size.
        steps: their number.
        key: random key.

    Returns:
        The state, and the probability with which it was accepted.
    """
    fibre = setup.conditional.fibre
    first, second = jax.random.split(key)

    def log_density(free):
        x = fibre.positions(free, around.beads)
        found = state_of(setup, around, x)
        value = -found.own - found.environment
        return jnp.where(setup.extent.holds(x, around.beads), value, -jnp.inf)

    # Another step each time: no trajectory is in tune with a vibration for long.
    used = step * jax.random.uniform(first, minval=0.6, maxval=1.2)
    begin = blackjax.hmc.init(fibre.free(state.x, around.beads), log_density)
    kernel = blackjax.hmc.build_kernel()
    end, info = kernel(second, begin, log_density, used, jnp.ones(fibre.n_free), steps)
    return state_of(setup, around, fibre.positions(end.position, around.beads)), info.acceptance_rate


def proposed(setup: Setup, around: Around, state: State, *, key) -> tuple[State, Array]:
    """Another molecule from the guide, turned as this one is.

    The guide's density does not change when a molecule is turned about its bead, or the axis of two. Internal
    coordinates are then proposed and the turn is kept, whose measure is uniform: the ratio of densities is that of
    independent proposals.

    Where draws of the guide miss the beads, by xi, the target is extended by a known Gaussian of xi, of which the
    molecule gets a draw.

    Args:
        setup: the liquid.
        around: the others.
        state: of the molecule.
        key: random key.

    Returns:
        The state, and whether the proposal was accepted.
    """
    fibre, guide = setup.conditional.fibre, setup.conditional.guide(around.beads)
    keys = jax.random.split(key, 3)
    new, old, balance = guide.sample(key=keys[0]), state.x, 0.0
    if setup.missed:
        xi = setup.missed * jax.random.normal(keys[1], around.beads.shape)
        old = old + jnp.asarray(fibre.shift) @ xi
        other = fibre.beads(new) - around.beads
        balance = 0.5 * (jnp.sum(xi**2) - jnp.sum(other**2)) / setup.missed**2
    if setup.marks is not None:
        new = aligned(new, old, around.beads, setup.marks)
    balance += guide.log_density(old) - guide.log_density(new)
    found = state_of(setup, around, fibre.project(new, around.beads))
    return _accept(setup, around, state, found, balance, keys[2])

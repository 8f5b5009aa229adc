"""What is the same for all frames of a liquid, found from draws of the guide."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid.chains import place
from bayescg.backmapping.liquid.energy import LiquidEnergy
from bayescg.backmapping.liquid.moves import Setup
from bayescg.backmapping.liquid.neighbors import Extent
from bayescg.backmapping.liquid.orientation import find_marks, rotate

_TRIALS = 512
"""Draws of the guide, at least."""


def prepare(conditional: Conditional, energy: LiquidEnergy, beads: np.ndarray, thermal: float, *, key) -> Setup:
    """What is the same for all frames, from draws of the guide for the molecules of one; still without room.

    Args:
        conditional: of one molecule.
        energy: of the liquid.
        beads: (molecule, bead, 3) [nm], of all chains.
        thermal: kT [kJ/mol].
        key: random key.
    """
    first, second = jax.random.split(key)
    # The program that places molecules, as often as it takes.
    parts = [
        place(conditional, jnp.asarray(beads), jax.random.split(subkey, len(beads)))
        for subkey in jax.random.split(first, max(-(-_TRIALS // len(beads)), 1))
    ]
    drawn, placed, xi = (np.concatenate(values) for values in zip(*parts, strict=True))
    chosen = np.tile(beads, (len(parts), 1, 1))
    if not np.all(np.isfinite(drawn)):
        raise ValueError("draws of the guide are not finite: check the conditional's parameters")
    shape = eqx.filter_eval_shape(lambda c, b: c.guide(b), conditional, jnp.asarray(chosen[0]))
    missed = float(np.sqrt(np.mean(xi**2))) if shape.space == "atoms" else 0.0
    extent = Extent.of(placed, chosen)
    marks = find_marks(drawn, chosen)
    if marks is not None and not (shape.normalized and _invariant(conditional, drawn, chosen, second)):
        marks = None
    return Setup(conditional, energy, extent, 0, missed, marks, thermal, shape.normalized)


def _invariant(conditional: Conditional, drawn: np.ndarray, beads, key) -> bool:
    """Whether the guide's density stays when molecules are turned about the bead, or the axis of two."""

    @eqx.filter_jit
    def change(conditional, drawn, beads, keys):
        def one(argument):
            x, b, key = argument
            first, second = jax.random.split(key)
            axis = jax.random.normal(first, (3,)) if len(b) == 1 else b[1] - b[0]
            guide = conditional.guide(b)
            turned = rotate(x, b[0], axis, jax.random.uniform(second, minval=0.5, maxval=2.5))
            return guide.log_density(turned) - guide.log_density(x)

        return jax.lax.map(one, (drawn, beads, keys), batch_size=16)

    some = slice(0, 16)
    return bool(
        np.all(
            np.abs(change(conditional, jnp.asarray(drawn[some]), jnp.asarray(beads[some]), jax.random.split(key, 16)))
            < 1e-6
        )
    )

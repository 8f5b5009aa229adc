"""Where the path of one frame begins: draws of the guide, or of a Gaussian about what has settled at the guide."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg.backmapping.molecule.path import Frame
from bayescg.samplers import schedules
from bayescg.samplers.metric import adapted_step, metric_of
from bayescg.samplers.schedules import Stage


@eqx.filter_jit
def first_draws(frame: Frame, missed: bool, keys) -> jax.Array:
    """Draws of where the path begins, one for each key."""
    return jax.vmap(lambda key: frame.draw(key=key, missed=missed))(keys)


def spread_at_guide(
    frame: Frame, y: Float[np.ndarray, "particle y"], *, sweeps: int = 12, moves: int, key
) -> Float[np.ndarray, "particle y"]:
    """Let configurations settle at the guide alone, for a guide that is not normalized.

    Args:
        frame: without a start of its own.
        y: typical configurations of the guide.
        sweeps: of all of them.
        moves: trajectories in each.
        key: random key.
    """
    # The leg to the guide of a path that begins with the guide: the target is not asked.
    step, uniform = 0.1, np.full(len(y), 1 / len(y))
    for _ in range(sweeps):
        key, subkey = jax.random.split(key)
        metric = metric_of(y, uniform, np.asarray(schedules.slopes(frame, 0, jnp.asarray(y))[1]))
        stage = Stage(0, 0.0, step, schedules.leapfrogs(step), metric)
        y, _, _, rate = schedules.moved(frame, stage, y, uniform, moves, key=subkey)
        step = adapted_step(step, rate, **schedules.STEPS)
    return y

"""Log densities in double precision."""

import jax
import jax.numpy as jnp
import numpy as np

from bayescg._runtime import double_precision


def log_densities(target, points, beta=1.0) -> np.ndarray:
    """Of many points."""
    with double_precision():
        run = jax.jit(jax.vmap(lambda y: target.log_density(y, beta)))
        return np.asarray(run(jnp.asarray(points, float)))

"""Log densities in double precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg._runtime import double_precision


def log_densities(target, points, beta=1.0) -> np.ndarray:
    """Of many points."""
    with double_precision():
        return np.asarray(_run(target, jnp.asarray(points, float), jnp.asarray(beta, float)))


@eqx.filter_jit
def _run(target, points, beta):
    return jax.vmap(lambda y: target.log_density(y, beta))(points)

"""Draws of a density from the Gaussian that is nearest to it in the reverse divergence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import numpyro.infer
from jaxtyping import Array

from bayescg._runtime import progress
from bayescg.samplers.density import TRACING, Density, Sampled
from bayescg.samplers.mode import Mode

_ROUNDS, _STEPS = 15, 100
_DRIFT = 0.5
"""Change of the mean loss over the last 300 steps from the 300 before them, above which it still falls."""


def variational(target: Density, mode: Mode, draws: int, *, key: Array) -> Sampled:
    """Full-rank Gaussian in unconstrained space fitted by NumPyro's SVI, as one chain.

    Fitted in coordinates whitened by the curvature at the mode: a step size then suits the noise, known to a per
    mille, and a lengthscale, known to a factor, alike. Numbers: `elbo`, a lower bound of the logarithm of the
    density's integral, and whether the fit has `converged`.

    Args:
        target: the density.
        mode: where the fit begins.
        draws: how many.
        key: JAX random key.
    """
    import optax
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoMultivariateNormal

    spread = jnp.asarray(np.linalg.cholesky(mode.covariance))
    center = jnp.asarray(mode.position)

    def whitened():
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=center.shape)
        epsilon = numpyro.sample("epsilon", flat)
        with numpyro.handlers.block():  # the density is a NumPyro model itself: its sites are not ours
            log_density = -target.minus_log(center + spread @ epsilon)
        numpyro.factor("density", log_density)

    start = numpyro.infer.init_to_value(values={"epsilon": jnp.zeros_like(center)})
    guide = AutoMultivariateNormal(whitened, init_loc_fn=start, init_scale=1.0)
    svi = SVI(whitened, guide, optax.adam(optax.exponential_decay(0.03, 500, 0.3)), Trace_ELBO(num_particles=8))
    run_key, draw_key = jax.random.split(key)
    with TRACING:  # its handlers are those of all threads
        state = svi.init(run_key)
        update = jax.jit(lambda s: jax.lax.scan(lambda s, _: svi.update(s), s, None, length=_STEPS))
        losses = []
        with progress("Variational inference", _ROUNDS) as advance:
            for _ in range(_ROUNDS):
                state, loss = update(state)
                losses.append(np.asarray(loss))
                advance(1)
        epsilon = guide.sample_posterior(draw_key, svi.get_params(state), sample_shape=(draws,))["epsilon"]
    losses = np.concatenate(losses)
    drift = abs(losses[-300:].mean() - losses[-600:-300].mean())
    positions = mode.position + np.asarray(epsilon) @ np.asarray(spread).T
    # The bound is one of the integral over positions, not over whitened ones.
    elbo = np.sum(np.log(np.diag(spread))) - losses[-300:].mean()
    attrs = {"elbo": float(elbo), "converged": bool(drift < _DRIFT)}
    return Sampled(target.constrain(positions[None]), {}, attrs)

"""The regularized horseshoe over a library of candidates, sampled: how sure it is that a candidate matters.

    s_g = tau l~_g,   l~_g^2 = c^2 l_g^2 / (c^2 + tau^2 l_g^2),   l_g ~ HalfCauchy(1),   tau ~ HalfCauchy(tau_0),
    c^2 ~ InverseGamma(2, 2 c_0^2)

(Piironen & Vehtari, Electron. J. Stat. 11, 5018 (2017), doi:10.1214/17-EJS1337SI). Scales are signal-to-noise ratios
(`bayescg.inference.sparse.library`), so that tau_0 = n^-1/2 / (G - 1), n the force components, expects one of G
candidates; the slab c_0 is that of all forces together. Coefficients are integrated out exactly: NUTS sees the scales
only, on the quadratic sums, without the funnel that makes horseshoes hard.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from bayescg.inference.linear.marginal import gaussian_integral
from bayescg.inference.sparse.library import Problem
from bayescg.samplers.density import Density
from bayescg.samplers.density import density as density_of


def density(problem: Problem) -> Density:
    """Density of tau, the local scales and the slab, to be sampled."""
    tau = 1 / (math.sqrt(problem.components) * max(problem.candidates - 1, 1))
    slab = math.sqrt(max(problem.signal, 1.0))
    numbers = (tau, slab, np.zeros(problem.candidates))
    args = tuple(jnp.asarray(a) for a in (problem.gram, problem.cross, problem.group, *numbers))
    start = {
        "global_scale": jnp.log(tau) * jnp.ones(()),
        "local_scale": jnp.ones(problem.candidates),
        "slab_variance": 2 * jnp.log(slab) * jnp.ones(()),
    }
    return density_of(model, args, start)


def model(gram, cross, group, tau, slab, candidates) -> None:
    """The NumPyro model; `tau` and `slab` are the scales tau_0 and c_0, `candidates` a vector of as many numbers."""
    values = {
        "global_scale": numpyro.sample("global_scale", dist.HalfCauchy(tau)),
        "local_scale": numpyro.sample("local_scale", dist.HalfCauchy(jnp.ones_like(candidates)).to_event(1)),
        "slab_variance": numpyro.sample("slab_variance", dist.InverseGamma(2.0, 2.0 * slab**2)),
    }
    d = scales(**values)[group]
    numpyro.factor("log_evidence", gaussian_integral(jnp.eye(len(d)) + d[:, None] * gram * d, d * cross))


def scales(global_scale, local_scale, slab_variance) -> Float[Array, "*draw candidate"]:
    """s_g of every candidate."""
    tau, square = jnp.asarray(global_scale)[..., None], jnp.asarray(slab_variance)[..., None]
    return tau * local_scale * jnp.sqrt(square / (square + tau**2 * local_scale**2))

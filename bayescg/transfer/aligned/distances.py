"""Distances of contact over states: one smooth function, which histograms measure and forces feel.

    log d(x) = center + K(x, Z) K(Z, Z)^-1 g,   g ~ N(0, K(Z, Z)),
    K(x, x') = mean^2 + slope^2 x.x' + change^2 exp(-sum_k (x_k - x'_k)^2 / 2 l_k^2),

x standardized, Z some of the states. g is sampled with the hyperparameters: histograms measure log d_s with their
error, and what the forces of all systems say about the alignment enters through their evidence. Steep walls say more:
a wall's place is known to a per mille from two frames of which the histogram gives half a percent. What an own part
or the interpolation leaves of a system's distance is added to the error of its histogram, and to predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray

_CHANGE, _OWN, _SPREAD, _OWN_SPREAD = 0.05, 0.003, 1.0, 0.3
"""Prior medians of the smooth and own standard deviations of log d, and the spreads of their logarithms. Own ones are
small: free to grow, they would let forces align curves anywhere but at contact."""

MOST_NODES = 24
"""Systems that are nodes at most."""

_MEAN, _SLOPE = 0.5, 0.1
"""Standard deviations of the mean about that of the data, and of slopes for a standard deviation of a descriptor."""

_LENGTHSCALE = 2.0
_JITTER = 1e-9
UNKNOWN = 1e3
"""Error of the logarithm where a system lacks the term: nothing is known."""


class Measured(NamedTuple):
    """Distances of contact of one term.

    Attributes:
        x: (system, descriptor) standardized.
        nodes: (node, descriptor) Z.
        log_distance: (system,) about `center`.
        error: (system,) of the logarithm.
        center: mean of the logarithms [log nm].
    """

    x: Float[AnyArray, "system descriptor"]
    nodes: Float[AnyArray, "node descriptor"]
    log_distance: Float[AnyArray, " system"]
    error: Float[AnyArray, " system"]
    center: Float[AnyArray, ""] | float


def contact_priors(name: str, measured: Measured) -> dict[str, dist.LogNormal]:
    """Hyperpriors of the distances of one term, by site."""
    return {
        f"contact_change_{name}": dist.LogNormal(jnp.log(_CHANGE), _SPREAD),
        f"contact_own_{name}": dist.LogNormal(jnp.log(_OWN), _OWN_SPREAD),
        f"contact_lengthscale_{name}": dist.LogNormal(jnp.log(_LENGTHSCALE) * jnp.ones(measured.x.shape[1]), 0.7),
    }


def node_prior(name: str, measured: Measured, values: Mapping[str, Array]) -> dist.MultivariateNormal:
    """Prior of g."""
    return dist.MultivariateNormal(jnp.zeros(len(measured.nodes)), scale_tril=_root(name, measured, values))


class Along(NamedTuple):
    """log d about the center at some states: what the nodes say, and the variance that they leave."""

    mean: Float[Array, " state"]
    left: Float[Array, " state"]


def along(name: str, measured: Measured, values: Mapping[str, Array], x: Float[AnyArray, "state descriptor"]) -> Along:
    """Distances at some states.

    Args:
        name: of the term.
        measured: its distances.
        values: of the sites of `contact_priors`, and g as `contact_nodes_NAME`; traced values work.
        x: standardized.
    """
    cross = _gram(name, values, jnp.asarray(x), jnp.asarray(measured.nodes))
    weights = cho_solve((_root(name, measured, values), True), cross.T).T
    whole = _MEAN**2 + _SLOPE**2 * jnp.sum(jnp.asarray(x) ** 2, axis=1) + values[f"contact_change_{name}"] ** 2
    left = jnp.maximum(whole - jnp.sum(weights * cross, axis=1), 0.0)
    return Along(weights @ values[f"contact_nodes_{name}"], left + values[f"contact_own_{name}"] ** 2)


def histogram_evidence(name: str, measured: Measured, values: Mapping[str, Array]) -> Float[Array, ""]:
    """Log density of the measured distances."""
    said = along(name, measured, values, measured.x)
    variance = said.left + jnp.asarray(measured.error) ** 2
    return -0.5 * jnp.sum((jnp.asarray(measured.log_distance) - said.mean) ** 2 / variance + jnp.log(variance))


def first_nodes(name: str, measured: Measured) -> Float[Array, " node"]:
    """G as the histograms alone say it, at the prior medians."""
    values = {n: jnp.exp(d.loc) for n, d in contact_priors(name, measured).items()}
    x, nodes = jnp.asarray(measured.x), jnp.asarray(measured.nodes)
    noise = jnp.asarray(measured.error) ** 2 + values[f"contact_own_{name}"] ** 2
    root = jnp.linalg.cholesky(_gram(name, values, x, x) + jnp.diag(noise))
    return _gram(name, values, nodes, x) @ cho_solve((root, True), jnp.asarray(measured.log_distance))


def left_out(
    name: str, measured: Measured, values: Mapping[str, Array]
) -> tuple[Float[Array, " system"], Float[Array, " system"]]:
    """Measured logarithm minus its prediction from all others, and the standard deviation of that, for every system.

    Of histograms alone, by the closed form of Sundararajan & Keerthi, doi:10.1162/08997660151134343.
    """
    x = jnp.asarray(measured.x)
    noise = values[f"contact_own_{name}"] ** 2 + jnp.asarray(measured.error) ** 2 + _JITTER
    inverse = jnp.linalg.inv(_gram(name, values, x, x) + jnp.diag(noise))
    variance = 1 / jnp.diagonal(inverse)
    return (inverse @ jnp.asarray(measured.log_distance)) * variance, jnp.sqrt(variance)


def _gram(name: str, values: Mapping[str, Array], left: Array, right: Array) -> Array:
    apart = (left[:, None, :] - right[None, :, :]) / values[f"contact_lengthscale_{name}"]
    smooth = values[f"contact_change_{name}"] ** 2 * jnp.exp(-0.5 * jnp.sum(apart**2, axis=-1))
    return _MEAN**2 + _SLOPE**2 * left @ right.T + smooth


def _root(name: str, measured: Measured, values: Mapping[str, Array]) -> Array:
    nodes = jnp.asarray(measured.nodes)
    return jnp.linalg.cholesky(_gram(name, values, nodes, nodes) + _JITTER * jnp.eye(len(nodes)))

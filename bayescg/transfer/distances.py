"""Distances of contact over states: measured ones with their errors, and those of systems never seen.

    log d_s = mean + slope . x_s + g(x_s) + own_s,   measured with the error of the histogram,

g a Gaussian process with a lengthscale for every descriptor, all standardized. Given its unknowns everything is
Gaussian. Distances come from histograms alone: forces do not move them (a cut posterior, Plummer,
doi:10.1007/s11222-014-9503-z). What forces say about the alignment is taken up by each system's own part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.samplers.density import Density, density

_CHANGE, _OWN, _SPREAD = 0.05, 0.01, 1.0
"""Prior medians of the smooth and own standard deviations of log d, and the spread of their logarithms."""

_MEAN, _SLOPE = 0.5, 0.1
"""Standard deviations of the mean about that of the data, and of slopes for a standard deviation of a descriptor."""

_LENGTHSCALE = 2.0
_JITTER = 1e-10
UNKNOWN = 1e3
"""Error of the logarithm where a system lacks the term: nothing is known."""


class Measured(NamedTuple):
    """Distances of contact of one term.

    Attributes:
        x: (system, descriptor) standardized.
        log_distance: (system,) about `center`.
        error: (system,) of the logarithm.
        center: mean of the logarithms [log nm].
    """

    x: Float[AnyArray, "system descriptor"]
    log_distance: Float[AnyArray, " system"]
    error: Float[AnyArray, " system"]
    center: Float[AnyArray, ""] | float


def _priors(measured: Measured) -> dict[str, dist.LogNormal]:
    return {
        "change": dist.LogNormal(jnp.log(_CHANGE), _SPREAD),
        "own": dist.LogNormal(jnp.log(_OWN), _SPREAD),
        "lengthscale": dist.LogNormal(jnp.log(_LENGTHSCALE) * jnp.ones(measured.x.shape[1]), 0.7),
    }


def _gram(values: Mapping[str, Array], left: Array, right: Array) -> Array:
    """Covariance of what is not own."""
    apart = (left[:, None, :] - right[None, :, :]) / values["lengthscale"]
    smooth = values["change"] ** 2 * jnp.exp(-0.5 * jnp.sum(apart**2, axis=-1))
    return _MEAN**2 + _SLOPE**2 * left @ right.T + smooth


def _sample(measured: Measured) -> None:
    values = {name: jnp.asarray(numpyro.sample(name, d)) for name, d in _priors(measured).items()}
    x = jnp.asarray(measured.x)
    noise = values["own"] ** 2 + jnp.asarray(measured.error) ** 2 + _JITTER
    root = jnp.linalg.cholesky(_gram(values, x, x) + jnp.diag(noise))
    white = solve_triangular(root, jnp.asarray(measured.log_distance), lower=True)
    numpyro.factor("contact", -0.5 * white @ white - jnp.sum(jnp.log(jnp.diagonal(root))))


def contact_density(measured: Measured) -> Density:
    """Density of the unknowns `change`, `own` and `lengthscale`."""
    start = {name: jnp.asarray(d.loc) for name, d in _priors(measured).items()}
    return density(_sample, (jax.tree.map(jnp.asarray, measured),), start)


def _posterior(measured: Measured, values: Mapping[str, Array]) -> tuple[Array, Array]:
    """Mean and covariance of the true logarithms about the center."""
    x = jnp.asarray(measured.x)
    prior = _gram(values, x, x) + (values["own"] ** 2 + _JITTER) * jnp.eye(len(x))
    root = jnp.linalg.cholesky(prior + jnp.diag(jnp.asarray(measured.error) ** 2))
    gain = cho_solve((root, True), prior).T
    return gain @ jnp.asarray(measured.log_distance), prior - gain @ prior


@jax.jit
def true_mean(measured: Measured, values: dict[str, Array]) -> Float[Array, " system"]:
    """Mean of the true logarithms about the center, at given unknowns."""
    return _posterior(measured, values)[0]


@jax.jit
def draw_true(
    measured: Measured, values: dict[str, Array], noise: Float[Array, "draw system"]
) -> Float[Array, "draw system"]:
    """Joint draws of the true logarithms about the center, one for every draw of the unknowns."""

    def one(item):
        value, z = item
        mean, covariance = _posterior(measured, value)
        scale = _JITTER + 1e-8 * jnp.trace(covariance) / len(mean)
        return mean + jnp.linalg.cholesky(covariance + scale * jnp.eye(len(mean))) @ z

    return jax.lax.map(one, (values, noise))


class Ahead(NamedTuple):
    """The logarithm for a new system about the center, a Gaussian for every draw.

    Attributes:
        mean: (draw,).
        sd: (draw,).
    """

    mean: Float[Array, " draw"]
    sd: Float[Array, " draw"]


@jax.jit
def ahead(
    measured: Measured, values: dict[str, Array], true: Float[Array, "draw system"], x: Float[AnyArray, " descriptor"]
) -> Ahead:
    """Prediction for a new system from drawn true logarithms of those that were measured.

    Args:
        measured: the measured ones.
        values: unknowns, each (draw, ...).
        true: true logarithms about the center, drawn.
        x: standardized descriptors of the new system.
    """

    def one(item):
        value, y = item
        old, new = jnp.asarray(measured.x), jnp.asarray(x)[None]
        prior = _gram(value, old, old) + (value["own"] ** 2 + _JITTER) * jnp.eye(len(old))
        cross = _gram(value, new, old)[0]
        root = jnp.linalg.cholesky(prior)
        weights = cho_solve((root, True), cross)
        left = _gram(value, new, new)[0, 0] + value["own"] ** 2 - cross @ weights
        return weights @ y, jnp.sqrt(jnp.maximum(left, 0.0))

    return Ahead(*jax.lax.map(one, (values, true)))


@jax.jit
def left_out(measured: Measured, values: dict[str, Array]) -> tuple[Float[Array, " system"], Float[Array, " system"]]:
    """Measured logarithm minus its prediction from all others, and the standard deviation of that, for every system.

    Sundararajan & Keerthi, doi:10.1162/08997660151134343.
    """
    x = jnp.asarray(measured.x)
    noise = values["own"] ** 2 + jnp.asarray(measured.error) ** 2 + _JITTER
    inverse = jnp.linalg.inv(_gram(values, x, x) + jnp.diag(noise))
    variance = 1 / jnp.diagonal(inverse)
    return (inverse @ jnp.asarray(measured.log_distance)) * variance, jnp.sqrt(variance)

"""Which well a torsion is in: a Gaussian-process classifier.

One latent process for each well but the first, softmax likelihood, weights by Laplace's approximation (Williams &
Barber, IEEE TPAMI 20 (1998) 1342, doi:10.1109/34.735807) with the same plane and smooth part as regressions have. The
two amplitudes and the common lengthscale are at the mode of their approximate posterior.
"""

from __future__ import annotations

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize
from scipy.stats import norm, qmc

from bayescg._arrays import AnyArray
from bayescg.backmapping.conditional.hyperparameters import SMOOTH, RegressionData, inverse_factor, weight_features
from bayescg.backmapping.conditional.regression import Inputs, padded

_CENTER = np.array([np.log(0.7), np.log(0.7), np.log(2.0)])
"""Prior medians of the logarithms of a, b and the lengthscale."""

_OFFSET = 2.0
"""Prior standard deviation of the constant part of a latent process."""

_STEPS = 12
_POINTS = 32
"""At which the softmax is averaged over the latent processes' uncertainty: a fixed quasi-random Gaussian sample."""


class Classifier(eqx.Module):
    """Probabilities of the wells, averaged over the posterior of the latent processes.

    Attributes:
        linear: numbers of the plane's inputs.
        smooth: numbers of the smooth part's inputs.
        length: their lengthscale.
        inducing: inducing inputs divided by it.
        weights: (well - 1, u).
        quadratic: (well - 1, u, well - 1, u): the latent processes' covariance is u' quadratic u, plus `prior`.
        prior: b^2.
        points: standard normal points, (point, well - 1).
        kernel: the smooth part's.
    """

    linear: Int[AnyArray, " linear"]
    smooth: Int[AnyArray, " smooth"]
    length: Float[AnyArray, ""]
    inducing: Float[AnyArray, "inducing smooth"]
    weights: Float[AnyArray, "latent u"]
    quadratic: Float[AnyArray, "latent u latent u"]
    prior: Float[AnyArray, ""]
    points: Float[AnyArray, "point latent"]
    kernel: gpjax.kernels.AbstractKernel

    def log_probabilities(self, features: Float[Array, " feature"]) -> Float[Array, " well"]:
        """Of each well; they sum to one exactly."""
        near = self.kernel.cross_covariance((features[self.smooth] / self.length)[None], self.inducing)[0]
        u = jnp.concatenate([jnp.ones_like(near[:1]), features[self.linear], near])
        mean = self.weights @ u
        covariance = jnp.einsum("i,aibj,j->ab", u, self.quadratic, u) + self.prior * jnp.eye(len(mean))
        factor = jnp.linalg.cholesky(covariance + 1e-6 * jnp.eye(len(mean)))
        latent = mean + self.points @ factor.T
        shares = jax.nn.log_softmax(jnp.concatenate([jnp.zeros((len(latent), 1)), latent], axis=1), axis=1)
        return jax.nn.logsumexp(shares, axis=0) - jnp.log(len(latent))


def fit_classifier(
    features: Float[np.ndarray, "row feature"],
    label: Int[np.ndarray, " row"],
    inputs: Inputs,
    *,
    kernel: gpjax.kernels.AbstractKernel,
) -> Classifier:
    """Learn the probabilities of classes.

    Args:
        features: standardized; the first is zero.
        label: class of each row, from 0.
        inputs: which features.
        kernel: GPJax kernel of the smooth part, of unit lengthscale and variance.

    Returns:
        The classifier.
    """
    classes = int(label.max()) + 1
    data = padded(features, np.zeros(len(features)), inputs, np.ones(len(features), bool))
    hot = jnp.asarray(np.eye(classes)[label])

    def objective(z):
        value = float(_minus_log_evidence(kernel, data, hot, jnp.asarray(z)))
        return value + 0.5 * float(np.sum((z - _CENTER) ** 2)) if np.isfinite(value) else 1e10

    mode = _CENTER
    if np.any(inputs.linear != 0):
        mode = minimize(
            objective, _CENTER, method="Nelder-Mead", options={"maxfev": 50, "xatol": 0.05, "fatol": 0.02}
        ).x
    weights, covariance, inverse = (np.asarray(v) for v in _mode_and_covariance(kernel, data, hot, jnp.asarray(mode)))
    a, b, length = np.exp(mode)
    count, size = 1 + len(inputs.linear), weights.shape[1]
    lift = np.zeros((size, size))
    lift[:count, :count] = np.diag([_OFFSET, *[a] * (count - 1)])
    lift[count:, count:] = b * inverse
    quadratic = np.einsum("ik,aibj,jl->akbl", lift, covariance, lift)
    prior = b**2 if np.any(data.used) else 0.0
    for k in range(classes - 1):
        quadratic[k, count:, k, count:] -= b**2 * inverse.T @ inverse
    sobol = qmc.Sobol(classes - 1, scramble=True, rng=np.random.default_rng(0)).random(_POINTS)
    points = norm.ppf(np.clip(sobol, 1e-6, 1 - 1e-6))
    return Classifier(
        linear=inputs.linear,
        smooth=inputs.smooth,
        length=np.asarray(length),
        inducing=np.asarray(data.inducing) / length,
        weights=weights @ lift,
        quadratic=quadratic,
        prior=np.asarray(prior),
        points=points - points.mean(axis=0),
        kernel=kernel,
    )


def _phi(kernel, data: RegressionData, z):
    full = jnp.concatenate([z[:2], jnp.zeros(1), jnp.full(SMOOTH, z[2])])
    phi, _ = weight_features(kernel, data, full)
    return phi.at[:, 0].multiply(_OFFSET)


def _log_posterior(phi, hot, flat):
    weights = flat.reshape(hot.shape[1] - 1, -1)
    latent = jnp.concatenate([jnp.zeros((len(phi), 1)), phi @ weights.T], axis=1)
    return jnp.sum(hot * jax.nn.log_softmax(latent, axis=1)) - 0.5 * jnp.sum(flat**2)


def _newton(phi, hot):
    """Mode of the weights and the precision there; the posterior is concave."""
    flat = jnp.zeros((hot.shape[1] - 1) * phi.shape[1])

    def precision(flat):
        weights = flat.reshape(hot.shape[1] - 1, -1)
        latent = jnp.concatenate([jnp.zeros((len(phi), 1)), phi @ weights.T], axis=1)
        share = jax.nn.softmax(latent, axis=1)[:, 1:]
        curvature = share[:, :, None] * (jnp.eye(share.shape[1]) - share[:, None, :])
        blocks = jnp.einsum("nab,ni,nj->aibj", curvature, phi, phi)
        return blocks.reshape(len(flat), len(flat)) + jnp.eye(len(flat))

    def step(flat, _):
        gradient = jax.grad(_log_posterior, argnums=2)(phi, hot, flat)
        move = jnp.linalg.solve(precision(flat), gradient)
        sizes = 0.5 ** jnp.arange(6)
        values = jax.lax.map(lambda size: _log_posterior(phi, hot, flat + size * move), sizes)
        return flat + sizes[jnp.argmax(values)] * move, None

    flat, _ = jax.lax.scan(step, flat, None, length=_STEPS)
    return flat, precision(flat)


@eqx.filter_jit
def _minus_log_evidence(kernel, data, hot, z):
    phi = _phi(kernel, data, z)
    flat, precision = _newton(phi, hot)
    return 0.5 * jnp.linalg.slogdet(precision)[1] - _log_posterior(phi, hot, flat)


@eqx.filter_jit
def _mode_and_covariance(kernel, data, hot, z):
    phi = _phi(kernel, data, z)
    flat, precision = _newton(phi, hot)
    shape = (hot.shape[1] - 1, phi.shape[1])
    inverse = inverse_factor(kernel, data, jnp.full(SMOOTH, jnp.exp(z[2])))
    return flat.reshape(shape), jnp.linalg.inv(precision).reshape(*shape, *shape), inverse

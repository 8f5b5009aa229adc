"""One Gaussian process: an internal coordinate given invariants of the beads and the coordinates placed before it.

The kernel is k = 1 + a^2 sum_j x_j x_j' + b^2 k_s(x / l) of standardized inputs: a plane, plus a smooth GPJax kernel of
the inputs that may act nonlinearly. The plane is kept exactly, the smooth part by inducing inputs in the FITC form
(Snelson & Ghahramani, NIPS 2005; Quinonero-Candela & Rasmussen, JMLR 6 (2005) 1939): the cost of a fit grows
linearly with the number of frames, that of a prediction not at all.

Hyperparameters have log-normal priors; their posterior is a Gaussian at the mode (Laplace) or sampled by NUTS. Both
enter the predictive variance, E[v] + Var[m] over the hyperparameters, as a factor that is one number for each output.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg._arrays import AnyArray
from bayescg.backmapping.conditional.hyperparameters import (
    INDUCING,
    LENGTH,
    LINEAR,
    MEDIANS,
    SMOOTH,
    RegressionData,
    draw_hyperparameters,
    find_mode,
    inverse_factor,
    posterior,
    weight_features,
)

_ROWS = 1000
"""Frames that hyperparameters are learned from, at most; the weights are learned from all."""

_PENALTY = 1.5
"""Of one more input, in units of the Bayesian information criterion's."""


class Inputs(NamedTuple):
    """Numbers of the inputs of an output among all features; those that are missing point at a feature of zero."""

    linear: Int[np.ndarray, " linear"]
    smooth: Int[np.ndarray, " smooth"]


class Regression(eqx.Module):
    """A fitted process, ready to predict.

    Attributes:
        linear: numbers of the plane's inputs.
        smooth: numbers of the smooth part's inputs.
        length: their lengthscales.
        inducing: inducing inputs divided by the lengthscales.
        weights: of u = (1, linear inputs, kernel with the inducing inputs) in the mean.
        quadratic: the variance of the mean is `prior` + u' quadratic u.
        prior: b^2.
        noise: variance about the process, standardized.
        inflation: of the variance, by the hyperparameters' uncertainty.
        center: of the output.
        scale: of the output.
        kernel: the smooth part's.
    """

    linear: Int[AnyArray, " linear"]
    smooth: Int[AnyArray, " smooth"]
    length: Float[AnyArray, " smooth"]
    inducing: Float[AnyArray, "inducing smooth"]
    weights: Float[AnyArray, " u"]
    quadratic: Float[AnyArray, "u u"]
    prior: Float[AnyArray, ""]
    noise: Float[AnyArray, ""]
    inflation: Float[AnyArray, ""]
    center: Float[AnyArray, ""]
    scale: Float[AnyArray, ""]
    kernel: gpjax.kernels.AbstractKernel

    def predict(
        self, features: Float[Array, " feature"]
    ) -> tuple[Float[AnyArray, ""], Float[AnyArray, ""], Float[AnyArray, ""]]:
        """Mean, variance of the mean and variance of the noise, in the output's units."""
        near = self.kernel.cross_covariance((features[self.smooth] / self.length)[None], self.inducing)[0]
        u = jnp.concatenate([jnp.ones_like(near[:1]), features[self.linear], near])
        doubt = jnp.maximum(self.prior + u @ self.quadratic @ u, 0.0)
        size = self.scale**2 * self.inflation
        return self.center + self.scale * (u @ self.weights), size * doubt, size * self.noise


def choose_inputs(
    features: Float[np.ndarray, "row feature"],
    target: Float[np.ndarray, " row"],
    bases: tuple[tuple[int, ...], ...],
) -> Inputs:
    """Forward selection of the features that tell most about a target.

    A dense Gaussian of 51 coordinates has 1326 numbers to learn, of which a molecule's forces need few; learning them
    all from 500 frames costs more than three quarters of the effective samples of the selected ones.

    Args:
        features: standardized; the first is zero.
        target: standardized.
        bases: for each feature, the features that it is a smooth function of.

    Returns:
        Numbers of the inputs; missing ones are 0, which stands for a feature of zero.
    """
    count = len(features)
    residual, rest = target - target.mean(), features - features.mean(axis=0)
    chosen: list[int] = []
    while len(chosen) < LINEAR:
        size = np.sum(rest**2, axis=0)
        gain = np.where(size > 1e-4 * count, (rest.T @ residual) ** 2 / np.maximum(size, 1e-300), 0.0)
        best = int(gain.argmax())
        left = max(residual @ residual - gain[best], 1e-300)
        # Twice the log likelihood ratio, against what one more number to learn costs.
        if gain[best] <= 0 or count * np.log(residual @ residual / left) < _PENALTY * np.log(count):
            break
        chosen.append(best)
        direction = rest[:, best] / np.sqrt(size[best])
        residual = residual - direction * (direction @ residual)
        rest = rest - np.outer(direction, direction @ rest)
    smooth = list(dict.fromkeys(base for k in chosen for base in bases[k]))[:SMOOTH]
    return Inputs(np.array(chosen + [0] * (LINEAR - len(chosen))), np.array(smooth + [0] * (SMOOTH - len(smooth))))


def fit_regression(
    features: Float[np.ndarray, "row feature"],
    target: Float[np.ndarray, " row"],
    inputs: Inputs,
    *,
    rows: Bool[np.ndarray, " row"],
    least: float = 1e-6,
    kernel: gpjax.kernels.AbstractKernel,
    method: str,
    key,
) -> Regression:
    """Learn the hyperparameters and weights of one output.

    Args:
        features: standardized; the first is zero.
        target: the output.
        inputs: which features.
        rows: which rows to learn from; all of them are passed, so that programs for any choice are the same.
        least: smallest standard deviation of the noise, for outputs that never change or follow from others.
        kernel: GPJax kernel of the smooth part, of unit lengthscale and variance.
        method: "laplace" or "nuts".
        key: random key.

    Returns:
        The process.
    """
    center, scale = float(np.mean(target[rows])), max(float(np.std(target[rows])), least)
    every = padded(features, (target - center) / scale, inputs, rows)
    flat, count = bool(np.all(inputs.linear == 0)), int(rows.sum())
    stride = np.flatnonzero(rows)[:: -(-count // _ROWS)] if count > _ROWS else np.flatnonzero(rows)
    some = every if len(target) <= _ROWS else _short(every, stride)
    if flat:
        # Nothing to learn but the noise: the mode is known, and so is its curvature.
        mode, draws = np.concatenate([MEDIANS[:2], [0.0], np.full(SMOOTH, LENGTH[0])]), None
    else:
        logarithms = posterior(kernel, some)
        mode = find_mode(logarithms)
        draws = draw_hyperparameters(logarithms, mode, method, key=key)
    weights, quadratic, prior, noise = (np.asarray(v) for v in _posterior(kernel, every, jnp.asarray(mode)))
    # The noise of n values, known to a chi-square of n - 1 degrees, is E[s^2] = s^2 (n - 1) / (n - 3).
    inflation = (
        max(count - 1, 3) / max(count - 3, 1)
        if draws is None
        else float(_inflation(kernel, some, jnp.asarray(mode), jnp.asarray(draws)))
    )
    noise = np.maximum(noise, (least / scale) ** 2)
    length = np.exp(mode[3:])
    return Regression(
        linear=inputs.linear,
        smooth=inputs.smooth,
        length=length,
        inducing=np.asarray(every.inducing) / length,
        weights=weights,
        quadratic=quadratic,
        prior=prior,
        noise=np.asarray(noise),
        inflation=np.asarray(inflation),
        center=np.asarray(center),
        scale=np.asarray(scale),
        kernel=kernel,
    )


def padded(
    features: Float[np.ndarray, "row feature"],
    target: Float[np.ndarray, " row"],
    inputs: Inputs,
    rows: Bool[np.ndarray, " row"],
) -> RegressionData:
    """The inputs of one output, with inducing inputs far from each other."""
    smooth, inducing = features[:, inputs.smooth], np.zeros((INDUCING, SMOOTH))
    spread = smooth[rows][_spread_out(smooth[rows], INDUCING)] if np.any(inputs.smooth != 0) else inducing[:0]
    inducing[: len(spread)] = spread
    used = np.arange(INDUCING) < len(spread)
    arrays = (np.where(rows, target, 0.0), features[:, inputs.linear], smooth, inducing, used, rows.astype(float))
    return RegressionData(*map(jnp.asarray, arrays))


def _short(data: RegressionData, chosen: Int[np.ndarray, " row"]) -> RegressionData:
    """At most `_ROWS` rows, filled up with ones that do not count."""
    index = np.concatenate([chosen, np.zeros(_ROWS - len(chosen), int)])
    seen = jnp.asarray((np.arange(_ROWS) < len(chosen)).astype(float))
    return data._replace(
        target=data.target[index] * seen, linear=data.linear[index], smooth=data.smooth[index], seen=seen
    )


def _spread_out(points: np.ndarray, count: int) -> np.ndarray:
    """Rows far from each other: each next one is the farthest from those before it."""
    first = int(np.sum((points - points.mean(axis=0)) ** 2, axis=1).argmin())
    chosen, distance = [first], np.sum((points - points[first]) ** 2, axis=1)
    while len(chosen) < count and distance.max() > 1e-6:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.sum((points - points[chosen[-1]]) ** 2, axis=1))
    return np.array(chosen)


@eqx.filter_jit
def _posterior(kernel, data: RegressionData, z):
    """Weights of u, the quadratic form of the mean's variance, the prior variance of the smooth part, the noise."""
    phi, left = weight_features(kernel, data, z)
    share = data.seen / (jnp.exp(2 * z[2]) + left)
    covariance = jnp.linalg.inv(jnp.eye(phi.shape[1]) + (phi.T * share) @ phi)
    mean = covariance @ (phi.T @ (data.target * share))
    a, b, inverse = jnp.exp(z[0]), jnp.exp(z[1]), inverse_factor(kernel, data, jnp.exp(z[3:]))
    count = 1 + data.linear.shape[1]
    size = phi.shape[1]
    lift = jnp.zeros((size, size)).at[:count, :count].set(jnp.diag(jnp.ones(count).at[1:].set(a)))
    lift = lift.at[count:, count:].set(b * inverse)
    quadratic = lift.T @ covariance @ lift
    quadratic = quadratic.at[count:, count:].add(-(b**2) * inverse.T @ inverse)
    return lift.T @ mean, quadratic, jnp.where(jnp.any(data.used), b**2, 0.0), jnp.exp(2 * z[2])


@eqx.filter_jit
def _inflation(kernel, data: RegressionData, mode, draws):
    """Mean over frames of the predictive variance, hyperparameters integrated out, relative to that at the mode."""

    def moments(z):
        weights, quadratic, prior, noise = _posterior(kernel, data, z)
        length = jnp.exp(z[3:])
        near = kernel.cross_covariance(data.smooth / length, data.inducing / length)
        u = jnp.concatenate([jnp.ones((len(near), 1)), data.linear, near], axis=1)
        return u @ weights, noise + jnp.maximum(prior + jnp.sum((u @ quadratic) * u, axis=1), 0.0)

    _, at_mode = moments(mode)
    means, variances = jax.lax.map(moments, draws)
    ratio = (variances.mean(axis=0) + means.var(axis=0)) / at_mode
    return jnp.sum(data.seen * ratio) / jnp.sum(data.seen)

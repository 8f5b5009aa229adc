"""One Gaussian process: an internal coordinate given invariants of the beads and the coordinates placed before it.

The kernel is k = 1 + a^2 sum_j x_j x_j' + b^2 k_s(x / l) of standardized inputs: a plane, plus a smooth GPJax kernel of
the inputs that may act nonlinearly. The plane is kept exactly, the smooth part by inducing inputs in the FITC form
(Snelson & Ghahramani, NIPS 2005; Quinonero-Candela & Rasmussen, JMLR 6 (2005) 1939): the cost of a fit grows
linearly with the number of frames, that of a prediction not at all.

Hyperparameters have log-normal priors; their posterior is a Gaussian at the mode (Laplace) or sampled by NUTS. Both
enter the predictive variance, E[v] + Var[m] over the hyperparameters, as a factor that is one number for each output.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import minimize

LINEAR, SMOOTH, INDUCING = 16, 8, 32
"""Most inputs of the plane, most inputs of the smooth part, and inducing inputs."""

_ROWS = 1000
"""Frames that hyperparameters are learnt from, at most; the weights are learnt from all."""

_PENALTY = 1.5
"""Of one more input, in units of the Bayesian information criterion's."""

_JITTER = 1e-6
_DRAWS = 24

_MEDIANS = np.log([0.5, 0.3, 0.8])
_WIDTHS = np.array([1.0, 1.0, 1.0])
_LENGTH = (np.log(3.0), 0.7)


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

    linear: Int[Array, " linear"]
    smooth: Int[Array, " smooth"]
    length: Float[Array, " smooth"]
    inducing: Float[Array, "inducing smooth"]
    weights: Float[Array, " u"]
    quadratic: Float[Array, "u u"]
    prior: Float[Array, ""]
    noise: Float[Array, ""]
    inflation: Float[Array, ""]
    center: Float[Array, ""]
    scale: Float[Array, ""]
    kernel: gpjax.kernels.AbstractKernel

    def predict(
        self, features: Float[Array, " feature"]
    ) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
        """Mean, variance of the mean and variance of the noise, in the output's units."""
        near = self.kernel.cross_covariance((features[self.smooth] / self.length)[None], self.inducing)[0]
        u = jnp.concatenate([jnp.ones_like(near[:1]), features[self.linear], near])
        doubt = jnp.maximum(self.prior + u @ self.quadratic @ u, 0.0)
        size = self.scale**2 * self.inflation
        return self.center + self.scale * (u @ self.weights), size * doubt, size * self.noise


class RegressionData(NamedTuple):
    """What the hyperparameters of one output are learnt from; padded to equal shapes, so that all share one program."""

    target: Float[Array, " row"]
    linear: Float[Array, "row linear"]
    smooth: Float[Array, "row smooth"]
    inducing: Float[Array, "inducing smooth"]
    used: Bool[Array, " inducing"]
    seen: Float[Array, " row"]


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
        kernel: GPJax kernel of the smooth part, of unit lengthscale and variance.
        method: "laplace" or "nuts".
        key: random key.

    Returns:
        The process.
    """
    center, scale = float(np.mean(target[rows])), float(np.std(target[rows])) or 1.0
    every = padded(features, (target - center) / scale, inputs, rows)
    flat, count = bool(np.all(inputs.linear == 0)), int(rows.sum())
    stride = np.flatnonzero(rows)[:: -(-count // _ROWS)] if count > _ROWS else np.flatnonzero(rows)
    some = every if len(target) <= _ROWS else _short(every, stride)
    if flat:
        # Nothing to learn but the noise: the mode is known, and so is its curvature.
        mode, draws = np.concatenate([_MEDIANS[:2], [0.0], np.full(SMOOTH, _LENGTH[0])]), None
    else:
        mode = _mode(kernel, some)
        draws = _hyper_draws(kernel, some, mode, method, key)
    weights, quadratic, prior, noise = (np.asarray(v) for v in _posterior(kernel, every, jnp.asarray(mode)))
    # The noise of n values, known to a chi-square of n - 1 degrees, is E[s^2] = s^2 (n - 1) / (n - 3).
    inflation = (
        max(count - 1, 3) / max(count - 3, 1)
        if draws is None
        else float(_inflation(kernel, some, jnp.asarray(mode), jnp.asarray(draws)))
    )
    length = np.exp(mode[3:])
    inducing = np.asarray(every.inducing)
    arrays = (inputs.linear, inputs.smooth, length, inducing / length, weights, quadratic, prior, noise)
    return Regression(*map(np.asarray, (*arrays, inflation, center, scale)), kernel)


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


def weight_features(kernel, data: RegressionData, z):
    """Weight-space features with a unit Gaussian prior, and the smooth variance that they leave out."""
    a, b, length = jnp.exp(z[0]), jnp.exp(z[1]), jnp.exp(z[3:])
    near = kernel.cross_covariance(data.smooth / length, data.inducing / length) * data.used
    inverse = inverse_factor(kernel, data, length)
    white = b * near @ inverse.T
    live = jnp.any(data.used)
    left = jnp.where(live, jnp.maximum(b**2 - jnp.sum(white**2, axis=1), 0.0), 0.0)
    return jnp.concatenate([jnp.ones((len(white), 1)), a * data.linear, white], axis=1), left


def inverse_factor(kernel, data: RegressionData, length):
    """L^-1 of the kernel matrix L L' of the inducing inputs, zero for those that are not used."""
    gram = kernel.cross_covariance(data.inducing / length, data.inducing / length)
    both = data.used[:, None] & data.used[None, :]
    eye = jnp.eye(len(gram))
    factor = jnp.linalg.cholesky(jnp.where(both, gram, 0.0) + jnp.where(data.used, _JITTER, 1.0) * eye)
    inverse = jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
    return jnp.where(both, inverse, 0.0)


def _minus_log_posterior(kernel, data: RegressionData, z):
    """Of the logarithms z of (a, b, noise, lengthscales)."""
    phi, left = weight_features(kernel, data, z)
    noise = jnp.exp(2 * z[2]) + left
    share = data.seen / noise
    factor = jnp.linalg.cholesky(jnp.eye(phi.shape[1]) + (phi.T * share) @ phi)
    projected = jax.scipy.linalg.solve_triangular(factor, phi.T @ (data.target * share), lower=True)
    fit = jnp.sum(data.target**2 * share) - jnp.sum(projected**2)
    volume = jnp.sum(data.seen * jnp.log(noise)) + 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))
    prior = jnp.sum(((z[:3] - _MEDIANS) / _WIDTHS) ** 2) + jnp.sum(((z[3:] - _LENGTH[0]) / _LENGTH[1]) ** 2)
    return 0.5 * (fit + volume + prior)


@eqx.filter_jit
def _value_and_gradient(kernel, data, z):
    return jax.value_and_grad(partial(_minus_log_posterior, kernel, data))(z)


def _curvature(kernel, data, z, step: float = 1e-3) -> np.ndarray:
    """Hessian by differences of exact gradients: second derivatives would take longer to compile than to use."""
    slopes = [
        [np.asarray(_value_and_gradient(kernel, data, jnp.asarray(z + s * e))[1]) for s in (step, -step)]
        for e in np.eye(len(z))
    ]
    rows = np.array([(up - down) / (2 * step) for up, down in slopes])
    return 0.5 * (rows + rows.T)


def _mode(kernel, data: RegressionData) -> np.ndarray:
    def objective(z):
        value, gradient = _value_and_gradient(kernel, data, jnp.asarray(z))
        return (float(value), np.asarray(gradient)) if np.isfinite(value) else (1e10, np.zeros_like(z))

    start = np.concatenate([_MEDIANS, np.full(SMOOTH, _LENGTH[0])])
    bounds = [(m - 5 * w, m + 4 * w) for m, w in zip(_MEDIANS, _WIDTHS, strict=True)]
    bounds[2] = (np.log(1e-4), np.log(3.0))
    bounds += [(_LENGTH[0] - 3 * _LENGTH[1], _LENGTH[0] + 4 * _LENGTH[1])] * SMOOTH
    return minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 60}).x


def _hyper_draws(kernel, data: RegressionData, mode: np.ndarray, method: str, key) -> np.ndarray:
    values, vectors = np.linalg.eigh(_curvature(kernel, data, mode))
    # A direction that is flat or at a bound has no narrower posterior than its prior.
    spread = vectors / np.sqrt(np.maximum(values, 0.5))
    if method == "nuts":
        return _nuts(kernel, data, mode, spread, key)
    noise = np.asarray(jax.random.normal(key, (_DRAWS, len(mode))))
    return mode + noise @ spread.T


def _nuts(kernel, data: RegressionData, mode: np.ndarray, spread: np.ndarray, key) -> np.ndarray:
    import numpyro.infer

    sampler = numpyro.infer.NUTS(
        potential_fn=partial(_minus_log_posterior, kernel, data),
        dense_mass=True,
        inverse_mass_matrix=jnp.asarray(spread @ spread.T),
        max_tree_depth=6,
    )
    state = sampler.init(key, 100, init_params=jnp.asarray(mode))

    def step(state, _):
        state = sampler.sample(state, (), {})
        return state, state.z

    _, draws = jax.jit(lambda s: jax.lax.scan(step, s, None, length=100 + 2 * _DRAWS))(state)
    return np.asarray(draws)[100::2]


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

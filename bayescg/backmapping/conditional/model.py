"""The autoregressive model of internal coordinates given descriptors: normalized, and sampled coordinate by coordinate.

log q(y | X) = sum_p log q(y_p | X, y_before), each factor a mixture over the wells of y_p of a Gaussian whose mean is a
Gaussian process of X and of the coordinates before (autoregressive Gaussian processes: Requeima et al., AISTATS 2019,
arXiv:1802.07182). Chained conditionals are a full residual covariance in the form of its Cholesky factor, but sparse
where coordinates do not interact and nonlinear where they do; every factor has a closed form, so the joint density is
exact. Angles on the circle have wrapped Gaussians; lengths, angles and handed branch angles have Gaussians truncated to
where they may lie.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from bayescg.backmapping.conditional.classes import Classifier
from bayescg.backmapping.conditional.coordinates import Column
from bayescg.backmapping.conditional.features import Features
from bayescg.backmapping.conditional.regression import Regression

IMAGES = 4
"""Turns either way that a wrapped Gaussian is summed over."""

WIDEST = 4.0
"""Largest standard deviation of an angle [rad]: uniform to a part in a thousand."""

_FAR = 1e6
"""Stands for infinity at the ends of ranges: beyond any length [nm]."""

_LOG_2PI = float(np.log(2 * np.pi))


class Mixture(eqx.Module):
    """A coordinate with several wells.

    Attributes:
        coordinate: its number.
        classifier: probabilities of the wells.
        wells: a process for each.
    """

    coordinate: int = eqx.field(static=True)
    classifier: Classifier
    wells: tuple[Regression, ...]


class Single(eqx.Module):
    """Coordinates with one well, in the order in which they are drawn; leaves of `process` have a leading axis.

    Attributes:
        coordinates: their numbers.
        process: one for each; None if there are none.
    """

    coordinates: tuple[int, ...] = eqx.field(static=True)
    process: Regression | None


class CoordinateModel(eqx.Module):
    """The conditional density of all coordinates.

    Attributes:
        columns: what each coordinate is.
        features: inputs of the processes.
        mixtures: coordinates with several wells, which come first.
        single: the others.
    """

    columns: tuple[Column, ...] = eqx.field(static=True)
    features: Features
    mixtures: tuple[Mixture, ...]
    single: Single

    def log_density(
        self, coordinates: Float[Array, " coordinate"], descriptors: Float[Array, " descriptor"]
    ) -> Float[Array, ""]:
        """Normalized over the coordinates."""
        features = self.features.all(coordinates, descriptors)
        total = self._given(coordinates)
        for mixture in self.mixtures:
            column = self.columns[mixture.coordinate]
            total += self._mixture(mixture, features, coordinates[mixture.coordinate], column)
        if self.single.coordinates:
            means, doubts, noises = jax.vmap(lambda process: process.predict(features))(self.single.process)
            chosen = np.array(self.single.coordinates)
            bounds = (jnp.asarray(values[chosen]) for values in self._bounds)
            total += jnp.sum(jax.vmap(_log_pdf)(coordinates[chosen], means, jnp.sqrt(doubts + noises), *bounds))
        return total

    def sample(self, descriptors: Float[Array, " descriptor"], *, key) -> Float[Array, " coordinate"]:
        """One draw."""
        features, values = self.features.empty(descriptors), self._free(key=jax.random.fold_in(key, 0))
        rows = tuple(map(jnp.asarray, self.features.rows()))
        for mixture in self.mixtures:
            k = mixture.coordinate
            first, second = jax.random.split(jax.random.fold_in(key, k + 1))
            well = jax.random.categorical(first, mixture.classifier.log_probabilities(features))
            moments = jnp.stack([jnp.stack(process.predict(features)) for process in mixture.wells])[well]
            value = _draw(moments[0], jnp.sqrt(moments[1] + moments[2]), *(v[k] for v in self._bounds), key=second)
            values = values.at[k].set(value)
            block = self.features.block(value, *(row[k] for row in rows))
            features = jax.lax.dynamic_update_slice(features, block, (self.features.begin(k),))
        if not self.single.coordinates:
            return values
        chosen = np.array(self.single.coordinates)

        def step(state, given):
            features, values = state
            process, k, at, bounds, constants = given
            mean, doubt, noise = process.predict(features)
            value = _draw(mean, jnp.sqrt(doubt + noise), *bounds, key=jax.random.fold_in(key, k + 1))
            block = self.features.block(value, *constants)
            return (jax.lax.dynamic_update_slice(features, block, (at,)), values.at[k].set(value)), None

        given = (
            self.single.process,
            jnp.asarray(chosen),
            jnp.asarray([self.features.begin(int(k)) for k in chosen]),
            tuple(jnp.asarray(values[chosen]) for values in self._bounds),
            tuple(row[chosen] for row in rows),
        )
        (_, values), _ = jax.lax.scan(step, (features, values), given)
        return values

    @property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lower and upper ends, and which are one, of all coordinates."""
        lower, upper, periodic = zip(*((c.lower, c.upper, c.periodic) for c in self.columns), strict=True)
        return np.array(lower), np.array(upper), np.array(periodic)

    def _given(self, coordinates):
        """Log density of the directions that nothing is known of."""
        sine = np.array([column.spread == "sine" for column in self.columns])
        uniform = sum(column.spread == "uniform" for column in self.columns)
        theta = jnp.clip(coordinates[np.flatnonzero(sine)], 1e-9, np.pi - 1e-9)
        return jnp.sum(jnp.log(0.5 * jnp.sin(theta))) - uniform * _LOG_2PI

    def _free(self, *, key):
        """All coordinates zero, but for a draw of those that nothing is known of."""
        u = jax.random.uniform(key, (len(self.columns),), minval=1e-9, maxval=1 - 1e-9)
        sine = np.array([column.spread == "sine" for column in self.columns])
        uniform = np.array([column.spread == "uniform" for column in self.columns])
        lower = np.where(uniform, self._bounds[0], 0.0)
        return jnp.where(sine, jnp.arccos(1 - 2 * u), jnp.where(uniform, lower + 2 * np.pi * u, 0.0))

    def _mixture(self, mixture: Mixture, features, value, column: Column):
        shares = mixture.classifier.log_probabilities(features)
        ends = (column.lower, column.upper, column.periodic)
        parts = []
        for process in mixture.wells:
            mean, doubt, noise = process.predict(features)
            parts.append(_log_pdf(value, mean, jnp.sqrt(doubt + noise), *ends))
        return jax.nn.logsumexp(shares + jnp.stack(parts))


def _log_pdf(value, mean, sd, lower, upper, periodic):
    """Wrapped on the circle, truncated on an interval."""
    far = jnp.mod(value - mean + np.pi, 2 * np.pi) - np.pi
    images = far + 2 * np.pi * jnp.arange(-IMAGES, IMAGES + 1)
    wrapped = jax.nn.logsumexp(-0.5 * (images / sd) ** 2)
    # An end at infinity would make the gradient zero times infinity.
    low, high = jnp.maximum(lower, -_FAR), jnp.minimum(upper, _FAR)
    inside = 1 - ndtr((low - mean) / sd) - ndtr((mean - high) / sd)
    plain = -0.5 * ((value - mean) / sd) ** 2 - jnp.log(jnp.maximum(inside, 1e-300))
    return jnp.where(periodic, wrapped, plain) - jnp.log(sd) - 0.5 * _LOG_2PI


def _draw(mean, sd, lower, upper, periodic, *, key):
    plain = mean + sd * jax.random.normal(key, jnp.shape(mean), mean.dtype)
    wrapped = lower + jnp.mod(plain - lower, 2 * np.pi)
    # Far outside, the nearest end takes the place of the mean: draws stay numbers.
    low, high = (jnp.clip((end - mean) / sd, -30.0, 30.0) for end in (lower, upper))
    cut = mean + sd * jax.random.truncated_normal(key, low, high, jnp.shape(mean), mean.dtype)
    return jnp.where(periodic, wrapped, cut)

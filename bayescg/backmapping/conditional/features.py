"""Inputs of the Gaussian processes: descriptors of the beads and the internal coordinates that are placed before.

The vector of features begins with a zero, which missing inputs point at; then come the descriptors, standardized, and
for every coordinate a block: cosines and sines of a soft torsion, the standardized value of a stiff coordinate. A
folded rotor turns by a third of its coordinate.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg._arrays import AnyArray
from bayescg.backmapping.conditional.coordinates import Column
from bayescg.backmapping.conditional.descriptors import Descriptors

BLOCK = 6
SOFT = 0.5
"""Standard deviation [rad] above which an angle enters by its cosine and sine."""


class Circle(NamedTuple):
    """Middle and spread of values.

    Attributes:
        center: mean, circular for periodic coordinates.
        scale: standard deviation about it.
    """

    center: float
    scale: float


class Features(eqx.Module):
    """How descriptors and coordinates become features.

    Attributes:
        middle: of the descriptors.
        spread: of the descriptors.
        center: of the coordinates.
        scale: of the coordinates.
        periodic: which coordinates are.
        soft: which enter by cosines and sines.
        share: of a full turn that a coordinate of 2 pi stands for: a third for rotors.
        silent: which coordinates are no inputs, since they depend on the laboratory.
    """

    middle: Float[AnyArray, " descriptor"]
    spread: Float[AnyArray, " descriptor"]
    center: Float[AnyArray, " coordinate"]
    scale: Float[AnyArray, " coordinate"]
    periodic: Bool[AnyArray, " coordinate"]
    soft: Bool[AnyArray, " coordinate"]
    share: Float[AnyArray, " coordinate"]
    silent: Bool[AnyArray, " coordinate"]

    @property
    def size(self) -> int:
        """Number of features."""
        return 1 + len(self.middle) + BLOCK * len(self.center)

    def begin(self, coordinate: int) -> int:
        """Where a coordinate's block begins."""
        return 1 + len(self.middle) + BLOCK * coordinate

    def empty(self, descriptors: Float[Array, " descriptor"]) -> Float[Array, " feature"]:
        """Features while no coordinate is known."""
        known = jnp.clip((descriptors - self.middle) / self.spread, -8.0, 8.0)
        return jnp.concatenate([jnp.zeros(1), known, jnp.zeros(BLOCK * len(self.center))])

    def block(self, value, center, scale, periodic, soft, share, silent) -> Float[Array, " block"]:
        """Features of one coordinate."""
        distance = value - center
        turned = jnp.mod(distance + np.pi, 2 * np.pi) - np.pi
        distance = jnp.where(periodic, turned, distance)
        phase = share * distance * jnp.arange(1, BLOCK // 2 + 1)
        waves = np.sqrt(2) * jnp.stack([jnp.cos(phase), jnp.sin(phase)], axis=-1).reshape(-1)
        stiff = jnp.zeros(BLOCK).at[0].set(jnp.clip(distance / scale, -8.0, 8.0))
        return jnp.where(silent, 0.0, jnp.where(soft, waves, stiff))

    def rows(self) -> tuple:
        """The constants of `block` after the value, one row for each coordinate."""
        return self.center, self.scale, self.periodic, self.soft, self.share, self.silent

    def all(
        self, coordinates: Float[Array, " coordinate"], descriptors: Float[Array, " descriptor"]
    ) -> Float[Array, " feature"]:
        """Features when all coordinates are known."""
        blocks = eqx.filter_vmap(self.block)(coordinates, *map(jnp.asarray, self.rows()))
        known = self.empty(descriptors)[: 1 + len(self.middle)]
        return jnp.concatenate([known, blocks.reshape(-1)])


def fit_features(
    columns: tuple[Column, ...], coordinates: Float[np.ndarray, "row coordinate"], descriptors: np.ndarray
) -> Features:
    """Constants from data."""
    circles = [circle(column, values) for column, values in zip(columns, coordinates.T, strict=True)]
    spread = descriptors.std(axis=0)
    # A descriptor that never changes tells nothing, and its rounding errors must not.
    spread = np.where(spread > 1e-9, spread, np.inf)
    scale = np.array([max(c.scale, 1e-6) for c in circles])
    periodic = np.array([column.periodic for column in columns])
    return Features(
        descriptors.mean(axis=0),
        spread,
        np.array([c.center for c in circles]),
        scale,
        periodic,
        periodic & (scale > SOFT),
        np.array([1 / 3 if column.kind == "rotor" else 1.0 for column in columns]),
        np.array([column.spread != "learned" for column in columns]),
    )


def circle(column: Column, values: np.ndarray) -> Circle:
    """Middle and spread of one coordinate."""
    if not column.periodic:
        return Circle(float(values.mean()), float(values.std()))
    center = float(np.angle(np.mean(np.exp(1j * values))))
    return Circle(center, float(np.std((values - center + np.pi) % (2 * np.pi) - np.pi)))


def bases_of(features: Features, descriptors: Descriptors) -> tuple[tuple[int, ...], ...]:
    """For each feature, those that it is a smooth function of."""
    found: list[tuple[int, ...]] = [(0,)]
    found += [tuple(1 + k for k in base) for base in descriptors.bases]
    for k, soft in enumerate(np.asarray(features.soft)):
        at = features.begin(k)
        found += [(at, at + 1) if soft else (at + j,) for j in range(BLOCK)]
    return tuple(found)

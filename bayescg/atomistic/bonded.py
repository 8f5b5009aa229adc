"""Harmonic bonds and angles and periodic torsions of OpenMM's bonded forces."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg.atomistic.displacements import at_least, cross, dot, minimum_image

# Floors of squared sines (times squared lengths, nm^4 and nm^8 for torsions): far below anything that rounding of
# float32 can tell from a straight line, far enough above zero for the gradient to fit float32.
_STRAIGHT = 1e-16
_STRAIGHT_TORSION = 1e-20
_COINCIDENT = 1e-16


@dataclass(frozen=True, eq=False)
class Bonds:
    """k (r - r0)^2 / 2.

    Attributes:
        name: key of the energy.
        pairs: (2, bond) atoms.
        length: (bond,) r0 [nm].
        stiffness: (bond,) k [kJ/mol/nm^2].
        box: (3, 3) if the force uses periodic boundary conditions.
    """

    name: str
    pairs: Int[np.ndarray, "2 bond"]
    length: Float[np.ndarray, " bond"]
    stiffness: Float[np.ndarray, " bond"]
    box: Float[np.ndarray, "3 3"] | None = None

    def energy(self, vectors: Float[Array, "3 bond"]) -> Float[Array, ""]:
        """Energy [kJ/mol] from the vectors of `pairs`."""
        vectors = _image(vectors, self.box)
        distance = jnp.sqrt(at_least(dot(vectors, vectors), _COINCIDENT))
        length, stiffness = _as(self.length, vectors), _as(self.stiffness, vectors)
        return 0.5 * jnp.sum(stiffness * (distance - length) ** 2)


@dataclass(frozen=True, eq=False)
class Angles:
    """k (theta - theta0)^2 / 2.

    Attributes:
        name: key of the energy.
        pairs: (2, 2 angle) arms of all angles from the middle to the first atom, then those to the last one.
        angle: (angle,) theta0 [rad].
        stiffness: (angle,) k [kJ/mol/rad^2].
        box: (3, 3) if the force uses periodic boundary conditions.
    """

    name: str
    pairs: Int[np.ndarray, "2 arm"]
    angle: Float[np.ndarray, " angle"]
    stiffness: Float[np.ndarray, " angle"]
    box: Float[np.ndarray, "3 3"] | None = None

    def energy(self, vectors: Float[Array, "3 arm"]) -> Float[Array, ""]:
        """Energy [kJ/mol] from the vectors of `pairs`."""
        vectors = _image(vectors, self.box)
        first, second = jnp.split(vectors, 2, axis=1)
        normal = cross(first, second)
        # The arc cosine loses half its digits, and its gradient all of them, near a straight angle.
        theta = jnp.arctan2(jnp.sqrt(at_least(dot(normal, normal), _STRAIGHT)), dot(first, second))
        return 0.5 * jnp.sum(_as(self.stiffness, vectors) * (theta - _as(self.angle, vectors)) ** 2)


@dataclass(frozen=True, eq=False)
class Torsions:
    """sum of k (1 + cos(n phi - phase)) over all terms of each torsion.

    Attributes:
        name: key of the energy.
        pairs: (2, 3 torsion) the three vectors along the chain: all first ones, all second, all third.
        cosines: (order, torsion) coefficient of cos(n phi), n = 1, 2, .. [kJ/mol].
        sines: (order, torsion) coefficient of sin(n phi) [kJ/mol].
        constant: what does not depend on phi [kJ/mol].
        box: (3, 3) if the force uses periodic boundary conditions.
    """

    name: str
    pairs: Int[np.ndarray, "2 step"]
    cosines: Float[np.ndarray, "order torsion"]
    sines: Float[np.ndarray, "order torsion"]
    constant: float
    box: Float[np.ndarray, "3 3"] | None = None

    def energy(self, vectors: Float[Array, "3 step"]) -> Float[Array, ""]:
        """Energy [kJ/mol] from the vectors of `pairs`."""
        first, second, third = jnp.split(_image(vectors, self.box), 3, axis=1)
        normal = cross(second, third)
        x = dot(cross(first, second), normal)
        y = jnp.sqrt(at_least(dot(second, second), _COINCIDENT)) * dot(first, normal)
        # No angle is needed: cos(n phi) and sin(n phi) are polynomials of cos(phi) and sin(phi).
        scale = 1 / jnp.sqrt(at_least(x * x + y * y, _STRAIGHT_TORSION))
        cosine, sine = x * scale, y * scale
        c, s = cosine, sine
        energy = jnp.asarray(self.constant, x.dtype)
        for order, (a, b) in enumerate(zip(self.cosines, self.sines, strict=True)):
            if order:
                c, s = c * cosine - s * sine, s * cosine + c * sine
            energy = energy + jnp.sum(_as(a, x) * c)
            if np.any(b):
                energy = energy + jnp.sum(_as(b, x) * s)
        return energy


def chain_torsions(
    name: str,
    atoms: Int[np.ndarray, "term 4"],
    order: Int[np.ndarray, " term"],
    phase: Float[np.ndarray, " term"],
    barrier: Float[np.ndarray, " term"],
    box: Float[np.ndarray, "3 3"] | None = None,
) -> Torsions:
    """Torsions from their single cosine terms: terms of the same four atoms share one evaluation.

    Args:
        name: key of the energy.
        atoms: (term, 4).
        order: (term,) n >= 1.
        phase: (term,) [rad].
        barrier: (term,) k [kJ/mol].
        box: (3, 3) if the force uses periodic boundary conditions.
    """
    unique, which = np.unique(atoms.reshape(-1, 4), axis=0, return_inverse=True)
    shape = (int(order.max(initial=0)), len(unique))
    cosines, sines = np.zeros(shape), np.zeros(shape)
    np.add.at(cosines, (order - 1, which.ravel()), barrier * np.cos(phase))
    # OpenMM's files write pi with finite digits: what is left of the sine is rounding, and half the work.
    np.add.at(sines, (order - 1, which.ravel()), barrier * np.where(abs(np.sin(phase)) > 1e-9, np.sin(phase), 0))
    pairs = np.concatenate([unique[:, [step + 1, step]] for step in range(3)]).T
    return Torsions(name, pairs, cosines, sines, float(barrier.sum()), box)


def _image(vectors: Float[Array, "3 m"], box: Float[np.ndarray, "3 3"] | None) -> Float[Array, "3 m"]:
    return vectors if box is None else minimum_image(vectors, box)


def _as(values: np.ndarray, like: Array) -> Array:
    return jnp.asarray(values, like.dtype)

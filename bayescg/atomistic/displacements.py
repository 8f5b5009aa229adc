"""Differences of positions, and functions of them whose gradients stay finite wherever atoms are.

Vectors are stored components first, (3, pairs): the long axis is the last one, which is what vector units want.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Up to here, differences are one small matrix product: its transpose, in the gradient, is a product again, where
# indexing would become a scatter, which is several times slower under vmap.
_DENSE_ATOMS = 64

_CLASH = 1e-5
"""Squared distance [nm^2] below which pair energies stay constant: (0.003 nm)^2. The twelfth power and its gradient
still fit float32 there, and no configuration with a weight comes near it."""


@dataclass(frozen=True, eq=False)
class Differences:
    """x_first - x_second for a fixed list of pairs of atoms.

    Attributes:
        n_atoms: number of atoms.
        first, second: (pairs,) indices.
    """

    n_atoms: int
    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]

    def __call__(self, positions: Float[Array, "atom 3"]) -> Float[Array, "3 pairs"]:
        """The differences [nm]."""
        if self.n_atoms > _DENSE_ATOMS:
            return positions.T[:, self.first] - positions.T[:, self.second]
        incidence = np.zeros((self.n_atoms, len(self.first)))
        incidence[self.first, np.arange(len(self.first))] += 1
        incidence[self.second, np.arange(len(self.second))] -= 1
        return exact_product(positions.T, incidence)


def exact_product(left: Float[Array, "... a"], right: Float[np.ndarray, "a b"]) -> Float[Array, "... b"]:
    """Matrix product in the precision of `left`, also on a GPU, which would shorten float32 to TF32."""
    return jnp.matmul(left, jnp.asarray(right, left.dtype), precision=jax.lax.Precision.HIGHEST)


def sum_by_atom(values: Float[Array, " m"], atom: Int[np.ndarray, " m"], n_atoms: int) -> Float[Array, " atom"]:
    """Sum of `values` for each atom."""
    if n_atoms > _DENSE_ATOMS:
        return jax.ops.segment_sum(values, atom, n_atoms)
    return exact_product(values, np.eye(n_atoms)[atom])


def take_by_atom(values: Float[Array, " atom"], atom: Int[np.ndarray, " m"]) -> Float[Array, " m"]:
    """`values[atom]`, the transpose of `sum_by_atom`."""
    if len(values) > _DENSE_ATOMS:
        return values[atom]
    return exact_product(values, np.eye(len(values))[:, atom])


def all_pairs(n_atoms: int) -> Int[np.ndarray, "2 pairs"]:
    """All pairs i < j."""
    return np.stack(np.triu_indices(n_atoms, 1))


def minimum_image(vectors: Float[Array, "3 ..."], box: Float[np.ndarray, "3 3"]) -> Float[Array, "3 ..."]:
    """Shift vectors by lattice vectors as OpenMM does: c, then b, then a, of a box in reduced form.

    In a skewed box that is the nearest image wherever that is nearer than half the smallest width, which bounds
    OpenMM's cutoff.
    """
    parts = list(vectors)
    for axis in (2, 1, 0):
        shift = jnp.round(jax.lax.stop_gradient(parts[axis]) * (1 / float(box[axis, axis])))
        for component in range(axis + 1):
            if box[axis, component]:
                parts[component] = parts[component] - shift * float(box[axis, component])
    return jnp.stack(parts)


def dot(a: Float[Array, "3 ..."], b: Float[Array, "3 ..."]) -> Float[Array, "..."]:
    """Scalar products."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Float[Array, "3 ..."], b: Float[Array, "3 ..."]) -> Float[Array, "3 ..."]:
    """Vector products."""
    return jnp.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def at_least(values: Float[Array, "..."], floor: float) -> Float[Array, "..."]:
    """The larger one of `values` and `floor`; below the floor the gradient is exactly zero.

    A `where` rather than a maximum: the gradient of a maximum multiplies by zero, which makes NaN of infinity.
    """
    return jnp.where(values > floor, values, jnp.asarray(floor, values.dtype))


def squared_distances(vectors: Float[Array, "3 ..."]) -> Float[Array, "..."]:
    """Squared lengths [nm^2], not below (0.003 nm)^2."""
    return at_least(dot(vectors, vectors), _CLASH)

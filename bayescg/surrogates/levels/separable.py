"""Gaussian densities of a matrix of values with covariance K (rows) kron B (columns) + identity, at the cost of both.

With K = V diag(e) V' and B = U diag(b) U' the covariance is diagonal, 1 + e_i b_j, in the coordinates V' Y U: Stegle et
al., Efficient inference in matrix-variate Gaussian models, NeurIPS 24 (2011); Rasmussen & Williams, section 5.4.3.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Spectrum(NamedTuple):
    """Eigenvalues and -vectors of both covariances.

    Attributes:
        rows: e, (m,), and V, (m, m).
        columns: b, (n,), and U, (n, n).
    """

    rows: tuple[Float[Array, " m"], Float[Array, "m m"]]
    columns: tuple[Float[Array, " n"], Float[Array, "n n"]]

    @property
    def variance(self) -> Float[Array, "m n"]:
        """Of each coordinate."""
        return 1 + self.rows[0][:, None] * self.columns[0]


def spectrum(rows: Float[Array, "m m"], columns: Float[Array, "n n"]) -> Spectrum:
    """Eigenvalues are not below zero: rounding may have left them there."""
    found = [jnp.linalg.eigh(each) for each in (rows, columns)]
    (e, v), (b, u) = found
    return Spectrum((jnp.maximum(e, 0), v), (jnp.maximum(b, 0), u))


@jax.custom_vjp
def log_density(rows: Float[Array, "m m"], columns: Float[Array, "n n"], y: Float[Array, "m n"]) -> Float[Array, ""]:
    """Log N(vec Y; 0, K kron B + 1).

    Its derivatives are written out: those of eigenvectors do not exist where eigenvalues are equal.
    """
    return _forward(rows, columns, y)[0]


def _forward(rows, columns, y):
    found = spectrum(rows, columns)
    turned = found.rows[1].T @ y @ found.columns[1]
    value = -0.5 * jnp.sum(turned**2 / found.variance + jnp.log(2 * jnp.pi * found.variance))
    return value, (found, turned)


def _backward(kept, slope):
    found, turned = kept
    (e, v), (b, u) = found
    inverse = 1 / found.variance
    weights = inverse * turned
    to_rows = 0.5 * v @ ((weights * b) @ weights.T - jnp.diag(inverse @ b)) @ v.T
    to_columns = 0.5 * u @ ((weights.T * e) @ weights - jnp.diag(e @ inverse)) @ u.T
    return slope * to_rows, slope * to_columns, -slope * v @ weights @ u.T


log_density.defvjp(_forward, _backward)

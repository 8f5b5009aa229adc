"""Densities of beads in radial functions and spherical harmonics, and their rotational invariants.

A bead is a normalized Gaussian, round or ellipsoidal. Its density around a center is projected on g_nl(r) Y_lm, with g
orthonormal combinations of the Gaussian-type orbitals r^l exp(-a_n r^2). The product of an orbital's exponential and
the bead's Gaussian is a Gaussian again, so that a projection is the mean of the solid harmonic r^l Y_lm under it. A
solid harmonic is its own mean over any sphere: under a round Gaussian the mean is its value at the center. Under an
ellipsoidal one the mean of this polynomial is exact by Gauss-Hermite quadrature.

The power spectrum sum_m c_nlm c_n'lm / sqrt(2l + 1) does not change under rotations, and the dot product of two power
spectra is the squared overlap of the two densities averaged over all rotations of one of them (Bartok, Kondor & Csanyi,
Phys. Rev. B 87, 184115 (2013), doi:10.1103/PhysRevB.87.184115; ellipsoids: Lin et al., J. Chem. Phys. 161, 074112
(2024), doi:10.1063/5.0210910).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray


@dataclass(frozen=True)
class DensityBasis:
    """Radial functions and spherical harmonics.

    Attributes:
        narrowest: standard deviation of the narrowest exponential [nm].
        widest: of the widest [nm]; those between follow in geometric progression.
        radial: number of radial functions.
        degree: highest l.
    """

    narrowest: float
    widest: float
    radial: int
    degree: int

    @property
    def exponents(self) -> Float[np.ndarray, " radial"]:
        """a_n [1/nm^2]."""
        return 0.5 / np.geomspace(self.narrowest, self.widest, self.radial) ** 2

    @property
    def size(self) -> tuple[int, int]:
        """Radial functions, and pairs (l, m)."""
        return self.radial, (self.degree + 1) ** 2

    def project(
        self, centers: Float[Array, "*point 3"], covariance: Float[AnyArray, "*point 3 3"] | float
    ) -> Float[Array, "*point radial lm"]:
        """Projections of normalized Gaussians; everywhere smooth, at the origin too.

        Args:
            centers: of the Gaussians [nm].
            covariance: positive definite [nm^2]; one number for round Gaussians.
        """
        exponents = jnp.asarray(self.exponents)
        if isinstance(covariance, float | int):
            shrink = 1 / (1 + 2 * exponents * covariance)
            mean = centers[..., None, :] * shrink[:, None]
            scale = shrink**1.5 * jnp.exp(-exponents * shrink * jnp.sum(centers**2, -1)[..., None])
            values = solid_harmonics(mean, self.degree)
        else:
            stretch = jnp.eye(3) + 2 * exponents[:, None, None] * covariance[..., None, :, :]
            shrink, determinant = _inverse(stretch)
            mean = jnp.sum(shrink * centers[..., None, None, :], -1)
            across = jnp.sum(mean * centers[..., None, :], -1)
            scale = jnp.exp(-exponents * across) / jnp.sqrt(determinant)
            nodes, weights = _hermite(self.degree // 2 + 1)
            spread = _cholesky((shrink[..., None] * covariance[..., None, None, :, :]).sum(-2))
            shifts = jnp.sum(spread[..., None, :, :] * nodes[:, None, :], -1)
            around = solid_harmonics(mean[..., None, :] + shifts, self.degree)
            values = jnp.sum(around * jnp.asarray(weights)[:, None], -2)
        mixed = scale[..., None] * values
        return jnp.einsum("...nk,nvk->...vk", mixed, jnp.asarray(_mixing(self)))


def power_spectrum(projections: Float[Array, "*point function lm"]) -> Float[Array, "*point feature"]:
    """Rotational invariants of a density; radial functions of several channels stand one after another.

    The dot product of two spectra is the mean over rotations of the squared overlap, times 1 if the functions are
    orthonormal. Pairs of functions are taken once, with sqrt(2) where they differ.
    """
    degree = math.isqrt(projections.shape[-1]) - 1
    first, second = np.triu_indices(projections.shape[-2])
    double = np.where(first == second, 1.0, math.sqrt(2.0))
    parts = []
    for order in range(degree + 1):
        c = projections[..., order**2 : (order + 1) ** 2]
        gram = jnp.sum(c[..., :, None, :] * c[..., None, :, :], -1) / math.sqrt(2 * order + 1)
        parts.append(gram[..., first, second] * double)
    return jnp.concatenate(parts, axis=-1)


def solid_harmonics(points: Float[Array, "*point 3"], degree: int) -> Float[Array, "*point lm"]:
    """r^l Y_lm, real and orthonormal on the unit sphere, for l up to `degree` and m = -l..l.

    Polynomials, by recursion in l: no angles, and no point where they are singular.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    squared = x**2 + y**2 + z**2
    cosines, sines = [jnp.ones_like(x)], [jnp.zeros_like(x)]
    for _ in range(degree):
        cosines, sines = (
            [*cosines, x * cosines[-1] - y * sines[-1]],
            [*sines, x * sines[-1] + y * cosines[-1]],
        )
    rows = [[jnp.zeros_like(x)] * (2 * order + 1) for order in range(degree + 1)]
    for m in range(degree + 1):
        before, legendre = jnp.zeros_like(x), jnp.full_like(x, float(math.prod(range(1, 2 * m, 2))))
        for order in range(m, degree + 1):
            if order > m:
                following = ((2 * order - 1) * z * legendre - (order + m - 1) * squared * before) / (order - m)
                before, legendre = legendre, following
            ratio = math.factorial(order - m) / math.factorial(order + m)
            norm = math.sqrt((2 * order + 1) / (4 * math.pi) * ratio * (2 if m else 1))
            rows[order][order + m] = norm * legendre * cosines[m]
            if m:
                rows[order][order - m] = norm * legendre * sines[m]
    return jnp.stack([value for row in rows for value in row], axis=-1)


@cache
def _mixing(basis: DensityBasis) -> Float[np.ndarray, "radial radial lm"]:
    """(n, v, lm): share of exponential n in the orthonormal radial function v, the inverse root of the overlaps."""
    sums = basis.exponents[:, None] + basis.exponents
    columns = []
    for order in range(basis.degree + 1):
        overlap = 0.5 * math.gamma(order + 1.5) / sums ** (order + 1.5)
        # Scaled first: exponentials of high l differ in norm by orders of magnitude.
        norm = 1 / np.sqrt(np.diag(overlap))
        values, vectors = np.linalg.eigh(overlap * norm[:, None] * norm)
        mixing = norm[:, None] * (vectors / np.sqrt(values)) @ vectors.T
        columns += [mixing] * (2 * order + 1)
    return np.stack(columns, axis=-1)


@cache
def _hermite(count: int) -> tuple[Float[np.ndarray, "node 3"], Float[np.ndarray, " node"]]:
    """Nodes and weights of the standard normal distribution in three dimensions, exact up to degree 2 count - 1."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    nodes = np.array(list(itertools.product(x, repeat=3)))
    weights = np.array([math.prod(part) for part in itertools.product(w / w.sum(), repeat=3)])
    return nodes, weights


def _inverse(matrix: Float[Array, "*point 3 3"]) -> tuple[Float[Array, "*point 3 3"], Float[Array, "*point"]]:
    """Inverse and determinant, written out: LAPACK takes matrices of a batch one by one."""
    a, b, c = matrix[..., 0, :], matrix[..., 1, :], matrix[..., 2, :]
    columns = [jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)]
    determinant = jnp.sum(a * columns[0], -1)
    return jnp.stack(columns, axis=-1) / determinant[..., None, None], determinant


def _cholesky(matrix: Float[Array, "*point 3 3"]) -> Float[Array, "*point 3 3"]:
    """Lower factor, written out."""
    zero = jnp.zeros_like(matrix[..., 0, 0])
    a = jnp.sqrt(matrix[..., 0, 0])
    b, d = matrix[..., 1, 0] / a, matrix[..., 2, 0] / a
    c = jnp.sqrt(matrix[..., 1, 1] - b**2)
    e = (matrix[..., 2, 1] - b * d) / c
    f = jnp.sqrt(matrix[..., 2, 2] - d**2 - e**2)
    rows = [jnp.stack(row, axis=-1) for row in ((a, zero, zero), (b, c, zero), (d, e, f))]
    return jnp.stack(rows, axis=-2)

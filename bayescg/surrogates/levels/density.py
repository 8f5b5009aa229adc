"""The posterior density of a model of levels, its processes integrated out exactly. Inside `double_precision()`.

Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), chapters 2 and 5, with the joint covariance of all
levels. Where the errors of all curves are multiples of one matrix, the covariance is (inputs) kron (bins) + errors, and
costs what both do (`separable`); elsewhere it is dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from gpjax.kernels import AbstractKernel
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float, Int
from numpyro.distributions import Distribution

from bayescg._arrays import AnyArray
from bayescg.surrogates.levels import separable
from bayescg.surrogates.levels.data import Levels
from bayescg.surrogates.levels.model import between_bins, joint, noise_variance

JITTER = 1e-10
"""Least variance of noise, relative to that of the prior: a smooth kernel on a fine grid is singular in float64."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "x",
        "level",
        "y",
        "error",
        "least",
        "scale",
        "shape",
        "bins",
        "box",
        "linked",
        "priors",
        "rho",
        "kernel",
    ),
    meta_fields=("sizes", "noisy"),
)
@dataclass(frozen=True, eq=False)
class Problem:
    """Data and priors; compiled code is shared by problems of equal shapes.

    Attributes:
        x: (point, d) inputs of all levels.
        level: (point,) their levels.
        y: (point, bin) values minus their level's mean.
        error: (point, bin, bin) covariances of the errors.
        least: (point,) lowest eigenvalues of these.
        scale: (point,) if the errors are multiples of one matrix, else None.
        shape: (bin, bin) that matrix.
        bins: (bin,), or None for points.
        box: lowest and highest input.
        linked: (link,) 1; 0 for links that are cut, whose rho is 0.
        priors: of every site of the sampler, by name: of all unknowns but rho, which `link` is made of.
        rho: priors of `rho` (link,) and, if it varies, `rho_slope` (link, d).
        kernel: of the processes.
        sizes: number of points of each level.
        noisy: levels whose noise is learned.
    """

    x: Float[AnyArray, "point d"]
    level: Int[AnyArray, " point"]
    y: Float[AnyArray, "point bin"]
    error: Float[AnyArray, "point bin bin"]
    least: Float[AnyArray, " point"]
    scale: Float[AnyArray, " point"] | None
    shape: Float[AnyArray, "bin bin"] | None
    bins: Float[AnyArray, " bin"] | None
    box: Float[AnyArray, "2 d"]
    linked: Float[AnyArray, " link"]
    priors: Mapping[str, Distribution]
    rho: Mapping[str, Distribution]
    kernel: AbstractKernel
    sizes: tuple[int, ...]
    noisy: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of levels."""
        return len(self.sizes)


class Factored(NamedTuple):
    """The data's covariance at one set of values: root^-1 (prior + noise) root^-T = 1.

    Attributes:
        weights: (point, bin), (prior + noise)^-1 y.
        log_density: of y.
        whiten: right sides (point * bin, k) times root^-1.
        columns: (bin, bin) correlation of the prior over bins.
    """

    weights: Float[Array, "point bin"]
    log_density: Float[Array, ""]
    whiten: jax.tree_util.Partial
    columns: Float[Array, "bin bin"]


def build(levels: Levels, means: Float[AnyArray, " level"], priors: Mapping, kernel: AbstractKernel) -> Problem:
    """The density's constants, in double precision; `means` are subtracted."""
    common = levels.common_error() if levels.bins is not None else None
    scale, shape = (None, None) if common is None else (jnp.asarray(common[0]), jnp.asarray(common[1]))
    x = jnp.asarray(levels.x)
    sites = {name: prior for name, prior in priors.items() if not name.startswith("rho")}
    rho = {name: prior for name, prior in priors.items() if name.startswith("rho")}
    if rho:
        terms = 1 + levels.x.shape[1] if "rho_slope" in rho else 1
        sites["link"] = dist.Normal(jnp.zeros((len(levels.levels) - 1, terms)), 1.0)
    return Problem(
        x,
        jnp.asarray(levels.level),
        jnp.asarray(levels.y) - jnp.asarray(means)[levels.level][:, None],
        jnp.asarray(levels.error),
        jnp.asarray(np.maximum(np.linalg.eigvalsh(levels.error)[:, 0], 0.0)),
        scale,
        shape,
        None if levels.bins is None else jnp.asarray(levels.bins),
        jnp.stack([x.min(axis=0), x.max(axis=0)]),
        jnp.ones(len(levels.levels) - 1),
        jax.tree.map(lambda leaf: jnp.asarray(leaf, float), sites),
        jax.tree.map(lambda leaf: jnp.asarray(leaf, float), rho),
        kernel,
        tuple(len(level.x) for level in levels.levels),
        levels.noisy,
    )


def dense(problem: Problem, values: Mapping[str, Array], rows: slice = slice(None)) -> Float[Array, "k k"]:
    """Covariance of the data of some points, (points * bins) squared."""
    here, size = (problem.x[rows], problem.level[rows]), problem.y.shape[1]
    prior = joint(problem.kernel, values, here, here, problem.box)
    columns = between_bins(problem.kernel, values, problem.bins)
    learned = noise_variance(values, here[1], problem.noisy, problem.count)
    # Covariances of few curves are singular, whatever their diagonal is.
    learned = jnp.maximum(learned, JITTER * jnp.mean(jnp.diag(prior)) - problem.least[rows])
    at = jnp.arange(len(prior))
    noise = problem.error[rows] + learned[:, None, None] * jnp.eye(size)
    blocks = (prior[:, None, :, None] * columns[None, :, None, :]).at[at, :, at, :].add(noise)
    return blocks.reshape(len(prior) * size, -1)


def factored(problem: Problem, values: Mapping[str, Array]) -> Factored:
    """Factor of the data's covariance; `values` are those of `links.resolved`."""
    columns = between_bins(problem.kernel, values, problem.bins)
    if problem.shape is not None:
        return _by_spectra(problem, values, columns)
    root = jnp.linalg.cholesky(dense(problem, values))
    flat = problem.y.reshape(-1)
    half = solve_triangular(root, flat, lower=True)
    density = -0.5 * jnp.sum(half**2) - jnp.sum(jnp.log(jnp.diag(root))) - 0.5 * flat.size * jnp.log(2 * jnp.pi)
    weights = cho_solve((root, True), flat).reshape(problem.y.shape)
    return Factored(weights, density, jax.tree_util.Partial(_triangular, root), columns)


def _triangular(root, right):
    return solve_triangular(root, right, lower=True)


def _by_spectra(problem: Problem, values, columns) -> Factored:
    """Noise is diag(D) kron R: rows are divided by sqrt(D), columns by the root of R."""
    assert problem.scale is not None
    assert problem.shape is not None
    here = (problem.x, problem.level)
    rows = joint(problem.kernel, values, here, here, problem.box)
    learned = noise_variance(values, problem.level, problem.noisy, problem.count)
    sizes = jnp.sqrt(jnp.maximum(problem.scale + learned, JITTER * jnp.mean(jnp.diag(rows))))
    root = jnp.linalg.cholesky(problem.shape)
    scaled = rows / sizes[:, None] / sizes
    narrow = solve_triangular(root, solve_triangular(root, columns, lower=True).T, lower=True)
    turned = solve_triangular(root, problem.y.T, lower=True).T / sizes[:, None]
    density = separable.log_density(scaled, narrow, turned)
    density -= problem.y.shape[1] * jnp.sum(jnp.log(sizes)) + len(rows) * jnp.sum(jnp.log(jnp.diag(root)))
    found = separable.spectrum(scaled, narrow)
    left = found.rows[1].T / sizes
    right = solve_triangular(root.T, found.columns[1], lower=False)
    weights = left.T @ ((left @ problem.y @ right) / found.variance) @ right.T
    return Factored(weights, density, jax.tree_util.Partial(_spectral, left, right, found.variance), columns)


def _spectral(left, right, variance, vectors):
    """Rows of all are (point, bin)."""
    shaped = vectors.reshape(left.shape[0], right.shape[0], -1)
    turned = jnp.einsum("im,mbk,bj->ijk", left, shaped, right) / jnp.sqrt(variance)[:, :, None]
    return turned.reshape(vectors.shape)


def left_out(problem: Problem, values: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """Each point, or curve, given all others: mean (point, bin), variance of a measurement (point, bin), log density.

    Rasmussen & Williams, eqs. 5.10 to 5.12, for blocks: with P the inverse covariance, y - mean = P_ii^-1 (P y)_i, and
    the covariance is P_ii^-1.
    """
    found = factored(problem, values)
    points, size = problem.y.shape
    half = found.whiten(jnp.eye(points * size)).reshape(points * size, points, size)
    blocks = jnp.einsum("kia,kib->iab", half, half)
    root = jnp.linalg.cholesky(blocks)
    inverse = jax.vmap(lambda r: cho_solve((r, True), jnp.eye(size)))(root)
    residual = jnp.einsum("iab,ib->ia", inverse, found.weights)
    logdet = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=1, axis2=2)), axis=1)
    square = jnp.einsum("ia,ia->i", residual, found.weights)
    density = -0.5 * (square - logdet + size * jnp.log(2 * jnp.pi))
    return jnp.asarray(problem.y) - residual, jnp.diagonal(inverse, axis1=1, axis2=2), density

"""The exact marginal likelihood of force matching: coefficients integrated out, hyperparameters left.

With f = J w + e, e ~ N(0, sigma_t^2) for beads of type t and w = m + L v, v ~ N(0, I),

    log Z = -1/2 sum_t [n_t log(2 pi sigma_t^2) + s_t / sigma_t^2] - 1/2 log|B| + 1/2 h' B^-1 h,
    B = I + L' H L,   H = sum_t J_t'J_t / sigma_t^2,   h = L' sum_t J_t'(f_t - J_t m) / sigma_t^2,

and w | hyperparameters ~ N(m + L B^-1 h, L B^-1 L'). Working with the factor L of the prior rather than its inverse
needs no inverse of a nearly singular covariance (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006,
section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import scipy.linalg
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.inference.statistics.sums.blocks import Sums
from bayescg.kernels import TermPrior
from bayescg.potentials import Potential
from bayescg.samplers.density import Density, density


class Reduced(NamedTuple):
    """Sums of the residual force about baselines and prior mean, in the free coordinates of the prior.

    Attributes:
        gram: (bead_type, free, free).
        cross: (bead_type, free).
        square: (bead_type,).
        components: (bead_type,).
    """

    gram: Float[Array, "bead_type free free"]
    cross: Float[Array, "bead_type free"]
    square: Float[Array, " bead_type"]
    components: Float[Array, " bead_type"]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("terms", "kernels", "noise"),
    meta_fields=("potential", "noise_names"),
)
@dataclass(frozen=True, eq=False)
class Prior:
    """Prior of all coefficients of a potential.

    Attributes:
        potential: the potential.
        terms: prior of each term that learns.
        kernels: kernel of each term.
        noise: prior median of the noise of each class of beads [kJ/mol/nm]; none where the noise is part of the data,
            as in `Reduced` data that calibration or a structural fit made.
        noise_names: names of the noise classes: bead types, with their system if there are several.
    """

    potential: Potential
    terms: tuple[TermPrior, ...]
    kernels: Mapping[str, Any]
    noise: tuple[float, ...]
    noise_names: tuple[str, ...]

    @property
    def mean(self) -> Float[np.ndarray, " basis"]:
        """Prior mean of the coefficients [kJ/mol]."""
        return np.concatenate([term.mean for term in self.terms])

    @property
    def lift(self) -> Float[np.ndarray, "basis free"]:
        """Free coordinates to coefficients, block by block."""
        lift = np.zeros((sum(t.lift.shape[0] for t in self.terms), sum(t.lift.shape[1] for t in self.terms)))
        row = column = 0
        for term in self.terms:
            rows, columns = term.lift.shape
            lift[row : row + rows, column : column + columns] = term.lift
            row, column = row + rows, column + columns
        return lift

    def distributions(self) -> dict[str, dist.LogNormal]:
        """Hyperprior of every site."""
        sites: dict[str, dist.LogNormal] = {}
        for term in self.terms:
            sites.update(term.hyperpriors(self.kernels[term.name]))
        for name, scale in zip(self.noise_names, self.noise, strict=True):
            sites[f"noise_{name}"] = dist.LogNormal(jnp.log(scale), 1.0)
        return sites

    def medians(self) -> dict[str, Array]:
        """Prior median of every site, on the unconstrained (logarithmic) scale."""
        return {name: jnp.asarray(distribution.loc) for name, distribution in self.distributions().items()}

    def factors(self, values: Mapping[str, Array]) -> list[Float[Array, "free free"]]:
        """Factor of each term's covariance of free coordinates at given hyperparameters."""
        return [term.factor(self.kernels[term.name], values) for term in self.terms]

    def noises(self, values: Mapping[str, Array]) -> Float[Array, " bead_type"]:
        """Noise of each class [kJ/mol/nm]; one where it is part of the data."""
        if not self.noise_names:
            return jnp.ones(1)
        return jnp.stack([values[f"noise_{name}"] for name in self.noise_names])

    def without_noise(self) -> Prior:
        """The same prior for data that hold their noise."""
        return replace(self, noise=(), noise_names=())


def reduce(prior: Prior, sums: Sums) -> Reduced:
    """Take baselines and prior mean off the forces and change to free coordinates: done once, before any sampling."""
    n_basis = prior.potential.n_basis
    known = np.concatenate([prior.mean, np.ones(sums.gram.shape[-1] - n_basis)])
    lift = prior.lift
    cross = (sums.cross - sums.gram @ known)[:, :n_basis]
    square = sums.square - 2 * sums.cross @ known + np.einsum("k,tkl,l->t", known, sums.gram, known)
    gram = np.empty((len(sums.gram), lift.shape[1], lift.shape[1]))
    for into, own in zip(gram, sums.gram, strict=True):
        # One type after the other: all at once would hold twice as much in between.
        np.matmul(lift.T @ own[:n_basis, :n_basis], lift, out=into)
    return Reduced(jnp.asarray(gram), jnp.asarray(cross @ lift), jnp.asarray(square), jnp.asarray(sums.components))


class Solution(NamedTuple):
    """Gaussian posterior of the free coordinates at fixed hyperparameters.

    Attributes:
        factor: L, block diagonal.
        cholesky: of B.
        whitened: Cholesky^-1 h.
    """

    factor: Float[Array, "free free"]
    cholesky: Float[Array, "free free"]
    whitened: Float[Array, " free"]


def _system(data: Reduced, factors: list[Array], noise: Float[AnyArray, " bead_type"]):
    """B and h. Products with L go block by block: with several terms that is most of the arithmetic saved."""
    precision = noise**-2
    gram = jnp.einsum("t,tfg->fg", precision, data.gram)
    cross = precision @ data.cross
    edges = [0]
    for block in factors:
        edges.append(edges[-1] + block.shape[0])
    spans = [slice(a, b) for a, b in pairwise(edges)]
    right = jnp.concatenate([gram[:, span] @ block for span, block in zip(spans, factors, strict=True)], axis=1)
    both = jnp.concatenate([block.T @ right[span] for span, block in zip(spans, factors, strict=True)], axis=0)
    h = jnp.concatenate([block.T @ cross[span] for span, block in zip(spans, factors, strict=True)])
    return jnp.eye(both.shape[0]) + both, h


@jax.custom_vjp
def gaussian_integral(b: Float[Array, "free free"], h: Float[Array, " free"]) -> Float[Array, ""]:
    """-1/2 log|B| + 1/2 h' B^-1 h."""
    cholesky = jnp.linalg.cholesky(b)
    whitened = solve_triangular(cholesky, h, lower=True)
    return 0.5 * whitened @ whitened - jnp.sum(jnp.log(jnp.diagonal(cholesky)))


def _integral_forward(b, h):
    cholesky = jnp.linalg.cholesky(b)
    whitened = solve_triangular(cholesky, h, lower=True)
    value = 0.5 * whitened @ whitened - jnp.sum(jnp.log(jnp.diagonal(cholesky)))
    return value, (cholesky, solve_triangular(cholesky, whitened, lower=True, trans=1))


def _integral_backward(saved, cotangent):
    # The closed form costs one inverse; differentiating through the factorization would cost several.
    cholesky, solution = saved
    inverse = cho_solve((cholesky, True), jnp.eye(cholesky.shape[0]))
    return -0.5 * cotangent * (inverse + jnp.outer(solution, solution)), cotangent * solution


gaussian_integral.defvjp(_integral_forward, _integral_backward)


def log_evidence(data: Reduced, factors: list[Array], noise: Float[AnyArray, " bead_type"]) -> Float[Array, ""]:
    """Log Z of the forces at given hyperparameters: the equation at the head of this file."""
    fit = -0.5 * jnp.sum(data.components * jnp.log(2 * math.pi * noise**2) + data.square * noise**-2)
    return fit + gaussian_integral(*_system(data, factors, noise))


def solve(data: Reduced, factors: list[Array], noise: Float[AnyArray, " bead_type"]) -> Solution:
    """Condition the coefficients on the data."""
    b, h = _system(data, factors, noise)
    cholesky = jnp.linalg.cholesky(b)
    return Solution(jax.scipy.linalg.block_diag(*factors), cholesky, solve_triangular(cholesky, h, lower=True))


def mean_and_spread(solution: Solution) -> tuple[Float[Array, " free"], Float[Array, "free free"]]:
    """Posterior mean of the free coordinates, and a matrix F with F F' their covariance."""
    mean = solution.factor @ solve_triangular(solution.cholesky, solution.whitened, lower=True, trans=1)
    spread = solution.factor @ solve_triangular(
        solution.cholesky, jnp.eye(solution.cholesky.shape[0]), lower=True, trans=1
    )
    return mean, spread


def mean_at(
    prior: Prior, data: Reduced, values: Mapping[str, AnyArray]
) -> tuple[Float[np.ndarray, " free"], Float[np.ndarray, "free free"]]:
    """Posterior mean of the free coordinates at given hyperparameters, and the factor of their prior covariance.

    In NumPy: as a program of JAX it takes 80 MB more with 900 coefficients, and the time to compile.
    """
    given = {name: jnp.asarray(value) for name, value in values.items()}
    factors = [np.asarray(block) for block in factors_at(prior, given)]
    precision = np.asarray(prior.noises(given)) ** -2
    ends = np.cumsum([len(block) for block in factors])
    spans = [slice(end - len(block), end) for end, block in zip(ends, factors, strict=True)]
    system = np.einsum("t,tfg->fg", precision, np.asarray(data.gram))
    for span, block in zip(spans, factors, strict=True):
        system[:, span] = system[:, span] @ block
    for span, block in zip(spans, factors, strict=True):
        system[span] = block.T @ system[span]
    np.fill_diagonal(system, system.diagonal() + 1.0)
    factor = np.asarray(scipy.linalg.block_diag(*factors))
    h = factor.T @ (precision @ np.asarray(data.cross))
    try:
        cholesky = scipy.linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        # Differences of sums may be indefinite by rounding: what depends on them is then unknown, and nothing else.
        return np.full(len(h), np.nan), factor
    return factor @ scipy.linalg.cho_solve(cholesky, h, check_finite=False), factor


def draw(
    solution: Solution, noise: Float[Array, " free"], scatter: Float[Array, " free"] | None = None
) -> Float[Array, " free"]:
    """One draw of the free coordinates.

    Args:
        solution: of the linear system.
        noise: standard normal numbers.
        scatter: a draw from the covariance of the cross products, where they scatter otherwise than the gram says; the
            draw then has the covariance A K^-1 A + A V A of `bayescg.inference.linear.calibration`, and without it A.
    """
    if scatter is not None:
        moved = noise + solution.factor.T @ scatter
        noise = solve_triangular(solution.cholesky, moved, lower=True)
    return solution.factor @ solve_triangular(solution.cholesky, solution.whitened + noise, lower=True, trans=1)


def model(prior: Prior, data: Reduced) -> None:
    """The NumPyro model of the hyperparameters."""
    sites = prior.distributions()
    values = {name: jnp.asarray(numpyro.sample(name, distribution)) for name, distribution in sites.items()}
    numpyro.factor("log_evidence", log_evidence(data, prior.factors(values), prior.noises(values)))


def hyperparameter_density(prior: Prior, data: Reduced) -> Density:
    """Density of the hyperparameters of the kernels, and of the noises that the prior has."""
    return density(model, (prior, data), prior.medians())


def factor_at(prior: Prior, values: Mapping[str, AnyArray]) -> Float[np.ndarray, "free free"]:
    """Factor of the prior covariance of all free coordinates at given hyperparameters."""
    factors = factors_at(prior, {name: jnp.asarray(value) for name, value in values.items()})
    return np.asarray(scipy.linalg.block_diag(*factors))


@jax.jit
def factors_at(prior: Prior, values: dict[str, Array]) -> list[Float[Array, "free free"]]:
    """`Prior.factors` as one program."""
    return prior.factors(values)


def coefficient_mean(data: Reduced, factor: Float[np.ndarray, "free free"]) -> Float[np.ndarray, " free"]:
    """(K^-1 + G)^-1 h at a given factor of K."""
    gram, cross = np.asarray(data.gram[0]), np.asarray(data.cross[0])
    return factor @ np.linalg.solve(np.eye(len(factor)) + factor.T @ gram @ factor, factor.T @ cross)

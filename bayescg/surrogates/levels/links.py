"""The density that is sampled: each rho in units of what the data leave open about it.

Of data without noise rho may be known to a millionth where the discrepancy is small, and hardly where it is large: no
sampler finds its way between the two. Given all else, rho is nearly the coefficient of a linear regression of the
level's values on the mean of the level below (Le Gratiet & Garnier,
doi:10.1615/Int.J.UncertaintyQuantification.2014006914). It is sampled as that regression's mean plus its spread times
`link`. This is a change of variables, and exact however well the regression describes the posterior.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from bayescg.surrogates.levels.density import Problem, dense, factored
from bayescg.surrogates.levels.model import added, assembled, between_bins, centered, joint, noise_variance


class Resolved(NamedTuple):
    """Sites of the sampler as values of the model.

    Attributes:
        values: `rho` and maybe `rho_slope` with all else.
        log_density: prior density of rho times the Jacobian, over the density of `link`.
    """

    values: dict[str, Array]
    log_density: Float[Array, ""]


def resolved(problem: Problem, sites: Mapping[str, Array]) -> Resolved:
    """Rho of every link from the sites, from below: each regression knows the links before it."""
    values = assembled(sites)
    count = problem.count
    if count == 1:
        return Resolved(values, jnp.zeros(()))
    mean, variance = (jnp.concatenate(each, axis=1) for each in _moments(problem))
    scaled, total = jnp.zeros_like(mean), jnp.zeros(())
    for link in range(count - 1):
        if problem.shape is None:
            here = {**values, **_named(problem, scaled)}
            center, root = _regression(problem, here, link, mean[link], variance[link])
        else:
            center, root = mean[link], jnp.diag(1 / jnp.sqrt(variance[link]))
        step = solve_triangular(root.T, sites["link"][link], lower=False)
        scaled = scaled.at[link].set(problem.linked[link] * (center + step))
        total = total - problem.linked[link] * jnp.sum(jnp.log(jnp.diag(root)))
    values = {**values, **_named(problem, scaled)}
    prior = sum(_over_links(problem, jnp.asarray(problem.rho[name].log_prob(values[name]))) for name in problem.rho)
    base = _over_links(problem, jnp.asarray(problem.priors["link"].log_prob(sites["link"])))
    return Resolved(values, total + prior - base)


def _moments(problem: Problem):
    """Mean and variance of the priors of rho and its slopes, each (link, 1) and maybe (link, d)."""
    priors = [problem.rho[name] for name in ("rho", "rho_slope") if name in problem.rho]
    links = problem.count - 1
    return (
        [jnp.reshape(each, (links, -1)) for each in moments]
        for moments in zip(
            *((jnp.broadcast_to(p.mean, p.shape()), jnp.broadcast_to(p.variance, p.shape())) for p in priors),
            strict=True,
        )
    )


def _over_links(problem: Problem, log_density: Array) -> Float[Array, ""]:
    """Sum over links that are not cut."""
    return jnp.sum(log_density.reshape(problem.count - 1, -1) * problem.linked[:, None])


def _named(problem: Problem, scaled: Float[Array, "link term"]) -> dict[str, Array]:
    out = {"rho": scaled[:, 0]}
    return {**out, "rho_slope": scaled[:, 1:]} if "rho_slope" in problem.rho else out


def _regression(problem: Problem, values: Mapping[str, Array], link: int, mean: Array, variance: Array):
    """Mean of rho given all else, and the factor of its precision, were the level below known to its mean."""
    start = sum(problem.sizes[: link + 1])
    rows, below = slice(start, start + problem.sizes[link + 1]), slice(0, start)
    columns = between_bins(problem.kernel, values, problem.bins)
    x, size = problem.x[rows], problem.y.shape[1]
    at = (x, jnp.full(len(x), link))
    root = jnp.linalg.cholesky(dense(problem, values, below))
    cross = jnp.kron(joint(problem.kernel, values, (problem.x[below], problem.level[below]), at, problem.box), columns)
    half = solve_triangular(root, cross, lower=True)
    lower = half.T @ solve_triangular(root, problem.y[below].reshape(-1), lower=True)
    left = jnp.kron(joint(problem.kernel, values, at, at, problem.box), columns) - half.T @ half
    new = jnp.kron(added(problem.kernel, values, link + 1, x, x, problem.box), columns)
    learned = noise_variance(values, problem.level[rows], problem.noisy, problem.count)
    noise = jax.scipy.linalg.block_diag(*problem.error[rows]) if size > 1 else jnp.diag(problem.error[rows, 0, 0])
    scatter = new + (mean[0] ** 2 + variance[0]) * left + noise + jnp.diag(jnp.repeat(learned, size))
    floor = 1e-10 * (jnp.mean(jnp.diag(new)) + jnp.mean(lower**2) * variance[0])
    factor = jnp.linalg.cholesky(scatter + floor * jnp.eye(len(scatter)))
    terms = jnp.concatenate([jnp.ones((len(x), 1)), centered(x, problem.box)], axis=1)[:, : len(mean)]
    design = jnp.repeat(terms, size, axis=0) * lower[:, None]
    weighted = cho_solve((factor, True), design)
    precision = design.T @ weighted + jnp.diag(1 / variance)
    seen = jnp.linalg.cholesky(precision)
    return cho_solve((seen, True), weighted.T @ problem.y[rows].reshape(-1) + mean / variance), seen


def log_likelihood(problem: Problem, sites: Mapping[str, Array]) -> Float[Array, ""]:
    """Log marginal likelihood of the data at sites of the sampler."""
    return factored(problem, resolved(problem, sites).values).log_density


def model(problem: Problem) -> None:
    """The NumPyro model of all unknowns, the processes integrated out."""
    sites = {name: jnp.asarray(numpyro.sample(name, problem.priors[name])) for name in sorted(problem.priors)}
    found = resolved(problem, sites)
    numpyro.factor("log likelihood", factored(problem, found.values).log_density + found.log_density)

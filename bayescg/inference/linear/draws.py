"""Draws of the coefficients: Gaussian at given hyperparameters, and conditioned on what no Gaussian knows.

Below the smallest distance that was met, beads hold each other apart: otherwise some would have been met there. The
prior mean says so, its Gaussian does not quite: its force is as uncertain there as it is large, and between sparse
contacts draws swing into attraction. So coefficients given hyperparameters are truncated to curves that repel there:
draws that attract are drawn again, at the same hyperparameters. These keep the posterior that the Gaussian gives them.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg.inference.linear import marginal
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.kernels.priors import CurvePrior

_TRIES = (8, 256)
"""Attempts at a draw: first few, to see what the data allow, then as many as a fit of several terms may need."""

_INSISTING = 0.5
"""Share of draws still attractive after the first attempts, above which the data say that this term attracts."""


def draw_repulsive(
    prior: Prior,
    data: Reduced,
    values: Mapping[str, np.ndarray],
    *,
    root: Float[Array, "free direction"] | None = None,
    key: Array,
) -> Float[np.ndarray, "chain draw basis"]:
    """Draws of the coefficients whose pair terms repel below the smallest distance met. Arguments as below.

    A term of which more than nine draws in ten attract there is left as it is: then the data say so, as where another
    pair of the same molecules holds them apart.
    """
    rows, owner = _rows_of(prior)
    if not len(rows):
        return draw_coefficients(prior, data, values, root=root, key=key)
    active = np.ones(len(rows), bool)
    while True:
        found, insisting = np.zeros(0), None
        for tries in _TRIES:
            found = _draw(prior, data, values, root, key, rows * active[:, None], tries)
            attracts = (found @ rows.T < 0) & active
            shares = {term: attracts[..., owner == term].any(axis=-1).mean() for term in np.unique(owner)}
            most = max(shares, key=lambda term: shares[term])
            insisting = most if shares[most] > _INSISTING else None
            if insisting is not None or not shares[most]:
                break
        if insisting is None:
            return found
        # One that insists leaves the others few attempts: they are judged without it.
        active &= owner != insisting


def draw_coefficients(
    prior: Prior,
    data: Reduced,
    values: Mapping[str, np.ndarray],
    *,
    root: Float[Array, "free direction"] | None = None,
    key: Array,
) -> Float[np.ndarray, "chain draw basis"]:
    """One exact Gaussian draw of the coefficients for every hyperparameter draw.

    Args:
        prior: of the coefficients.
        data: sums in its free coordinates.
        values: hyperparameters, (chain, draw, ...).
        root: of the covariance of the scores, where calibration found one (`Calibrated.root`).
        key: JAX random key.
    """
    return _draw(prior, data, values, root, key, np.zeros((0, len(prior.mean))), 1)


def data_share(
    prior: Prior,
    data: Reduced,
    values: Mapping[str, np.ndarray],
    rows: Float[np.ndarray, "row basis"],
    *,
    root: Float[Array, "free direction"] | None = None,
) -> Float[np.ndarray, " row"]:
    """How much of the variance of linear functions of the coefficients is the scatter of the data.

    The covariance A K^-1 A + A (V / eta^2) A (`bayescg.inference.linear.calibration`) is the square of what the prior
    pulls a mean away from the truth, averaged over the prior, and the scatter of the data. Over replicates of one
    truth only the second part varies: where its share is s, z = (mean - truth) / sd has a standard deviation of
    sqrt(s) over replicates about a mean which depends on the truth. Where s is small, intervals of one truth cover it
    always or never, and only over truths as the prior has them do they cover it as often as they say.

    Args:
        prior: of the coefficients.
        data: sums in its free coordinates.
        values: hyperparameters; arrays of one value each.
        rows: (row, basis) the functions.
        root: of the covariance of the scores, where calibration found one (`Calibrated.root`).

    Returns:
        (row,) shares between 0 and 1 at these hyperparameters.
    """
    given = {name: jnp.asarray(value) for name, value in values.items()}
    solution = marginal.solve(data, prior.factors(given), prior.noises(given))
    # B = I + L' H L; A = L B^-1 L', A K^-1 A = L B^-2 L', and without a root A (V / eta^2) A = A H A = A - A K^-1 A.
    half = jax.scipy.linalg.cho_solve((solution.cholesky, True), (jnp.asarray(rows @ prior.lift) @ solution.factor).T)
    by_prior = jnp.sum(half**2, axis=0)
    if root is None:
        whole = jnp.sum((jnp.asarray(rows @ prior.lift) @ solution.factor).T * half, axis=0)
        return np.asarray(1 - by_prior / whole)
    by_data = jnp.sum((root.T @ solution.factor @ half) ** 2, axis=0)
    return np.asarray(by_data / (by_prior + by_data))


def _rows_of(prior: Prior) -> tuple[Float[np.ndarray, "row basis"], np.ndarray]:
    """Rows of the forces that must be positive, of all terms, and the number of the term of each."""
    rows, owner, first = [np.zeros((0, len(prior.mean)))], [np.zeros(0, int)], 0
    for number, term in enumerate(prior.terms):
        if isinstance(term, CurvePrior) and term.repulsive is not None:
            own = np.zeros((len(term.repulsive), len(prior.mean)))
            own[:, first : first + len(term.mean)] = term.repulsive
            rows.append(own)
            owner.append(np.full(len(own), number))
        first += len(term.mean)
    return np.concatenate(rows), np.concatenate(owner)


def _draw(prior: Prior, data: Reduced, values, root, key: Array, rows: np.ndarray, tries: int):
    chains, draws = next(iter(values.values())).shape[:2]
    if root is not None:
        # As many columns for any number of directions that data of this shape may have known: one program serves all.
        root = jnp.asarray(np.pad(root, ((0, 0), (0, root.shape[0] - root.shape[1]))))
    flat = {name: jnp.asarray(np.reshape(v, (chains * draws, *v.shape[2:]))) for name, v in values.items()}
    lift = prior.lift
    # In free coordinates; never negative where a row is zero.
    bound = (jnp.asarray(rows @ lift), jnp.asarray(rows @ prior.mean))
    # Successive draws often have the same hyperparameters: resampled ones, and those of rejected steps.
    moved = np.any(
        [np.any(np.diff(np.asarray(v), axis=0) != 0, axis=tuple(range(1, v.ndim))) for v in flat.values()], 0
    )
    fresh = jnp.asarray(np.concatenate([[True], moved]))
    keys = jax.random.split(key, chains * draws)
    free = np.asarray(_draw_each(prior, data, root, bound, tries, flat, fresh, keys))
    return (prior.mean + free @ lift.T).reshape(chains, draws, -1)


@jax.jit
def _draw_each(prior: Prior, data: Reduced, root, bound, tries, values, fresh, keys):
    rows, offset = bound

    def solve(value) -> marginal.Solution:
        return marginal.solve(data, prior.factors(value), prior.noises(value))

    def one(last: marginal.Solution, item):
        value, new, draw_key = item
        solution = jax.lax.cond(new, lambda: solve(value), lambda: last)

        def attempt(attempt_key: Array) -> Float[Array, " free"]:
            noise_key, score_key = jax.random.split(attempt_key)
            noise = jax.random.normal(noise_key, solution.whitened.shape)
            scatter = None if root is None else root @ jax.random.normal(score_key, root.shape[1:])
            return marginal.draw(solution, noise, scatter)

        def attracts(state: tuple[Array, Array]) -> Bool[Array, ""]:
            number, free = state
            return (number < tries) & jnp.any(rows @ free + offset < 0)

        def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
            number, _ = state
            return number + 1, attempt(jax.random.fold_in(draw_key, number))

        return solution, jax.lax.while_loop(attracts, again, (jnp.asarray(1), attempt(draw_key)))[1]

    shapes = jax.eval_shape(solve, jax.tree.map(lambda v: v[0], values))
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(one, start, (values, fresh, keys))[1]

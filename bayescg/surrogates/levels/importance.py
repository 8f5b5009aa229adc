"""Draws and evidence of a density that may have several modes, by importance sampling that learns its proposal.

Few data of the best level often have two explanations: a level below that is right up to a line, or one that says
little and a discrepancy that does the rest. Proposals are Student-t distributions at all modes that searches find. In
two more rounds one with the mean and covariance of the weighted draws so far is added. All draws are weighted by the
mixture of all proposals (adaptive multiple importance sampling, Cornuet et al., doi:10.1111/j.1467-9469.2011.00756.x).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln, logsumexp

from bayescg._runtime import cpu_count, map_threads
from bayescg.samplers.density import Density, Sampled
from bayescg.samplers.importance import log_mean, smoothed, systematic
from bayescg.samplers.mode import Mode

_FREEDOM = 5
"""Degrees of freedom of the proposals: tails longer than those of a posterior of the logarithms of scales."""

_ROUNDS = 3
_MOST = 2400
"""Densities that are evaluated."""

_FEWEST = 600


class Proposal(NamedTuple):
    """A Student-t distribution: mean, lower root of its scale matrix, its share of the draws."""

    mean: Float[np.ndarray, " site"]
    root: Float[np.ndarray, "site site"]
    share: float


def importance(target: Density, modes: list[Mode], draws: int, *, key: Array) -> tuple[Sampled, tuple[float, float]]:
    """Draws as one chain, with the number `laplace_pareto_k`; log of the density's integral, and its standard error.

    Args:
        target: the density.
        modes: all that were found.
        draws: how many.
        key: JAX random key, of which NumPy's generator is made.
    """
    rng = np.random.default_rng(np.asarray(key_words(key)))
    each = int(np.clip(2 * draws, _FEWEST, _MOST)) // _ROUNDS
    proposals = _at_modes(target, modes)
    positions, minus = np.zeros((0, len(modes[0].position))), np.zeros(0)
    logs = np.zeros(0)
    for number in range(_ROUNDS):
        if number:
            proposals = [*(p._replace(share=p.share * number / (number + 1)) for p in proposals)]
            proposals.append(_of_draws(positions, logs, 1 / (number + 1)))
            new = _propose(proposals[-1:], each, rng)
        else:
            new = _propose(proposals, each, rng)
        pieces = np.array_split(new, min(4 * cpu_count(), each))
        found = np.concatenate(map_threads(lambda piece: target.minus_log_all(jnp.asarray(piece)), pieces))
        positions, minus = np.concatenate([positions, new]), np.concatenate([minus, found])
        logs = -np.nan_to_num(minus, nan=np.inf) - _log_density(proposals, positions)
    smooth, pareto_k = smoothed(logs)
    weights = np.exp(smooth - smooth.max())
    chosen = systematic(weights / weights.sum(), draws, key=key)
    evidence = log_mean(logs)
    return Sampled(target.constrain(positions[chosen][None]), {}, {"laplace_pareto_k": pareto_k}), evidence


def key_words(key: Array) -> Array:
    """The numbers of a JAX key, old style or new."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def _at_modes(target: Density, modes: list[Mode]) -> list[Proposal]:
    roots = [np.linalg.cholesky(mode.covariance) for mode in modes]
    heights = np.asarray(target.minus_log_all(jnp.asarray(np.stack([mode.position for mode in modes]))))
    logs = np.array([np.sum(np.log(np.diag(root))) for root in roots]) - heights
    # No mode is left out by a Gaussian's guess of its weight.
    shares = 0.8 * np.exp(logs - logsumexp(logs)) + 0.2 / len(modes)
    return [Proposal(m.position, r, float(s)) for m, r, s in zip(modes, roots, shares, strict=True)]


def _of_draws(positions: np.ndarray, logs: np.ndarray, share: float) -> Proposal:
    weights = np.exp(smoothed(logs)[0])
    weights = weights / weights.sum()
    mean = weights @ positions
    apart = positions - mean
    covariance = (weights * apart.T) @ apart
    # Of few draws that count, directions may be missing: no narrower than a thousandth of the prior.
    return Proposal(mean, np.linalg.cholesky(covariance + 1e-3 * np.eye(len(mean))), share)


def _propose(proposals: list[Proposal], count: int, rng: np.random.Generator) -> np.ndarray:
    shares = np.array([p.share for p in proposals])
    counts = np.floor(count * shares / shares.sum()).astype(int)
    counts[np.argmax(counts)] += count - counts.sum()
    out = []
    for proposal, own in zip(proposals, counts, strict=True):
        noise = rng.normal(size=(own, len(proposal.mean))) / np.sqrt(rng.chisquare(_FREEDOM, (own, 1)) / _FREEDOM)
        out.append(proposal.mean + noise @ proposal.root.T)
    return np.concatenate(out)


def _log_density(proposals: list[Proposal], positions: np.ndarray) -> np.ndarray:
    size = positions.shape[1]
    constant = gammaln(0.5 * (_FREEDOM + size)) - gammaln(0.5 * _FREEDOM) - 0.5 * size * np.log(_FREEDOM * np.pi)
    parts = []
    for mean, root, share in proposals:
        apart = np.linalg.solve(root, (positions - mean).T)
        logdet = np.sum(np.log(np.diag(root)))
        square = np.log1p(np.sum(apart**2, axis=0) / _FREEDOM)
        parts.append(np.log(share) + constant - logdet - 0.5 * (_FREEDOM + size) * square)
    return np.asarray(logsumexp(np.stack(parts), axis=0))

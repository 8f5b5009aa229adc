"""Scores of a fit from its stored sums: predictive log likelihood of blocks, held-out R^2. No refit, no trajectory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from bayescg._runtime import map_threads
from bayescg.inference.linear.marginal import Prior, Reduced, factors_at, mean_at, reduce
from bayescg.inference.statistics.sums.blocks import Sums, add


def block_log_likelihood(
    prior: Prior, blocks: Sequence[Sums], total: Sums, values: Mapping[str, np.ndarray]
) -> Float[np.ndarray, "draw block"]:
    """Log p(block b | all other blocks, hyperparameters) = log Z(S) - log Z(S - S_b), coefficients integrated out.

    PSIS leave-one-out then runs over the few hyperparameters only, where it is reliable; with coefficients in the
    draws, a block's own forces would move them too far.

    Args:
        prior: the prior.
        blocks: sums of each block.
        total: their sum.
        values: hyperparameter draws, each (draw, ...).
    """
    # In coordinates whitened by a typical prior, precisions are well conditioned, so that leaving a block out is one
    # subtraction and one Cholesky factor.
    typical = {name: np.exp(np.mean(np.log(v), axis=0)) for name, v in values.items()}
    unit = factors_at(prior, typical)
    scale = np.asarray(scipy.linalg.block_diag(*unit))

    def whiten(data: Reduced) -> Reduced:
        gram = np.einsum("fa,tfg,gb->tab", scale, np.asarray(data.gram), scale, optimize=True)
        return data._replace(gram=gram, cross=np.asarray(data.cross) @ scale)

    whole = whiten(reduce(prior, total))
    parts = [whiten(reduce(prior, block)) for block in blocks]
    whole, parts = jax.tree.map(jnp.asarray, (whole, jax.tree.map(lambda *x: np.stack(x), *parts)))
    count = next(iter(values.values())).shape[0]
    one_by_one = [{name: jnp.asarray(v[k]) for name, v in values.items()} for k in range(count)]
    return np.stack(map_threads(partial(_scores, prior, unit, whole, parts), one_by_one, "Leave-block-out scores"))


@jax.jit
def _scores(prior: Prior, unit, whole: Reduced, parts: Reduced, value) -> Float[Array, " block"]:
    relative = [solve_triangular(u, f, lower=True) for u, f in zip(unit, prior.factors(value), strict=True)]
    inverse = jax.scipy.linalg.block_diag(*[cho_solve((r, True), jnp.eye(r.shape[0])) for r in relative])
    precision = prior.noises(value) ** -2

    def log_z(data: Reduced):
        cholesky = jnp.linalg.cholesky(inverse + jnp.einsum("t,tfg->fg", precision, data.gram))
        whitened = solve_triangular(cholesky, precision @ data.cross, lower=True)
        fit = jnp.sum(data.components * jnp.log(2 * math.pi / precision) + data.square * precision)
        return 0.5 * whitened @ whitened - jnp.sum(jnp.log(jnp.diagonal(cholesky))) - 0.5 * fit

    return log_z(whole) - jax.lax.map(lambda part: log_z(jax.tree.map(jnp.subtract, whole, part)), parts)


def held_out_r2(
    prior: Prior, blocks: Sequence[Sums], values: Mapping[str, np.ndarray], folds: int = 8
) -> tuple[float, float]:
    """Share of force variance that the mean fit to the other blocks predicts, and its standard error over folds.

    R^2 = 1 - sum |f - J w|^2 / sum |f|^2 over held-out contiguous folds, at fixed hyperparameters.

    Returns:
        (R^2, standard error); (nan, nan) with fewer than two blocks.
    """
    folds = min(folds, len(blocks))
    if folds < 2:
        return float("nan"), float("nan")
    groups = [_sum(blocks[part[0] : part[-1] + 1]) for part in np.array_split(np.arange(len(blocks)), folds)]
    total = _sum(groups)
    lift, n_basis = prior.lift, prior.potential.n_basis
    ratios, weights = [], []
    for group in groups:
        rest = Sums(*(a - b for a, b in zip(total, group, strict=True)))
        mean, _ = mean_at(prior, reduce(prior, rest), values)
        w = np.concatenate([prior.mean + lift @ np.asarray(mean), np.ones(group.gram.shape[-1] - n_basis)])
        left = np.sum(group.square - 2 * group.cross @ w + np.einsum("k,tkl,l->t", w, group.gram, w))
        ratios.append(1 - left / np.sum(group.square))
        weights.append(np.sum(group.square))
    score = float(np.average(ratios, weights=weights))
    return score, float(np.std(ratios, ddof=1) / np.sqrt(folds))


def held_out_structure(
    prior: Prior, blocks: Sequence[Sums], values: Mapping[str, np.ndarray], folds: int = 8
) -> tuple[float, float]:
    """How much of the structure of held-out blocks the mean fit to the others explains, and the standard error.

    (2 b.w - w.G w) / w.G w, minus Hyvarinen's score over its scale: 1 in expectation where G w = b. Fluctuations of b
    make no bias, since w has not seen them. It takes no forces.

    Returns:
        (score, standard error); (nan, nan) with fewer than two blocks.
    """
    folds = min(folds, len(blocks))
    if folds < 2:
        return float("nan"), float("nan")
    groups = [_sum(blocks[part[0] : part[-1] + 1]) for part in np.array_split(np.arange(len(blocks)), folds)]
    total = _sum(groups)
    weight = np.asarray(prior.noise) ** -2.0
    said, size = np.zeros(folds), np.zeros(folds)
    for k, group in enumerate(groups):
        rest = Sums(*(a - b for a, b in zip(total, group, strict=True)))
        mean, _ = mean_at(prior, reduce(prior, rest), values)
        known = np.ones(group.gram.shape[-1] - prior.potential.n_basis)
        w = np.concatenate([prior.mean + prior.lift @ np.asarray(mean), known])
        size[k] = weight @ np.einsum("k,tkl,l->t", w, group.gram, w)
        said[k] = 2 * weight @ (group.cross @ w) - size[k]
    score = float(said.sum() / size.sum())
    return score, float(np.std(said - score * size, ddof=1) * np.sqrt(folds) / size.sum())


def residual_variance(total: Sums, coefficients: Float[np.ndarray, " basis"]) -> Float[np.ndarray, " bead_type"]:
    """Mean squared residual force per component and bead type [(kJ/mol/nm)^2]."""
    w = np.concatenate([coefficients, np.ones(total.gram.shape[-1] - len(coefficients))])
    square = total.square - 2 * total.cross @ w + np.einsum("k,tkl,l->t", w, total.gram, w)
    return square / np.maximum(total.components, 1)


def _sum(blocks: Sequence[Sums]) -> Sums:
    result = blocks[0]
    for block in blocks[1:]:
        result = add(result, block)
    return result

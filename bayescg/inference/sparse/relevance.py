"""Group automatic relevance determination: which candidates of a library the evidence keeps (numpy, float64).

With w = sum_g s_g C_g v_g, G = C'H C, c = C'b and D the scales of the columns,

    log Z(s) = -1/2 log|B| + 1/2 c'D B^-1 D c + constant,   B = 1 + D G D,
    d log Z / d log s_g = |v^_g|^2 - gamma_g,   v^ = B^-1 D c,   gamma_g = k_g - tr (B^-1)_gg,

gamma_g the number of well determined coefficients of a group (MacKay, Neural Comput. 4, 415 (1992),
doi:10.1162/neco.1992.4.3.415; Tipping, J. Mach. Learn. Res. 1, 211 (2001)). At the maximum of Z over all scales many of
them are zero, but not enough: a superfluous candidate keeps a scale above zero whenever chance lifts |z| over 1. One is
therefore kept only if log Z falls by `STRONG` or more without it, all other scales adapted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from bayescg.inference.sparse.library import Problem

STRONG = 3.0
"""Log evidence that a candidate must add: 20 to 1, strong evidence in the words of Kass & Raftery (1995)."""

_BOUND = 12.0
"""Of |log s|: e^-12 of the noise is nothing, e^12 more than any force."""

_GRID = np.linspace(-_BOUND, _BOUND, 97)
_ANYTHING = 1e-6
"""Log evidence: less is nothing but rounding."""


class Selection(NamedTuple):
    """What the evidence keeps.

    Attributes:
        log_evidence: of the kept ones, less that of no candidate at all.
        scales: (candidate,) s at the maximum of the evidence, 0 for those left out.
    """

    log_evidence: float
    scales: Float[np.ndarray, " candidate"]


def select(problem: Problem) -> Selection:
    """Maximize the evidence over all scales and leave out, one after the other, what it does not need.

    Backward from all candidates, so that those that only act together are found; then forward again, for those that a
    correlated one had displaced, until nothing changes.
    """
    count = problem.candidates
    value, scales = maximize(problem, np.ones(count, bool), np.ones(count))
    while np.any(scales > 0):
        quick = losses_at_fixed_scales(problem, scales)
        if quick.min() >= STRONG:
            break
        # The others' adapting only lessens the loss: this one goes for sure.
        scales[np.argmin(quick)] = 0.0
        value, scales = maximize(problem, scales > 0, scales)
    for _ in range(4 * count):
        losses, less = _changes(problem, value, scales, adding=False)
        if losses.min() < STRONG:
            value, scales = less[int(np.argmin(losses))]
            continue
        added, more = _changes(problem, value, scales, adding=True)
        if added.max() < STRONG:
            break
        value, scales = more[int(np.argmax(added))]
    return Selection(value, scales)


def gains(problem: Problem, selection: Selection) -> Float[np.ndarray, " candidate"]:
    """Log evidence with each candidate over that without it, the others' scales adapted."""
    value, scales = selection
    losses, _ = _changes(problem, value, scales, adding=False)
    added, _ = _changes(problem, value, scales, adding=True)
    return np.where(scales > 0, losses, added)


def maximize(
    problem: Problem, on: Bool[np.ndarray, " candidate"], start: Float[np.ndarray, " candidate"]
) -> tuple[float, Float[np.ndarray, " candidate"]]:
    """Largest log evidence over the scales of the candidates that are on, and these scales; the others' are 0."""
    scales = np.zeros(len(on))
    if not on.any():
        return 0.0, scales
    columns = on[problem.group]
    group = np.unique(problem.group[columns], return_inverse=True)[1]
    gram, cross = problem.gram[np.ix_(columns, columns)], problem.cross[columns]

    def minus_log(log_scales):
        d = np.exp(log_scales)[group]
        b = np.eye(len(d)) + d[:, None] * gram * d
        lower = cholesky(b, lower=True)
        whitened = solve_triangular(lower, d * cross, lower=True)
        inverse = cho_solve((lower, True), np.eye(len(d)))
        slope = np.bincount(group, (inverse @ (d * cross)) ** 2 - 1 + np.diag(inverse))
        return float(np.sum(np.log(np.diag(lower))) - 0.5 * whitened @ whitened), -slope

    first = np.log(np.clip(start[on], 1e-3, 1e3))
    found = minimize(
        *(minus_log, first),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-_BOUND, _BOUND)] * int(on.sum()),
        options={"ftol": 1e-10, "gtol": 1e-4, "maxiter": 300},
    )
    scales[on] = np.exp(found.x)
    return -float(found.fun), scales


def shrinkage(problem: Problem, scales: Float[np.ndarray, " candidate"]) -> Float[np.ndarray, " candidate"]:
    """Kappa of each candidate: the share of its own forces that the prior takes back, 1 where it takes all.

    kappa_g = tr[G_gg (B^-1)_gg] / tr G_gg. For a single column that overlaps with no other it is 1 / (1 + s^2 G), the
    shrinkage factor of Carvalho, Polson & Scott (doi:10.1093/biomet/asq017); what another candidate explains as well is
    not counted as support.
    """
    inverse = _inverse(problem, scales)
    same = problem.group[:, None] == problem.group
    own = np.bincount(problem.group, np.sum(np.where(same, problem.gram * inverse, 0.0), axis=1))
    return np.clip(own / np.bincount(problem.group, np.diag(problem.gram)), 0.0, 1.0)


def effective(problem: Problem, scales: Float[np.ndarray, " candidate"]) -> Float[np.ndarray, " candidate"]:
    """Number of coefficients of each candidate that the data determine."""
    return np.bincount(problem.group, 1 - np.diag(_inverse(problem, scales)))


def _inverse(problem: Problem, scales) -> Float[np.ndarray, "column column"]:
    d = np.asarray(scales, float)[problem.group]
    return np.linalg.inv(np.eye(len(d)) + d[:, None] * problem.gram * d)


def losses_at_fixed_scales(problem: Problem, scales) -> Float[np.ndarray, " candidate"]:
    """Log evidence lost without each candidate that is on, the others' scales as they are; inf for those off.

    Without group g, B is a Schur complement: with S = B^-1 the loss is 1/2 v^'S_gg^-1 v^ + 1/2 log|S_gg|.
    """
    inverse = _inverse(problem, scales)
    mean = inverse @ (scales[problem.group] * problem.cross)
    losses = np.full(len(scales), np.inf)
    for k in np.flatnonzero(scales > 0):
        own = problem.group == k
        block = inverse[np.ix_(own, own)]
        losses[k] = 0.5 * mean[own] @ np.linalg.solve(block, mean[own]) + 0.5 * np.linalg.slogdet(block)[1]
    return losses


def gains_at_fixed_scales(problem: Problem, scales) -> tuple[Float[np.ndarray, " candidate"], ...]:
    """Log evidence that each candidate that is off would add at its best scale, the others' scales as they are.

    With S_gg = G_gg - G_g. D B^-1 D G_.g = V diag(l) V' and q = V'(c_g - G_g. D B^-1 D c) it is the maximum over s of
    -1/2 sum log(1 + s^2 l) + 1/2 sum s^2 q^2 / (1 + s^2 l) (one column: Tipping & Faul, AISTATS 2003), here over a grid
    of log s as fine as it need be to choose where to search.

    Returns:
        Gains (candidate,), nan for those on; and the scales that have them, to search from. Of a candidate that gains
        nothing by itself, three standard errors: the others' adapting may change that.
    """
    d = np.asarray(scales, float)[problem.group]
    on = d > 0
    lower = cholesky(np.eye(int(on.sum())) + d[on, None] * problem.gram[np.ix_(on, on)] * d[on], lower=True)
    shared = solve_triangular(lower, d[on, None] * problem.gram[on], lower=True)
    left = problem.cross - shared.T @ solve_triangular(lower, d[on] * problem.cross[on], lower=True)
    gains, best = np.full(len(scales), np.nan), np.full(len(scales), 3 / np.sqrt(problem.components))
    squares = np.exp(2 * _GRID)[:, None]
    for k in np.flatnonzero(np.asarray(scales) == 0):
        own = problem.group == k
        values, vectors = np.linalg.eigh(problem.gram[np.ix_(own, own)] - shared[:, own].T @ shared[:, own])
        freedom = 1 + squares * np.maximum(values, 0.0)
        log = 0.5 * np.sum(squares * (vectors.T @ left[own]) ** 2 / freedom - np.log(freedom), axis=1)
        gains[k] = log.max()
        if gains[k] > _ANYTHING:
            best[k] = np.exp(_GRID[np.argmax(log)])
    return gains, best


def _changes(problem: Problem, value: float, scales, *, adding: bool):
    """What log evidence each candidate that is off would add, or each that is on holds, all scales adapted.

    Returns:
        Differences (for the other candidates infinite with the sign that no one would choose), and by candidate the log
        evidence and the scales after the change.
    """
    differences, after = np.full(len(scales), -np.inf if adding else np.inf), {}
    # The evidence of a group may have two maxima in its scale, one at zero: the search begins at the better one.
    own = gains_at_fixed_scales(problem, scales)[1] if adding else scales
    for k in np.flatnonzero((scales > 0) != adding):
        on, start = scales > 0, scales.copy()
        on[k], start[k] = adding, own[k]
        after[k] = maximize(problem, on, start)
        differences[k] = max(after[k][0] - value, 0.0) if adding else value - after[k][0]
    return differences, after

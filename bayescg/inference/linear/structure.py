"""Calibration of structure alone, whose scores scatter far more in some directions than in others.

Force noise gives the scores of all directions about one variance where the Gram matrix is the identity. Those of
structure contain the divergence, which is largest where curves are rough and beads in contact: in these coordinates
the eigenvalues of their covariance V differ a hundredfold. One tempering for all would smooth what is known well as
what is known badly needs it. So the equations G w = b are weighted by V^-1 before the prior takes part,

    w^ = (K^-1 + G V^-1 G)^-1 G V^-1 b.

The solution of G w = b, which many data approach, does not depend on these weights; they say where the prior takes
over. V is shrunk a little to its diagonal, on which its inverse rests less on chance; on liquids of ethane this made
the error of curves two to four times smaller than one tempering for all (docs/decisions/0016-structure.md).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from bayescg.inference.linear.calibration import Calibrated, directions, score_sums, whitened
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.statistics.force_statistics import ForceStatistics

_SHRUNK = 0.1
"""Share of the diagonal in the covariance of the scores."""

_SMALLEST = 0.02
"""Smallest eigenvalue of their correlation."""

_FLOOR = 0.01
"""Smallest variance of a direction, relative to the median."""


def structure_calibration(prior: Prior, statistics: ForceStatistics, reduced: Reduced, *, method: str) -> Calibrated:
    """Calibrated data of the structure equations; bead types are weighted by the prior's noises.

    Args:
        prior: with noises.
        statistics: `ForceStatistics.of("structure")`, made with a pilot.
        reduced: `marginal.reduce(prior, statistics.total())`.
        method: "godambe", or "magnitude": only the mean variance of the scores.

    Raises:
        ValueError: if the statistics hold no scores, or they do not vary.
    """
    precision, cross, variance, factor, memories = score_sums(prior, statistics, reduced)
    known = directions(precision, factor)
    white, plain = whitened(variance, known, memories)
    if not np.median(np.diag(white)) > 0:
        raise ValueError("the scores of the beads do not vary: all frames are one configuration; use more frames")
    covariance, clipped = _shrunk(white) if method == "godambe" else (np.eye(len(white)) * np.mean(np.diag(white)), 0)
    weight = np.linalg.inv(covariance)
    rows = precision @ known.basis
    values = np.linalg.eigvalsh(covariance)
    report = {
        "score_variance": float(np.mean(values)),
        "score_variance_min": float(values[0]),
        "score_variance_max": float(values[-1]),
        "score_directions": len(white),
        "score_clipped": clipped,
        "score_memory": float(np.trace(white)) / plain,
    }
    zero = jnp.asarray(np.zeros(1))
    gram, projected = rows @ weight @ rows.T, rows @ weight @ (known.basis.T @ cross)
    # With these weights the covariance of the weighted scores is their precision: no other root is needed.
    return Calibrated(Reduced(jnp.asarray(gram[None]), jnp.asarray(projected[None]), zero, zero), None, report)


def _shrunk(white: np.ndarray) -> tuple[np.ndarray, int]:
    """A positive covariance of the scores, and how many of its eigenvalues were not."""
    size = np.diag(white)
    root = np.sqrt(np.maximum(size, _FLOOR * np.median(size)))
    correlation = white / np.outer(root, root)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    raised = (vectors * np.maximum(values, _SMALLEST)) @ vectors.T
    raised = (1 - _SHRUNK) * raised + _SHRUNK * np.diag(np.diag(raised))
    return raised * np.outer(root, root), int(np.sum(values < _SMALLEST))

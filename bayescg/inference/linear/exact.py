"""Forces without noise: those of the model itself, as of a test or of a coarse-grained run that is fitted again.

Their likelihood has no maximum at a finite noise, and their scores do not vary. What such forces leave open is what the
spline cannot follow and what rounding of positions does (single precision: about 1e-4 of a liquid's forces), neither of
which is noise. A noise of 3e-4 of the forces stands in for both, and the fit has an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from bayescg.inference.linear import scores
from bayescg.inference.linear.calibration import Calibrated, calibrate, score_sums
from bayescg.inference.linear.marginal import Prior, Reduced
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.sums.blocks import Sums

_FLOOR = 3e-4
"""Noise that stands in, and the residual from which on none does, relative to the root mean square force."""

_NEAR = 0.1
"""Residual of a first fit, which shrinks, from which on forces have noise: nothing more is to be computed."""

_NEGLIGIBLE = 1e-12
"""Of the largest eigenvalue of the gram: directions that no interaction has sampled."""


def unexplained(total: Sums, prior: Prior) -> float:
    """Root mean square of what no coefficients explain, relative to the forces: the worst class of beads.

    It is one where a first fit, whose residual is the prior's noise, says that there is noise.
    """
    n_basis, size = prior.potential.n_basis, np.where(total.square > 0, total.square, 1.0)
    if np.any(np.asarray(prior.noise) > _NEAR * np.sqrt(size / np.maximum(total.components, 1))):
        return 1.0
    known = np.ones(total.gram.shape[-1] - n_basis)
    gram = np.einsum("t,tkl->kl", 1 / size, total.gram)
    cross = (1 / size) @ total.cross - gram[:, n_basis:] @ known
    values, vectors = np.linalg.eigh(gram[:n_basis, :n_basis])
    kept = values > _NEGLIGIBLE * values.max()
    w = vectors[:, kept] @ ((vectors[:, kept].T @ cross[:n_basis]) / values[kept])
    residual = scores.residual_variance(total, w) * np.maximum(total.components, 1)
    return float(np.sqrt(np.max(np.where(total.square > 0, np.maximum(residual, 0.0) / size, 0.0))))


def is_exact(share: float) -> bool:
    """Whether forces have no noise to speak of, by what is `unexplained`."""
    return share < _FLOOR


def with_noise(prior: Prior, reduced: Reduced, total: Sums) -> tuple[Prior, Reduced]:
    """Prior and data as if forces had a noise of `_FLOOR` of their size, independent of all else."""
    floor = _FLOOR * np.sqrt(total.square / np.maximum(total.components, 1))
    prior = replace(prior, noise=tuple(np.maximum(floor, 1e-12).tolist()))
    return prior, reduced._replace(square=reduced.square + jnp.asarray(total.components * floor**2))


def exact_calibration(prior: Prior, statistics: ForceStatistics, reduced: Reduced, *, method: str) -> Calibrated:
    """`force_calibration` with the scores of that noise added, whose covariance is the precision."""
    precision, cross, variance, factor, memories = score_sums(prior, statistics, reduced)
    return calibrate(precision, cross, variance + precision, factor, method=method, memories=memories)


def doubts(report: Mapping[str, float]) -> list[str]:
    """What a fit of such forces says, from its report."""
    if "unexplained" not in report:
        return []
    return [
        f"this potential explains the forces to {report['unexplained']:.1g} of their size: they have no noise that "
        f"error bars could be measured by. The bars stand for an error of the spline of {_FLOOR:g} of the forces. Fit "
        "with half the knot_spacing: what changes is the error of the spline"
    ]

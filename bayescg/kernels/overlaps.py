"""Prior of terms with inducing points: w ~ N(0, a^2 K^-1), K the kernel of the points, a the only unknown."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from bayescg.kernels.priors import IndependentPrior, prior_of
from bayescg.potentials import SmoothOverlap

_JITTER = 1e-10
"""Relative to the kernel's variance: neighborhoods are alike."""


@prior_of.register
def _(term: SmoothOverlap, counts, sampled, *, kT, first=None):
    """Energies of two typical neighborhoods differ by about 2 kT; v = L'w is independent, with K = L L'."""
    del counts, sampled, first
    gram = term.gram
    size = len(gram)
    factor = np.linalg.cholesky(gram + _JITTER * np.eye(size))
    lift = scipy.linalg.solve_triangular(factor, np.eye(size), lower=True).T
    # Of a single point there is no difference: the kernel's own variance is its scale.
    alike = np.mean(gram[np.triu_indices(size, 1)]) if size > 1 else 0.0
    spread = np.sqrt(2 * max(1 - alike, _JITTER))
    return IndependentPrior(term.name, lift, np.zeros(size), float(2 * kT / spread))

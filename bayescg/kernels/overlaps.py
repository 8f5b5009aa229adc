"""Prior of terms with inducing points: w ~ N(0, a^2 K^-1), K the kernel of the points, a the only unknown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float

from bayescg.potentials import SmoothOverlap

_JITTER = 1e-10
"""Relative to the kernel's variance: neighborhoods are alike."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("lift", "mean", "amplitude"),
    meta_fields=("name",),
)
@dataclass(frozen=True, eq=False)
class InducingPrior:
    """Constants of the prior; free coefficients have independent normal distributions of standard deviation a.

    Attributes:
        name: the term.
        lift: (basis, free) maps free coefficients to the term's, L^-T with K = L L^T.
        mean: (basis,) zero.
        amplitude: prior median of a [kJ/mol].
    """

    name: str
    lift: Float[np.ndarray, "basis free"]
    mean: Float[np.ndarray, " basis"]
    amplitude: float


def overlap_prior(term: SmoothOverlap, kT: float) -> InducingPrior:
    """Prior of a smooth-overlap term: energies of two typical neighborhoods differ by about 2 kT.

    Args:
        term: the term, with inducing points.
        kT: thermal energy [kJ/mol].
    """
    gram = term.gram
    size = len(gram)
    factor = np.linalg.cholesky(gram + _JITTER * np.eye(size))
    lift = scipy.linalg.solve_triangular(factor, np.eye(size), lower=True).T
    # Of a single point there is no difference: the kernel's own variance is its scale.
    alike = np.mean(gram[np.triu_indices(size, 1)]) if size > 1 else 0.0
    spread = np.sqrt(2 * max(1 - alike, _JITTER))
    return InducingPrior(term.name, lift, np.zeros(size), float(2 * kT / spread))

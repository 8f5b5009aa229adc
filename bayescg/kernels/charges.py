"""The prior of a permittivity."""

from __future__ import annotations

import numpy as np

from bayescg.kernels.priors import IndependentPrior, prior_of
from bayescg.potentials import Coulomb


@prior_of.register
def _(term: Coulomb, counts, sampled, *, kT, first=None):
    """Of 1 / permittivity: normal about that of the guess, with a spread of about its own size."""
    del counts, sampled, kT, first
    size = term.n_basis
    return IndependentPrior(term.name, np.eye(size), np.full(size, 1 / term.dielectric), 0.5 / term.dielectric)

"""Priors of the terms of a potential, from GPJax kernels."""

from bayescg.kernels import bonded, charges, densities, grids, overlaps, pairs  # noqa: F401 - each registers its priors
from bayescg.kernels.hyperparameters import by_name, default_kernel
from bayescg.kernels.priors import TermPrior, prior_of

__all__ = ["TermPrior", "by_name", "default_kernel", "prior_of"]

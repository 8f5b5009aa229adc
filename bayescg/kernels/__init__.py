"""Gaussian-process priors of the curves of a potential, from GPJax kernels."""

from bayescg.kernels.hyperparameters import by_name, default_kernel, factor, hyperpriors
from bayescg.kernels.shapes import TermPrior, Wall, term_prior, well_sampled_edge

__all__ = [
    "TermPrior",
    "Wall",
    "by_name",
    "default_kernel",
    "factor",
    "hyperpriors",
    "term_prior",
    "well_sampled_edge",
]

"""Gaussian-process priors of the curves of a potential, from GPJax kernels."""

from bayescg.kernels.grids import GridPrior, density_prior, triangle_prior
from bayescg.kernels.hyperparameters import by_name, default_kernel, factor, hyperpriors
from bayescg.kernels.overlaps import InducingPrior, overlap_prior
from bayescg.kernels.shapes import TermPrior, Wall, term_prior, well_sampled_edge

__all__ = [
    "GridPrior",
    "InducingPrior",
    "TermPrior",
    "Wall",
    "by_name",
    "default_kernel",
    "density_prior",
    "factor",
    "hyperpriors",
    "overlap_prior",
    "term_prior",
    "triangle_prior",
    "well_sampled_edge",
]

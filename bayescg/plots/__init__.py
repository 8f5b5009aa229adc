"""Figures of posteriors, observables, generative models and surrogates: xarray in, matplotlib figures out.

No function shows or saves anything, and none leaves a figure behind in pyplot: use `figure.savefig`, or let a notebook
display what is returned. Bands are the same everywhere: dark what the posterior leaves open, light all of the interval.
"""

from bayescg.plots.coverage import coverage, ranks
from bayescg.plots.generative import free_energy, latent_space, ramachandran
from bayescg.plots.inference import hyperparameters, pairs, prior_posterior, trace
from bayescg.plots.observables import observable, rdf
from bayescg.plots.potentials import potential
from bayescg.plots.side_by_side import side_by_side
from bayescg.plots.surrogates import surrogate
from bayescg.plots.terms import potential_figures
from bayescg.plots.three_body import three_body

__all__ = [
    "coverage",
    "free_energy",
    "hyperparameters",
    "latent_space",
    "observable",
    "pairs",
    "potential",
    "potential_figures",
    "prior_posterior",
    "ramachandran",
    "ranks",
    "rdf",
    "side_by_side",
    "surrogate",
    "three_body",
    "trace",
]

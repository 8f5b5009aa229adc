"""Observables of trajectories and ensembles, over blocks of frames, and their summaries with error bars.

Every observable is a function of a dataset that returns dims (draw, block, ...) for an ensemble and (block, ...) for
one trajectory; `summarize` turns it into a mean with `sd_posterior`, `sd_sampling` and an interval.
"""

from bayescg.observables.bonded import bond_distribution, bonded_angle_distribution, dihedral_distribution
from bayescg.observables.structure import angle_distribution, coordination_number, rdf
from bayescg.observables.summary import summarize, zscore
from bayescg.observables.thermodynamics import kinetic_temperature

__all__ = [
    "angle_distribution",
    "bond_distribution",
    "bonded_angle_distribution",
    "coordination_number",
    "dihedral_distribution",
    "kinetic_temperature",
    "rdf",
    "summarize",
    "zscore",
]

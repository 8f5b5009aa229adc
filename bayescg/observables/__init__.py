"""Observables of trajectories and ensembles, over blocks of frames, and their summaries with error bars.

Every observable is a function of a dataset that returns dims (draw, block, ...) for an ensemble and (block, ...) for
one trajectory; `summarize` turns it into a mean with `sd_posterior`, `sd_sampling` and an interval. `propagate` gives
draws from the frames of one reference run.
"""

from bayescg.observables.bonded import bond_distribution, bonded_angle_distribution, dihedral_distribution
from bayescg.observables.guards import Guard
from bayescg.observables.per_frame import per_frame
from bayescg.observables.propagation import add_references, propagate
from bayescg.observables.structure import angle_distribution, coordination_number, rdf
from bayescg.observables.summary import summarize, zscore
from bayescg.observables.thermodynamics import kinetic_temperature, potential_energy, virial_pressure

__all__ = [
    "Guard",
    "add_references",
    "angle_distribution",
    "bond_distribution",
    "bonded_angle_distribution",
    "coordination_number",
    "dihedral_distribution",
    "kinetic_temperature",
    "per_frame",
    "potential_energy",
    "propagate",
    "rdf",
    "summarize",
    "virial_pressure",
    "zscore",
]

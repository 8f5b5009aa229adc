"""From data to posterior."""

from bayescg.inference.boltzmann_inversion import boltzmann_inversion
from bayescg.inference.coverage import coverage
from bayescg.inference.fit import Sampling
from bayescg.inference.force_matching import force_match
from bayescg.inference.pilot import fit_pilot
from bayescg.inference.statistics import ForceStatistics, Pilot
from bayescg.inference.streaming import force_statistics

__all__ = [
    "ForceStatistics",
    "Pilot",
    "Sampling",
    "boltzmann_inversion",
    "coverage",
    "fit_pilot",
    "force_match",
    "force_statistics",
]

"""From data to posterior."""

from bayescg.inference.boltzmann_inversion import boltzmann_inversion
from bayescg.inference.force_matching import Sampling, force_match
from bayescg.inference.statistics import ForceStatistics, force_statistics

__all__ = ["ForceStatistics", "Sampling", "boltzmann_inversion", "force_match", "force_statistics"]

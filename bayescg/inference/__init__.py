"""From data to posterior."""

from bayescg.inference.boltzmann_inversion import boltzmann_inversion
from bayescg.inference.comparison import compare
from bayescg.inference.coverage import coverage
from bayescg.inference.distributed import distributed_statistics, trajectory_chunks
from bayescg.inference.fit import Sampling
from bayescg.inference.force_matching import force_match
from bayescg.inference.noise_ceiling import noise_ceiling
from bayescg.inference.pilot import fit_pilot
from bayescg.inference.rank_statistics import rank_statistics
from bayescg.inference.refinement import Refinement
from bayescg.inference.relative_entropy import relative_entropy
from bayescg.inference.statistics import ForceStatistics, Pilot
from bayescg.inference.streaming import force_statistics

__all__ = [
    "ForceStatistics",
    "Pilot",
    "Refinement",
    "Sampling",
    "boltzmann_inversion",
    "compare",
    "coverage",
    "distributed_statistics",
    "fit_pilot",
    "force_match",
    "force_statistics",
    "noise_ceiling",
    "rank_statistics",
    "relative_entropy",
    "trajectory_chunks",
]

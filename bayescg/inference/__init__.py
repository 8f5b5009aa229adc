"""From data to posterior."""

from bayescg.inference.comparison import compare
from bayescg.inference.coverage import coverage
from bayescg.inference.force_matching import force_match
from bayescg.inference.noise_ceiling import noise_ceiling
from bayescg.inference.pilot import fit_pilot, force_statistics
from bayescg.inference.rank_statistics import rank_statistics
from bayescg.inference.relative_entropy import relative_entropy
from bayescg.inference.statistics.asked import Pilot
from bayescg.inference.statistics.boltzmann_inversion import boltzmann_inversion
from bayescg.inference.statistics.distributed import distributed_statistics, trajectory_chunks
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.structural.refinement import Refinement
from bayescg.inference.structure_matching import structure_match
from bayescg.samplers.settings import Sampling

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
    "structure_match",
    "trajectory_chunks",
]

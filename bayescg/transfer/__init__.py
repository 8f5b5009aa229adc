"""One posterior for many systems: potentials that change with the state, at states that were never simulated."""

from bayescg.kernels.state_points import StateKernel
from bayescg.transfer.checks import leave_one_system_out
from bayescg.transfer.choosing import next_reference, sensitivity
from bayescg.transfer.fitting import fit
from bayescg.transfer.observing import observe
from bayescg.transfer.prediction import of_system, predict
from bayescg.transfer.systems import System

__all__ = [
    "StateKernel",
    "System",
    "fit",
    "leave_one_system_out",
    "next_reference",
    "observe",
    "of_system",
    "predict",
    "sensitivity",
]

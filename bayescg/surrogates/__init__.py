"""Physics-guided regression of coarse curves: a parametric law, a Gaussian-process discrepancy, and noise."""

from bayescg.surrogates.fitting import fit
from bayescg.surrogates.means import Mean, constant, nucleation_time, traction_separation, zero
from bayescg.surrogates.model import PhysicsGuidedGP
from bayescg.surrogates.prediction import check, predict

__all__ = [
    "Mean",
    "PhysicsGuidedGP",
    "check",
    "constant",
    "fit",
    "nucleation_time",
    "predict",
    "traction_separation",
    "zero",
]

"""Coarse curves with error bars: physics-guided regression, and levels of fidelity."""

from bayescg.surrogates.fitting import fit
from bayescg.surrogates.level_prediction import leave_one_out, predict_levels
from bayescg.surrogates.means import Mean, constant, nucleation_time, traction_separation, zero
from bayescg.surrogates.model import PhysicsGuidedGP
from bayescg.surrogates.multifidelity import multi_fidelity
from bayescg.surrogates.prediction import check, predict

__all__ = [
    "Mean",
    "PhysicsGuidedGP",
    "check",
    "constant",
    "fit",
    "leave_one_out",
    "multi_fidelity",
    "nucleation_time",
    "predict",
    "predict_levels",
    "traction_separation",
    "zero",
]

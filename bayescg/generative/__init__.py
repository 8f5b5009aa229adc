"""Coarse-graining without data: latent generative models of a force field."""

from bayescg.generative.collective_variables import CollectiveVariables
from bayescg.generative.cv_export import export_plumed, openmm_bias, openmm_cv
from bayescg.generative.discovery import Training, discover
from bayescg.generative.encoding import encode
from bayescg.generative.information import latent_information, state_information
from bayescg.generative.latent_model import LatentModel
from bayescg.generative.mode_check import ModeCheck, check_modes
from bayescg.generative.sampling import average, free_energy, sample
from bayescg.generative.tempering import Particles, tempered_smc
from bayescg.generative.transformer import LatentTransformer
from bayescg.generative.variability import model_variability, weight_draws

__all__ = [
    "CollectiveVariables",
    "LatentModel",
    "LatentTransformer",
    "ModeCheck",
    "Particles",
    "Training",
    "average",
    "check_modes",
    "discover",
    "encode",
    "export_plumed",
    "free_energy",
    "latent_information",
    "model_variability",
    "openmm_bias",
    "openmm_cv",
    "sample",
    "state_information",
    "tempered_smc",
    "weight_draws",
]

"""Coarse-graining without data: latent generative models of a force field."""

from bayescg.generative.discovery import Training, discover
from bayescg.generative.mode_check import ModeCheck, check_modes
from bayescg.generative.model.information import latent_information, state_information
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.particles.smc import Particles, tempered_smc
from bayescg.generative.sampling import average, free_energy, sample
from bayescg.generative.variability import model_variability, weight_draws
from bayescg.generative.variables.collective_variables import CollectiveVariables
from bayescg.generative.variables.encode import encode
from bayescg.generative.variables.export import export_plumed, openmm_bias, openmm_cv
from bayescg.generative.variables.transformer import LatentTransformer

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

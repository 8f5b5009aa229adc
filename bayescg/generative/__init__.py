"""Coarse-graining without data: latent generative models of a force field."""

from bayescg.generative.discovery import Training, discover
from bayescg.generative.information import latent_information, state_information
from bayescg.generative.latent_model import LatentModel
from bayescg.generative.mode_check import ModeCheck, check_modes
from bayescg.generative.sampling import average, encode, free_energy, sample
from bayescg.generative.tempering import Particles, tempered_smc

__all__ = [
    "LatentModel",
    "ModeCheck",
    "Particles",
    "Training",
    "average",
    "check_modes",
    "discover",
    "encode",
    "free_energy",
    "latent_information",
    "sample",
    "state_information",
    "tempered_smc",
]

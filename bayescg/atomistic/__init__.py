"""Atomistic models: force fields in JAX, internal coordinates, target densities."""

from bayescg.atomistic.analytic import bimodal, double_well_dimer, gaussian_mixture
from bayescg.atomistic.force_field import ForceField, translate
from bayescg.atomistic.internal_coordinates import InternalCoordinates, internal_coordinates
from bayescg.atomistic.molecules import alanine_dipeptide
from bayescg.atomistic.openmm_target import OpenMMTarget
from bayescg.atomistic.system_files import read_force_field
from bayescg.atomistic.target import LogDensity, Target

__all__ = [
    "ForceField",
    "InternalCoordinates",
    "LogDensity",
    "OpenMMTarget",
    "Target",
    "alanine_dipeptide",
    "bimodal",
    "double_well_dimer",
    "gaussian_mixture",
    "internal_coordinates",
    "read_force_field",
    "translate",
]

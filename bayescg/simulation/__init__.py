"""Ensembles of configurations from posteriors: Langevin dynamics in JAX or by LAMMPS."""

from bayescg.simulation.dynamics import Langevin
from bayescg.simulation.ensemble import simulate

__all__ = ["Langevin", "simulate"]

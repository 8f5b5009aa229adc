"""LAMMPS: files of a potential, commands that use them, and whether it can run them here."""

from bayescg.exports.lammps import charges, density, uf3  # noqa: F401 - each registers its style
from bayescg.exports.lammps.setup import can_run, write_setup

__all__ = ["can_run", "write_setup"]

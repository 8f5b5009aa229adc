"""Potentials in the formats of other programs: LAMMPS, OpenMM, GROMACS."""

from bayescg.exports.write import export

__all__ = ["export"]

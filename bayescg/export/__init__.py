"""Potentials in the formats of other programs: LAMMPS, OpenMM, GROMACS."""

from bayescg.export.write import export

__all__ = ["export"]

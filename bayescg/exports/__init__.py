"""Potentials in the formats of other programs: LAMMPS, OpenMM, GROMACS."""

from bayescg.exports.write import check_format, export

__all__ = ["check_format", "export"]

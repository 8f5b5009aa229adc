"""LAMMPS as an engine."""

from bayescg.simulation.lammps.engine import run, write_jobs

__all__ = ["run", "write_jobs"]

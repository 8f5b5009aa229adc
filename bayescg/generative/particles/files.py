"""Particles in files."""

from __future__ import annotations

import os
from pathlib import Path

from bayescg._records import read_record, write_record
from bayescg.generative.particles.smc import Particles

KIND = "particles"
_FORMAT = 1


def write_particles(particles: Particles, path: str | os.PathLike[str]) -> Path:
    """Write particles, atomically."""
    return write_record(path, KIND, _FORMAT, particles)


def read_particles(path: str | os.PathLike[str]) -> Particles:
    """Read particles.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is none, damaged, or of another version.
    """
    return read_record(path, KIND, _FORMAT, classes=(Particles,))

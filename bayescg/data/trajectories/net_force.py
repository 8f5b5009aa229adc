"""Forces that do not add up: the noise of a thermostat in a dump."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from bayescg.units import BOLTZMANN

_FRAMES, _SHARE = 16, 0.01
"""Frames that are counted, and the share of noise in the variance that is worth a word."""


class NetForce:
    """The sum of the forces of all atoms, which is zero where they act on each other alone.

    A thermostat that writes its random forces into a dump (LAMMPS `fix langevin`) adds independent numbers to each: the
    square of the sum over the sum of squares is then the share of noise in the variance of the forces.
    """

    def __init__(self) -> None:
        self._total, self._squares, self._frames = 0.0, 0.0, 0

    def add(self, forces: NDArray) -> None:
        """Count the forces (atom, 3) of a frame; the first sixteen do."""
        if self._frames < _FRAMES:
            values = forces.astype(np.float64)
            self._total += float(np.sum(values.sum(axis=0) ** 2))
            self._squares += float(np.sum(values**2))
            self._frames += 1

    def warn(self, temperature: float, mass: float, unit: float) -> None:
        """Say what share of the forces is noise, where it is one percent or more.

        Args:
            temperature: [K].
            mass: of all beads [Da].
            unit: of the forces counted [kJ/mol/nm].
        """
        if not self._squares or self._total < _SHARE * self._squares:
            return
        share = self._total / self._squares
        # Variance of a Langevin thermostat's force: 2 m kT / (damp dt).
        product = 2 * BOLTZMANN * temperature * mass * 3 * self._frames / (self._total * unit**2)
        warnings.warn(
            f"the forces of all atoms do not add up to zero: their sum holds {min(share, 1):.0%} of their variance. "
            f"This is what the random forces of a thermostat do (LAMMPS writes those of `fix langevin`; damp = "
            f"{1e3 * product:.2g} ps at a timestep of 1 fs would explain it), or walls, external fields and atoms that "
            "are missing in the dump. Write forces without them: `rerun` the dump without the thermostat, or `unfix` "
            "it and `run 0` before each frame",
            stacklevel=5,
        )

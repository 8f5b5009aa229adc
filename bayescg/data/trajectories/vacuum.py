"""Systems without boundaries, and forces that do not add up."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from bayescg.units import BOLTZMANN

OPEN = "open"
"""`boundary` of a dataset whose box is only empty space around a molecule."""

_AROUND, _LEAST = 4.0, 100.0
_FRAMES, _SHARE = 16, 0.01


def vacuum_box(positions: NDArray) -> NDArray[np.float64]:
    """(3, 3) a cube in which no atom sees an image of another, whatever the molecule does.

    Four times as wide as the system, and 100 units of length more: an unfolded chain still fits.

    Args:
        positions: (atom, 3) of the first frame.
    """
    return np.eye(3) * (_AROUND * float(np.ptp(positions, axis=0).max()) + _LEAST)


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

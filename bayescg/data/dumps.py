"""What LAMMPS files do not say, or MDAnalysis does not read: units, boundaries, the style of atoms."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

DUMP = "LAMMPSDUMP"
"""MDAnalysis's name of the format."""


@dataclass(frozen=True)
class LennardJonesUnits:
    """What one is in a simulation with `units lj`.

    Attributes:
        energy: epsilon [kJ/mol].
        length: sigma [nm].
        mass: of a unit mass [Da].
    """

    energy: float
    length: float
    mass: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value}: units lj need a positive energy [kJ/mol], length [nm] and mass [Da]")

    @property
    def force(self) -> float:
        """Of a unit force [kJ/mol/nm]."""
        return self.energy / self.length

    @property
    def time(self) -> float:
        """Of a unit time [ps]."""
        return self.length * math.sqrt(self.mass / self.energy)


Units = Literal["real", "metal"] | LennardJonesUnits

_STYLES = {
    # Unit of force [kJ/mol/nm] and of length [nm].
    "real": (41.84, 0.1),
    "metal": (964.8533212331, 0.1),
    "electron": (49614.752589, 0.0529177210903),
    "nano": (0.602214076, 1.0),
    "micro": (602.214076, 1e3),
    "cgs": (6.02214076e6, 1e7),
    "si": (6.02214076e11, 1e9),
}
_REMEDY = 'mda.Universe("system.data", "traj.lammpsdump", units="real")  # or "metal", or LennardJonesUnits(...)'


def scales(universe) -> tuple[float, float]:
    """A unit of length of a universe's trajectory in nm, and one of force in kJ/mol/nm.

    MDAnalysis converts all formats to Angstrom and kJ/mol/Angstrom but LAMMPS dumps, which come as written.

    Raises:
        ValueError: for a LAMMPS dump whose units were not said.
    """
    if not is_dump(universe):
        return 0.1, 10.0
    units = universe.kwargs.get("units")
    if isinstance(units, LennardJonesUnits):
        return units.length, units.force
    if units not in ("real", "metal"):
        raise ValueError(
            f"a LAMMPS dump does not say its units, and units={units!r}: say them where the universe is made, as in "
            f"{_REMEDY}"
        )
    return _STYLES[units][1], _STYLES[units][0]


def mistaken_for(universe) -> dict[str, float]:
    """Ratios of the configurational temperature to the true one if a dump has other units than were said.

    Returns:
        What to say -> ratio; empty for other formats.
    """
    said = universe.kwargs.get("units") if is_dump(universe) else None
    if not isinstance(said, str) or said not in _STYLES:
        return {}
    force, length = _STYLES[said]
    return {
        f"forces of a dump in `units {name}`, of which units={said!r} was said": force * length / (f * x)
        for name, (f, x) in _STYLES.items()
        if name != said
    }


def unit_mass(universe) -> float:
    """A unit of mass of a universe's topology [Da]."""
    units = getattr(universe, "kwargs", {}).get("units")
    return units.mass if isinstance(units, LennardJonesUnits) else 1.0


def unit_time(universe) -> float:
    """A unit of time of a universe's trajectory [ps]."""
    units = universe.kwargs.get("units") if is_dump(universe) else None
    return units.time if isinstance(units, LennardJonesUnits) else 1.0


def is_dump(universe) -> bool:
    """Whether any part of the trajectory is a LAMMPS dump."""
    return any(reader.format == DUMP for reader in parts_of(universe.trajectory))


def parts_of(trajectory) -> list[Any]:
    """Readers of the files of a trajectory, chained or not."""
    return list(getattr(trajectory, "readers", None) or [trajectory])


def is_open(universe) -> bool:
    """Whether a LAMMPS dump has no periodic boundaries, by the header of its first frame.

    Raises:
        ValueError: if only some directions are periodic.
    """
    if not is_dump(universe):
        return False
    words = {word for reader in parts_of(universe.trajectory) for word in boundaries(reader.filename)}
    periodic = {word == "pp" for word in words}
    if periodic == {True, False}:
        raise ValueError(
            f"the dump has boundaries {' '.join(sorted(words))}: systems that are periodic in some directions only are "
            "not supported, since pairs would be counted across the open sides. If nothing is near them, simulate with "
            "`boundary p p p` and empty space there, or replace them in the header of the dump"
        )
    return periodic == {False}


def boundaries(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The boundaries in the header of a dump, as in ("pp", "pp", "ss"); empty where it has none."""
    try:
        with Path(path).open(encoding="ascii", errors="replace") as lines:
            for _, line in zip(range(20), lines, strict=False):
                if line.startswith("ITEM: BOX BOUNDS"):
                    return tuple(word for word in line.split()[3:] if len(word) == 2 and set(word) <= set("pfsm"))
    except (OSError, TypeError):
        pass
    return ()


_COLUMNS = {
    "atomic": "id type x y z",
    "charge": "id type charge x y z",
    "bond": "id resid type x y z",
    "angle": "id resid type x y z",
    "molecular": "id resid type x y z",
    "full": "id resid type charge x y z",
}


def atom_style(path: str | os.PathLike[str]) -> str | None:
    """Columns of the atoms in a data file, in MDAnalysis's words; None where the file does not say its style."""
    with Path(path).open(encoding="ascii", errors="replace") as lines:
        for _, line in zip(range(1000), lines, strict=False):
            if line.startswith("Atoms") and "#" in line:
                return _COLUMNS.get(line.split("#")[1].strip())
    return None

"""Files of the reader, by the names that the pages give them; made where a page names them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm

import bayescg as bcg
from tests.docs import molecules
from tests.docs.given import Given, first_frames


def _moving(given, path: Path) -> None:
    """A topology or a trajectory of molecules."""
    atoms = molecules.moving(1, 60).atoms
    atoms.write(str(path), **({"bonds": "all"} if path.suffix == ".pdb" else {"frames": "all"}))


def _beads(given, path: Path) -> None:
    atoms = molecules.moving(2, 2).select_atoms("name O")
    atoms.write(str(path), **({} if path.suffix == ".gro" else {"frames": "all"}))


def _lammps_beads(given, path: Path) -> None:
    from tests.data.lammps import dump

    x = np.random.default_rng(0).uniform(0, 10, (2, 2, 3))
    dump(path.parent, x, np.zeros_like(x), 12.0, name="beads.lammpsdump")
    (path.parent / "system.data").rename(path.parent / "beads.data")


def _copied(given, path: Path) -> None:
    path.write_bytes((given.files.topology.parent / path.name).read_bytes())


def _part(given, path: Path) -> None:
    """The first three quarters, or the last ones: the middle is in both."""
    path.write_bytes(first_frames(given.files.trajectory, 24 if path.name == "part1.trr" else -24))


FILES: dict[str, Callable[[Given, Path], object]] = {
    "topol.tpr": _copied,
    "traj.trr": _copied,
    "part1.trr": _part,
    "part2.trr": _part,
    "molecule.pdb": _moving,
    "run.xtc": _moving,
    "beads.gro": _beads,
    "beads.xtc": _beads,
    "beads.data": _lammps_beads,
    "beads.lammpsdump": _lammps_beads,
    "mapping.xml": lambda given, path: path.write_text(molecules.VOTCA),
    "system.xml": lambda given, path: path.write_text(openmm.XmlSerializer.serialize(molecules.bent(1).system)),
    "cg_last.nc": lambda given, path: bcg.save(given.cg.isel(frame=[-1]), path),
    "statistics.nc": lambda given, path: bcg.save(given.statistics, path),
    "posterior.nc": lambda given, path: bcg.save(given.posterior, path),
    "ensemble.nc": lambda given, path: bcg.save(given.ensemble, path),
}
"""How each is made."""


def write_files(text: str, given: Given, folder: Path) -> None:
    """Make the files that a text names."""
    for name, make in FILES.items():
        if re.search(rf"\b{re.escape(name)}\b", text) and not (folder / name).exists():
            make(given, folder / name)

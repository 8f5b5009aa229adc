"""Bundled trajectories: small, real, and enough to try everything on."""

from __future__ import annotations

import importlib.resources
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from bayescg._runtime import atomic_path


class TrajectoryFiles(NamedTuple):
    """Files of an atomistic simulation.

    Attributes:
        topology: path of the topology.
        trajectory: path of the trajectory.
    """

    topology: Path
    trajectory: Path

    def universe(self):
        """The simulation as an MDAnalysis Universe.

        Returns:
            A new `MDAnalysis.Universe`.
        """
        import MDAnalysis

        return MDAnalysis.Universe(str(self.topology), str(self.trajectory))


def water(directory: str | os.PathLike[str] | None = None) -> TrajectoryFiles:
    """SPC/E water: 510 molecules, 300 K, a cubic box of 2.477 nm, 100 frames of 2 ps with forces (GROMACS TPR and TRR).

    The files are copied, because MDAnalysis writes an index beside every trajectory that it reads, and the package may
    be installed where nothing can be written. Copies that are there already are used again.

    Args:
        directory: where to copy them; a folder for this user under the system's temporary one if None.

    Returns:
        Paths of the topology and the trajectory; `water().universe()` opens them.
    """
    if directory is None:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        directory = Path(tempfile.gettempdir()) / f"bayescg-{user}" / "water"
    return TrajectoryFiles(*(_copy("water", name, Path(directory)) for name in ("topol.tpr", "traj.trr")))


def _copy(dataset: str, name: str, directory: Path) -> Path:
    """Copy a bundled file unless an equal one is there."""
    content = importlib.resources.files("bayescg.data").joinpath("files", dataset, name).read_bytes()
    target = directory / name
    if not target.is_file() or target.read_bytes() != content:
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)
    return target

"""What structure equations take for granted of frames: a Boltzmann density of the beads at one volume."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.geometry.images import minimum_image

_FRAMES = 50
_RIGID = 1e-3
"""Relative scatter of a distance below which it is held by a constraint: thermal bonds scatter by a percent or more."""


def require_canonical(cg: xr.Dataset) -> None:
    """Refuse frames for which E[Phi_i f_i] = -kT E[div_i Phi_i] need not hold.

    Args:
        cg: frames.

    Raises:
        ValueError: if there is no box or it changes, beads have no mass, or are at a fixed distance from each other.
    """
    require_one_volume(np.asarray(cg["box"].values if "box" in cg else np.zeros((3, 3)), float).reshape(-1, 3, 3))
    massless = np.flatnonzero(~(np.asarray(cg["mass"].values, float) > 0))
    if len(massless):
        raise ValueError(
            f"bead {massless[0]} has no mass: a virtual site follows other beads, so that no structure equation holds "
            "for it; map its atoms into the bead that carries it, or fit forces"
        )
    _require_no_constraints(cg)


def require_one_volume(boxes: Float[np.ndarray, "frame 3 3"]) -> None:
    """Refuse boxes without volume, and boxes that change.

    Args:
        boxes: (frame, 3, 3) [nm].

    Raises:
        ValueError: in either case.
    """
    volumes = np.abs(np.linalg.det(boxes))
    if not np.all(volumes > 0):
        raise ValueError(
            "the frames have no box: neighbors, and the ensemble at one volume, need one; give box= [nm] when mapping"
        )
    if np.ptp(boxes, axis=0).max() > 1e-4 * np.abs(boxes).max():
        raise ValueError(
            f"the box changes (volume {volumes.min():.4g} to {volumes.max():.4g} nm^3): structure equations are for "
            "frames at constant volume (NVT); use these frames for forces only, or simulate at constant volume"
        )


def _require_no_constraints(cg: xr.Dataset) -> None:
    """Refuse bonded beads, or ends of angles, whose distances do not vary."""
    types = np.asarray(cg["bead_type"].values).astype(str)
    tables = [(cg[name].values, ends) for name, ends in (("bonds", (0, 1)), ("angles", (0, 2))) if name in cg]
    pairs = [np.asarray(table)[:, ends] for table, ends in tables if np.size(table)]
    if not pairs or cg.sizes["frame"] < 2:
        return
    linked = np.concatenate(pairs)
    some = cg.isel(frame=np.unique(np.linspace(0, cg.sizes["frame"] - 1, _FRAMES).astype(int)))
    x, boxes = np.asarray(some["positions"].values, float), np.asarray(some["box"].values, float)
    boxes = np.broadcast_to(boxes, (len(x), 3, 3))
    lengths = np.stack(
        [
            np.linalg.norm(minimum_image(frame[linked[:, 1]] - frame[linked[:, 0]], box), axis=-1)
            for frame, box in zip(x, boxes, strict=True)
        ]
    )
    names = np.array(["-".join(sorted(pair)) for pair in types[linked]])
    for name in np.unique(names):
        own = lengths[:, names == name]
        # About each pair's own mean: constraints of several lengths are constraints as well.
        scatter = np.sqrt(np.mean((own - own.mean(axis=0)) ** 2))
        if scatter < _RIGID * own.mean():
            i, j = linked[np.flatnonzero(names == name)[0]]
            raise ValueError(
                f"beads {i} and {j} ({name}) stay {own.mean():.4g} nm apart, as if by a rigid constraint, across which "
                "structure equations do not hold: map what is rigid to one bead, or fit forces"
            )

"""Orientation and shape of beads, from the inertia tensor of their atoms.

The tensor sum_i m_i (x_i - c)(x_i - c)^T / sum_i m_i of the atoms of a bead about their center of mass has the axes of
the inertia tensor as eigenvectors. A homogeneous ellipsoid with the same masses along them has principal radii
sqrt(5 lambda), lambda the eigenvalues.

An axis has no sign, and two axes with equal radii (of a symmetric top such as benzene) are any pair in their plane.
Signs are chosen such that the largest component of each of the first two axes is positive and all three are
right-handed: a choice that jumps in time. What is computed from a shape must therefore depend on the tensor
sum_k radius_k^2 axis_k axis_k^T alone (`shape_tensors`), which knows neither signs nor a choice among equal axes.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bayescg._runtime import progress
from bayescg.data.dataset import validate
from bayescg.data.mapping.force_map import masses_of
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.mapping.projection import spanning_forest
from bayescg.geometry.images import minimum_image

_THIN = 1e-3
"""The middle of a bead's rms extents relative to the longest, below which its atoms lie on a line; coordinates of
trajectories are single precision numbers, or rounded to 0.001 nm in compressed ones."""


def with_orientation(cg: xr.Dataset, universe, mapping: Mapping, *, bead_types: ArrayLike | None = None) -> xr.Dataset:
    """The dataset with orientation and shape of its beads.

    Args:
        cg: from `coarse_grain(universe, mapping, ...)`; any selection of its frames.
        universe: MDAnalysis Universe whose trajectory `cg` was made of.
        mapping: which atoms make up which bead.
        bead_types: types of the beads that have an orientation; None: all. Others get radii of zero, and the axes of
            the box.

    Returns:
        The dataset with `axes` (frame, bead, axis, xyz), unit vectors in order of falling radii, and `radii` (frame,
        bead, axis) [nm] of the ellipsoid of equal inertia.

    Raises:
        ValueError: if a bead has one atom or its atoms lie on a line, so that its axes are not defined; if the dataset
            is of another mapping or trajectory.
    """
    cg = cg if "frame" in cg.dims else cg.expand_dims("frame")
    validate(cg)
    if cg.attrs.get("mapping") != mapping.to_json():
        raise ValueError("the dataset was not made with this mapping: give coarse_grain(universe, mapping, ...)")
    chosen = _chosen(mapping, bead_types)
    frames, last = cg["frame"].values, universe.trajectory.n_frames - 1
    if frames.max() > last:
        raise ValueError(f"the dataset has frame {frames.max()}, the trajectory ends at {last}: give the one it is of")
    extents = _Extents(mapping, masses_of(universe))
    axes = np.broadcast_to(np.eye(3), (len(frames), mapping.n_beads, 3, 3)).copy()
    radii = np.zeros((len(frames), mapping.n_beads, 3))
    initial = universe.trajectory.frame
    with progress("Orientations", len(frames)) as advance:
        for row, number in enumerate(frames):
            step = universe.trajectory[int(number)]
            if not np.isclose(step.time, cg["time"].values[row], rtol=1e-5, atol=1e-4):
                raise ValueError(
                    f"frame {number} is at {step.time:g} ps in the trajectory, but at {cg['time'].values[row]:g} ps in "
                    "the dataset: give the universe that the dataset was made of"
                )
            tensors = extents.tensors(step.positions, step.triclinic_dimensions)[chosen]
            values, vectors = np.linalg.eigh(tensors)
            values = np.maximum(values[:, ::-1], 0.0)
            _require_axes(values, chosen, mapping, int(number))
            axes[row, chosen] = _handed(np.swapaxes(vectors, -1, -2)[:, ::-1])
            radii[row, chosen] = 0.1 * np.sqrt(5 * values)
            advance(1)
    _ = universe.trajectory[initial]
    return with_shapes(cg, axes, radii)


def with_shapes(cg: xr.Dataset, axes: ArrayLike, radii: ArrayLike) -> xr.Dataset:
    """The dataset with given axes and radii of its beads.

    Args:
        cg: a coarse-grained dataset.
        axes: (frame, bead, axis, xyz) orthonormal axes.
        radii: (frame, bead, axis) principal radii [nm].

    Returns:
        A new dataset with `axes` and `radii`.

    Raises:
        ValueError: for other shapes, axes that are not orthonormal, or radii that are negative or not finite.
    """
    u, r = np.asarray(axes, float), np.asarray(radii, float)
    expected = cg["positions"].shape
    if u.shape != (*expected, 3) or r.shape != expected:
        raise ValueError(f"axes have shape {u.shape} and radii {r.shape}: give {(*expected, 3)} and {expected}")
    if not np.allclose(u @ np.swapaxes(u, -1, -2), np.eye(3), atol=1e-5):
        raise ValueError("axes of a bead must be three orthogonal unit vectors, in rows")
    if not np.all(np.isfinite(r)) or np.any(r < 0):
        raise ValueError(f"radii must be finite and not negative [nm]; the smallest is {np.nanmin(r):g}")
    dims = cg["positions"].dims
    return cg.assign(
        axes=((*dims[:-1], "axis", "xyz"), u, {"long_name": "principal axes, without a sign"}),
        radii=((*dims[:-1], "axis"), r, {"units": "nm", "long_name": "of the ellipsoid of equal inertia"}),
    )


def shape_tensors(cg: xr.Dataset) -> NDArray[np.float64]:
    """Second moments of the homogeneous ellipsoids, sum_k radii_k^2 / 5 axis_k axis_k^T.

    Args:
        cg: a dataset with axes and radii, from `with_orientation` or `with_shapes`.

    Returns:
        (frame, bead, 3, 3) [nm^2].

    Raises:
        ValueError: if the dataset has no axes and radii.
    """
    if "axes" not in cg or "radii" not in cg:
        raise ValueError("the beads have no orientation: call with_orientation(cg, universe, mapping) first")
    axes = cg["axes"].values
    return np.einsum("...kx,...k,...ky->...xy", axes, cg["radii"].values ** 2 / 5, axes)


class _Extents:
    """Second moments of all beads of a frame, beads made whole along their bonds."""

    def __init__(self, mapping: Mapping, masses: NDArray[np.float64]):
        self._mapping = mapping
        order = np.argsort(mapping.owner, kind="stable")
        self._parent, self._levels = spanning_forest(mapping, order[mapping.owner[order] >= 0])
        inside = np.flatnonzero(mapping.owner >= 0)
        total = np.bincount(mapping.owner[inside], masses[inside], minlength=mapping.n_beads)
        shares = masses[inside] / total[mapping.owner[inside]]
        shape = (mapping.n_beads, mapping.n_atoms)
        self._mean = sparse.csr_array((shares, (mapping.owner[inside], inside)), shape=shape)

    def tensors(self, atoms: NDArray, box: NDArray) -> NDArray[np.float64]:
        """(bead, 3, 3) mass-weighted second moments about the centers of mass, in the unit of the positions squared."""
        place = np.zeros((len(atoms), 3))
        for level in self._levels:
            parent = self._parent[level]
            place[level] = place[parent] + minimum_image(atoms[level].astype(float) - atoms[parent], box)
        center = self._mean @ place
        place -= center[self._mapping.owner]
        return (self._mean @ (place[:, :, None] * place[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)


def _chosen(mapping: Mapping, bead_types: ArrayLike | None) -> NDArray[np.int64]:
    """Beads that have an orientation, refused where they have one atom only."""
    chosen = np.arange(mapping.n_beads)
    if bead_types is not None:
        wanted = np.atleast_1d(np.asarray(bead_types, dtype=str))
        if missing := sorted(set(wanted.tolist()) - set(mapping.bead_type.tolist())):
            raise ValueError(f"no bead is of type {', '.join(missing)}: types are {sorted(set(mapping.bead_type))}")
        chosen = np.flatnonzero(np.isin(mapping.bead_type, wanted))
    atoms = np.bincount(mapping.owner[mapping.owner >= 0], minlength=mapping.n_beads)
    if np.any(atoms[chosen] < 2):
        bead = chosen[atoms[chosen] < 2][0]
        raise ValueError(
            f"bead {bead} ({mapping.name[bead]}, type {mapping.bead_type[bead]}) has one atom: it has no orientation; "
            "name the types that have one by bead_types="
        )
    return chosen


def _require_axes(values: NDArray, chosen: NDArray, mapping: Mapping, frame: int) -> None:
    """Refuse beads whose atoms lie on a line: every direction across it is an axis."""
    flat = np.sqrt(values[:, 1]) <= _THIN * np.sqrt(values[:, 0])
    if np.any(flat):
        bead = chosen[flat][0]
        raise ValueError(
            f"the atoms of bead {bead} ({mapping.name[bead]}, type {mapping.bead_type[bead]}) lie on a line in frame "
            f"{frame}: its principal axes are not defined; leave its type out of bead_types="
        )


def _handed(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Axes in rows with the signs that the module's text describes."""
    first = axes[:, :2]
    largest = np.take_along_axis(first, np.abs(first).argmax(-1)[..., None], axis=-1)
    first = first * np.where(largest < 0, -1.0, 1.0)
    return np.concatenate([first, np.cross(first[:, 0], first[:, 1])[:, None]], axis=1)

"""Distributions of bond lengths, bonded angles and dihedrals."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg.geometry.images import minimum_image
from bayescg.observables._beads import bin_edges, centers, histogram, tuples
from bayescg.observables._blocks import BlockAverages, block_averages, to_array

_BOND_WIDTH = 0.002


def bond_distribution(
    dataset: xr.Dataset,
    a: str,
    b: str,
    *,
    group: str | None = None,
    bins: ArrayLike | None = None,
    blocks: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Distribution of the lengths of the bonds between beads of types `a` and `b`.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz) with bonds, positions in nm.
        a: bead type.
        b: bead type; an A-B bond is a B-A bond.
        group: only bonds of this group ("" for the ungrouped ones); None: of any group.
        bins: edges of the bins [nm]; None: bins of 0.002 nm that begin at multiples of it, over the lengths that occur,
            so that distributions from different runs share their bins where they overlap.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`.

    Returns:
        Probability density [1/nm], dims (draw, block, r) or (block, r), r [nm]. It is normalized by all bonds, those
        outside given bins included, and carries the r^2 of the sphere: p(r) ~ r^2 exp(-u(r) / kT) for a free bond.

    Raises:
        ValueError: if there is no such bond, or bins, blocks or weights do not fit.
    """
    members = tuples(dataset, (a, b), group)
    label = f"{a}-{b}"
    if bins is not None:
        averages, edges = _average(dataset, members, bin_edges(bins, 0.0, np.inf, 1), label, blocks, weights)
    else:
        # One pass over a grid beyond any minimum image; the empty ends are cut off afterwards.
        longest = np.sqrt((dataset["box"].values.astype(np.float64) ** 2).sum(axis=-1)).max() * 1.5
        grid = np.arange(int(longest / _BOND_WIDTH) + 2) * _BOND_WIDTH
        averages, _ = _average(dataset, members, grid, label, blocks, weights)
        seen = np.flatnonzero(np.nansum(averages.values, axis=(0, 1)))
        kept = slice(max(seen[0] - 1, 0), seen[-1] + 2)
        averages = BlockAverages(averages.values[..., kept], averages.weight, averages.shared, averages.has_draws)
        edges = grid[kept.start : kept.stop + 1]
    return to_array(
        averages,
        dataset,
        name="bond_distribution",
        axis=("r", centers(edges), {"long_name": "r", "units": "nm"}),
        attrs=_attrs(f"p(r) of bond {label}", "1/nm", label, group),
    )


def bonded_angle_distribution(
    dataset: xr.Dataset,
    a: str,
    b: str,
    c: str,
    *,
    group: str | None = None,
    bins: int | ArrayLike | None = None,
    blocks: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Distribution of the bonded angles a-b-c that the dataset lists.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz) with angles, positions in nm.
        a: bead type of one end.
        b: bead type of the vertex.
        c: bead type of the other end; an A-B-C angle is a C-B-A angle.
        group: only angles of this group ("" for the ungrouped ones); None: of any group.
        bins: number of equal bins from 0 to pi, or their edges [rad]; None: 90 bins of 2 degrees.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`.

    Returns:
        Probability density [1/rad], dims (draw, block, theta) or (block, theta), theta [rad]. It is normalized by all
        angles, those outside given bins included, and contains the sin(theta) of the sphere.

    Raises:
        ValueError: if there is no such angle, or bins, blocks or weights do not fit.
    """
    members = tuples(dataset, (a, b, c), group)
    label = f"{a}-{b}-{c}"
    averages, edges = _average(dataset, members, bin_edges(bins, 0.0, np.pi, 90), label, blocks, weights)
    return to_array(
        averages,
        dataset,
        name="bonded_angle_distribution",
        axis=("theta", centers(edges), {"long_name": "θ", "units": "rad"}),
        attrs=_attrs(f"p(θ) of angle {label}", "1/rad", label, group),
    )


def dihedral_distribution(
    dataset: xr.Dataset,
    a: str,
    b: str,
    c: str,
    d: str,
    *,
    group: str | None = None,
    bins: int | ArrayLike | None = None,
    blocks: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Distribution of the dihedral angles a-b-c-d that the dataset lists.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz) with dihedrals, positions in nm.
        a: bead type of one end.
        b: second bead type along the chain.
        c: third bead type.
        d: bead type of the other end; an A-B-C-D dihedral is a D-C-B-A dihedral.
        group: only dihedrals of this group ("" for the ungrouped ones); None: of any group.
        bins: number of equal bins from -pi to pi, or their edges [rad]; None: 72 bins of 5 degrees.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`.

    Returns:
        Probability density [1/rad], dims (draw, block, phi) or (block, phi), phi [rad] with the IUPAC sign: cis is 0,
        trans is pi. It is normalized by all dihedrals, those outside given bins included.

    Raises:
        ValueError: if there is no such dihedral, or bins, blocks or weights do not fit.
    """
    members = tuples(dataset, (a, b, c, d), group)
    label = f"{a}-{b}-{c}-{d}"
    averages, edges = _average(dataset, members, bin_edges(bins, -np.pi, np.pi, 72), label, blocks, weights)
    return to_array(
        averages,
        dataset,
        name="dihedral_distribution",
        axis=("phi", centers(edges), {"long_name": "φ", "units": "rad"}),
        attrs=_attrs(f"p(φ) of dihedral {label}", "1/rad", label, group),
    )


def _average(
    dataset: xr.Dataset,
    members: NDArray[np.int64],
    edges: NDArray,
    label: str,
    blocks: int | None,
    weights: ArrayLike | xr.DataArray | None,
) -> tuple[BlockAverages, NDArray]:
    """Block averages of the density of the internal coordinate of the tuples, and the edges they belong to."""
    measure = {2: _lengths, 3: _angles, 4: _dihedrals}[members.shape[1]]
    widths = np.diff(edges)

    def frame_function(positions: NDArray, box: NDArray) -> tuple[NDArray, float]:
        # Every link is its own minimum image, so that molecules need not be whole.
        links = minimum_image(positions[members[:, 1:]] - positions[members[:, :-1]], box)
        return histogram(measure(links), edges) / widths, float(len(members))

    averages = block_averages(
        dataset, frame_function, widths.shape, blocks=blocks, weights=weights, description=f"distribution {label}"
    )
    return averages, edges


def _lengths(links: NDArray) -> NDArray:
    return np.linalg.norm(links[:, 0], axis=-1)


def _angles(links: NDArray) -> NDArray:
    back, forth = -links[:, 0], links[:, 1]
    # atan2 keeps its precision at 0 and pi, where arccos loses half the digits.
    return np.arctan2(np.linalg.norm(np.cross(back, forth), axis=-1), (back * forth).sum(axis=-1))


def _dihedrals(links: NDArray) -> NDArray:
    first, middle, last = links[:, 0], links[:, 1], links[:, 2]
    left, right = np.cross(first, middle), np.cross(middle, last)
    sine = np.linalg.norm(middle, axis=-1) * (first * right).sum(axis=-1)
    return np.arctan2(sine, (left * right).sum(axis=-1))


def _attrs(long_name: str, units: str, label: str, group: str | None) -> dict[str, object]:
    named = {"group": group} if group is not None else {}
    return {"long_name": long_name, "units": units, "beads": label, **named}

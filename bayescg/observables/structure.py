"""Structure between molecules: radial distribution functions, coordination numbers, angles between neighbors."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg.data.neighbors import pairs
from bayescg.data.trajectories.vacuum import refuse_open
from bayescg.geometry.images import minimum_image
from bayescg.observables._beads import (
    bead_types,
    bin_edges,
    bonds_excluded,
    centers,
    excluded_pairs,
    histogram,
    pair_filter,
)
from bayescg.observables._blocks import block_averages, to_array
from bayescg.observables._distances import Wanted, counter

_DEFAULT_WIDTH = 0.005


def rdf(
    dataset: xr.Dataset,
    a: str,
    b: str,
    *,
    cutoff: float,
    bins: int | ArrayLike | None = None,
    blocks: int | None = None,
    exclude_bonds: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Radial distribution function g(r) between beads of types `a` and `b`.

    g(r) = V n_ab(r) / (N_a N_b v(r)), with n_ab(r) the number of ordered pairs (like beads: each pair in both orders)
    whose nearest images are in the spherical shell of volume v(r), and V the volume of each frame. This is the density
    of b around a over the mean density of b, as in MDAnalysis, GROMACS and VOTCA: in an ideal gas of N like beads it
    is 1 - 1/N, and excluded pairs are left out of n_ab only.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz), positions in nm.
        a: bead type.
        b: bead type; the order does not matter.
        cutoff: largest distance [nm], at most half the shortest box height.
        bins: number of equal bins from 0 to the cutoff, or their edges [nm]; None: bins of about 0.005 nm.
        blocks: number of contiguous blocks of frames; None: 10, or as many as there are frames. When frames do not
            divide evenly, the first blocks are one frame longer.
        exclude_bonds: leave out pairs separated by at most this many bonds (0 to 3); None: the dataset's attr
            `exclude_bonds`, else 0.
        weights: (draw, frame) or (frame,) weights of the frames, normalized within each draw; None: the dataset's
            variable `weight` (of a biased run), or uniform without it.
            (draw, frame) on a trajectory without draws gives every draw's reweighted g(r) from one count.

    Returns:
        g(r), dims (draw, block, r) or (block, r), r [nm] the centers of the bins. A block's value uses the weights
        within it; the coordinate `block_weight` is its share in the average of its draw. A block without weight is NaN.

    Raises:
        ValueError: if a type does not occur, the cutoff does not fit the box, or bins, blocks or weights do not fit; or
            in vacuum, where beads have no mean density.
    """
    refuse_open(
        dataset,
        "there is no mean density for g(r) to be relative to",
        "observe coordination_number, angle_distribution or distributions of bonded beads, or count distances yourself "
        "by per_frame",
    )
    types = bead_types(dataset, a, b)
    beads = np.flatnonzero((types == a) | (types == b))
    is_a = types[beads] == a
    count_a, count_b = int(is_a.sum()), int((types == b).sum())
    if a == b and count_a < 2:
        raise ValueError(f"there is one bead of type {a!r} only: it has no pair")
    edges = bin_edges(bins, 0.0, cutoff, max(1, round(cutoff / _DEFAULT_WIDTH)))
    excluded = excluded_pairs(dataset, beads, bonds_excluded(dataset, exclude_bonds))
    wanted = Wanted(is_a, a == b, excluded, edges, cutoff)
    frames = dataset.sizes.get("frame", 1) * dataset.sizes.get("draw", 1)
    count = counter(wanted, frames)
    pairs_per_density = count_a**2 / 2 if a == b else count_a * count_b
    shells = 4 / 3 * np.pi * np.diff(edges**3)

    def frame_function(positions: NDArray, box: NDArray) -> tuple[NDArray, float]:
        counts = count(positions[beads], box)
        return counts * (abs(np.linalg.det(box)) / (pairs_per_density * shells)), 1.0

    averages = block_averages(
        dataset,
        frame_function,
        shells.shape,
        blocks=blocks,
        weights=weights,
        description=f"g(r) {a}-{b}",
    )
    attrs = {"long_name": f"g(r) {a}-{b}", "units": "1", "beads": f"{a}-{b}", "cutoff": float(cutoff)}
    attrs["exclude_bonds"] = bonds_excluded(dataset, exclude_bonds)
    axis = ("r", centers(edges), {"long_name": "r", "units": "nm"})
    return to_array(averages, dataset, name="rdf", axis=axis, attrs=attrs)


def coordination_number(
    dataset: xr.Dataset,
    a: str,
    b: str,
    *,
    cutoff: float,
    blocks: int | None = None,
    exclude_bonds: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Mean number of beads of type `b` within the cutoff around a bead of type `a`.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz), positions in nm.
        a: type of the bead in the center.
        b: type of the beads that are counted.
        cutoff: distance [nm], at most half the shortest box height; for the first shell, the first minimum of g(r).
        blocks: number of contiguous blocks of frames, as in `rdf`.
        exclude_bonds: leave out beads within this many bonds, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`.

    Returns:
        Dims (draw, block) or (block,).

    Raises:
        ValueError: if a type does not occur, the cutoff does not fit the box, or blocks or weights do not fit.
    """
    types = bead_types(dataset, a, b)
    beads = np.flatnonzero((types == a) | (types == b))
    is_a = types[beads] == a
    keep = pair_filter(excluded_pairs(dataset, beads, bonds_excluded(dataset, exclude_bonds)), len(beads))
    # An unordered pair of like beads makes each a neighbor of the other.
    share = (2.0 if a == b else 1.0) / int(is_a.sum())

    def frame_function(positions: NDArray, box: NDArray) -> tuple[NDArray, float]:
        found = pairs(positions[beads], box, cutoff)
        chosen = np.ones(len(found), dtype=bool) if a == b else is_a[found[:, 0]] != is_a[found[:, 1]]
        if keep is not None:
            chosen &= keep(found)
        return np.array(chosen.sum() * share), 1.0

    averages = block_averages(
        dataset, frame_function, (), blocks=blocks, weights=weights, description=f"coordination {a}-{b}"
    )
    attrs = {"long_name": f"number of {b} within {cutoff:g} nm of {a}", "units": "1", "beads": f"{a}-{b}"}
    attrs |= {"cutoff": float(cutoff), "exclude_bonds": bonds_excluded(dataset, exclude_bonds)}
    return to_array(averages, dataset, name="coordination_number", axis=None, attrs=attrs)


def angle_distribution(
    dataset: xr.Dataset,
    a: str,
    b: str,
    c: str,
    *,
    cutoff: float,
    bins: int | ArrayLike | None = None,
    blocks: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Distribution of the angles a-b-c that two neighbors of types `a` and `c` make at a bead of type `b`.

    All pairs of neighbors within the cutoff of the center count, each once, whether or not a bond is between them,
    except neighbors that the dataset's attr `exclude_bonds` excludes from their center (set it with `assign_attrs`).
    For angles along bonds see `bonded_angle_distribution`.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz), positions in nm.
        a: type of one neighbor.
        b: type of the center.
        c: type of the other neighbor; a and c may be exchanged.
        cutoff: largest distance of a neighbor from the center [nm], at most half the shortest box height.
        bins: number of equal bins from 0 to pi, or their edges [rad]; None: 90 bins of 2 degrees.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`.

    Returns:
        Probability density [1/rad], dims (draw, block, theta) or (block, theta), theta [rad]. It integrates to one and
        contains the sin(theta) of the sphere: independent neighbors give sin(theta) / 2.

    Raises:
        ValueError: if a type does not occur, no center has two neighbors, the cutoff does not fit the box, or bins,
            blocks or weights do not fit.
    """
    types = bead_types(dataset, a, b, c)
    beads = np.flatnonzero(np.isin(types, [a, b, c]))
    kinds = types[beads]
    keep = pair_filter(excluded_pairs(dataset, beads, bonds_excluded(dataset, None)), len(beads))
    edges = bin_edges(bins, 0.0, np.pi, 90)

    def frame_function(positions: NDArray, box: NDArray) -> tuple[NDArray, float]:
        chosen = positions[beads]
        found = pairs(chosen, box, cutoff)
        if keep is not None:
            found = found[keep(found)]
        directed = np.concatenate([found, found[:, ::-1]])
        directed = directed[(kinds[directed[:, 0]] == b) & np.isin(kinds[directed[:, 1]], [a, c])]
        vectors = minimum_image(chosen[directed[:, 1]] - chosen[directed[:, 0]], box)
        angles = _angles_at_centers(directed[:, 0], vectors, kinds[directed[:, 1]] == a, a == c)
        return histogram(angles, edges) / np.diff(edges), float(len(angles))

    averages = block_averages(
        dataset,
        frame_function,
        (len(edges) - 1,),
        blocks=blocks,
        weights=weights,
        description=f"angles {a}-{b}-{c}",
    )
    attrs = {"long_name": f"p(θ) of neighbors {a}-{b}-{c}", "units": "1/rad", "beads": f"{a}-{b}-{c}"}
    attrs |= {"cutoff": float(cutoff), "exclude_bonds": bonds_excluded(dataset, None)}
    axis = ("theta", centers(edges), {"long_name": "θ", "units": "rad"})
    return to_array(averages, dataset, name="angle_distribution", axis=axis, attrs=attrs)


def _angles_at_centers(center: NDArray, vectors: NDArray, first: NDArray, alike: bool) -> NDArray:
    """Angles between the neighbors of each center, each pair of neighbors once.

    Args:
        center: (n,) center of each neighbor.
        vectors: (n, 3) from the center to the neighbor.
        first: (n,) whether the neighbor is of type a.
        alike: whether a and c are one type.

    Returns:
        (n_angles,) [rad].
    """
    if not len(center):
        return np.zeros(0)
    order = np.argsort(center, kind="stable")
    _, start, number = np.unique(center[order], return_index=True, return_counts=True)
    # Neighbors in a padded table (center, neighbor): one matrix product makes all cosines.
    row = np.repeat(np.arange(len(number)), number)
    column = np.arange(len(order)) - np.repeat(start, number)
    units = np.zeros((len(number), number.max(), 3))
    units[row, column] = vectors[order] / np.linalg.norm(vectors[order], axis=1, keepdims=True)
    present = np.zeros(units.shape[:2], dtype=bool)
    present[row, column] = True
    if alike:
        chosen = present[:, :, None] & present[:, None, :] & np.triu(np.ones((number.max(),) * 2, dtype=bool), k=1)
    else:
        is_first = np.zeros(present.shape, dtype=bool)
        is_first[row, column] = first[order]
        chosen = is_first[:, :, None] & (present & ~is_first)[:, None, :]
    cosines = (units @ units.transpose(0, 2, 1))[chosen]
    return np.arccos(np.clip(cosines, -1.0, 1.0))

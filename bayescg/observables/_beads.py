"""Choosing beads, pairs and bonded tuples by type, and the bins to count them in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bayescg.data.mapping.topology import exclusions

_PLURAL = {2: "bond", 3: "angle", 4: "dihedral"}


def bead_types(dataset: xr.Dataset, *wanted: str) -> NDArray[np.str_]:
    """Types of all beads, after checking that the wanted ones occur.

    Args:
        dataset: CG trajectory or ensemble.
        *wanted: bead types that must occur.

    Returns:
        (bead,) types.

    Raises:
        ValueError: if a wanted type does not occur.
    """
    if "bead_type" not in dataset.coords:
        raise ValueError("the dataset has no coordinate 'bead_type': make it with coarse_grain or from_arrays")
    types = dataset["bead_type"].values.astype(str)
    for name in wanted:
        if name not in types:
            raise ValueError(f"there is no bead of type {name!r}; the types are {', '.join(np.unique(types))}")
    return types


def tuples(dataset: xr.Dataset, wanted: tuple[str, ...], group: str | None) -> NDArray[np.int64]:
    """Listed bonds, angles or dihedrals of the given bead types, in either direction.

    Args:
        dataset: CG trajectory or ensemble.
        wanted: 2, 3 or 4 bead types along the chain.
        group: only tuples of this group ("" for the ungrouped ones); None: of any group.

    Returns:
        (n, 2 | 3 | 4) bead indices.

    Raises:
        ValueError: if there are none.
    """
    kind = _PLURAL[len(wanted)]
    types = bead_types(dataset, *wanted)
    listed = (
        dataset[f"{kind}s"].values.astype(np.int64) if f"{kind}s" in dataset else np.zeros((0, len(wanted)), np.int64)
    )
    names = types[listed]
    match = np.all(names == np.array(wanted), axis=1) | np.all(names == np.array(wanted[::-1]), axis=1)
    label = "-".join(wanted)
    if not match.any():
        present = sorted({min("-".join(row), "-".join(row[::-1])) for row in names.tolist()})
        known = f"; those listed are {', '.join(present)}" if present else f"; the dataset lists no {kind}s at all"
        raise ValueError(f"there is no {kind} {label}{known}")
    if group is not None:
        groups = (
            dataset[f"{kind}_group"].values.astype(str)
            if f"{kind}_group" in dataset.coords
            else np.full(len(names), "")
        )
        present = sorted(set(groups[match].tolist()))
        match &= groups == group
        if not match.any():
            raise ValueError(f"no {kind} {label} is in group {group!r}; its groups are {present}")
    return listed[match]


def bonds_excluded(dataset: xr.Dataset, exclude_bonds: int | None) -> int:
    """The number of bonds within which pairs are not counted: as given, else the dataset's attr, else 0."""
    return int(dataset.attrs.get("exclude_bonds", 0)) if exclude_bonds is None else exclude_bonds


def excluded_pairs(dataset: xr.Dataset, beads: NDArray[np.int64], exclude_bonds: int) -> NDArray[np.int64]:
    """Pairs of beads that do not count, by the exclusions along bonds.

    Args:
        dataset: CG trajectory or ensemble.
        beads: (n,) indices of the beads among which pairs are sought.
        exclude_bonds: 0 to 3.

    Returns:
        (m, 2) positions in `beads`.
    """
    bonds = dataset["bonds"].values if "bonds" in dataset else np.zeros((0, 2), dtype=np.int64)
    n_beads = dataset.sizes["bead"]
    position = np.full(n_beads, -1)
    position[beads] = np.arange(len(beads))
    excluded = position[exclusions(bonds, n_beads, exclude_bonds)]
    return excluded[(excluded >= 0).all(axis=1)]


def pair_filter(excluded: NDArray[np.int64], n: int) -> Callable[[NDArray], NDArray[np.bool_]] | None:
    """A function that tells which pairs of neighbors count.

    Args:
        excluded: (m, 2) pairs that do not, from `excluded_pairs`.
        n: number of beads among which pairs are sought.

    Returns:
        `(pairs (m, 2), i < j) -> (m,) bool`; None when all pairs count.
    """
    if not len(excluded):
        return None
    keys = np.sort(excluded.min(axis=1) * n + excluded.max(axis=1))
    graph = coo_array((np.ones(len(excluded)), (excluded[:, 0], excluded[:, 1])), shape=(n, n))
    _, part = connected_components(graph, directed=False)

    def counts(found: NDArray) -> NDArray[np.bool_]:
        keep = np.ones(len(found), dtype=bool)
        # Nearly all neighbors are in different molecules, which one comparison settles.
        near = np.flatnonzero(part[found[:, 0]] == part[found[:, 1]])
        key = found[near, 0].astype(np.int64) * n + found[near, 1]
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        keep[near] = keys[at] != key
        return keep

    return counts


def bin_edges(bins: int | ArrayLike | None, low: float, high: float, default: int) -> NDArray[np.float64]:
    """Edges of histogram bins.

    Args:
        bins: number of equal bins between low and high, or ascending edges within them; None: `default` equal bins.
        low: lower end.
        high: upper end.
        default: number of bins for None.

    Returns:
        (n_bins + 1,) edges.

    Raises:
        ValueError: if the edges do not ascend or leave the range, or the number is not positive.
    """
    edges = np.asarray(default if bins is None else bins, dtype=np.float64)
    if edges.ndim == 0:
        if edges % 1 or edges < 1:
            raise ValueError(f"bins={bins!r}: give a positive number of bins, or their edges")
        return np.linspace(low, high, int(edges) + 1)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError("bins: give a number of bins, or at least two ascending edges")
    if edges[0] < low - 1e-9 or edges[-1] > high + 1e-9:
        raise ValueError(f"bins from {edges[0]:g} to {edges[-1]:g} leave the range {low:g} to {high:g}")
    return edges


def histogram(values: NDArray, edges: NDArray) -> NDArray[np.int64]:
    """`numpy.histogram`, which is several times faster when it is told that the bins are equal."""
    equal = np.array_equal(edges, np.linspace(edges[0], edges[-1], len(edges)))
    bins, limits = (len(edges) - 1, (edges[0], edges[-1])) if equal else (edges, None)
    return np.histogram(values, bins=bins, range=limits)[0]


def centers(edges: NDArray) -> NDArray[np.float64]:
    """Midpoints of bins."""
    return (edges[1:] + edges[:-1]) / 2

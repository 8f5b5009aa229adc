"""`force_statistics`: the one pass over mapped frames that makes sufficient statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg._runtime import double_precision, progress
from bayescg.data import neighbors
from bayescg.data.dataset import check_temperature
from bayescg.inference.blocks import MAX_BLOCKS, Sums, add, merge_to_level, type_pairs
from bayescg.inference.frames import Scoring, accumulate, zeros
from bayescg.inference.statistics import ForceStatistics, Pilot
from bayescg.potentials import Interactions, Potential

_PADDING = 512
"""Neighbor lists of scores grow in such steps, so that few different shapes are compiled."""


def force_statistics(
    potential: Potential,
    data: xr.Dataset | Iterable[xr.Dataset],
    *,
    pilot: Pilot | None = None,
    system: str | None = None,
) -> ForceStatistics:
    """One pass over mapped frames.

    Args:
        potential: what to fit. Ranges that bonds left open are filled in from the first chunk.
        data: a CG dataset with forces, or an iterable of chunks of one (`bayescg.stream`), of which only one is held.
        pilot: from `fit_pilot`, the same for all data that are to be added; calibrated error bars need it.
        system: name of the thermodynamic system, whose beads have a force noise of their own; None: named by its
            composition, such as "W510". With a name given, terms whose bead types the system lacks are left out, so
            that pure components and mixtures can be added up.

    Returns:
        The sums that `force_match` needs.

    Raises:
        ValueError: if the data hold no forces or no frames, or do not fit the potential or the pilot.
    """
    chunks = [data] if isinstance(data, xr.Dataset) else data
    total: ForceStatistics | None = None
    frames = data.sizes.get("frame", 1) if isinstance(data, xr.Dataset) else None
    with progress("Force statistics", frames) as advance:
        for chunk in chunks:
            if total is not None:
                potential = total.potential
            part = _pass(potential, chunk, pilot, system, advance)
            total = part if total is None else total + part
    if total is None:
        raise ValueError("there are no frames: the trajectory is empty")
    return total


def _pass(potential: Potential, cg: xr.Dataset, pilot: Pilot | None, system: str | None, advance) -> ForceStatistics:
    cg, temperature = _checked(cg)
    potential = _filled(potential, cg, pilot)
    interactions = Interactions.of(potential, cg, partial=system is not None)
    types = potential.bead_types
    rows = [np.flatnonzero(interactions.type_index == k).astype(np.int32) for k in range(len(types))]
    everything = rows if len(rows) > 1 or len(rows[0]) < interactions.n_beads else None
    source = str(cg.attrs.get("source", "data"))
    numbers = np.asarray(cg["frame"].values, np.int64) if "frame" in cg.coords else np.arange(cg.sizes["frame"])
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError("some frame numbers appear twice in the data: the same frames would count twice")
    positions, forces = np.asarray(cg["positions"].values), np.asarray(cg["forces"].values)
    for name, values in (("positions", positions), ("forces", forces)):
        if not np.all(np.isfinite(values)):
            frame, bead = np.argwhere(~np.isfinite(values))[0][:2]
            raise ValueError(f"{name} of bead {bead} in frame {numbers[frame]} are not finite: leave that frame out")
    boxes = np.broadcast_to(np.asarray(cg["box"].values, float), (len(numbers), 3, 3))
    counts = {term.name: np.zeros(term.spline.intervals) for term in potential.terms}
    low, high = dict.fromkeys(counts, np.inf), dict.fromkeys(counts, -np.inf)
    sizes: dict[str, int] = {}
    level = 0
    sums: dict[tuple[str, int], Sums] = {}
    with double_precision():
        columns = potential.n_basis + sum(term.baseline is not None for term in potential.terms)
        open_key, open_sums = None, None
        pairs = len(type_pairs(len(rows)))
        scores = None if pilot is None else jnp.zeros((pairs, potential.n_basis, potential.n_basis))
        for k, number in enumerate(numbers.tolist()):
            key = (source, number >> level)
            if key != open_key:
                if open_key is not None:
                    _add(sums, open_key, open_sums)
                    if len(sums) > MAX_BLOCKS:
                        while len(sums) > MAX_BLOCKS:
                            level += 1
                            sums = merge_to_level(sums, level - 1, level)
                        key = (source, number >> level)
                open_key, open_sums = key, zeros(len(rows), columns)
            x, box = positions[k].astype(float), boxes[k]
            configuration = interactions.configuration(x, box, sizes=sizes)
            scoring = None if pilot is None else _scoring(pilot, x, box, sizes)
            open_sums, scores, found = accumulate(
                potential, open_sums, configuration, forces[k].astype(float), everything, scoring, scores
            )
            for name, (histogram, lowest, highest) in found.items():
                counts[name] += np.asarray(histogram)
                low[name], high[name] = min(low[name], float(lowest)), max(high[name], float(highest))
            advance(1)
        _add(sums, open_key, open_sums)
        while len(sums) > MAX_BLOCKS:
            level += 1
            sums = merge_to_level(sums, level - 1, level)
    present = {types[k] for k, chosen in enumerate(rows) if len(chosen)}
    for term in potential.terms:
        if not np.isfinite(low[term.name]) and present.issuperset(term.types):
            raise ValueError(
                f"{term.name}: no interaction within its range in {len(numbers)} frames; check bead types and cutoff"
            )
    name = system or _composition(cg)
    return ForceStatistics(
        potential,
        temperature,
        types,
        sums,
        {source: level},
        {source: numbers},
        counts,
        {name: (low[name], high[name]) for name in counts},
        {source: name},
        {name: 1.0},
        pilot,
        {} if scores is None else {source: np.asarray(scores)},
    )


def _checked(cg: xr.Dataset) -> tuple[xr.Dataset, float]:
    if "frame" not in cg.dims:
        cg = cg.expand_dims("frame")
    if cg.sizes["frame"] == 0:
        raise ValueError("there are no frames: the trajectory is empty")
    if "forces" not in cg:
        raise ValueError(
            "the data hold no forces: force matching needs a trajectory written with forces (GROMACS nstfout, LAMMPS "
            "dump fx fy fz); without forces, fit the structure with relative_entropy"
        )
    if "temperature" not in cg.attrs:
        raise ValueError("the data have no temperature: give temperature= [K] when mapping")
    return cg, check_temperature(cg.attrs["temperature"])


def _filled(potential: Potential, cg: xr.Dataset, pilot: Pilot | None) -> Potential:
    """The potential with all ranges, which are the pilot's if there is one."""
    if pilot is None:
        return potential.with_ranges(cg)
    if not potential.filled_by(pilot.potential):
        raise ValueError(
            f"the pilot belongs to another potential: {pilot.potential!r}, not {potential!r}; "
            "call fit_pilot with the potential that is to be fitted"
        )
    return pilot.potential


def _composition(cg: xr.Dataset) -> str:
    return " ".join(f"{bead}{count}" for bead, count in sorted(Counter(cg["bead_type"].values.tolist()).items()))


def _scoring(pilot: Pilot, positions, box, sizes: dict[str, int]) -> Scoring:
    found = neighbors.pairs(positions, box, min(pilot.radius, neighbors.shortest_height(box) / 2))
    sizes["scores"] = max(-(-len(found) // _PADDING) * _PADDING, sizes.get("scores", 0))
    padded = np.full((sizes["scores"], 2), len(positions), np.int32)  # beyond the last bead: dropped
    padded[: len(found)] = found
    return Scoring(jnp.asarray(pilot.coefficients), jnp.asarray(padded))


def _add(sums: dict, key, block: Sums) -> None:
    block = Sums(*(np.asarray(part) for part in block))
    sums[key] = block if key not in sums else add(sums[key], block)

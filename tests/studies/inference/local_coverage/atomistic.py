"""Coarse-grained atomistic liquids: segments against the fit to the other frames, by `bayescg.coverage`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg.data import Topology
from tests.studies.inference.local_coverage.judge import NORMAL, Pool, Row, judged
from tests.studies.inference.local_coverage.liquids import KELVIN, METHANOL, TRIMETHYLPENTANE, Liquid, simulated
from tests.studies.inference.local_coverage.ranges import Sampled, cells_of, sampled
from tests.studies.inference.water_coverage import water

_REST = 2
"""Contacts a segment beyond which the fit to the other frames is taken for the truth."""


@dataclass(frozen=True)
class Mapped:
    """A liquid mapped to beads.

    Attributes:
        make: gives its frames.
        terms: what is fitted.
        exclude_bonds: of the potential.
    """

    make: Callable[[], xr.Dataset]
    terms: tuple
    exclude_bonds: int = 0

    def measure(self, system: str, frames: int) -> list[Row]:
        """Coverage of disjoint segments.

        Args:
            system: name in the table.
            frames: of a segment.
        """
        data = self.make()
        segments = data.sizes["frame"] // frames
        potential = bcg.fill_ranges(bcg.Potential(*self.terms, exclude_bonds=self.exclude_bonds), data)
        found = {name: _known(of, segments) for name, of in sampled(potential, data).items()}
        cells = {name: cells_of(potential.term(name), of, segments) for name, of in found.items()}  # pyright: ignore[reportArgumentType]
        # All terms in one call, whose ranges are the cells: they follow one another.
        ends = {name: [*(cell.ends[0] for cell in several), several[-1].ends[1]] for name, several in cells.items()}
        result = bcg.coverage(potential, data, segments=segments, ranges=ends, key=jax.random.key(0))
        rows = []
        for name, several in cells.items():
            x = result[f"x_{name}"].values
            z, width = result[f"z_{name}"].values, 2 * NORMAL * result[f"sd_{name}"].values
            own = [slice(k * frames, (k + 1) * frames) for k in range(segments)]
            low = np.array([found[name].low[s].min() for s in own])[:, None]
            high = np.array([found[name].high[s].max() for s in own])[:, None]
            for cell, share in zip(several, result[f"data_share_{name}"].values, strict=True):
                pool, inside = Pool(), (x >= low) & (x <= high) & cell.holds(x)
                for k in range(segments):
                    pool.add(np.abs(z[k, inside[k]]) < NORMAL, z[k, inside[k]], width[k, inside[k]], share)
                rows.append(judged((system, name, cell.name), cell.ends, cell.contacts, pool))
        return rows


def _known(found: Sampled, segments: int) -> Sampled:
    """What was sampled, but for the ends that the other frames have hardly met: there is no truth to judge by."""
    below = np.cumsum(found.counts)
    few = _REST * segments
    low = found.edges[np.searchsorted(below, few) + 1]
    high = found.edges[np.searchsorted(below, below[-1] - few)]
    return Sampled(found.edges, found.counts, np.maximum(found.low, low), np.minimum(found.high, high))


def spce() -> Mapped:
    """SPC/E water of 2000 frames."""
    return Mapped(water, (bcg.Pair("W", "W", 0.9),))


def methanol() -> Mapped:
    """One bead a molecule."""
    return Mapped(lambda: _beads(METHANOL, 440, {"M": (range(3),)}), (bcg.Pair("M", "M", 1.2),))


def trimethylpentane() -> Mapped:
    """One bead a molecule."""
    return Mapped(lambda: _beads(TRIMETHYLPENTANE, 300, {"P": (range(8),)}), (bcg.Pair("P", "P", 1.4),))


def trimethylpentane_of_three() -> Mapped:
    """Both ends and the middle of each molecule."""
    pairs = [bcg.Pair(a, b, 1.4) for a, b in (("A", "A"), ("A", "B"), ("B", "B"))]
    terms = (*pairs, bcg.Bond("A", "B"), bcg.Angle("A", "B", "A"))
    groups = {"A": (range(3), range(5, 8)), "B": (range(3, 5),)}
    return Mapped(lambda: _beads(TRIMETHYLPENTANE, 300, groups), terms, exclude_bonds=2)


def _beads(liquid: Liquid, frames: int, groups: Mapping[str, tuple[range, ...]]) -> xr.Dataset:
    """Centers of mass of groups of sites, in the order of the chain, and the forces on them."""
    found = simulated(liquid, frames)
    ordered = sorted((tuple(sites), kind) for kind, several in groups.items() for sites in several)
    positions, forces, masses = found["positions"].values, found["forces"].values, np.array(liquid.masses)
    parts = [list(sites) for sites, _ in ordered]
    x = np.stack([np.average(positions[:, :, s], axis=2, weights=masses[s]) for s in parts], axis=2)
    f = np.stack([forces[:, :, s].sum(axis=2) for s in parts], axis=2)
    count, molecules = len(ordered), liquid.molecules
    chain = [(count * m + k, count * m + k + 1) for m in range(molecules) for k in range(count - 1)]
    bonds = np.array(chain, int).reshape(-1, 2)
    return bcg.from_arrays(
        x.reshape(frames, -1, 3),
        np.eye(3) * liquid.box,
        [kind for _, kind in ordered] * molecules,
        temperature=KELVIN,
        forces=f.reshape(frames, -1, 3),
        mass=[float(masses[s].sum()) for s in parts] * molecules,
        topology=Topology.from_bonds(count * molecules, bonds) if count > 1 else None,
    )

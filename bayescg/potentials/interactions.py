"""Which beads interact: bonded tuples from the topology, pairs from neighbor lists, exclusions taken out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from bayescg.data import neighbors
from bayescg.data.mapping.topology import exclusions
from bayescg.data.orientation import shape_tensors
from bayescg.geometry.images import shortest_height
from bayescg.potentials.configuration import Configuration, Neighbors
from bayescg.potentials.electrostatics.coulomb import Coulomb
from bayescg.potentials.pair import Pair
from bayescg.potentials.potential import Potential
from bayescg.potentials.term import Term


def shapes_of(potential: Potential, cg: xr.Dataset) -> Float[np.ndarray, "frame bead 3 3"] | None:
    """Second moments of ellipsoidal beads in every frame [nm^2]; None if no term asks for them.

    Raises:
        ValueError: if a term asks for them and the data have no orientations.
    """
    if not any(term.needs_shapes for term in potential.terms):
        return None
    return shape_tensors(cg).reshape(-1, cg.sizes["bead"], 3, 3)


@dataclass(frozen=True, eq=False)
class Interactions:
    """The interacting tuples of one system for one potential; makes a `Configuration` of any frame.

    Attributes:
        potential: the potential, with all ranges filled in.
        n_beads: number of beads.
        bonded: beads of every listed interaction, by term name.
        type_index: bead type of each bead as an index into `potential.bead_types` (-1: in no term).
        excluded: excluded pairs as sorted numbers i * n_beads + j, i < j.
    """

    potential: Potential
    n_beads: int
    bonded: dict[str, Int[np.ndarray, "interaction body"]]
    type_index: Int[np.ndarray, " bead"]
    excluded: Int[np.ndarray, " excluded"]

    @classmethod
    def of(cls, potential: Potential, cg: xr.Dataset, *, partial: bool = False) -> Interactions:
        """Find the interactions of a potential in a system.

        Args:
            potential: the potential, all ranges filled in.
            cg: the system.
            partial: allow bead types that the system lacks: their terms then have no interactions here.

        Returns:
            The interactions.

        Raises:
            ValueError: if a term names a bead type that the data lack, a bonded term matches nothing, beads with net
                charge have pair or many-body terms without a `Coulomb` term, their charges do not suit that term, or a
                cutoff exceeds half the shortest box height of any frame.
        """
        present = np.asarray(cg["bead_type"].values).astype(str)
        known = sorted(set(present.tolist()))
        for term in potential.terms:
            for bead in term.types:
                if bead not in known and not (partial and set(known) & set(potential.bead_types)):
                    raise ValueError(f"{term.name} names bead type {bead!r}; the data have {', '.join(known)}")
        _require_charges(potential, present, cg)
        _warn_of_missing_pairs(potential, known)
        if potential.cutoff > 0:
            shortest = min(shortest_height(box) for box in np.unique(cg["box"].values.reshape(-1, 3, 3), axis=0))
            if potential.cutoff > 0.5 * shortest:
                raise ValueError(
                    f"cutoff {potential.cutoff:g} nm exceeds half the shortest box height ({0.5 * shortest:.4g} nm): "
                    "use a shorter cutoff or a larger box"
                )
        types = potential.bead_types
        n_beads = cg.sizes["bead"]
        pairs = exclusions(
            np.asarray(cg["bonds"].values) if "bonds" in cg else np.zeros((0, 2), int), n_beads, potential.exclude_bonds
        )
        listed = {name: rows for term in potential.terms for name, rows in _listed(term, cg, known, partial).items()}
        for term in potential.terms:
            listed |= term.list_excluded(cg, pairs)
        return cls(
            potential,
            n_beads,
            listed,
            np.array([types.index(bead) if bead in types else -1 for bead in present]),
            np.sort(pairs[:, 0].astype(np.int64) * n_beads + pairs[:, 1]),
        )

    def pairs(
        self, positions: Float[np.ndarray, "bead 3"], box: Float[np.ndarray, "3 3"], skin: float = 0.0
    ) -> dict[str, Int[np.ndarray, "row column"]]:
        """The arrays that terms make from the neighbors in a frame, exclusions taken out.

        Args:
            positions: (bead, 3) [nm].
            box: (3, 3) [nm].
            skin: added to every cutoff [nm]; a list with a skin stays valid while beads move less than half of it.

        Returns:
            Name of the array -> (interaction, column) bead numbers.
        """
        terms = [term for term in self.potential.terms if term.cutoff > 0]
        if not terms:
            return {}
        reach = max(term.cutoff for term in terms) + skin
        found = neighbors.pairs(positions, box, reach)
        if len(self.excluded):
            low, high = found.min(axis=1).astype(np.int64), found.max(axis=1).astype(np.int64)
            code = low * self.n_beads + high
            place = np.minimum(np.searchsorted(self.excluded, code), len(self.excluded) - 1)
            found = found[self.excluded[place] != code]
        numbers = {bead: k for k, bead in enumerate(self.potential.bead_types)}
        near = Neighbors(found, self.type_index, numbers, positions, box, reach, skin)
        result = {}
        for term in terms:
            result.update(term.find_tuples(near))
        return result

    def configuration(
        self,
        positions: Float[np.ndarray, "bead 3"],
        box: Float[np.ndarray, "3 3"],
        skin: float = 0.0,
        sizes: dict[str, int] | None = None,
    ) -> Configuration:
        """One frame with its interacting tuples, neighbor lists padded to a few fixed sizes.

        Args:
            positions: (bead, 3) [nm].
            box: (3, 3) [nm].
            skin: added to every cutoff [nm].
            sizes: padded length of each list so far, updated in place. Give the same dict, at first empty, for all
                frames of a loop: lists then only grow, and a compiled function meets few different shapes.

        Returns:
            The configuration.
        """
        sizes = {} if sizes is None else sizes
        tuples = dict(self.bonded)
        for name, found in self.pairs(positions, box, skin).items():
            sizes[name] = max(capacity(len(found)), sizes.get(name, 0))
            padded = np.zeros((sizes[name], found.shape[1]), np.int32)
            padded[: len(found)] = found
            tuples[name] = padded
        return Configuration(positions, box, tuples)


def _listed(term: Term, cg: xr.Dataset, known: list[str], partial: bool) -> dict[str, np.ndarray]:
    if partial and term.cutoff == 0 and not set(term.types) <= set(known):
        return {term.name: np.zeros((1, term.body), np.int32)}  # one padded row, as everywhere: bead 0 with itself
    return term.list_tuples(cg)


def _require_charges(potential: Potential, present: np.ndarray, cg: xr.Dataset) -> None:
    """Refuse beads with net charge in terms of neighbors without a term for their charge: it reaches beyond these."""
    if "charge" not in cg.coords:
        return
    held = {bead for term in potential.terms if isinstance(term, Coulomb) for bead in term.of_types}
    wanted = {bead for term in potential.terms if term.cutoff > 0 for bead in term.types} - held
    charge = np.where(np.isin(present, sorted(wanted)), np.abs(cg["charge"].values), 0.0)
    if np.any(charge > 1e-3):
        worst = int(np.argmax(charge))
        raise ValueError(
            f"bead type {present[worst]} carries a net charge of {cg['charge'].values[worst]:+.4g} e: a short-ranged "
            "potential cannot describe it. Add bayescg.Coulomb(cutoff=...) to the potential (with all charged types, "
            "if you give its charges), or choose a mapping with neutral beads"
        )


def _warn_of_missing_pairs(potential: Potential, present: list[str]) -> None:
    """Bead types that both have pair terms, but none with each other, would pass through one another."""
    pairs = {frozenset(term.types) for term in potential.terms if isinstance(term, Pair)}
    types = sorted({bead for pair in pairs for bead in pair} & set(present))
    missing = [f"{a}-{b}" for k, a in enumerate(types) for b in types[k:] if frozenset((a, b)) not in pairs]
    charges = {bead: q for term in potential.terms if isinstance(term, Coulomb) for bead, q in term.of_types.items()}
    charged = sorted(set(charges) & set(present))
    falling = [
        f"{a}-{b}"
        for a, b in combinations(charged, 2)
        if charges[a] * charges[b] < 0 and frozenset((a, b)) not in pairs
    ]
    if falling:
        warnings.warn(
            f"no pair term for {', '.join(falling)}: nothing keeps these beads of opposite charge apart, and a "
            "simulation would make them fall onto one another",
            UserWarning,
            stacklevel=4,
        )
        missing = [pair for pair in missing if pair not in falling]
    if missing:
        warnings.warn(
            f"no pair term for {', '.join(missing)}: these beads do not interact in the model, and their forces count "
            "as noise in the fit",
            UserWarning,
            stacklevel=4,
        )


def capacity(count: int) -> int:
    """Smallest size >= count of a geometric ladder with ratio 1.1."""
    if count <= 64:
        return 64
    return math.ceil(64 * 1.1 ** math.ceil(math.log(count / 64) / math.log(1.1)))

"""Which beads interact: bonded tuples from the topology, pairs from neighbor lists, exclusions taken out."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from bayescg._runtime import double_precision
from bayescg.data import neighbors
from bayescg.data.mapping.topology import exclusions
from bayescg.data.orientation import shape_tensors
from bayescg.potentials.local_density import LocalDensity
from bayescg.potentials.potential import Potential
from bayescg.potentials.smooth_overlap import SmoothOverlap
from bayescg.potentials.spline_term import Configuration
from bayescg.potentials.terms import Pair, Term

_LISTS = {"bond": "bonds", "angle": "angles", "dihedral": "dihedrals"}
_LOOKED_AT = 2000
"""Neighborhoods among which inducing points are chosen, at most; every one costs as much as a step of the fit."""


def bonded_tuples(term: Term, cg: xr.Dataset) -> Int[np.ndarray, "interaction body"]:
    """The bonds, angles or dihedrals of `cg` that a bonded term describes (bead types read in either direction)."""
    listed = np.asarray(cg[_LISTS[term.kind]].values) if _LISTS[term.kind] in cg else np.zeros((0, term.body), int)
    types = np.asarray(cg["bead_type"].values)[listed].reshape(-1, term.body)
    wanted = np.asarray(term.types)
    match = np.all(types == wanted, axis=1) | np.all(types == wanted[::-1], axis=1)
    group = getattr(term, "group", None)
    if group is not None:
        match &= np.asarray(cg[f"{term.kind}_group"].values) == group
    found = listed[match]
    if not len(found):
        where = f" in group {group!r}" if group else ""
        raise ValueError(
            f"{term.name}: the data have no {term.kind} between {'-'.join(term.types)}{where}; "
            f"bonded interactions come from the mapping's bonds"
        )
    return found.astype(np.int32)


def highest_density(term: LocalDensity, potential: Potential, cg: xr.Dataset) -> float:
    """Largest local density of any bead in any frame of `cg`.

    Raises:
        ValueError: if no frame has any neighbors that count.
    """
    alone = Potential(dataclasses.replace(term, stop=1.0), exclude_bonds=potential.exclude_bonds)
    interactions = Interactions.of(alone, cg)
    frames = cg["positions"].values.reshape(-1, interactions.n_beads, 3)
    boxes = np.broadcast_to(cg["box"].values, (len(frames), 3, 3))
    highest, sizes = 0.0, {}
    with double_precision():
        measure = jax.jit(term.densities)
        for x, box in zip(frames, boxes, strict=True):
            found = interactions.configuration(x.astype(float), box.astype(float), sizes=sizes)
            highest = max(highest, float(jnp.max(measure(found))))
    if not highest > 0:
        raise ValueError(
            f"{term.name}: no {term.b} within {term.outer:g} nm of a {term.a} in {len(frames)} frames; check types and "
            "distances"
        )
    return highest


def neighborhoods(term: SmoothOverlap, potential: Potential, cg: xr.Dataset) -> Float[np.ndarray, "row feature"]:
    """Spectra of neighborhoods spread evenly over the frames of `cg`."""
    alone = Potential(term, exclude_bonds=potential.exclude_bonds)
    interactions = Interactions.of(alone, cg)
    shapes = shapes_of(alone, cg)
    frames = cg["positions"].values.reshape(-1, interactions.n_beads, 3)
    boxes = np.broadcast_to(cg["box"].values, (len(frames), 3, 3))
    centers = np.flatnonzero(np.asarray(cg["bead_type"].values) == term.center)
    wanted = min(len(frames), max(4, math.ceil(_LOOKED_AT / len(centers))))
    kept = max(1, math.ceil(len(centers) * wanted / _LOOKED_AT))
    found, sizes = [], {}
    with double_precision():
        measure = jax.jit(term.spectra)
        for k, frame in enumerate(np.linspace(0, len(frames) - 1, wanted).astype(int)):
            x, box = frames[frame].astype(float), boxes[frame].astype(float)
            of = interactions.configuration(x, box, sizes=sizes)
            of = of if shapes is None else of._replace(shapes=shapes[frame])
            found.append(np.asarray(measure(of))[centers[k % kept :: kept]])
    return np.concatenate(found)


def shapes_of(potential: Potential, cg: xr.Dataset) -> Float[np.ndarray, "frame bead 3 3"] | None:
    """Second moments of ellipsoidal beads in every frame [nm^2]; None if no term asks for them.

    Raises:
        ValueError: if a term asks for them and the data have no orientations.
    """
    if not any(isinstance(term, SmoothOverlap) and term.ellipsoids for term in potential.terms):
        return None
    return shape_tensors(cg).reshape(-1, cg.sizes["bead"], 3, 3)


def sampled_range(term: Term, tuples: Int[np.ndarray, "interaction body"], cg: xr.Dataset) -> tuple[float, float]:
    """Smallest and largest bond length of a `Bond` over all frames of `cg` [nm]."""
    ends = cg["positions"].values[:, tuples]
    box = cg["box"].values
    lengths = [
        np.linalg.norm(neighbors.minimum_image(ends[k, :, 1] - ends[k, :, 0], box[k]), axis=-1)
        for k in range(len(ends))
    ]
    return float(np.min(lengths)), float(np.max(lengths))


@dataclass(frozen=True, eq=False)
class Interactions:
    """The interacting tuples of one system for one potential; makes a `Configuration` of any frame.

    Attributes:
        potential: the potential, with all ranges filled in.
        n_beads: number of beads.
        bonded: beads of every bonded interaction, by term name.
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
            potential: the potential.
            cg: the system.
            partial: bead types that the system lacks are no error: their terms have no interactions here.

        Raises:
            ValueError: if a term names a bead type that the data lack, a bonded term matches nothing, beads carry net
                charge, or a cutoff exceeds half the shortest box height of any frame.
        """
        present = np.asarray(cg["bead_type"].values).astype(str)
        known = sorted(set(present.tolist()))
        for term in potential.terms:
            for bead in term.types:
                if bead not in known and not (partial and set(known) & set(potential.bead_types)):
                    raise ValueError(f"{term.name} names bead type {bead!r}; the data have {', '.join(known)}")
        if "charge" in cg.coords and np.any(np.abs(cg["charge"].values) > 1e-3):
            worst = present[np.argmax(np.abs(cg["charge"].values))]
            raise ValueError(
                f"bead type {worst} carries net charge: a short-ranged potential cannot describe it, and this version "
                "has no Coulomb baseline. Choose a mapping with neutral beads."
            )
        _warn_of_missing_pairs(potential, known)
        if potential.cutoff > 0:
            shortest = min(
                neighbors.shortest_height(box) for box in np.unique(cg["box"].values.reshape(-1, 3, 3), axis=0)
            )
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
        return cls(
            potential,
            n_beads,
            {t.name: _bonded(t, cg, known, partial) for t in potential.terms if t.kind in _LISTS},
            np.array([types.index(bead) if bead in types else -1 for bead in present]),
            np.sort(pairs[:, 0].astype(np.int64) * n_beads + pairs[:, 1]),
        )

    def pairs(
        self, positions: Float[np.ndarray, "bead 3"], box: Float[np.ndarray, "3 3"], skin: float = 0.0
    ) -> dict[str, Int[np.ndarray, "pair 2"]]:
        """Pairs within reach of each pair term, exclusions taken out, each pair once; and lists of many-body terms.

        Args:
            positions: (bead, 3) [nm].
            box: (3, 3) [nm].
            skin: added to every cutoff [nm]; a list with a skin stays valid while beads move less than half of it.
        """
        terms = [term for term in self.potential.terms if isinstance(term, Pair)]
        many = [term for term in self.potential.terms if term.many_body]
        if not terms and not many:
            return {}
        found = neighbors.pairs(positions, box, max(term.cutoff for term in terms + many) + skin)
        if len(self.excluded):
            low, high = found.min(axis=1).astype(np.int64), found.max(axis=1).astype(np.int64)
            code = low * self.n_beads + high
            place = np.minimum(np.searchsorted(self.excluded, code), len(self.excluded) - 1)
            found = found[self.excluded[place] != code]
        result = self._many_body(many, found, positions, box, skin) if many else {}
        if not terms:
            return result
        wanted = [self.potential.bead_types.index(bead) for bead in terms[0].types]
        if len(terms) == 1 and wanted[0] == wanted[1] and np.all(self.type_index == wanted[0]):
            return {terms[0].name: found, **result}
        types = self.type_index[found]
        for term in terms:
            a, b = (self.potential.bead_types.index(bead) for bead in term.types)
            match = ((types[:, 0] == a) & (types[:, 1] == b)) | ((types[:, 0] == b) & (types[:, 1] == a))
            result[term.name] = found[match]
        return result

    def _many_body(self, terms: list, found, positions, box, skin: float) -> dict[str, Int[np.ndarray, "row column"]]:
        numbers = {bead: k for k, bead in enumerate(self.potential.bead_types)}
        apart = neighbors.minimum_image(positions[found[:, 1]] - positions[found[:, 0]], box)
        squared = np.sum(apart**2, axis=-1)
        result = {}
        for term in terms:
            result.update(term.lists(found[squared < (term.cutoff + skin) ** 2], self.type_index, numbers))
        return result

    def configuration(
        self,
        positions: Float[np.ndarray, "bead 3"],
        box: Float[np.ndarray, "3 3"],
        skin: float = 0.0,
        sizes: dict[str, int] | None = None,
    ) -> Configuration:
        """One frame with its interacting tuples, pair lists padded to a few fixed sizes.

        Args:
            positions: (bead, 3) [nm].
            box: (3, 3) [nm].
            skin: added to every cutoff [nm].
            sizes: padded length of each pair list so far, updated in place. A loop over frames hands in the same
                (at first empty) dict: lists then only ever grow, and a compiled function meets few different shapes.
        """
        sizes = {} if sizes is None else sizes
        tuples = dict(self.bonded)
        for name, found in self.pairs(positions, box, skin).items():
            sizes[name] = max(capacity(len(found)), sizes.get(name, 0))
            padded = np.zeros((sizes[name], found.shape[1]), np.int32)
            padded[: len(found)] = found
            tuples[name] = padded
        return Configuration(positions, box, tuples)


def _bonded(term: Term, cg: xr.Dataset, known: list[str], partial: bool) -> Int[np.ndarray, "interaction body"]:
    if partial and not set(term.types) <= set(known):
        return np.zeros((1, term.body), np.int32)  # one padded tuple, as everywhere: bead 0 with itself
    return bonded_tuples(term, cg)


def _warn_of_missing_pairs(potential: Potential, present: list[str]) -> None:
    """Bead types that both have pair terms, but none with each other, would pass through one another."""
    pairs = {frozenset(term.types) for term in potential.terms if isinstance(term, Pair)}
    types = sorted({bead for pair in pairs for bead in pair} & set(present))
    missing = [f"{a}-{b}" for k, a in enumerate(types) for b in types[k:] if frozenset((a, b)) not in pairs]
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

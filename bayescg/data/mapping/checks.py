"""Is a mapping plausible? What a reader guessed and what a topology leaves out are questioned, not believed.

Errors where nothing can come of it: masses guessed to be zero, a bead as wide as the box, beads of one type that are
different things, beads without mass, names that no file can carry. Warnings where it may be meant.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bayescg.data.mapping.beads import BeadSpec
from bayescg.data.mapping.force_map import bonds_of, masses_of, names_of
from bayescg.data.mapping.topology import connected_components
from bayescg.geometry.images import minimum_image, shortest_height

_DIFFERENT = 1.5
"""Largest ratio of masses in one type: a chain's ends differ from its middle by a few hydrogens."""

_SAME = 0.01
"""Relative difference of masses that rounding explains."""

_WIDE = 0.45
"""Distance from the first atom of a bead, relative to the box, above which its parts are anywhere."""

_CARBON, _UNITED = 12.011, ("CH", "CH0", "CH1", "CH2", "CH3", "CH4", "C1H", "C2H", "C3H", "C4H")


def refuse_guessed_zeros(universe, known: Iterable[str] = ()) -> None:
    """Refuse atoms whose mass was guessed to be zero: they would be taken for virtual sites, which have no forces.

    Args:
        universe: MDAnalysis Universe.
        known: names of atoms whose masses are given otherwise.

    Raises:
        ValueError: naming them.
    """
    if not masses_are_guessed(universe):
        return
    massless = (masses_of(universe) == 0) & ~np.isin(names_of(universe), list(known))
    if massless.any():
        names = sorted(set(names_of(universe)[massless].tolist()))
        raise ValueError(
            f"{int(massless.sum())} atoms called {_listed(names)} have no mass in the topology, and none can be "
            "guessed from their names. Atoms of mass zero are virtual sites, whose forces are left out: read a "
            "topology with masses (TPR, PSF, PRMTOP), or give them: universe.add_TopologyAttr('masses', values) in Da, "
            f"or in a configuration `input: masses: {{{names[0]}: ...}}` (0 for a virtual site)"
        )


def masses_are_guessed(universe) -> bool:
    """Whether the reader guessed masses from names or types."""
    guessed = [each.is_guessed for each in universe._topology.attrs if each.attrname == "masses"]
    return bool(guessed) and bool(np.any(guessed[-1]))


def warn_united_atoms(universe) -> None:
    """Say which united atoms got the mass of bare carbon by a guess."""
    if not masses_are_guessed(universe):
        return
    masses, names = masses_of(universe), names_of(universe)
    bare = np.isin(names, _UNITED) & (np.abs(masses - _CARBON) < 0.05)
    residue = universe.atoms.resindices
    with_hydrogens = np.isin(residue, residue[(masses > 0.9) & (masses < 1.2)])
    suspicious = bare & ~with_hydrogens
    if suspicious.any():
        found = sorted(set(names[suspicious].tolist()))
        warnings.warn(
            f"atoms called {_listed(found)} have the mass of bare carbon, {_CARBON} Da, which was guessed from their "
            "names: if they are united atoms, give their masses (universe.add_TopologyAttr, or `input: masses:` in a "
            "configuration)",
            stacklevel=6,
        )


def check_names(bead_types: Sequence[str] | NDArray[np.str_]) -> None:
    """Refuse bead types that files, folders and tables cannot carry.

    Raises:
        ValueError: naming the type.
    """
    for name in dict.fromkeys(map(str, bead_types)):
        if not name or name != name.strip() or "/" in name or "\\" in name or not name.isprintable():
            raise ValueError(
                f"bead type {name!r}: a name must have printable characters without / and \\, and no space at its "
                "ends, since files and folders are called after it"
            )


def check_beads(universe, beads: Sequence[BeadSpec], owner: NDArray[np.int64], mass: NDArray[np.float64]) -> None:
    """Question the beads of a mapping.

    Args:
        universe: MDAnalysis Universe.
        beads: the beads.
        owner: (n_atoms,) bead of each atom, -1 for none.
        mass: (n_beads,) [Da].

    Raises:
        ValueError: for a bead without mass, a bead of parts spread over the box, or a type of different things.
    """
    check_names([bead.bead_type for bead in beads])
    empty = np.flatnonzero(mass <= 0)
    if len(empty):
        raise ValueError(
            f"bead {beads[empty[0]].name} ({len(empty)} such beads) has no mass: it consists of virtual sites alone, "
            "which have no dynamics; add an atom with mass to it, or leave it out"
        )
    _check_parts(universe, beads, owner)
    _check_alike(beads, mass)


def _check_alike(beads: Sequence[BeadSpec], mass: NDArray[np.float64]) -> None:
    """Beads of one type have one mass."""
    types = np.array([bead.bead_type for bead in beads])
    for name in np.unique(types):
        own = mass[types == name]
        if own.max() < own.min() * (1 + _SAME):
            continue
        values, counts = np.unique(np.round(own, 2), return_counts=True)
        listed = ", ".join(f"{v:g} Da ({c} beads)" for v, c in zip(values[:6], counts[:6], strict=True))
        listed += ", ..." if len(values) > 6 else ""
        message = f"beads of type {name} have different masses: {listed}"
        remedy = (
            "give each kind a type of its own: names= (or `names:` in a configuration) by residue or kind of molecule, "
            "or a mapping file"
        )
        if own.max() > own.min() * _DIFFERENT:
            raise ValueError(f"{message}. One type is one kind of thing; {remedy}")
        warnings.warn(f"{message}; one potential is fitted to all of them. If they differ, {remedy}", stacklevel=6)


def _check_parts(universe, beads: Sequence[BeadSpec], owner: NDArray[np.int64]) -> None:
    """The atoms of a bead hang together, or are at least near each other."""
    bonds = bonds_of(universe)
    inside = bonds[(owner[bonds[:, 0]] >= 0) & (owner[bonds[:, 0]] == owner[bonds[:, 1]])]
    part = connected_components(inside, len(owner))
    mapped = np.flatnonzero((owner >= 0) & (masses_of(universe) > 0))
    pairs = np.unique(np.stack([owner[mapped], part[mapped]], axis=1), axis=0)
    parts = np.bincount(pairs[:, 0], minlength=len(beads))
    loose = parts > 1
    if not loose.any():
        return
    wide = _widest(universe, beads, owner, loose)
    if wide is not None:
        bead, width, box = wide
        raise ValueError(
            f"bead {beads[bead].name} (number {bead}) holds {len(beads[bead].atoms)} atoms in {parts[bead]} parts that "
            f"no bond connects, up to {width / 10:.2g} nm apart in a box of {box / 10:.2g} nm: it is no bead. Do all "
            'molecules carry one residue number? Use by="fragments" with a topology that has bonds, or number the '
            "residues of the topology"
        )
    if len(bonds):
        first = int(np.argmax(loose))
        warnings.warn(
            f"bead {beads[first].name} holds {parts[first]} parts that no bond connects ({int(loose.sum())} such "
            "beads): if its parts can drift apart, its center means nothing",
            stacklevel=7,
        )


def _widest(universe, beads, owner, loose) -> tuple[int, float, float] | None:
    """The first of the loose beads that is as wide as the box, its width and that of the box [Angstrom]."""
    trajectory = getattr(universe, "trajectory", None)
    box = None if trajectory is None else trajectory.ts.triclinic_dimensions
    if box is None or not np.all(np.diagonal(box) > 0):
        return None
    atoms = np.flatnonzero((owner >= 0) & loose[owner])
    first = np.array([bead.atoms[0] for bead in beads])
    positions = universe.atoms.positions.astype(np.float64)
    apart = minimum_image(positions[atoms] - positions[first[owner[atoms]]], box)
    distance = np.sqrt((apart**2).sum(axis=1))
    height = shortest_height(np.asarray(box, dtype=np.float64))
    if not len(distance) or distance.max() < _WIDE * height:
        return None
    worst = int(np.argmax(distance))
    return int(owner[atoms[worst]]), float(distance[worst]), float(height)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")

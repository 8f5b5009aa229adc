"""The force map: which atoms' forces make up the force on a bead.

Written forces exclude the forces of constraints. A mapped force is an unbiased sample of the mean force only if it
moves whole rigid clusters: all atoms that constraints tie together must enter the force of one bead with equal weight
(Krämer et al., "Statistically optimal force aggregation for coarse-graining molecular dynamics", 2023,
arXiv:2302.07071; for maps without constraints Noid et al. 2008, doi 10.1063/1.2938860). Here the force of a bead is the
plain sum over its own atoms and over the unmapped atoms that constraints tie to them.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bayescg.data.dumps import unit_mass

CONSTRAINTS = ("h-bonds", "all-bonds", "none")


def force_atoms(
    owner: NDArray[np.int64], masses: NDArray[np.float64], constraints: NDArray[np.int64], names: NDArray[np.str_]
) -> NDArray[np.int64]:
    """The bead that each atom's force belongs to.

    Massless sites (virtual sites, such as the fourth point of TIP4P) are left out: programs spread their forces onto
    the atoms that build them before they write, so that what is left on the site would be counted twice.

    Args:
        owner: (n_atoms,) bead of each atom in the positions, -1 for atoms in no bead.
        masses: (n_atoms,) [Da].
        constraints: (n_constraints, 2) atoms at fixed distance.
        names: (n_beads,) names of the beads, for messages.

    Returns:
        (n_atoms,) bead that takes the force of the atom, -1 for none.

    Raises:
        ValueError: if a rigid cluster reaches over two beads.
    """
    n_atoms = len(owner)
    massive = masses > 0
    links = constraints[massive[constraints].all(axis=1)] if len(constraints) else constraints
    ones = np.ones(len(links), dtype=np.int8)
    graph = sparse.coo_array((ones, (links[:, 0], links[:, 1])), shape=(n_atoms, n_atoms))
    n_clusters, cluster = sparse.csgraph.connected_components(graph, directed=False)
    highest = np.full(n_clusters, -1)
    lowest = np.full(n_clusters, len(names) + 1)
    mapped = massive & (owner >= 0)
    np.maximum.at(highest, cluster[mapped], owner[mapped])
    np.minimum.at(lowest, cluster[mapped], owner[mapped])
    crossing = np.flatnonzero((highest >= 0) & (highest != lowest))
    if len(crossing):
        first = crossing[0]
        atoms = np.flatnonzero(cluster == first)
        raise ValueError(
            f"constraints tie atoms {atoms[:12].tolist()} together, but they are in the beads {names[lowest[first]]} "
            f"and {names[highest[first]]} ({len(crossing)} such rigid clusters): written forces exclude constraint "
            "forces, so the force between these beads is not in the trajectory, and no sum of atomic forces gives an "
            "unbiased mean force (Krämer et al. 2023, arXiv:2302.07071). Put each rigid cluster into one bead, or, if "
            'the simulation had no such constraints, say so by constraints="none" (or give the constrained pairs)'
        )
    return np.where(massive, highest[cluster], -1)


def find_constraints(universe, constraints: str | ArrayLike) -> NDArray[np.int64]:
    """Pairs of atoms at fixed distance.

    Topology files name bonds, not the run's `constraints` option, so the kind has to be said; rigid water is covered by
    "h-bonds", the usual choice of biomolecular and liquid simulations.

    Args:
        universe: MDAnalysis Universe.
        constraints: "h-bonds" (bonds to hydrogen), "all-bonds", "none", or (n, 2) atom indices.

    Returns:
        (n_constraints, 2) atom indices.

    Raises:
        ValueError: for another word or shape, or if bonds are needed and the topology has none.
    """
    if not isinstance(constraints, str):
        pairs = np.asarray(constraints, dtype=np.int64).reshape(-1, 2)
        if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(universe.atoms)):
            raise ValueError(f"a constraint names atom {pairs.max()}: indices run from 0 to {len(universe.atoms) - 1}")
        return pairs
    if constraints not in CONSTRAINTS:
        raise ValueError(f"constraints={constraints!r}: choose one of {', '.join(CONSTRAINTS)}, or give pairs of atoms")
    bonds = bonds_of(universe)
    if constraints == "none":
        return np.zeros((0, 2), dtype=np.int64)
    if constraints == "all-bonds":
        if len(bonds) == 0:
            raise ValueError(
                'constraints="all-bonds", but the topology has no bonds: read one that has (TPR, PSF, PRMTOP)'
            )
        return bonds
    hydrogen = _hydrogens(universe)
    return bonds[hydrogen[bonds].any(axis=1)]


def require_bonds_where_needed(universe, owner: NDArray[np.int64], constraints: str | ArrayLike) -> None:
    """Refuse to guess constraints where residues with hydrogens are split and the topology has no bonds.

    Raises:
        ValueError: with the remedy.
    """
    if constraints != "h-bonds" or len(bonds_of(universe)):
        return
    residue = universe.atoms.resindices
    n_residues = residue.max() + 1
    highest, lowest = np.full(n_residues, -2), np.full(n_residues, len(owner))
    np.maximum.at(highest, residue, owner)
    np.minimum.at(lowest, residue, owner)
    split = (highest != lowest)[residue] & _hydrogens(universe)
    if split.any():
        raise ValueError(
            f"residue {universe.atoms[int(np.argmax(split))].resid} is split between beads or mapped in part, and the "
            "topology has no bonds: constraints cannot be seen. Read a topology with bonds (TPR, PSF, PRMTOP), or say "
            'constraints="none", or give the constrained pairs'
        )


def warn_unmapped(universe, owner: NDArray[np.int64], force_owner: NDArray[np.int64]) -> None:
    """Say which atoms are in no bead and enter no bead's force; a slice map means it, a typing error does not."""
    left_out = (owner < 0) & (force_owner < 0) & (masses_of(universe) > 0)
    if left_out.any():
        atoms = universe.atoms[left_out]
        labels = names_of(universe)[left_out]
        if hasattr(atoms, "resnames"):
            labels = np.array([f"{residue}:{name}" for residue, name in zip(atoms.resnames, labels, strict=True)])
        kinds, counts = np.unique(labels, return_counts=True)
        listed = ", ".join(f"{kind} ({count})" for kind, count in zip(kinds[:12], counts[:12], strict=True))
        more = f" and {len(kinds) - 12} more kinds" if len(kinds) > 12 else ""
        warnings.warn(
            f"{len(atoms)} atoms are in no bead: {listed}{more}; they enter neither positions nor forces", stacklevel=5
        )


def bonds_of(universe) -> NDArray[np.int64]:
    """(n_bonds, 2) bonded atoms; empty if the topology has no bonds."""
    if not hasattr(universe, "bonds") or len(universe.bonds) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    return np.asarray(universe.bonds.indices, dtype=np.int64)


def masses_of(universe) -> NDArray[np.float64]:
    """(n_atoms,) masses [Da].

    Raises:
        ValueError: if the universe has none.
    """
    if not hasattr(universe.atoms, "masses"):
        raise ValueError('the universe has no masses: add them by universe.add_TopologyAttr("masses", values) in Da')
    return np.asarray(universe.atoms.masses, dtype=np.float64) * unit_mass(universe)


def names_of(universe) -> NDArray[np.str_]:
    """(n_atoms,) atom names; types where the topology has no names (LAMMPS)."""
    atoms = universe.atoms
    return (atoms.names if hasattr(atoms, "names") else atoms.types).astype(str)


def _hydrogens(universe) -> NDArray[np.bool_]:
    """Which atoms are hydrogens: by element, else by name (repartitioned masses reach 4 Da), else by mass."""
    atoms = universe.atoms
    if unit_mass(universe) != 1.0:
        return np.zeros(len(atoms), dtype=bool)  # units lj: there are no elements
    elements = np.char.upper(atoms.elements.astype(str)) if hasattr(atoms, "elements") else np.full(len(atoms), "")
    masses = masses_of(universe)
    names = np.char.lstrip(names_of(universe), "0123456789")
    named = (masses > 0) & (masses < 4.1) & np.char.startswith(names, "H")
    light = (masses > 0.9) & (masses < 1.2) & (names == "")  # LAMMPS has numbers for names
    return np.where(elements == "", light | named, (elements == "H") | (elements == "D"))

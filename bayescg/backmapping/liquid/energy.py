"""The energy of a liquid, taken apart: that of one molecule alone, and what acts between molecules."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import numpy as np

from bayescg.atomistic.bonded import Angles, Bonds, Torsions
from bayescg.atomistic.force_field import ForceField
from bayescg.atomistic.nonbonded import AtomPairs, PairTable

_ITEMS = {
    Bonds: (1, ("length", "stiffness")),
    Angles: (2, ("angle", "stiffness")),
    Torsions: (3, ("cosines", "sines")),
    PairTable: (1, ("charge_product", "sigma", "epsilon")),
}
"""Vectors of each item of a term, and what the item has."""


class LiquidEnergy(eqx.Module):
    """The energy of a liquid of one kind of molecule, molecule by molecule; `split` makes one.

    Attributes:
        molecules: how many.
        own: energy of one molecule alone.
        pairs: what acts between molecules.
        whole: the energy of all atoms.
    """

    molecules: int = eqx.field(static=True)
    own: ForceField
    pairs: tuple[AtomPairs, ...] = eqx.field(static=True)
    whole: ForceField

    @property
    def cutoff(self) -> float:
        """Distance of two atoms [nm] beyond which they do not interact."""
        return max((term.cutoff for term in self.pairs), default=0.0)


def split(field: ForceField, molecules: int) -> LiquidEnergy:
    """The energy of a liquid by molecules.

    Args:
        field: of all atoms; those of a molecule follow each other, in the same order in each.
        molecules: how many.

    Raises:
        ValueError: if molecules differ, bonds or exceptions join two of them, or atoms do not divide.
    """
    size, rest = divmod(field.n_atoms, molecules)
    if rest:
        raise ValueError(f"{field.n_atoms} atoms are not {molecules} equal molecules: mapping and topology disagree")
    masses = np.reshape(field.masses, (molecules, size))
    if not np.allclose(masses, masses[0], atol=1e-6):
        raise ValueError(
            "masses differ between molecules: a liquid is of one kind of molecule, whose atoms follow each other in "
            "the same order"
        )
    own, pairs = [], []
    for term in field.terms:
        if isinstance(term, AtomPairs):
            _check_parameters(term, molecules, size)
            inside = term.excluded[:size, :size]
            values = {name: getattr(term, name)[:size] for name in ("charge", "sigma", "epsilon")}
            if not inside.all():
                own.append(replace(term, excluded=inside, constant=0.0, **values))
            pairs.append(term)
        elif type(term) in _ITEMS:
            own.append(_of_first(term, molecules, size))
        else:
            raise ValueError(f"{term.name} acts between all atoms at once: a liquid needs energies of pairs")
    alone = ForceField(size, tuple(masses[0].tolist()), tuple(own), field.vectors)
    return LiquidEnergy(molecules, alone, tuple(pairs), field)


def _check_parameters(term: AtomPairs, molecules: int, size: int) -> None:
    for name in ("charge", "sigma", "epsilon"):
        values = getattr(term, name).reshape(molecules, size)
        if not np.allclose(values, values[0], atol=1e-9):
            raise ValueError(
                f"{term.name} has another {name} in molecule {int(np.argmax(abs(values - values[0]).max(1)))} than in "
                "the first: a liquid is of one kind of molecule, whose atoms follow each other in the same order"
            )
    blocks = term.excluded.reshape(molecules, size, molecules, size)
    diagonal = blocks[np.arange(molecules), :, np.arange(molecules)]
    if not np.all(diagonal == diagonal[0]) or term.excluded.sum() != diagonal.sum():
        raise ValueError(f"{term.name} has exclusions between molecules, or not the same ones in each")


def _of_first(term, molecules: int, size: int):
    """The term of the first molecule, if all have the same."""
    parts, names = _ITEMS[type(term)]
    pairs = term.pairs.reshape(2, parts, -1)
    owner = pairs // size
    if np.any(owner != owner[:1, :1]):
        raise ValueError(
            f"{term.name} joins two molecules: bonds must stay inside molecules, and systems without a cutoff are not "
            "liquids; build the system with nonbondedMethod=CutoffPeriodic"
        )
    values = [np.atleast_2d(getattr(term, name)) for name in names]
    local = (pairs - size * owner).reshape(2 * parts, -1)
    rows = np.concatenate([local, *values])
    order = np.lexsort([*np.round(rows[::-1], 9), owner[0, 0]])
    counts = np.bincount(owner[0, 0], minlength=molecules)
    by_molecule = rows[:, order].reshape(len(rows), molecules, -1) if np.all(counts == counts[0]) else None
    if by_molecule is None or not np.allclose(by_molecule, by_molecule[:, :1], atol=1e-6):
        raise ValueError(
            f"{term.name} differs between molecules: a liquid is of one kind of molecule, whose atoms follow each "
            "other in the same order"
        )
    first = np.flatnonzero(owner[0, 0] == 0)
    chosen = {name: getattr(term, name)[..., first] for name in names}
    if isinstance(term, Torsions):
        chosen["constant"] = term.constant / molecules
    return replace(term, pairs=pairs[:, :, first].reshape(2, -1), **chosen)

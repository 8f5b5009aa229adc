"""The energy of one molecule of many: its own, and that with the others around it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg.atomistic.bonded import Angles, Bonds, Torsions
from bayescg.atomistic.displacements import minimum_image, squared_distances
from bayescg.atomistic.force_field import ForceField
from bayescg.atomistic.nonbonded import COULOMB, AtomPairs, PairTable, switched

_ITEMS = {
    Bonds: (1, ("length", "stiffness")),
    Angles: (2, ("angle", "stiffness")),
    Torsions: (3, ("cosines", "sines")),
    PairTable: (1, ("charge_product", "sigma", "epsilon")),
}
"""Vectors of each item of a term, and what the item has."""

_SOFT = 0.5
"""Share of sigma^6 that is added to r^6 where the environment is switched off."""

_CORES = 0.1
"""Scale at which Lennard-Jones energies are full and Coulomb's begin."""


class BlockEnergy(NamedTuple):
    """Energy of one molecule [kJ/mol].

    Attributes:
        own: of the molecule alone.
        environment: with all others, as the scale has it.
    """

    own: Float[Array, ""]
    environment: Float[Array, ""]


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

    def block(
        self,
        positions: Float[Array, "atom 3"],
        others: Float[Array, "other atom 3"],
        mask: Bool[Array, " other"],
        scale: Float[Array, ""] | float = 1.0,
    ) -> BlockEnergy:
        """Energy of one molecule.

        First the cores grow, softened as by Beutler et al. (1994, doi:10.1016/0009-2614(94)00397-1): r^6 + a (1 - c)
        sigma^6 in the place of r^6, times c, which is 1 from the scale 0.1 on. Then Coulomb's energy is scaled up,
        slower and slower, which cools what orders molecules. Energies are exact for the scale 1.

        Args:
            positions: of the molecule [nm].
            others: of the molecules around it [nm], any image.
            mask: which of these count.
            scale: between 0 and 1.
        """
        return BlockEnergy(self.own.energy(positions), self.environment(positions, others, mask, scale))

    def environment(
        self,
        positions: Float[Array, "atom 3"],
        others: Float[Array, "other atom 3"],
        mask: Bool[Array, " other"],
        scale: Float[Array, ""] | float = 1.0,
    ) -> Float[Array, ""]:
        """As `block`, without the molecule's own energy, which a turn does not change."""
        # The long axis last: it is the one that vector units work on.
        around, scale = jnp.transpose(others, (2, 1, 0)), jnp.asarray(scale, positions.dtype)
        parts = [_between(term, positions, around, mask, scale) for term in self.pairs]
        return sum(parts, jnp.zeros((), positions.dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _between(term: AtomPairs, positions, around, mask, scale):
    """Energy of a molecule (atom, 3) and others, (3, atom, other)."""
    squared = squared_distances(_vectors(term, positions, around))
    return jnp.sum(jnp.where(mask & (squared <= term.cutoff**2), _pair(term, scale, squared), 0))


@_between.defjvp
def _between_jvp(term: AtomPairs, primals: tuple, tangents: tuple):
    """Energy and forces in one sweep. The others and the scale are held: only the molecule has a gradient."""
    positions, around, mask, scale = primals
    vectors = _vectors(term, positions, around)
    squared = squared_distances(vectors)
    energy, slope = jax.jvp(partial(_pair, term, scale), (squared,), (jnp.ones_like(squared),))
    inside = mask & (squared <= term.cutoff**2)
    gradient = jnp.einsum("ijk,cijk->ic", jnp.where(inside, 2 * slope, 0), vectors)
    return jnp.sum(jnp.where(inside, energy, 0)), jnp.sum(gradient * tangents[0])


def _vectors(term: AtomPairs, positions, around):
    vectors = positions.T[:, :, None, None] - around[:, None]
    return vectors if term.box is None else minimum_image(vectors, term.box)


def _pair(term: AtomPairs, scale, squared: Float[Array, "atom atom other"]):
    """Energies of pairs from their squared distances."""
    dtype, size = squared.dtype, squared.shape[0]
    charge, sigma, epsilon = term.charge[:size], term.sigma[:size], term.epsilon[:size]
    sigma6 = jnp.asarray((0.5 * (sigma[:, None] + sigma)) ** 6, dtype)[:, :, None]
    depth = jnp.asarray(4 * np.sqrt(epsilon[:, None] * epsilon), dtype)[:, :, None]
    product = jnp.asarray(COULOMB * charge[:, None] * charge, dtype)[:, :, None]
    core = jnp.clip(scale / _CORES, 0, 1)
    charges = 1 - jnp.clip((1 - scale) / (1 - _CORES), 0, 1) ** 2
    six = sigma6 / (squared**3 + _SOFT * (1 - core) * sigma6)
    lennard_jones = core * depth * six * (six - 1)
    # One square root and one division for all that needs the distance: they are what is slow here.
    coulomb = 1 / jnp.sqrt(squared)
    if math.isfinite(term.cutoff):
        if term.switch is not None:
            lennard_jones = lennard_jones * switched(squared * coulomb, term.switch, term.cutoff)
        field, shift = term.reaction_field()
        coulomb = coulomb + field * squared - shift
    return lennard_jones + charges * product * coulomb


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

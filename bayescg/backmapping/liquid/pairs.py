"""Energies of pairs of atoms of different molecules, with cores and charges that can be switched off."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg.atomistic.nonbonded import AtomPairs, switched
from bayescg.units import COULOMB

_SOFT = 0.5
"""Share of sigma^6 that is added to r^6 where the environment is switched off."""

_CORES = 0.5
"""Scale at which Lennard-Jones energies are full and Coulomb's begin."""


class Parameters(NamedTuple):
    """Of pairs.

    Attributes:
        sigma6: sixth power of Lennard-Jones's length [nm^6].
        depth: four times its depth [kJ/mol].
        product: of the charges, with Coulomb's constant [kJ nm/mol].
    """

    sigma6: Float[Array, "own near"]
    depth: Float[Array, "own near"]
    product: Float[Array, "own near"]


def parameters(
    term: AtomPairs, size: int, own: Int[np.ndarray, " own"], kind: Int[Array, " near"], found: Bool[Array, " near"]
) -> Parameters:
    """Parameters of some atoms of a molecule with others.

    Args:
        term: what acts between them.
        size: atoms of a molecule.
        own: which of them.
        kind: which atoms of their molecules the others are.
        found: which of these are there.
    """
    charge, sigma, epsilon = term.charge[:size], term.sigma[:size], term.epsilon[:size]
    sigma6 = jnp.asarray((0.5 * (sigma[own][:, None] + sigma)) ** 6)[:, kind]
    depth = jnp.asarray(4 * np.sqrt(epsilon[own][:, None] * epsilon))[:, kind]
    product = jnp.asarray(COULOMB * charge[own][:, None] * charge)[:, kind]
    return Parameters(sigma6, jnp.where(found, depth, 0), jnp.where(found, product, 0))


def pair_energy(
    term: AtomPairs, table: Parameters, scale: Float[Array, ""], squared: Float[Array, "own near"]
) -> Float[Array, "own near"]:
    """Energies [kJ/mol] from squared distances, within the cutoff.

    First the cores grow, softened as by Beutler et al. (1994, doi:10.1016/0009-2614(94)00397-1): r^6 + a (1 - c)
    sigma^6 in the place of r^6, times c, which is 1 from the scale 0.5 on. Then Coulomb's energy is scaled up, slower
    and slower, which cools what orders molecules. Energies are exact for the scale 1.

    Args:
        term: cutoff, switching function and dielectric.
        table: parameters of the pairs.
        scale: between 0 and 1.
        squared: [nm^2].
    """
    core = jnp.clip(scale / _CORES, 0, 1)
    charges = 1 - jnp.clip((1 - scale) / (1 - _CORES), 0, 1) ** 2
    six = table.sigma6 / (squared**3 + _SOFT * (1 - core) * table.sigma6)
    lennard_jones = core * table.depth * six * (six - 1)
    # One square root and one division for all that needs the distance: they are what is slow here.
    coulomb = 1 / jnp.sqrt(squared)
    if math.isfinite(term.cutoff):
        if term.switch is not None:
            lennard_jones = lennard_jones * switched(squared * coulomb, term.switch, term.cutoff)
        field, shift = term.reaction_field()
        coulomb = coulomb + field * squared - shift
    return lennard_jones + charges * table.product * coulomb

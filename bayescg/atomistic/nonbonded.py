"""Lennard-Jones and Coulomb energies of OpenMM's NonbondedForce.

Without a cutoff, small molecules have one table of all pairs into which the exceptions are written. Everything else
sums rows of atoms against all atoms, so that memory grows with the number of atoms and not with that of pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from bayescg.atomistic.displacements import minimum_image, squared_distances
from bayescg.units import COULOMB

_BLOCK_PAIRS = 1 << 16


@dataclass(frozen=True, eq=False)
class PairTable:
    """Lennard-Jones and Coulomb energies without cutoff of listed pairs with parameters of their own.

    Attributes:
        name: key of the energy.
        pairs: (2, pair) atoms.
        charge_product: (pair,) [e^2].
        sigma: (pair,) [nm].
        epsilon: (pair,) [kJ/mol].
        box: (3, 3) if the nearest images of the pairs interact.
    """

    name: str
    pairs: Int[np.ndarray, "2 pair"]
    charge_product: Float[np.ndarray, " pair"]
    sigma: Float[np.ndarray, " pair"]
    epsilon: Float[np.ndarray, " pair"]
    box: Float[np.ndarray, "3 3"] | None = None

    def energy(self, vectors: Float[Array, "3 pair"]) -> Float[Array, ""]:
        """Energy [kJ/mol] from the vectors of `pairs`."""
        if self.box is not None:
            vectors = minimum_image(vectors, self.box)
        inverse = 1 / squared_distances(vectors)
        six = inverse * inverse * inverse
        attraction = 4 * self.epsilon * self.sigma**6
        repulsion = attraction * self.sigma**6
        dtype = vectors.dtype
        lennard_jones = (jnp.asarray(repulsion, dtype) * six - jnp.asarray(attraction, dtype)) * six
        return jnp.sum(lennard_jones + jnp.asarray(COULOMB * self.charge_product, dtype) * jnp.sqrt(inverse))


@dataclass(frozen=True, eq=False)
class AtomPairs:
    """Lennard-Jones (Lorentz-Berthelot) and Coulomb energies of all pairs that are not excluded, within a cutoff.

    Attributes:
        name: key of the energy.
        charge: (atom,) [e].
        sigma: (atom,) [nm].
        epsilon: (atom,) [kJ/mol].
        excluded: (atom, atom) pairs that do not interact here, the diagonal included.
        cutoff: [nm]; infinity for none.
        switch: distance [nm] from where the Lennard-Jones energy is switched off; None if it is cut.
        dielectric: of the reaction field beyond the cutoff.
        constant: the dispersion correction [kJ/mol].
        box: (3, 3), or None without periodic boundaries.
    """

    name: str
    charge: Float[np.ndarray, " atom"]
    sigma: Float[np.ndarray, " atom"]
    epsilon: Float[np.ndarray, " atom"]
    excluded: Bool[np.ndarray, "atom atom"]
    cutoff: float
    switch: float | None = None
    dielectric: float = 1.0
    constant: float = 0.0
    box: Float[np.ndarray, "3 3"] | None = None

    def energy(self, positions: Float[Array, "atom 3"]) -> Float[Array, ""]:
        """Energy [kJ/mol]."""
        return _summed(self, positions) + self.constant

    def row_energy(
        self, own: Float[Array, "3 row"], parameters: Float[Array, "3 row"], excluded: Array, positions: Array
    ) -> Float[Array, ""]:
        """Interaction energy [kJ/mol] of some atoms with all atoms: a pair of two of them is counted twice.

        Args:
            own: positions of these atoms.
            parameters: their charge, sigma and epsilon.
            excluded: (row, atom).
            positions: (atom, 3) of all atoms.
        """
        dtype = positions.dtype
        others = positions.T
        vectors = own[:, :, None] - others[:, None, :]
        if self.box is not None:
            vectors = minimum_image(vectors, self.box)
        squared = squared_distances(vectors)
        inverse = 1 / squared
        distance = jnp.sqrt(squared)
        charge, sigma, epsilon = parameters[:, :, None]
        mean = 0.5 * (sigma + jnp.asarray(self.sigma, dtype))
        six = (mean * mean * inverse) ** 3
        # The square root of each epsilon was taken before.
        lennard_jones = 4 * epsilon * jnp.asarray(np.sqrt(self.epsilon), dtype) * six * (six - 1)
        coulomb = 1 / distance
        if math.isfinite(self.cutoff):
            if self.switch is not None:
                lennard_jones = lennard_jones * switched(distance, self.switch, self.cutoff)
            field, shift = self.reaction_field()
            coulomb = coulomb + field * squared - shift
        energy = lennard_jones + charge * jnp.asarray(COULOMB * self.charge, dtype) * coulomb
        return jnp.sum(jnp.where(excluded | (squared > self.cutoff**2), 0, energy))

    def reaction_field(self) -> tuple[float, float]:
        """k_rf [1/nm^3] and c_rf [1/nm]: Coulomb's 1/r becomes 1/r + k_rf r^2 - c_rf (Tironi et al. 1995)."""
        epsilon = self.dielectric
        return (epsilon - 1) / (2 * epsilon + 1) / self.cutoff**3, 3 * epsilon / (2 * epsilon + 1) / self.cutoff


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _summed(term: AtomPairs, positions: Float[Array, "atom 3"]) -> Float[Array, ""]:
    """Sum over all rows."""
    return 0.5 * jnp.sum(_by_row(term, term.row_energy, positions))


@_summed.defjvp
def _summed_jvp(term: AtomPairs, primals: tuple, tangents: tuple) -> tuple:
    """Energy and forces in one sweep: each row gives the whole force on its own atoms, so nothing is kept for later."""
    (positions,), (tangent,) = primals, tangents
    energies, gradients = _by_row(term, jax.value_and_grad(term.row_energy), positions)
    gradient = jnp.moveaxis(gradients, 1, 2).reshape(-1, 3)[: len(positions)]
    return 0.5 * jnp.sum(energies), jnp.sum(gradient * tangent)


def _by_row(term: AtomPairs, function, positions: Float[Array, "atom 3"]):
    """`function` of each block of rows: a few, so that memory stays small, and large, so that the loop is cheap."""
    n_atoms = len(positions)
    rows = max(1, min(n_atoms, _BLOCK_PAIRS // n_atoms))
    blocks = -(-n_atoms // rows)
    padding = blocks * rows - n_atoms
    # Rows that fill up the last block see everything excluded.
    excluded = np.pad(term.excluded, ((0, padding), (0, 0)), constant_values=True).reshape(blocks, rows, n_atoms)
    parameters = np.pad(np.stack([term.charge, term.sigma, np.sqrt(term.epsilon)]), ((0, 0), (0, padding)))
    own = jnp.pad(positions.T, ((0, 0), (0, padding)))

    def split(values):
        return jnp.moveaxis(values.reshape(3, blocks, rows), 1, 0)

    inputs = (split(own), split(jnp.asarray(parameters, positions.dtype)), jnp.asarray(excluded))
    if blocks == 1:
        return jax.tree.map(lambda x: x[None], function(*(x[0] for x in inputs), positions))
    return jax.lax.map(lambda block: function(*block, positions), inputs)


def switched(distance: Array, start: float, cutoff: float) -> Array:
    """OpenMM's quintic switching function: 1 at `start`, 0 at the cutoff, two smooth derivatives."""
    t = jnp.clip((distance - start) / (cutoff - start), 0, 1)
    return 1 + t**3 * (-10 + t * (15 - 6 * t))


def dispersion_correction(
    sigma: Float[np.ndarray, " atom"],
    epsilon: Float[np.ndarray, " atom"],
    cutoff: float,
    switch: float | None,
    volume: float,
) -> float:
    """Mean Lennard-Jones energy [kJ/mol] beyond the cutoff, as OpenMM estimates it (Shirts et al. 2007, jp0735987).

    All atoms count, excluded pairs and each atom with itself included.

    Args:
        sigma: (atom,) [nm].
        epsilon: (atom,) [kJ/mol].
        cutoff: [nm].
        switch: start of the switching function [nm], or None.
        volume: of the box [nm^3].
    """
    kinds, counts = np.unique(np.stack([sigma, epsilon]), axis=1, return_counts=True)
    n_atoms = len(sigma)
    first, second = np.triu_indices(len(counts))
    number = np.where(first == second, counts[first] * (counts[first] + 1) / 2, counts[first] * counts[second])
    weight = number * np.sqrt(kinds[1, first] * kinds[1, second]) / (n_atoms * (n_atoms + 1) / 2)
    six = (0.5 * (kinds[0, first] + kinds[0, second])) ** 6
    integral = six**2 / (9 * cutoff**9) - six / (3 * cutoff**3)
    if switch is not None:
        nodes, weights = np.polynomial.legendre.leggauss(64)
        r = switch + (cutoff - switch) * (nodes + 1) / 2
        t = (r - switch) / (cutoff - switch)
        removed = t**3 * (10 - t * (15 - 6 * t))
        shape = six[:, None] ** 2 / r**12 - six[:, None] / r**6
        integral = integral + (shape * removed * r**2 * weights).sum(1) * (cutoff - switch) / 2
    return float(8 * math.pi * n_atoms**2 * (weight * integral).sum() / volume)

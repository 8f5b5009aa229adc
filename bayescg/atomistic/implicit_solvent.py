"""Generalized Born solvent of Onufriev, Bashford and Case (OBC1 and OBC2, 10.1002/prot.20033) with its surface term."""

from __future__ import annotations

import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg.atomistic.displacements import squared_distances, sum_by_atom, take_by_atom

OFFSET = 0.009
"""What OBC takes off the radii [nm]."""

_PROBE = 0.14

POLYNOMIALS = {"OBC1": (0.8, 0.0, 2.909125), "OBC2": (1.0, 0.8, 4.85)}
"""alpha, beta, gamma of tanh(alpha psi - beta psi^2 + gamma psi^3)."""

_BORN = {
    "1/(1/or-tanh(0.8*psi+2.909125*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": "OBC1",
    "1/(1/or-tanh(psi-0.8*psi^2+4.85*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": "OBC2",
}
_INTEGRAL = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
_SELF = "-0.5*138.935485*(1/soluteDielectric-{screening}/solventDielectric)*charge^2/B"
_SURFACE = "28.3919551*(radius+0.14)^2*(radius/B)^6;radius=or+offset"
_PAIR = (
    "-138.935485*(1/soluteDielectric-{screening}/solventDielectric)*charge1*charge2/f;"
    "f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"
)
_CONSTANTS = re.compile(r";solventDielectric=([^;]+);soluteDielectric=([^;]+);kappa=([^;]+);offset=([^;]+)$")


@dataclass(frozen=True, eq=False)
class BornSolvent:
    """Polarization energy and surface term.

    Attributes:
        name: key of the energy.
        pairs: (2, pair) all pairs i < j.
        charge: (atom,) [e].
        offset_radius: (atom,) radius less 0.009 nm [nm].
        scaled_radius: (atom,) offset radius times the screening factor [nm].
        polynomial: alpha, beta, gamma of the Born radii.
        dielectrics: of solute and solvent.
        coulomb: 1 / (4 pi epsilon0) [kJ nm / (mol e^2)].
        surface: energy [kJ/mol/nm^2] of the surface, times 4 pi.
        kappa: inverse Debye length [1/nm].
        engulfed: whether atoms deep inside others are treated as GBSAOBCForce does and CustomGBForce does not.
    """

    name: str
    pairs: Int[np.ndarray, "2 pair"]
    charge: Float[np.ndarray, " atom"]
    offset_radius: Float[np.ndarray, " atom"]
    scaled_radius: Float[np.ndarray, " atom"]
    polynomial: tuple[float, float, float]
    dielectrics: tuple[float, float]
    coulomb: float
    surface: float
    kappa: float = 0.0
    engulfed: bool = False

    def energy(self, vectors: Float[Array, "3 pair"]) -> Float[Array, ""]:
        """Energy [kJ/mol] from the vectors of `pairs`."""
        dtype = vectors.dtype
        charge, radius = self.charge, self.offset_radius + OFFSET
        squared = squared_distances(vectors)
        born = self.born_radii(squared)
        first, second = self.pairs
        product = take_by_atom(born, first) * take_by_atom(born, second)
        distance = jnp.sqrt(squared + product * jnp.exp(-squared / (4 * product)))
        energy = jnp.sum(jnp.asarray(charge[first] * charge[second], dtype) * self._screened(distance))
        energy = energy + 0.5 * jnp.sum(jnp.asarray(charge**2, dtype) * self._screened(born))
        if self.surface:
            area = self.surface * (radius + _PROBE) ** 2 * radius**6
            energy = energy + jnp.sum(jnp.asarray(area, dtype) / born**6)
        return energy

    def born_radii(self, squared: Float[Array, " pair"]) -> Float[Array, " atom"]:
        """Born radii [nm] from the squared distances of `pairs`."""
        dtype, n_atoms = squared.dtype, len(self.charge)
        atoms, others = np.concatenate([self.pairs, self.pairs[::-1]], axis=1)
        distance = jnp.sqrt(squared)
        offset, scaled = jnp.asarray(self.offset_radius, dtype), jnp.asarray(self.scaled_radius, dtype)
        integral = _descreening(self.engulfed, jnp.concatenate([distance, distance]), offset[atoms], scaled[others])
        psi = sum_by_atom(integral, atoms, n_atoms) * offset
        alpha, beta, gamma = self.polynomial
        bent = jnp.tanh(psi * (alpha + psi * (-beta + psi * gamma)))
        return 1 / (1 / offset - bent / (offset + OFFSET))

    def _screened(self, distance: Array) -> Array:
        solute, solvent = self.dielectrics
        if self.kappa:
            return -self.coulomb * (1 / solute - jnp.exp(-self.kappa * distance) / solvent) / distance
        return -self.coulomb * (1 / solute - 1 / solvent) / distance


@jax.custom_jvp
def _integral(distance: Array, radius: Array, scaled: Array) -> Array:
    return _integral_and_slope(distance, radius, scaled)[0]


def _descreening(engulfed: bool, distance: Array, radius: Array, scaled: Array) -> Array:
    """Volume integral [1/nm] by which one atom covers another one (Hawkins, Cramer & Truhlar 1996, jp961710n)."""
    integral = _integral(distance, radius, scaled)
    if engulfed:
        inside = scaled - distance > radius
        gap = jnp.where(inside, scaled - distance, 1)
        integral = integral + jnp.where(inside, 1 / radius - 1 / gap, 0)
    return integral


def _integral_and_slope(distance: Array, radius: Array, scaled: Array) -> tuple[Array, Array]:
    """The integral and its derivative, in which those of both limits cancel: a third of what autodiff would do."""
    inverse = 1 / distance
    outer = distance + scaled
    lower = jnp.maximum(radius, jnp.abs(distance - scaled))
    low, out = 1 / lower, 1 / outer
    squares = 0.25 * (out * out - low * low)
    logarithm = 0.5 * jnp.log(lower * out) * inverse
    ratio = scaled * scaled * inverse
    integral = 0.5 * (low - out + (distance - ratio) * squares + logarithm)
    slope = 0.5 * ((1 + ratio * inverse) * squares - logarithm * inverse)
    # Inside the other atom the lower limit falls as the distance grows, and does not cancel.
    slope = slope + jnp.where(scaled - distance > radius, low * low, 0)
    covered = outer > radius
    return jnp.where(covered, integral, 0), jnp.where(covered, slope, 0)


@_integral.defjvp
def _integral_jvp(primals: tuple, tangents: tuple) -> tuple:
    # The radii are parameters: nobody differentiates by them.
    integral, slope = _integral_and_slope(*primals)
    return integral, slope * tangents[0]


def recognize(computed: list[str], energy: list[str]) -> tuple[str, tuple[float, float], float, float] | None:
    """Which model the expressions of a CustomGBForce are, if they are those of OpenMM's OBC1 or OBC2 without cutoff.

    They are compared as text, except for the numbers of dielectrics and salt: what is only similar is not the model.

    Args:
        computed: expressions of the computed values.
        energy: expressions of the energy terms.

    Returns:
        Name of the model, dielectrics of solute and solvent, kappa [1/nm] and 4 pi times the surface energy
        [kJ/mol/nm^2]; None if it is anything else.
    """
    computed, energy = ([text.replace(" ", "") for text in texts] for texts in (computed, energy))
    if len(computed) != 2 or computed[0] != _INTEGRAL or computed[1] not in _BORN or not energy:
        return None
    constants = _CONSTANTS.search(energy[0])
    if constants is None:
        return None
    solvent, solute, kappa, offset = map(float, constants.groups())
    if abs(offset - OFFSET) > 1e-12:
        return None
    screening = "exp(-kappa*{})" if kappa else "1"
    expected = [_SELF.format(screening=screening.format("B")), _PAIR.format(screening=screening.format("f"))]
    surface = len(energy) == 3
    if surface:
        expected.insert(1, _SURFACE)
    if energy != [text + constants.group() for text in expected]:
        return None
    return _BORN[computed[1]], (solute, solvent), kappa, 28.3919551 if surface else 0.0

"""Parameters of OpenMM's forces, read into terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import numpy as np
from jaxtyping import Float, Int

from bayescg.atomistic.bonded import Angles, Bonds, Torsions, chain_torsions
from bayescg.atomistic.displacements import all_pairs
from bayescg.atomistic.implicit_solvent import OFFSET, POLYNOMIALS, BornSolvent, recognize
from bayescg.atomistic.nonbonded import AtomPairs, PairTable, dispersion_correction
from bayescg.units import COULOMB

_TABLE_ATOMS = 256
"""Up to here, nonbonded energies without cutoff are one table of all pairs."""

_GB_COULOMB = 138.935485
"""What OpenMM's CustomGBForce expressions have for 1 / (4 pi epsilon0)."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What all forces of a System share.

    Attributes:
        mm: the `openmm` module.
        n_atoms: number of atoms.
        box: (3, 3) rows are the box vectors [nm].
    """

    mm: ModuleType
    n_atoms: int
    box: Float[np.ndarray, "3 3"]

    @classmethod
    def of(cls, mm: ModuleType, system) -> Reading:
        """For an `openmm.System`."""
        vectors = [vector.value_in_unit(mm.unit.nanometer) for vector in system.getDefaultPeriodicBoxVectors()]
        return cls(mm, system.getNumParticles(), np.array([[*vector] for vector in vectors], dtype=float))

    @cached_property
    def pairs(self) -> Int[np.ndarray, "2 pair"]:
        """All pairs: one array, so that terms which use it share distances."""
        return all_pairs(self.n_atoms)

    def value(self, quantity) -> float:
        """A number in nm, ps, kJ/mol, Da, e, rad."""
        unit = self.mm.unit
        return quantity.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(quantity) else quantity

    def table(self, count: int, read: Callable, columns: int) -> Float[np.ndarray, "column entry"]:
        """What `read(0)`, .. `read(count - 1)` return, one row for each of their `columns` values."""
        rows = [[self.value(value) for value in read(i)] for i in range(count)]
        return np.array(rows, dtype=float).reshape(count, columns).T

    def bonded_box(self, force) -> Float[np.ndarray, "3 3"] | None:
        """The box, if a bonded force looks at it."""
        return self.box if force.usesPeriodicBoundaryConditions() else None

    def check_size(self, force) -> None:
        """Raise ValueError unless a force has parameters for each atom."""
        if force.getNumParticles() != self.n_atoms:
            raise ValueError(
                f"{type(force).__name__} has {force.getNumParticles()} particles, the System {self.n_atoms}: add "
                "parameters for each particle"
            )


def _bonds(reading: Reading, force) -> list[Bonds]:
    first, second, length, stiffness = reading.table(force.getNumBonds(), force.getBondParameters, 4)
    pairs = np.stack([first, second]).astype(int)
    return [Bonds("HarmonicBondForce", pairs, length, stiffness, reading.bonded_box(force))]


def _angles(reading: Reading, force) -> list[Angles]:
    *atoms, angle, stiffness = reading.table(force.getNumAngles(), force.getAngleParameters, 5)
    first, middle, last = np.array(atoms).astype(int)
    arms = np.stack([np.concatenate([first, last]), np.concatenate([middle, middle])])
    return [Angles("HarmonicAngleForce", arms, angle, stiffness, reading.bonded_box(force))]


def _torsions(reading: Reading, force) -> list[Torsions]:
    *atoms, order, phase, barrier = reading.table(force.getNumTorsions(), force.getTorsionParameters, 7)
    if np.any(order < 1):
        raise ValueError(f"PeriodicTorsionForce has a periodicity of {order.min():g}: it must be 1 or more")
    box = reading.bonded_box(force)
    return [
        chain_torsions("PeriodicTorsionForce", np.array(atoms).T.astype(int), order.astype(int), phase, barrier, box)
    ]


def _nonbonded(reading: Reading, force) -> list[PairTable | AtomPairs]:
    if force.getNonbondedMethod() not in (force.NoCutoff, force.CutoffNonPeriodic, force.CutoffPeriodic):
        raise ValueError(
            "NonbondedForce uses Ewald summation or PME, which is not translated: build the system with "
            "nonbondedMethod=NoCutoff, or with CutoffPeriodic for a reaction field"
        )
    offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
    if force.getNumGlobalParameters() or offsets:
        raise ValueError(
            "NonbondedForce has global parameters or parameter offsets, which are not translated: set the particles' "
            "own parameters instead"
        )
    reading.check_size(force)
    atoms = reading.table(reading.n_atoms, force.getParticleParameters, 3)
    first, second, *parameters = reading.table(force.getNumExceptions(), force.getExceptionParameters, 5)
    exceptions = np.sort(np.stack([first, second]).astype(int), axis=0)
    if force.getNonbondedMethod() == force.NoCutoff and reading.n_atoms <= _TABLE_ATOMS:
        i, j = reading.pairs
        charge, sigma, epsilon = atoms
        products = [charge[i] * charge[j], 0.5 * (sigma[i] + sigma[j]), np.sqrt(epsilon[i] * epsilon[j])]
        low, high = exceptions
        for values, special in zip(products, parameters, strict=True):
            values[low * (2 * reading.n_atoms - low - 1) // 2 + high - low - 1] = special
        product, size, depth = products
        return [PairTable("NonbondedForce", reading.pairs, product, size, depth)]
    return [
        _atom_pairs(reading, force, atoms, exceptions),
        _exceptions(reading, force, exceptions, np.array(parameters)),
    ]


def _atom_pairs(reading: Reading, force, parameters: np.ndarray, exceptions: np.ndarray) -> AtomPairs:
    """All pairs but the exceptions."""
    charge, sigma, epsilon = parameters
    excluded = np.eye(reading.n_atoms, dtype=bool)
    excluded[exceptions[0], exceptions[1]] = excluded[exceptions[1], exceptions[0]] = True
    if force.getNonbondedMethod() == force.NoCutoff:
        return AtomPairs("NonbondedForce", charge, sigma, epsilon, excluded, math.inf)
    cutoff = reading.value(force.getCutoffDistance())
    switch = reading.value(force.getSwitchingDistance()) if force.getUseSwitchingFunction() else None
    box, constant = None, 0.0
    if force.getNonbondedMethod() == force.CutoffPeriodic:
        box = reading.box
        if 2 * cutoff > np.diag(box).min():
            raise ValueError(
                f"the cutoff of {cutoff:g} nm is more than half the box ({np.diag(box).min():g} nm): use a shorter "
                "cutoff or a larger box"
            )
        if force.getUseDispersionCorrection():
            constant = dispersion_correction(sigma, epsilon, cutoff, switch, float(np.prod(np.diag(box))))
    dielectric = reading.value(force.getReactionFieldDielectric())
    return AtomPairs("NonbondedForce", charge, sigma, epsilon, excluded, cutoff, switch, dielectric, constant, box)


def _exceptions(reading: Reading, force, pairs: np.ndarray, parameters: np.ndarray) -> PairTable:
    """Pairs with parameters of their own: OpenMM knows no cutoff for them, and images only on request."""
    used = (parameters[0] != 0) | (parameters[2] != 0)
    product, sigma, epsilon = parameters[:, used]
    periodic = force.getNonbondedMethod() == force.CutoffPeriodic and force.getExceptionsUsePeriodicBoundaryConditions()
    return PairTable("NonbondedForce", pairs[:, used], product, sigma, epsilon, reading.box if periodic else None)


def _obc(reading: Reading, force) -> list[BornSolvent]:
    _check_no_cutoff(force)
    reading.check_size(force)
    charge, radius, scale = reading.table(reading.n_atoms, force.getParticleParameters, 3)
    surface = 4 * math.pi * reading.value(force.getSurfaceAreaEnergy())
    dielectrics = (force.getSoluteDielectric(), force.getSolventDielectric())
    return [_born(reading, force, (charge, radius - OFFSET, scale), "OBC2", dielectrics, (COULOMB, surface, 0.0, True))]


def _custom_obc(reading: Reading, force) -> list[BornSolvent]:
    values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
    terms = [force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())]
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    known = names == ["charge", "or", "sr"] and [name for name, *_ in values] == ["I", "B"]
    # The text says what is computed, these say over what: single particles or all pairs.
    ranges = [values[i][2] for i in range(len(values))] + [kind for _, kind in terms]
    single, pair = force.SingleParticle, force.ParticlePairNoExclusions
    known = known and ranges == [pair, single, *[single] * (len(terms) - 1), pair]
    known = known and not (force.getNumGlobalParameters() or force.getNumTabulatedFunctions())
    found = recognize([text for _, text, _ in values], [text for text, _ in terms]) if known else None
    if force.getNonbondedMethod() != force.NoCutoff:
        _check_no_cutoff(force)
    if found is None:
        raise ValueError(
            "CustomGBForce is not OpenMM's OBC1 or OBC2 (it may be HCT, GBn, GBn2, or one of your own), and others "
            "are not translated: build the system with implicit/obc1.xml or implicit/obc2.xml"
        )
    reading.check_size(force)
    model, dielectrics, kappa, surface = found
    charge, offset_radius, scaled = reading.table(reading.n_atoms, force.getParticleParameters, 3)
    parameters = (charge, offset_radius, scaled / offset_radius)
    return [_born(reading, force, parameters, model, dielectrics, (_GB_COULOMB, surface, kappa, False))]


def _check_no_cutoff(force) -> None:
    if force.getNonbondedMethod() != force.NoCutoff:
        raise ValueError(
            f"{type(force).__name__} has a cutoff, which is not translated: build the system with "
            "nonbondedMethod=NoCutoff"
        )


def _born(
    reading: Reading, force, parameters: tuple[np.ndarray, ...], model: str, dielectrics: tuple, constants: tuple
) -> BornSolvent:
    charge, offset_radius, scale = parameters
    name = type(force).__name__
    if np.any(offset_radius <= 0):
        raise ValueError(f"{name} has a radius of {offset_radius.min() + OFFSET:g} nm: it must be above {OFFSET} nm")
    scaled = scale * offset_radius
    return BornSolvent(name, reading.pairs, charge, offset_radius, scaled, POLYNOMIALS[model], dielectrics, *constants)


READERS = {
    "HarmonicBondForce": _bonds,
    "HarmonicAngleForce": _angles,
    "PeriodicTorsionForce": _torsions,
    "NonbondedForce": _nonbonded,
    "GBSAOBCForce": _obc,
    "CustomGBForce": _custom_obc,
}

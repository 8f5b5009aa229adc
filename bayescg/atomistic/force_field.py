"""An OpenMM System as a JAX function of positions."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.atomistic.bonded import Angles, Bonds, Torsions
from bayescg.atomistic.displacements import Differences
from bayescg.atomistic.implicit_solvent import BornSolvent
from bayescg.atomistic.nonbonded import AtomPairs, PairTable
from bayescg.atomistic.openmm_forces import READERS, Reading

Term = Bonds | Angles | Torsions | PairTable | AtomPairs | BornSolvent


class ForceField(eqx.Module):
    """Energy of all atoms as a function of their positions; `translate` makes one.

    All parameters are constants of the compiled function: the object has no leaves, so no optimizer and no gradient
    of a model that holds it will touch them. The precision is that of the positions, float32 or float64. Gradients
    are finite for any finite positions: pair energies stay constant below 0.003 nm, and the direction of a straight
    angle or torsion, which is not defined, has gradient zero.

    Attributes:
        n_atoms: number of atoms.
        masses: (atom,) [Da].
        terms: its parts, in the order of the System's forces.
        vectors: rows of the System's periodic box, or None if nothing in it is periodic.
    """

    n_atoms: int = eqx.field(static=True)
    masses: tuple[float, ...] = eqx.field(static=True)
    terms: tuple[Term, ...] = eqx.field(static=True)
    vectors: tuple[tuple[float, ...], ...] | None = eqx.field(static=True, default=None)

    @property
    def box(self) -> Float[np.ndarray, "3 3"] | None:
        """Rows are the box vectors [nm]; None if nothing is periodic."""
        return None if self.vectors is None else np.array(self.vectors)

    def energy(self, positions: Float[Array, "atom 3"]) -> Float[Array, ""]:
        """Potential energy.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            A number [kJ/mol].

        Raises:
            ValueError: if the shape is not that of one configuration.
        """
        return sum(self.energies(positions).values(), jnp.zeros((), jnp.asarray(positions).dtype))

    def energies(self, positions: Float[Array, "atom 3"]) -> dict[str, Float[Array, ""]]:
        """Potential energy by class of the OpenMM force.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            Name of the class -> energy [kJ/mol].

        Raises:
            ValueError: if the shape is not that of one configuration.
        """
        positions = jnp.asarray(positions)
        if positions.shape != (self.n_atoms, 3):
            raise ValueError(
                f"positions have shape {positions.shape}, but the force field is for ({self.n_atoms}, 3): pass one "
                "configuration, and use jax.vmap for several"
            )
        if not jnp.issubdtype(positions.dtype, jnp.floating):
            raise ValueError(f"positions are {positions.dtype}: convert them to float32 or float64")
        # One list of differences for everything: terms that share a list of pairs (all pairs, for Lennard-Jones,
        # Coulomb and generalized Born) share its columns, and the compiler then computes their distances once.
        lists = {id(term.pairs): term.pairs for term in self.terms if not isinstance(term, AtomPairs)}
        ends = np.cumsum([0, *(pairs.shape[1] for pairs in lists.values())])
        columns = {key: slice(*bounds) for key, bounds in zip(lists, pairwise(ends), strict=True)}
        pairs = np.concatenate([np.zeros((2, 0), int), *lists.values()], axis=1)
        vectors = Differences(self.n_atoms, *pairs)(positions)
        found: dict[str, Float[Array, ""]] = {}
        for term in self.terms:
            inputs = positions if isinstance(term, AtomPairs) else vectors[:, columns[id(term.pairs)]]
            found[term.name] = found.get(term.name, 0) + term.energy(inputs)
        return found


def translate(system) -> ForceField:
    """The energy function of an `openmm.System`.

    Harmonic bonds and angles, periodic torsions, NonbondedForce (without cutoff, or with a cutoff and reaction field),
    GBSAOBCForce, and the CustomGBForce of `implicit/obc1.xml` and `implicit/obc2.xml` are understood. CMMotionRemover
    has no energy and is passed over.

    Args:
        system: without constraints and virtual sites.

    Returns:
        The force field.

    Raises:
        ImportError: if OpenMM is missing.
        ValueError: if the System has anything else, naming it and what to do.
    """
    mm = require_openmm()
    if not isinstance(system, mm.System):
        raise ValueError(f"translate() takes an openmm.System, not {type(system).__name__}: call createSystem() first")
    n_atoms = system.getNumParticles()
    if n_atoms == 0:
        raise ValueError("the System has no particles: add atoms before translating it")
    if system.getNumConstraints():
        raise ValueError(
            f"the System has {system.getNumConstraints()} constraints, which have no energy function: build the system "
            "with constraints=None, rigidWater=False"
        )
    if any(system.isVirtualSite(i) for i in range(n_atoms)):
        raise ValueError("the System has virtual sites: use a model without them, such as TIP3P instead of TIP4P")
    reading = Reading.of(mm, system)
    terms: list[Term] = []
    for force in system.getForces():
        kind = type(force).__name__
        if kind == "CMMotionRemover":
            continue
        if kind not in READERS:
            raise ValueError(
                f"{kind} has no translation: remove it from the System, or build the system from "
                f"{', '.join(READERS)}, without barostat or thermostat"
            )
        terms.extend(READERS[kind](reading, force))
    masses = tuple(reading.value(system.getParticleMass(i)) for i in range(n_atoms))
    periodic = any(getattr(term, "box", None) is not None for term in terms)
    return ForceField(n_atoms, masses, tuple(terms), tuple(map(tuple, reading.box.tolist())) if periodic else None)


def require_openmm() -> ModuleType:
    """The `openmm` module.

    Raises:
        ImportError: if it is missing, with the remedy.
    """
    try:
        import openmm
        import openmm.unit
    except ImportError as error:
        raise ImportError(
            "translating an OpenMM System needs OpenMM, which is not installed: pip install 'bayescg[openmm]'"
        ) from error
    return openmm

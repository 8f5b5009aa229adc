"""Charges of beads: a term that is known, or known up to a dielectric constant."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg._arrays import AnyArray
from bayescg.data.trajectories.vacuum import refuse_open
from bayescg.geometry.descriptors import minimum_image
from bayescg.potentials.configuration import Configuration, real_tuples
from bayescg.potentials.electrostatics import ewald
from bayescg.potentials.splines import UniformSpline
from bayescg.potentials.term import Term
from bayescg.units import COULOMB

METHODS = ("ewald", "reaction_field")
_ALIKE = 1e-3  # e, within a bead type
_NEUTRAL = 0.01  # e, of the whole box: what single precision leaves of many charges
_BINS = 50


@dataclass(frozen=True)
class Coulomb(Term):
    """Coulomb's law between the charges of beads, U = sum_ij q_i q_j / (4 pi epsilon_0 dielectric r_ij).

    `ewald` sums over all periodic images (doi:10.1002/andp.19213690304), with a conducting surrounding, as the meshes
    of LAMMPS, OpenMM and GROMACS do. `reaction_field` sees a conductor beyond the cutoff: a pair has 1/r + r^2 / 2 rc^3
    - 3 / 2 rc, whose force is zero there (doi:10.1063/1.469273). Pairs that the potential excludes do not interact.

    Attributes:
        cutoff: of the sum over distances [nm]; with Ewald's sum a matter of speed only.
        method: "ewald" or "reaction_field".
        charges: of the bead types [e], as {"NA": 1.0, "CL": -1.0}; None: from the data (`fill_ranges`).
        dielectric: relative permittivity that divides all energies. If learned, the guess of the prior, in which
            1 / permittivity is normal with a standard deviation of 0.5.
        learn: fit the permittivity: the term's one coefficient is 1 / permittivity.
        tolerance: relative error of Ewald's sum, roughly.

    Raises:
        ValueError: for an unknown method, charges that are no finite numbers by bead type, or a cutoff, dielectric or
            tolerance that is out of range.
    """

    cutoff: float
    method: str = "ewald"
    charges: Mapping[str, float] | tuple[tuple[str, float], ...] | None = None
    dielectric: float = 1.0
    learn: bool = False
    tolerance: float = 1e-5

    kind: ClassVar[str] = "coulomb"
    unit: ClassVar[str] = "nm"
    body: ClassVar[int] = 2
    name: ClassVar[str] = "coulomb"  # pyright: ignore[reportIncompatibleMethodOverride]
    bins: ClassVar[int] = _BINS  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self):
        for field in ("cutoff", "dielectric"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"coulomb: {field} must be positive and finite; got {value}")
        if self.method not in METHODS:
            raise ValueError(f"coulomb: method={self.method!r}; choose {' or '.join(map(repr, METHODS))}")
        if not 0 < self.tolerance <= 0.01:
            raise ValueError(f"coulomb: tolerance is a relative error, above 0 and at most 0.01; got {self.tolerance}")
        if self.charges is not None:
            object.__setattr__(self, "charges", _by_type(self.charges))

    @property
    def of_types(self) -> dict[str, float]:
        """Charge of each bead type [e].

        Raises:
            ValueError: if they are not known yet.
        """
        if self.charges is None:
            raise ValueError("coulomb has no charges yet: give charges=, or call bayescg.fill_ranges(potential, cg)")
        return dict(_by_type(self.charges))

    @property
    def types(self):
        return () if self.charges is None else tuple(bead for bead, charge in self.of_types.items() if charge)

    @property
    def n_basis(self):
        return int(self.learn)

    @property
    def n_baselines(self):
        return int(not self.learn)

    @property
    def span(self):
        return 0.0, self.cutoff

    @property
    def open_fields(self):
        return ("charges",) if self.charges is None else ()

    @property
    def alpha(self) -> float:
        """Where Ewald's sum is split [1/nm]."""
        return ewald.splitting(self.cutoff, self.tolerance)[0]

    def overlaps(self, other):
        return self.kind == other.kind

    def fill(self, sample):
        """The same term with the charges of the beads of a system.

        Args:
            sample: of the system.

        Returns:
            The term.

        Raises:
            ValueError: if beads have no charges, or those of one type differ.
        """
        if self.charges is not None:
            return self
        if sample.charges is None or not np.any(np.abs(sample.charges) > _ALIKE):
            raise ValueError(
                "coulomb: no bead of the data carries a charge (the topology may have none): give them as "
                f"charges={{{sample.bead_types[0]!r}: 1.0, ...}}, or leave the term out"
            )
        found = {}
        for bead in dict.fromkeys(sample.bead_types.tolist()):
            own = np.asarray(sample.charges, float)[sample.bead_types == bead]
            if np.ptp(own) > 2 * _ALIKE:
                raise ValueError(
                    f"coulomb: beads of type {bead} have charges from {own.min():+g} to {own.max():+g} e; a type has "
                    f"one charge: give them different types in the mapping, or charges={{{bead!r}: ...}}"
                )
            if abs(own.mean()) > _ALIKE:
                found[bead] = round(float(own.mean()), 9)
        return dataclasses.replace(self, charges=_by_type(found))

    def list_tuples(self, cg):
        present = cg["bead_type"].values.astype(str)
        refuse_open(cg, "charges interact in a periodic box only", "leave Coulomb out, or give the input a box")
        names = list(self.of_types)
        kinds = np.array([names.index(bead) if bead in names else len(names) for bead in present], np.int32)
        found = {"coulomb_kinds": kinds[:, None]}
        if self.method == "ewald":
            total = float(np.append(list(self.of_types.values()), 0.0)[kinds].sum())
            if abs(total) > _NEUTRAL:
                counts = ", ".join(f"{np.sum(present == bead)} {bead} of {q:+g} e" for bead, q in self.of_types.items())
                raise ValueError(
                    f"coulomb: the charges add up to {total:+.4g} e ({counts}), and Ewald's sum needs a neutral box: "
                    "add what is missing, give charges= that add up to zero, or take method='reaction_field'"
                )
            longest = ewald.splitting(self.cutoff, self.tolerance)[1]
            boxes = np.asarray(cg["box"].values, float)
            for axis, numbers in zip("abc", ewald.waves(boxes, longest), strict=True):
                found[f"coulomb_waves_{axis}"] = np.asarray(numbers, np.int32)[:, None]
        return found

    def list_excluded(self, cg, excluded):
        if self.method != "ewald":
            return {}
        charged = np.isin(cg["bead_type"].values.astype(str), self.types)
        rows = excluded[charged[excluded].all(axis=1)]
        return {"coulomb_excluded": np.concatenate([rows, np.zeros((1, 2), int)]).astype(np.int32)}

    def find_tuples(self, neighbors):
        near = neighbors.within(self.cutoff)
        charged = np.isin(near.types, [near.numbers[bead] for bead in self.types])
        return {self.name: near.pairs[charged[near.pairs].all(axis=1)]}

    def basis_energies(self, configuration):
        return self._vacuum(configuration)[None] if self.learn else jnp.zeros(0, configuration.positions.dtype)

    def energy(self, configuration, coefficients):
        return self._scale(coefficients) * self._vacuum(configuration)

    def forces(self, configuration, coefficients):
        return self._scale(coefficients) * self._vacuum_forces(configuration)

    def design_rows(self, configuration):
        x = configuration.positions
        return self._vacuum_forces(configuration)[:, None] if self.learn else jnp.zeros((len(x), 0, 3), x.dtype)

    def baseline_forces(self, configuration):
        if self.learn:
            return super().baseline_forces(configuration)
        return self._vacuum_forces(configuration)[:, None] / self.dielectric

    def laplacian(self, configuration, coefficients):
        charge = self._charge(configuration)
        r, product, near = self._pairs(configuration, self.name, charge)
        if self.method == "reaction_field":
            total = 2 * jnp.sum(jnp.where(near, product, 0.0)) * 3 / self.cutoff**3
        else:
            total = 2 * jnp.sum(jnp.where(near, product * ewald.sharp(r, self.alpha)[1], 0.0))
            r, product, real = self._pairs(configuration, "coulomb_excluded", charge)
            total -= 2 * jnp.sum(jnp.where(real, product * ewald.smooth(r, self.alpha)[1], 0.0))
            total += self._reciprocal(configuration, charge)[1]
        return self._scale(coefficients) * COULOMB * total

    def visits(self, configuration):
        r, _, near = self._pairs(configuration, self.name, self._charge(configuration))
        return UniformSpline(0.0, self.cutoff, _BINS).histogram(r, near)

    def count_strays(self, configuration, low, high):
        del low, high  # the law holds at every distance
        return jnp.zeros(2, int), jnp.sum(real_tuples(configuration.tuples[self.name]))

    def pair_energy(self, r: Float[AnyArray, " point"]) -> tuple[Float[Array, " point"], Float[Array, " point"]]:
        """Energy and force of two unit charges of one sign in vacuum, as the sum over distances has it.

        Args:
            r: (point,) distances up to the cutoff [nm].

        Returns:
            Energy [kJ/mol] and force [kJ/mol/nm], each (point,).
        """
        energy, slope = jax.jvp(self._near, (jnp.asarray(r),), (jnp.ones_like(jnp.asarray(r)),))
        return COULOMB * energy, -COULOMB * slope

    def _scale(self, coefficients):
        return coefficients[0] if self.learn else 1 / self.dielectric

    def _vacuum_forces(self, configuration: Configuration) -> Float[Array, "bead 3"]:
        return -jax.grad(lambda x: self._vacuum(configuration._replace(positions=x)))(configuration.positions)

    def _vacuum(self, configuration: Configuration) -> Float[Array, ""]:
        """Energy at a permittivity of one [kJ/mol]."""
        charge = self._charge(configuration)
        r, product, near = self._pairs(configuration, self.name, charge)
        total = jnp.sum(jnp.where(near, product * self._near(r), 0.0))
        if self.method == "ewald":
            r, product, real = self._pairs(configuration, "coulomb_excluded", charge)
            total -= jnp.sum(jnp.where(real, product * ewald.smooth(r, self.alpha)[0], 0.0))
            total += self._reciprocal(configuration, charge)[0] - ewald.own(charge, self.alpha)
        return COULOMB * total

    def _near(self, r: Float[Array, " pair"]) -> Float[Array, " pair"]:
        """The sum over distances has this of a pair of unit charges [1/nm]."""
        if self.method == "ewald":
            return ewald.sharp(r, self.alpha)[0]
        return 1 / r + (0.5 * (r / self.cutoff) ** 2 - 1.5) / self.cutoff

    def _reciprocal(self, configuration: Configuration, charge):
        a, b, c = (configuration.tuples[f"coulomb_waves_{axis}"][:, 0] for axis in "abc")
        return ewald.reciprocal(configuration.positions, configuration.box, charge, (a, b, c), self.alpha)

    def _charge(self, configuration: Configuration) -> Float[Array, " bead"]:
        """Charge of every bead [e]."""
        table = jnp.asarray([*self.of_types.values(), 0.0], configuration.positions.dtype)
        return table[configuration.tuples["coulomb_kinds"][:, 0]]

    def _pairs(self, configuration: Configuration, name: str, charge):
        """Distances [nm] and charge products of listed pairs, and which of them are pairs (of neighbors: near ones)."""
        tuples: Int[AnyArray, "pair 2"] = configuration.tuples[name]
        real = real_tuples(tuples)
        ends = jnp.asarray(configuration.positions)[tuples]
        vector = minimum_image(ends[:, 1] - ends[:, 0], configuration.box)
        # Padding has a distance of its own, so that every derivative is finite.
        r = jnp.sqrt(jnp.sum(jnp.where(real[:, None], vector, 1.0) ** 2, axis=-1))
        counted = real & (r < self.cutoff) if name == self.name else real
        return r, charge[tuples[:, 0]] * charge[tuples[:, 1]], counted


def _by_type(charges: Mapping[str, float] | tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
    """Charges by bead type, sorted.

    Raises:
        ValueError: if they are none.
    """
    try:
        found = {bead: float(charge) for bead, charge in dict(charges).items()}
    except (TypeError, ValueError):
        found = {}
    if not any(found.values()) or not all(isinstance(k, str) and k and math.isfinite(q) for k, q in found.items()):
        raise ValueError(
            f"coulomb: charges are numbers by bead type [e], as {{'NA': 1.0, 'CL': -1.0}}, not all "
            f"zero; got {charges!r}"
        )
    return tuple(sorted(found.items()))

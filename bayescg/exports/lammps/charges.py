"""LAMMPS: charges of beads, by `pair_style coul/long` with a mesh, or a reaction field by `lepton/coul`.

What depends on the fit stands in `coulomb.in`, which `potential.in` includes: charges by atom type, the permittivity,
and how the sum over waves is made. LAMMPS has no pair style for a reaction field, but reads its formula.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayescg._runtime import atomic_path
from bayescg.exports.charges import inverse_permittivity
from bayescg.exports.lammps.style import Overlay, style_of
from bayescg.exports.tables.curves import Comparison
from bayescg.potentials import Coulomb
from bayescg.units import ANGSTROM

# LAMMPS measures the error of a mesh by the force of two unit charges 1 Angstrom apart, ten times that of neighbors.
_MESH = 0.1


@dataclass(frozen=True)
class Charges(Overlay):
    """`pair_style coul/long` with `kspace_style pppm`, or `pair_style lepton/coul`.

    Attributes:
        term: the term.
    """

    term: Coulomb
    file: ClassVar[str] = "coulomb"

    @property
    def pair_style(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        name = "coul/long" if self.term.method == "ewald" else "lepton/coul"
        return f"{name} {self.term.cutoff / ANGSTROM:.12g}"

    def pair_coeff(self, file, elements):
        del file, elements
        return None

    def settings(self, file):
        return [f"include {file}"]

    def write(self, potential, coefficients, bead_types, folder):
        scale = inverse_permittivity(potential, self.term, coefficients)
        lines = ["# bayescg: charges of beads, units real", *self._lines(scale, bead_types)]
        path = folder / "coulomb.in"
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n")
        return path

    def compare(self, potential, coefficients, bead_types, path):
        scale = inverse_permittivity(potential, self.term, coefficients)
        wanted, error = self._lines(scale, bead_types), np.inf
        try:
            found = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        except (OSError, ValueError):
            found = []
        if [_NUMBER.sub("", line) for line in found] == [_NUMBER.sub("", line) for line in wanted]:
            true, read = (
                np.array([float(n) for line in lines for n in _NUMBER.findall(line)]) for lines in (wanted, found)
            )
            error = float(np.max(np.abs(read - true) / np.maximum(np.abs(true), 1e-12)))
        return [Comparison(path, self.term.name, error)]

    def _lines(self, scale: float, bead_types: Sequence[str]) -> list[str]:
        charges = self.term.of_types
        lines = [f"set type {k} charge {charges.get(bead, 0.0):.12g}" for k, bead in enumerate(bead_types, 1)]
        lines.append(f"dielectric {1 / scale:.12g}")
        if self.term.method == "ewald":
            # That error is absolute: where a permittivity makes all forces smaller, it has to be, too.
            mesh = f"kspace_style pppm {_MESH * self.term.tolerance * min(scale, 1.0):.3g}"
            # Of order 7 instead of 5: as many digits on a coarser mesh, twice as quick.
            return [*lines, "pair_coeff * * coul/long", mesh, "kspace_modify order 7"]
        reach = self.term.cutoff / ANGSTROM
        # Coulomb's constant over the permittivity is in the charges that a formula sees.
        law = f"qi*qj*(1/r+{0.5 / reach**3:.12g}*r*r-{1.5 / reach:.12g})"
        return [*lines, f'pair_coeff * * lepton/coul "{law}"']


_NUMBER = re.compile(r"(?<![\w.])-?\d+\.?\d*(?:e[+-]?\d+)?(?![\w.])")


@style_of.register
def _(term: Coulomb):
    return Charges(term)

"""LAMMPS: three-body terms as files of `pair_style threebody/table` (units real), for comparison with others' work.

The style keeps the forces of N^2 (N + 1) triangles of sides and angle and looks up the nearest one, without
interpolation: forces jump from entry to entry and are the gradient of no energy. Scherer, Scheid, Andrienko & Bereau,
J. Chem. Theory Comput. 16, 3194 (2020), doi:10.1021/acs.jctc.9b01256. `uf3` evaluates the term itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg._runtime import atomic_path
from bayescg.exports.lammps.names import keyword, symbols_of
from bayescg.exports.lammps.style import Overlay
from bayescg.exports.tables.splines import triangles
from bayescg.potentials import Potential, ThreeBody
from bayescg.units import ANGSTROM, KCAL

_NOTHING = "nothing"


@dataclass(frozen=True)
class TripletTables(Overlay):
    """`pair_style threebody/table`.

    Attributes:
        points: entries along each side.
    """

    points: int

    file: ClassVar[str] = "three"
    pair_style: ClassVar[str] = "threebody/table"

    def pair_coeff(self, file, elements):
        return f"threebody/table {file} {elements}"

    def write(self, potential, coefficients, bead_types, folder):
        return write_triplet_tables(potential, coefficients, bead_types, folder, self.points)

    def compare(self, potential, coefficients, bead_types, path):
        """Nothing: the nearest entry is another energy, whose error is not checked."""
        del potential, coefficients, bead_types, path
        return []


class TripletTable(NamedTuple):
    """What `threebody/table` looks up.

    Attributes:
        sides: (entry, 3) r_ij, r_ik and r_jk [nm].
        angle: (entry,) between r_ij and r_ik [degrees].
        energy: (entry,) [kJ/mol].
        slopes: (entry, 3) of the energy along the sides [kJ/mol/nm].
        low: r_ij and r_ik of the first entries [nm].
        high: and of the last ones [nm].
    """

    sides: Float[np.ndarray, "entry 3"]
    angle: Float[np.ndarray, " entry"]
    energy: Float[np.ndarray, " entry"]
    slopes: Float[np.ndarray, "entry 3"]
    low: float
    high: float


def tabulate(term: ThreeBody, coefficients: Float[np.ndarray, " basis"], points: int, start: float) -> TripletTable:
    """The table of one term.

    Args:
        term: with neighbors of one type.
        coefficients: of the term [kJ/mol].
        points: entries along each side; twice as many along the angle.
        start: what lies below is not looked up [nm].
    """
    step = (term.cutoff - start) / points
    low, high = start + step / 2, term.cutoff - step / 2
    r = np.linspace(low, high, points)
    one, two = np.triu_indices(points)
    theta = (np.arange(2 * points) + 0.5) * 90 / points
    angle = np.tile(theta, len(one))
    a, b = np.repeat(r[one], 2 * points), np.repeat(r[two], 2 * points)
    across = np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(np.radians(angle)))
    sides = np.stack([a, b, across], axis=-1)
    return TripletTable(sides, angle, *triangles(term, coefficients, sides), low, high)


def write_triplet_tables(
    potential: Potential,
    coefficients: Float[np.ndarray, " basis"],
    bead_types: Sequence[str],
    folder: Path,
    points: int,
    start: float | None = None,
) -> Path:
    """Write `three.table` and `three.3b`, which lists its sections.

    Args:
        potential: the potential; terms of other kinds are left out.
        coefficients: (basis,) [kJ/mol].
        bead_types: names of the atom types 1, 2, ...
        folder: where the files go.
        points: entries along each side.
        start: what lies below is not looked up [nm]; None: that of each term, where the energy vanishes.

    Returns:
        The path of `three.3b`.

    Raises:
        ValueError: for a term whose neighbors differ in type.
    """
    terms = {(t.center, t.a, t.b): t for t in potential.terms if isinstance(t, ThreeBody)}
    sections, lines = [], []
    for term in terms.values():
        if term.a != term.b:
            raise ValueError(
                f"{term.name}: LAMMPS' threebody/table orders the two neighbors by distance and so mixes up "
                f"{term.a} and {term.b}: export without three_body_table (pair_style uf3)"
            )
        first = float(term.start or 0.0) if start is None else start
        found = tabulate(term, coefficients[potential.slices[term.name]], points, first)
        sections.append(_section(keyword(term.name), found, points))
    types = list(zip(bead_types, symbols_of(bead_types), strict=True))
    for (center, one), (a, two), (b, three) in product(types, repeat=3):
        term = terms.get((center, a, b))
        name, cutoff = (_NOTHING, 0.0) if term is None else (keyword(term.name), term.cutoff / ANGSTROM)
        lines.append(f"{one} {two} {three} {cutoff:.17g} three.table {name} linear {points if term else 2}")
    if len(bead_types) > 1:
        rows = "\n".join(f"{k} 1 1 1 0 0 0 0 0 0 0" for k in range(1, 17))
        sections.append(f"{_NOTHING}\nN 2 rmin 1 rmax 2\n\n{rows}\n")
    with atomic_path(folder / "three.table") as temporary:
        temporary.write_text("# bayescg, units real\n\n" + "\n".join(sections))
    with atomic_path(folder / "three.3b") as temporary:
        temporary.write_text("# bayescg, UNITS: real\n" + "\n".join(lines) + "\n")
    return folder / "three.3b"


def _section(name: str, table: TripletTable, points: int) -> str:
    # Forces as multiples of the vectors r_ij, r_ik and r_jk.
    along, beside, across = (-table.slopes / table.sides).T * (ANGSTROM**2 / KCAL)
    columns = np.stack(
        [
            *(table.sides[:, :2] / ANGSTROM).T,
            table.angle,
            *(-along, -beside, along, -across, beside, across),
            table.energy / KCAL,
        ],
        axis=-1,
    )
    rows = "\n".join(
        f"{k} " + " ".join(f"{value:.12g}" for value in row) for k, row in enumerate(columns.tolist(), start=1)
    )
    return f"{name}\nN {points} rmin {table.low / ANGSTROM:.12g} rmax {table.high / ANGSTROM:.12g}\n\n{rows}\n"


def lookup_error(term: ThreeBody, coefficients: Float[np.ndarray, " basis"], points: int, start: float) -> float:
    """How far slopes looked up in the table are from the term's: rms over random triangles, over the rms slope."""
    table = tabulate(term, coefficients, points, start)
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.uniform(start, term.cutoff, (2, 4000)), axis=0)
    angle = rng.uniform(0.0, 180.0, 4000)
    across = np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(np.radians(angle)))
    step = (term.cutoff - start) / points
    one, two = ((np.clip((side - start) / step, 0, points - 1e-9)).astype(int) for side in (a, b))
    place = one * points - one * (one - 1) // 2 + (two - one)
    entry = place * 2 * points + np.clip(angle * points / 90, 0, 2 * points - 1e-9).astype(int)
    true = triangles(term, coefficients, np.stack([a, b, across], axis=-1))[1]
    return float(np.sqrt(np.mean((table.slopes[entry] - true) ** 2) / np.mean(true**2)))

"""OpenMM: tabulated forces of pairs and of bonded interactions.

All pair terms stand in one table, one after another, so that one CustomNonbondedForce with an ordinary neighbor list
evaluates them whatever the number of bead types. Bonded terms are CustomCompoundBondForces: OpenMM's CustomBondForce,
CustomAngleForce and CustomTorsionForce take no tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from bayescg.data.mapping.topology import exclusions
from bayescg.exports.openmm.force import Force, force_of
from bayescg.exports.tables import curves
from bayescg.exports.tables.curves import Curve, terms_of
from bayescg.potentials import Angle, Bond, Dihedral, Pair, SplineTerm

# Zeros (or a smooth continuation) around each curve: what a cubic spline remembers of a jump falls fourfold per entry.
_PAD = 40


@dataclass(frozen=True)
class PairForce(Force):
    """All pair terms together."""

    @property
    def name(self):
        return "pairs"

    def make(self, mm, potential, coefficients, cg, found):
        del found
        return _pair_force(mm, potential, coefficients, cg)

    def error(self, force, term, potential, coefficients):
        assert isinstance(term, Pair)
        x, values = _read_table(force)
        begin = _begin(force) * terms_of(potential, "pair").index(term)
        return _table_error(
            Curve.of(potential, term, coefficients), x, values, partial(_read_segment, x, values, begin)
        )


@dataclass(frozen=True)
class BondedForce(Force):
    """One bonded term.

    Attributes:
        term: the term.
    """

    term: SplineTerm

    @property
    def name(self):
        return self.term.name

    def make(self, mm, potential, coefficients, cg, found):
        del cg
        force = _bonded_force(mm, Curve.of(potential, self.term, coefficients))
        force.setUsesPeriodicBoundaryConditions(True)
        for beads in found.bonded[self.name].tolist():
            force.addBond(beads, [])
        return force

    def error(self, force, term, potential, coefficients):
        del term  # its own
        curve, (x, values) = Curve.of(potential, self.term, coefficients), _read_table(force)
        return _table_error(curve, x, values, _interpolation(self.term))


@force_of.register
def _(term: Pair):
    del term
    return PairForce()


@force_of.register(Bond)
@force_of.register(Angle)
@force_of.register(Dihedral)
def _(term):
    return BondedForce(term)


def grid(curve: Curve, points: int, reach: float | None = None) -> Float[np.ndarray, " x"]:
    """Abscissae of a table of one term: its domain (pairs: up to `reach`), angles with entries beyond both ends."""
    low, high = curve.domain
    if not isinstance(curve.term, Angle):
        return np.linspace(low, reach or high, points)
    step = (high - low) / (points - 1)
    return low + step * np.arange(-_PAD, points + _PAD)


def _interpolation(term: SplineTerm) -> curves.Interpolation:
    return curves.read_periodic_spline if isinstance(term, Dihedral) else curves.read_natural_spline


def _read_table(force) -> tuple[np.ndarray, np.ndarray]:
    values, low, high = force.getTabulatedFunction(0).getFunctionParameters()[:3]
    return np.linspace(low, high, len(values)), np.asarray(values)


def _table_error(curve: Curve, x, values, read) -> float:
    return curves.worst_error(curve, x, values, np.zeros_like(values), read)


def _begin(force) -> float:
    """Where the second pair curve begins in the common table [nm]; 0 if there is one."""
    return force.getGlobalParameterDefaultValue(0) if force.getNumGlobalParameters() else 0.0


def _read_segment(x, values, begin, _x, _energy, _force, at):
    return curves.read_natural_spline(x, values, None, at + begin)


def _points(listed: list[Curve], reach: float | None = None) -> int:
    """Entries that all of these curves need."""
    return max(
        curves.count_points(
            curve,
            lambda n, curve=curve: grid(curve, n, reach),
            _interpolation(curve.term),
            least=1001,
        )
        for curve in listed
    )


def _pair_force(mm, potential, coefficients, cg):
    terms = terms_of(potential, "pair")
    listed = [Curve.of(potential, term, coefficients) for term in terms]
    reach = max(term.cutoff for term in terms)
    points = _points(listed, reach)
    types = sorted(set(cg["bead_type"].values.astype(str).tolist()))
    segments = np.full((len(types), len(types)), len(terms))
    for number, term in enumerate(terms):
        a, b = (types.index(bead) for bead in term.types)
        segments[a, b] = segments[b, a] = number
    blocks = [np.concatenate([curve(grid(curve, points, reach))[0], np.zeros(_PAD)]) for curve in listed]
    if np.any(segments == len(terms)):
        blocks.append(np.zeros(points + _PAD))
    step = reach / (points - 1)
    values = np.concatenate(blocks)
    several = len(types) > 1
    force = mm.CustomNonbondedForce("u(r+span*segment(kind1,kind2))" if several else "u(r)")
    force.addTabulatedFunction("u", mm.Continuous1DFunction(values, 0.0, step * (len(values) - 1)))
    if several:
        force.addTabulatedFunction("segment", mm.Discrete2DFunction(len(types), len(types), segments.ravel().tolist()))
        force.addPerParticleParameter("kind")
        force.addGlobalParameter("span", step * (points + _PAD))
    for bead in cg["bead_type"].values.astype(str):
        force.addParticle([types.index(bead)] if several else [])
    force.setNonbondedMethod(mm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(reach)
    for i, j in exclusions(cg["bonds"].values, cg.sizes["bead"], potential.exclude_bonds).tolist():
        force.addExclusion(i, j)
    return force


def _bonded_force(mm, curve: Curve):
    x = grid(curve, _points([curve]))
    energy, force = curve(x)
    low, high = float(x[0]), float(x[-1])
    if isinstance(curve.term, Dihedral):
        energy[-1] = energy[0]
        made = mm.CustomCompoundBondForce(4, "u(dihedral(p1,p2,p3,p4))")
        made.addTabulatedFunction("u", mm.Continuous1DFunction(energy, low, high, True))  # noqa: FBT003  (no keyword there)
        return made
    if isinstance(curve.term, Angle):
        made = mm.CustomCompoundBondForce(3, "u(angle(p1,p2,p3))")
    else:
        # OpenMM's functions are zero outside their table: a bond would let go there instead of pulling back.
        pull = float(force[-1])
        length = "distance(p1,p2)"
        made = mm.CustomCompoundBondForce(2, f"u(min({length},{high!r}))-({pull!r})*max(0,{length}-{high!r})")
    made.addTabulatedFunction("u", mm.Continuous1DFunction(energy, low, high))
    return made

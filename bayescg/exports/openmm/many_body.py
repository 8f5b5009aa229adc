"""OpenMM: three-body terms as CustomManyParticleForce and local densities as CustomGBForce.

OpenMM's tabulated functions are natural cubic splines. Their entries stand on our knots and end where a cubic spline of
ours has no curvature, so that they are ours, not an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.data.mapping.topology import exclusions
from bayescg.exports.openmm.force import Force, force_of
from bayescg.exports.tables.splines import continue_spline, triplet_table, values_at_knots
from bayescg.geometry.images import shortest_height
from bayescg.potentials import LocalDensity, ThreeBody

_EDGE = 3
# Entries beyond the first and last knot: what a wrong curvature at the end does falls by 0.27 with each.
_BESIDE = 32
_STRAIGHT = 8  # entries beyond the last knot, behind which F is a straight line


@dataclass(frozen=True)
class ThreeBodyForce(Force):
    """A `CustomManyParticleForce`.

    Attributes:
        term: the term.
    """

    term: ThreeBody

    @property
    def name(self):
        return self.term.name

    def check(self, potential, cg):
        """Refuse a box in which OpenMM would measure the third side to another image, and excluded neighbors."""
        term, types = self.term, cg["bead_type"].values.astype(str)
        if 4 * term.cutoff > (height := shortest_height(np.asarray(cg["box"].values, float))):
            raise ValueError(
                f"{term.name}: OpenMM measures the third side of a triangle, up to {2 * term.cutoff:g} nm, to the "
                f"nearest image: it needs a box of at least {4 * term.cutoff:g} nm (this one: {height:.4g}). "
                "format='lammps' does not"
            )
        excluded = types[exclusions(cg["bonds"].values, cg.sizes["bead"], potential.exclude_bonds)].reshape(-1, 2)
        if any(sorted(pair) == sorted((term.a, term.b)) for pair in excluded.tolist()):
            raise ValueError(
                f"{term.name}: OpenMM leaves out triplets whose neighbors {term.a} and {term.b} exclude each other; "
                "the model counts them: set exclude_bonds=0 in the fit, or choose format='lammps'"
            )

    def make(self, mm, potential, coefficients, cg, found):
        del found
        own = coefficients[potential.slices[self.name]]
        return three_body_force(mm, self.term, own, cg, potential.exclude_bonds)

    def error(self, force, term, potential, coefficients):
        read = force.getTabulatedFunction(0).getFunctionParameters()
        true = triangle_table(self.term, coefficients[potential.slices[term.name]])
        return _entry_error(read[3], true[3], (read[:3] + read[4:], true[:3] + true[4:]))


@dataclass(frozen=True)
class DensityForce(Force):
    """A `CustomGBForce`.

    Attributes:
        term: the term.
    """

    term: LocalDensity

    @property
    def name(self):
        return self.term.name

    def make(self, mm, potential, coefficients, cg, found):
        del found
        own = coefficients[potential.slices[self.name]]
        return density_force(mm, self.term, own, cg, potential.exclude_bonds)

    def error(self, force, term, potential, coefficients):
        read = force.getTabulatedFunction(0).getFunctionParameters()
        true = density_table(self.term, coefficients[potential.slices[term.name]])
        return _entry_error(read[0], true[0], (read[1:3], true[1:]))


@force_of.register
def _(term: ThreeBody):
    return ThreeBodyForce(term)


@force_of.register
def _(term: LocalDensity):
    return DensityForce(term)


def three_body_force(mm, term: ThreeBody, coefficients: Float[np.ndarray, " basis"], cg: xr.Dataset, exclude: int):
    """A three-body term as a `CustomManyParticleForce`."""
    force = mm.CustomManyParticleForce(3, "u(distance(p1,p2),distance(p1,p3),distance(p2,p3))")
    force.setPermutationMode(mm.CustomManyParticleForce.UniqueCentralParticle)
    force.addTabulatedFunction("u", mm.Continuous3DFunction(*triangle_table(term, coefficients)))
    types = cg["bead_type"].values.astype(str).tolist()
    number = {bead: k for k, bead in enumerate(sorted(set(types)))}
    for bead in types:
        force.addParticle([], number[bead])
    for place, bead in enumerate(term.types):
        force.setTypeFilter(place, {number[bead]})
    force.setNonbondedMethod(mm.CustomManyParticleForce.CutoffPeriodic)
    force.setCutoffDistance(term.cutoff)
    for i, j in exclusions(cg["bonds"].values, cg.sizes["bead"], exclude).tolist():
        force.addExclusion(i, j)
    return force


def triangle_table(term: ThreeBody, coefficients: Float[np.ndarray, " basis"]) -> tuple:
    """Arguments of the `Continuous3DFunction` of a three-body term."""
    grid = term.grid
    # On the third side three functions more, of coefficient zero: the last ones end there by themselves.
    raw = np.pad(triplet_table(term, coefficients), ((0, 0), (0, 0), (0, _EDGE)))
    for axis in range(3):
        raw = np.apply_along_axis(values_at_knots, axis, raw)
    side, opposite = grid.side, grid.opposite
    beyond = opposite.stop + _EDGE * opposite.spacing
    ends = (side.start, side.stop) * 2 + (opposite.start, beyond)
    return (*raw.shape, raw.ravel(order="F").tolist(), *ends)


def density_force(mm, term: LocalDensity, coefficients: Float[np.ndarray, " basis"], cg: xr.Dataset, exclude: int):
    """A local-density term as a `CustomGBForce`."""
    inner, outer = term.inner, term.outer
    x = (inner / outer) ** 2
    c = [1 - 3 * x, 6 * x / outer**2, -3 * (1 + x) / outer**4, 2 / outer**6]
    c0, c2, c4, c6 = (value / (1 - x) ** 3 for value in c)
    values, low, high = density_table(term, coefficients)
    spacing = term.spline.spacing
    end = term.spline.stop + _STRAIGHT * spacing
    place = _BESIDE + term.spline.intervals + _STRAIGHT
    slope = (values[place + 1] - values[place]) / spacing
    force = mm.CustomGBForce()
    force.addPerParticleParameter("center")
    force.addPerParticleParameter("counted")
    force.addTabulatedFunction("F", mm.Continuous1DFunction(values.tolist(), low, high))
    force.addComputedValue(
        "rho",
        f"center1*counted2*select(step(r-{outer!r}),0,select(step({inner!r}-r),1,phi));"
        f"phi={c0!r}+s*({c2!r}+s*({c4!r}+s*{c6!r}));s=r*r",
        mm.CustomGBForce.ParticlePair,
    )
    force.addEnergyTerm(
        f"center*(F(min(rho,{end!r}))+({float(slope)!r})*max(0,rho-{end!r}))", mm.CustomGBForce.SingleParticle
    )
    for bead in cg["bead_type"].values.astype(str).tolist():
        force.addParticle([float(bead == term.a), float(bead == term.b)])
    force.setNonbondedMethod(mm.CustomGBForce.CutoffPeriodic)
    force.setCutoffDistance(outer)
    for i, j in exclusions(cg["bonds"].values, cg.sizes["bead"], exclude).tolist():
        force.addExclusion(i, j)
    return force


def density_table(term: LocalDensity, coefficients: Float[np.ndarray, " basis"]) -> tuple[np.ndarray, float, float]:
    """Values of F - F(0) on the knots and beyond, and the first and the last density."""
    spline = term.spline
    values = values_at_knots(continue_spline(np.asarray(coefficients, float), _BESIDE, _BESIDE))
    low = -_BESIDE * spline.spacing
    return values - values[_BESIDE], low, low + (len(values) - 1) * spline.spacing


def _entry_error(read, true, ends) -> float:
    """Largest difference of the entries of a table from what they should be, over the largest entry."""
    values, expected = np.asarray(read), np.asarray(true)
    if values.shape != expected.shape or not np.allclose(*(np.array(end, float) for end in ends), rtol=1e-12):
        return np.inf
    return float(np.abs(values - expected).max() / (np.abs(expected).max() or 1.0))

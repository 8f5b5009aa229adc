"""What a coarse-grained potential is: terms, baselines below them, and their sum in a system of beads."""

from bayescg.potentials.baselines import WCA, Baseline, Harmonic, LennardJones, Spline, table
from bayescg.potentials.bonded import Angle, Bond, Dihedral
from bayescg.potentials.configuration import Configuration
from bayescg.potentials.electrostatics.coulomb import Coulomb
from bayescg.potentials.interactions import Interactions
from bayescg.potentials.many_body.local_density import LocalDensity
from bayescg.potentials.many_body.smooth_overlap import SmoothOverlap
from bayescg.potentials.many_body.three_body import ThreeBody
from bayescg.potentials.pair import Pair
from bayescg.potentials.potential import Potential, freeze
from bayescg.potentials.ranges import fill_ranges
from bayescg.potentials.spline_term import SplineTerm
from bayescg.potentials.splines import UniformSpline
from bayescg.potentials.term import Term

__all__ = [
    "WCA",
    "Angle",
    "Baseline",
    "Bond",
    "Configuration",
    "Coulomb",
    "Dihedral",
    "Harmonic",
    "Interactions",
    "LennardJones",
    "LocalDensity",
    "Pair",
    "Potential",
    "SmoothOverlap",
    "Spline",
    "SplineTerm",
    "Term",
    "ThreeBody",
    "UniformSpline",
    "fill_ranges",
    "freeze",
    "table",
]

"""What a coarse-grained potential is: splines, baselines, terms, and their sum."""

from bayescg.potentials.baselines import WCA, Baseline, Harmonic, LennardJones, Spline, table
from bayescg.potentials.interactions import Interactions
from bayescg.potentials.local_density import LocalDensity
from bayescg.potentials.potential import Potential, fixed
from bayescg.potentials.smooth_overlap import SmoothOverlap
from bayescg.potentials.spline_term import Configuration
from bayescg.potentials.splines import UniformSpline
from bayescg.potentials.terms import Angle, Bond, Dihedral, Pair, Term
from bayescg.potentials.three_body import ThreeBody

__all__ = [
    "WCA",
    "Angle",
    "Baseline",
    "Bond",
    "Configuration",
    "Dihedral",
    "Harmonic",
    "Interactions",
    "LennardJones",
    "LocalDensity",
    "Pair",
    "Potential",
    "SmoothOverlap",
    "Spline",
    "Term",
    "ThreeBody",
    "UniformSpline",
    "fixed",
    "table",
]

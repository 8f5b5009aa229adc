"""Atoms from beads: placement of atoms with exact statistics."""

from bayescg.backmapping.conditional import fit_conditional
from bayescg.backmapping.fibre import Fibre
from bayescg.backmapping.frames import Tempering
from bayescg.backmapping.guide import Conditional, GaussianConditional, GaussianGuide, Guide
from bayescg.backmapping.liquid import Annealing
from bayescg.backmapping.results import Corrected, correct_ensemble, mapping_entropy, potential_of_mean_force
from bayescg.backmapping.sampling import sample
from bayescg.backmapping.writing import write_atoms

__all__ = [
    "Annealing",
    "Conditional",
    "Corrected",
    "Fibre",
    "GaussianConditional",
    "GaussianGuide",
    "Guide",
    "Tempering",
    "correct_ensemble",
    "fit_conditional",
    "mapping_entropy",
    "potential_of_mean_force",
    "sample",
    "write_atoms",
]

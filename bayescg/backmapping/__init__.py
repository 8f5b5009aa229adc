"""Atoms from beads: placement of atoms with exact statistics."""

from bayescg.backmapping.conditional.gaussian_process import fit_conditional
from bayescg.backmapping.conditional.settings import Learning
from bayescg.backmapping.guides.fibre import Fibre
from bayescg.backmapping.guides.guide import Conditional, GaussianConditional, GaussianGuide, Guide
from bayescg.backmapping.liquid.liquid import Annealing
from bayescg.backmapping.molecule.frame import Tempering
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
    "Learning",
    "Tempering",
    "correct_ensemble",
    "fit_conditional",
    "mapping_entropy",
    "potential_of_mean_force",
    "sample",
    "write_atoms",
]

"""OpenMM: charges of beads as a NonbondedForce without Lennard-Jones interactions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayescg.data.mapping.topology import exclusions
from bayescg.exports.charges import charges_of, inverse_permittivity
from bayescg.exports.openmm.force import Force, force_of
from bayescg.potentials import Coulomb

# Of the surroundings of a reaction field: OpenMM takes no conductor, but this is one.
_CONDUCTOR = 1e12
# Forces of OpenMM's mesh are ten times worse than its tolerance says (its default of 5e-4 is meant for thermostats).
_MESH = 0.1


@dataclass(frozen=True)
class ChargeForce(Force):
    """A `NonbondedForce`: particle-mesh Ewald or a reaction field, charges divided by the root of the permittivity.

    Attributes:
        term: the term.
    """

    term: Coulomb

    @property
    def name(self):
        return self.term.name

    def make(self, mm, potential, coefficients, cg, found):
        del found
        force = mm.NonbondedForce()
        scale = inverse_permittivity(potential, self.term, coefficients)
        for charge in np.sqrt(scale) * charges_of(self.term, cg):
            force.addParticle(float(charge), 1.0, 0.0)
        for i, j in exclusions(cg["bonds"].values, cg.sizes["bead"], potential.exclude_bonds).tolist():
            force.addException(i, j, 0.0, 1.0, 0.0)
        force.setCutoffDistance(self.term.cutoff)
        force.setUseDispersionCorrection(False)
        # Excluded beads of long molecules are nearest by their images too, as in the model.
        force.setExceptionsUsePeriodicBoundaryConditions(True)
        if self.term.method == "ewald":
            force.setNonbondedMethod(mm.NonbondedForce.PME)
            force.setEwaldErrorTolerance(_MESH * self.term.tolerance)
        else:
            force.setNonbondedMethod(mm.NonbondedForce.CutoffPeriodic)
            force.setReactionFieldDielectric(_CONDUCTOR)
        return force

    def error(self, force, term, potential, coefficients):
        del term  # its own
        scale = inverse_permittivity(potential, self.term, coefficients)
        read = {
            round(force.getParticleParameters(k)[0]._value / np.sqrt(scale), 6) for k in range(force.getNumParticles())
        }
        known = {0.0, *(round(charge, 6) for charge in self.term.of_types.values())}
        exact = force.getCutoffDistance()._value == self.term.cutoff
        return 0.0 if exact and read <= known else np.inf


@force_of.register
def _(term: Coulomb):
    return ChargeForce(term)

"""Charges of beads: Coulomb's law in a periodic box."""

from bayescg.potentials.electrostatics.coulomb import Coulomb

__all__ = ["Coulomb"]

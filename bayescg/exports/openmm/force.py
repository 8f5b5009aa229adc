"""Which OpenMM force evaluates a term: what it is asked for by the System, and how it is checked."""

from __future__ import annotations

import abc
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.potentials import Interactions, Potential, Term

if TYPE_CHECKING:
    import openmm


class Force(abc.ABC):
    """One force of a System, for one term or for all terms of a type."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Of the force in the System."""

    def check(self, potential: Potential, cg: xr.Dataset) -> None:
        """Refuse a configuration in which OpenMM would do otherwise than the model.

        Raises:
            ValueError: with the remedy.
        """
        del potential, cg

    @abc.abstractmethod
    def make(
        self, mm, potential: Potential, coefficients: Float[np.ndarray, " basis"], cg: xr.Dataset, found: Interactions
    ) -> openmm.Force:
        """The force, for the beads of one configuration; `mm` is the module `openmm`."""

    @abc.abstractmethod
    def error(self, force, term: Term, potential: Potential, coefficients: Float[np.ndarray, " basis"]) -> float:
        """How far a term in a force that was read back is from the fit, over the force."""


@singledispatch
def force_of(term: Term) -> Force | None:
    """The force for a term; None where OpenMM has none. A type of term has one by `@force_of.register`.

    Forces that are equal are one force, which evaluates several terms.
    """
    del term

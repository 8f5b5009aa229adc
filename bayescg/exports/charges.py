"""Charges and the permittivity of a fitted potential, as every program needs them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.potentials import Coulomb, Potential


def coulomb_of(potential: Potential) -> Coulomb | None:
    """The term for charges, if there is one."""
    return next((term for term in potential.terms if isinstance(term, Coulomb)), None)


def charges_of(term: Coulomb, cg: xr.Dataset) -> Float[np.ndarray, " bead"]:
    """Charge of every bead in the model [e]."""
    charges = term.of_types
    return np.array([charges.get(bead, 0.0) for bead in cg["bead_type"].values.astype(str).tolist()])


def inverse_permittivity(potential: Potential, term: Coulomb, coefficients: Float[np.ndarray, " basis"]) -> float:
    """1 / relative permittivity, given or learned.

    Raises:
        ValueError: if what was learned is no permittivity.
    """
    if not term.learn:
        return 1 / term.dielectric
    found = float(np.asarray(coefficients, float)[potential.slices[term.name]][0])
    if not (np.isfinite(found) and found > 0):
        raise ValueError(
            f"coulomb: this draw has an inverse permittivity of {found:.3g}, which no program takes: the data hardly "
            "say how large it is; fit with a given one, Coulomb(dielectric=..., learn=False)"
        )
    return found

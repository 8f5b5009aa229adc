"""Virial pressure of a coarse-grained model at any coefficients near a reference, with its error and its slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bayescg.inference.structural.reweighting import Reference
from bayescg.units import BAR


@dataclass(frozen=True, eq=False)
class Pressure:
    """A pressure with its error.

    Attributes:
        value: [bar].
        sd: from the length of the simulation [bar].
        slope: (basis,) dP/dw [bar mol/kJ].
    """

    value: float
    sd: float
    slope: Float[np.ndarray, " basis"]


def pressure_at(reference: Reference, coefficients: Float[np.ndarray, " basis"], beads: int, volume: float) -> Pressure:
    """Virial pressure at given coefficients, reweighted from a reference.

    P = (N kT - <dU/ds> / 3) / V, with s a homogeneous strain; dP/dw = -[<dA/ds> / 3 + V beta Cov(P, A)] / V.
    """
    frames, kT = reference.frames, reference.kT
    scale = BAR / volume
    values = scale * (beads * kT - (frames.strained @ coefficients + frames.baseline[..., 1]) / 3)
    moments = reference.moments(coefficients, values[..., None])
    weight, _ = reference.weights(coefficients)
    strained = np.einsum("rf,rfk->k", weight, frames.strained)
    energies = np.einsum("rf,rfk->k", weight, frames.basis)
    joint = np.einsum("rf,rf,rfk->k", weight, values - moments.mean[0], frames.basis - energies, optimize=True)
    slope = -scale * strained / 3 - joint / kT
    return Pressure(float(moments.mean[0]), float(np.sqrt(moments.error[0, 0])), slope)

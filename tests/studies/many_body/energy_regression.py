"""Gaussian-process regression of energies: a term fitted to energies of configurations, hyperparameters given."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from bayescg._runtime import double_precision
from bayescg.kernels import prior_of
from bayescg.potentials import Configuration, SmoothOverlap


class EnergyFit(NamedTuple):
    """Gaussian posterior of the coefficients of a term.

    Attributes:
        mean: (basis,) [kJ/mol].
        covariance: (basis, basis) [kJ^2/mol^2].
    """

    mean: Float[np.ndarray, " basis"]
    covariance: Float[np.ndarray, "basis basis"]


def energy_design(term: SmoothOverlap, configurations: Configuration) -> Float[np.ndarray, "frame basis"]:
    """Basis energies of many configurations.

    Args:
        term: the term, with inducing points.
        configurations: with a leading axis, the frames, on every array.
    """
    with double_precision():
        return np.asarray(jax.jit(lambda c: jax.lax.map(term.basis_energies, c, batch_size=64))(configurations))


def fit_energies(
    term: SmoothOverlap,
    design: Float[np.ndarray, "frame basis"],
    energies: Float[np.ndarray, " frame"],
    *,
    amplitude: float,
    noise: float,
) -> EnergyFit:
    """Posterior of a term's coefficients from energies; the second stage, inducing points being the first.

    Subset-of-regressors Gaussian process (Rasmussen & Williams 2006, section 8.3.1).

    Args:
        term: the term, with inducing points.
        design: from `energy_design`.
        energies: of the same configurations [kJ/mol].
        amplitude: of the kernel [kJ/mol].
        noise: standard deviation of the energies about the model [kJ/mol].

    Returns:
        Mean and covariance; predictions are `energy_design(...) @ mean`.

    Raises:
        ValueError: for shapes that do not match, or an amplitude or noise that is not positive.
    """
    x, y = np.asarray(design, float), np.asarray(energies, float)
    if x.shape != (len(y), term.n_basis):
        raise ValueError(f"design has shape {x.shape}: give ({len(y)}, {term.n_basis}), energies by coefficients")
    if not (amplitude > 0 and noise > 0):
        raise ValueError(f"amplitude and noise are positive energies [kJ/mol]; got {amplitude} and {noise}")
    lift = amplitude * prior_of(term, np.zeros(term.bins), (0.0, term.cutoff), kT=1.0).lift
    free = x @ lift
    factor = cho_factor(free.T @ free / noise**2 + np.eye(free.shape[1]), lower=True)
    mean = lift @ cho_solve(factor, free.T @ y / noise**2)
    return EnergyFit(mean, lift @ cho_solve(factor, lift.T))

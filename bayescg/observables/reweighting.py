"""Weights of reference frames for other coefficients: exact, since the energy is linear in the coefficients.

With A(frame) = dU/dw stored, the reduced energy of a frame under draw d is beta w_d . A(frame) plus a baseline that is
the same for all draws and cancels. Frames of K references are a sample of the mixture of their densities (MBAR, Shirts
& Chodera, doi:10.1063/1.2978177), and a draw's weights are its density over the mixture's:

    log W_d(f) = -beta w_d . A(f) - log sum_k N_k exp(F_k - beta w_k . A(f))

With one reference this is exponential reweighting, -beta (w_d - w_1) . A(f).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp, softmax

from bayescg.observables.references import References
from bayescg.units import BOLTZMANN

_OVERLAP = 0.03
"""Smallest overlap of neighboring states (Klimovich, Shirts & Mobley, doi:10.1007/s10822-015-9840-9)."""


class Mixture(NamedTuple):
    """The references as one sample.

    Attributes:
        energies: (frame, basis) beta dU/dw, shifted by its mean over frames.
        log_density: (frame,) log sum_k N_k exp(F_k - u_k(f)).
        own: (reference, frame) weights of each reference's own state, each row summing to one.
        covariance: (basis, basis) of `energies` within references, what distances between coefficients are measured
            with: (w - v)^T covariance (w - v) is the variance of the log weights.
    """

    energies: Float[np.ndarray, "frame basis"]
    log_density: Float[np.ndarray, " frame"]
    own: Float[np.ndarray, "reference frame"]
    covariance: Float[np.ndarray, "basis basis"]


def mixture(references: References) -> Mixture:
    """Solve for the free energies of the references.

    Raises:
        ValueError: if references fall into groups that share no configurations.
    """
    energies = references.frames["basis_energy"].values / (BOLTZMANN * references.temperature)
    energies = energies - energies.mean(axis=0)
    reduced = references.coefficients @ energies.T
    counts = np.bincount(references.member, minlength=len(reduced))
    # Runs of the same coefficients are one state, whose free energy needs no solver.
    _, first, state = np.unique(references.coefficients, axis=0, return_index=True, return_inverse=True)
    state = state.ravel()
    free = free_energies(reduced[first], state[references.member])[state]
    exponents = free[:, None] - reduced
    log_density = np.asarray(logsumexp(exponents, axis=0, b=counts[:, None]))
    own = softmax(-reduced - log_density, axis=1)
    _check_overlap(own, counts)
    within = energies.copy()
    for k in range(len(reduced)):
        within[references.member == k] -= within[references.member == k].mean(axis=0)
    return Mixture(energies, log_density, own, within.T @ within / max(1, len(within) - len(reduced)))


def log_weights(mixed: Mixture, coefficients: Float[np.ndarray, "draw basis"]) -> Float[np.ndarray, "draw frame"]:
    """Log weights of all frames for each coefficient vector, up to a constant for each."""
    found = -coefficients @ mixed.energies.T - mixed.log_density
    return found - found.max(axis=1, keepdims=True)


def free_energies(reduced: Float[np.ndarray, "reference frame"], member: np.ndarray) -> Float[np.ndarray, " reference"]:
    """Reduced free energies of the references by MBAR, the first one zero.

    Args:
        reduced: energy of every frame in every reference's state, in kT.
        member: (frame,) the reference that each frame was sampled from.
    """
    if len(reduced) == 1:
        return np.zeros(1)
    order = np.argsort(member, kind="stable")  # pymbar wants the samples of a state together
    counts = np.bincount(member, minlength=len(reduced))
    # pymbar logs warnings at import and, outside of such a scope, turns on 64 bit for the whole process.
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with jax.enable_x64(True):
            from pymbar import MBAR

            solution = MBAR(reduced[:, order], counts, solver_protocol="robust")
            return np.asarray(solution.f_k, float)
    finally:
        logger.setLevel(level)


def squared_distances(
    mixed: Mixture, ones: Float[np.ndarray, "one basis"], others: Float[np.ndarray, "other basis"]
) -> Float[np.ndarray, "one other"]:
    """Variance of the log weights between coefficient vectors, by linear response."""
    values, vectors = np.linalg.eigh(mixed.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    apart = (ones @ root)[:, None, :] - (others @ root)[None, :, :]
    return np.einsum("abk,abk->ab", apart, apart)


def _check_overlap(own: Float[np.ndarray, "reference frame"], counts: np.ndarray) -> None:
    """Refuse references between which free energies are not determined."""
    if len(own) == 1:
        return
    shared = (own @ own.T) * counts  # MBAR's overlap matrix, whose rows sum to one
    groups, label = connected_components(shared > _OVERLAP, directed=False)
    if groups == 1:
        return
    best = np.where(label[:, None] != label[None, :], shared, -1.0)
    one, other = (int(k) for k in np.unravel_index(np.argmax(best), best.shape))
    raise ValueError(
        f"references have no overlap: they fall into {groups} groups, and the closest two of different groups, "
        f"{one} and {other}, share {best.max():.2g} of their configurations (needed: {_OVERLAP:g}). Add references "
        "between them, or propagate from one group only"
    )

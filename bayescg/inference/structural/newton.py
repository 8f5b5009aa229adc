"""Newton steps of relative entropy: a quadratic model about a reference, and steps beyond its reach.

With n frames of data, n S(w) = n beta <A>_AA . w + n ln Z(w) + const has the gradient n beta (<A>_AA - <A>_w) and the
Hessian n beta^2 Cov_w(A): it is convex in w (Shell, doi:10.1063/1.2992060; Chaimovich & Shell, doi:10.1063/1.3557038).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from bayescg.inference.linear.marginal import Prior
from bayescg.inference.structural.covariance import colored, independent_covariance, shrunk, unseen_covariance, whitened
from bayescg.inference.structural.reweighting import Reference, long_run_covariance
from bayescg.inference.structural.structure import Frames


class Target(NamedTuple):
    """What the data say, in the free coordinates of the prior.

    Attributes:
        frames: n.
        mean: (free,) <a>, with a = lift' A.
        independent: (free, free) covariance of a frame if interactions were independent.
        error: (free, free) covariance of the mean, from correlated frames.
    """

    frames: int
    mean: Float[np.ndarray, " free"]
    independent: Float[np.ndarray, "free free"]
    error: Float[np.ndarray, "free free"]


class Quadratic(NamedTuple):
    """The log likelihood -n S about a position v.

    Attributes:
        position: v, (free,).
        score: its gradient there, -n beta (<a>_data - <a>_v).
        precision: H = n beta^2 Cov_v(a).
        sampled: n^2 beta^2 Cov(<a>_data), the covariance of the score over repetitions of the data.
        simulated: n^2 beta^2 Cov(<a>_v), over repetitions of the simulation.
        independent: (free, free) covariance of a frame at v if interactions were independent.
        overlap: effective share of the reference's frames at v.
    """

    position: Float[np.ndarray, " free"]
    score: Float[np.ndarray, " free"]
    precision: Float[np.ndarray, "free free"]
    sampled: Float[np.ndarray, "free free"]
    simulated: Float[np.ndarray, "free free"]
    independent: Float[np.ndarray, "free free"]
    overlap: float

    @property
    def spread(self) -> Float[np.ndarray, "free free"]:
        """V: both together; as large as H where frames are independent and the model is right."""
        return self.sampled + self.simulated

    @property
    def cross(self) -> Float[np.ndarray, " free"]:
        """B = H v + score: the linear term about v = 0."""
        return self.precision @ self.position + self.score


def target_of(frames: Frames, prior: Prior) -> Target:
    """Averages of the data in free coordinates."""
    values = frames.basis @ prior.lift
    mean = values.mean(axis=(0, 1))
    centered = values - mean
    error = long_run_covariance(centered) / frames.size
    counts = {name: frames.histogram(name) / frames.size for name in frames.counts}
    simple = prior.lift.T @ independent_covariance(prior.potential, counts, frames.size) @ prior.lift
    return Target(frames.size, mean, simple, error)


class Model:
    """Relative entropy near a reference, in free coordinates.

    Args:
        prior: gives coefficients w = mean + lift v.
        target: of the data.
        reference: the simulated ensemble.
    """

    def __init__(self, prior: Prior, target: Target, reference: Reference):
        self.prior, self.mean, self.lift = prior, prior.mean, prior.lift
        self.target, self.reference = target, reference
        self.values = reference.frames.basis @ self.lift

    def coefficients(self, position: Float[np.ndarray, " free"]) -> Float[np.ndarray, " basis"]:
        """Coefficients w at free coordinates."""
        return self.mean + self.lift @ position

    def overlap(self, position: Float[np.ndarray, " free"]) -> float:
        """Effective share of the reference's frames at a position."""
        return self.reference.weights(self.coefficients(position))[1]

    def entropy(self, position: Float[np.ndarray, " free"]) -> float:
        """Relative entropy per frame at a position, up to a constant that all positions share."""
        beta = 1 / self.reference.kT
        energy = self.target.mean @ position
        reference_energy = self.reference.frames.basis @ self.mean  # U of the prior mean, frame by frame
        log = -beta * (reference_energy + self.values @ position - self.reference.energy)
        return float(beta * energy + log.max() + np.log(np.mean(np.exp(log - log.max()))))

    def quadratic(self, position: Float[np.ndarray, " free"]) -> Quadratic:
        """Quadratic model at a position, reweighted from the reference."""
        coefficients = self.coefficients(position)
        moments = self.reference.moments(coefficients, self.values)
        weight, _ = self.reference.weights(coefficients)
        frames = self.reference.frames
        counts = {name: np.einsum("rf,rfk->k", weight, each) for name, each in frames.counts.items()}
        simple, unseen = (
            self.lift.T @ covariance(self.prior.potential, counts, frames.size) @ self.lift
            for covariance in (independent_covariance, unseen_covariance)
        )
        covariance = shrunk(moments.covariance, moments.error, simple, unseen)
        n, beta = self.target.frames, 1 / self.reference.kT
        return Quadratic(
            position,
            -n * beta * (self.target.mean - moments.mean),
            n * beta**2 * covariance,
            n**2 * beta**2 * self.target.error,
            n**2 * beta**2 * moments.error,
            simple,
            moments.overlap,
        )


class Step(NamedTuple):
    """A step towards the optimum.

    Attributes:
        landing: free coordinates where it ends.
        length: of the whole step, the standard deviation of beta dU.
        noise: length that the finite simulation alone would give it.
        share: of the whole step that is taken.
    """

    landing: Float[np.ndarray, " free"]
    length: float
    noise: float
    share: float


def leap(model: Model, local: Quadratic, factor: Float[np.ndarray, "free free"], radius: float) -> Step:
    """A Newton step farther than reweighting reaches, with the mean Hessian of the way.

    Where a reference has far more (or fewer) close contacts than the data, <a> falls exponentially on the way, its
    covariance with it, and a plain Newton step gains one kT at a time. The covariance at the end is taken to be that
    of the reference, rescaled from the histograms of the reference to those of the data. For Poisson-like counts the
    mean over the way then is the logarithmic mean (x - y) / ln(x / y) of both ends, here in their joint eigenbasis.

    Args:
        model: about the reference.
        local: its quadratic model at the reference.
        factor: L of the prior covariance L L'.
        radius: largest standard deviation of beta dU of a step.
    """
    n, beta = model.target.frames, 1 / model.reference.kT
    covariance = local.precision / (n * beta**2)
    end = colored(whitened(covariance, local.independent), model.target.independent)
    here, there = factor.T @ covariance @ factor, factor.T @ end @ factor
    there += 1e-12 * np.trace(there) * np.eye(len(there))
    ratio, vectors = eigh(here, there)
    ratio = np.clip(ratio, 1e-6, None)
    near = np.abs(ratio - 1) < 1e-4
    between = np.where(near, 0.5 * (1 + ratio), (ratio - 1) / np.log(np.where(near, 2.0, ratio)))
    back = np.linalg.inv(vectors)
    hessian = n * beta**2 * (back.T * between) @ back
    response = np.linalg.inv(np.eye(len(factor)) + hessian)
    step = -response @ _gradient(local, factor)
    length = float(np.sqrt(step @ hessian @ step / n))
    chance = response @ factor.T @ local.simulated @ factor @ response
    noise = float(np.sqrt(np.sum(chance * hessian) / n))
    share = min(1.0, radius / max(length, 1e-300))
    return Step(local.position + share * (factor @ step), length, noise, share)


class Slope(NamedTuple):
    """Slope of the minus log posterior, n S plus half the squared prior coordinates, along a displacement.

    Attributes:
        value: over the whole displacement.
        sd: from the finite simulation.
    """

    value: float
    sd: float


def slope(local: Quadratic, factor: Float[np.ndarray, "free free"], displacement: Float[np.ndarray, " free"]) -> Slope:
    """How the minus log posterior changes at a position along a displacement.

    Args:
        local: quadratic model at the position.
        factor: L of the prior covariance L L'.
        displacement: (free,).
    """
    along = np.linalg.lstsq(factor, displacement, rcond=None)[0]
    sd = float(np.sqrt(displacement @ local.simulated @ displacement))
    return Slope(float(along @ _gradient(local, factor)), sd)


def _gradient(local: Quadratic, factor: Float[np.ndarray, "free free"]) -> Float[np.ndarray, " free"]:
    """Of the minus log posterior, in coordinates where the prior is standard normal."""
    return np.linalg.lstsq(factor, local.position, rcond=None)[0] - factor.T @ local.score


def distance(model: Model, a: Float[np.ndarray, " free"], b: Float[np.ndarray, " free"]) -> float:
    """Standard deviation of beta (U_a - U_b) over the reference: the length of a step."""
    difference = model.values @ (a - b) / model.reference.kT
    return float(np.std(difference))

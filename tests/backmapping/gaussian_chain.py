"""A chain of harmonic springs: everything about its atoms given its beads is known."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from bayescg.backmapping.guides.fibre import Fibre
from bayescg.backmapping.guides.guide import Conditional, GaussianConditional, Guide


class Chain(NamedTuple):
    """The chain, its map, and beta U."""

    fibre: Fibre
    stiffness: np.ndarray
    energy: object


class Exact(NamedTuple):
    """Mean and covariance of the free coordinates, and ln Z."""

    mean: np.ndarray
    covariance: np.ndarray
    log_z: float


@functools.cache
def chain(n_atoms: int = 24, per_bead: int = 4) -> Chain:
    """Springs of alternating stiffness and two masses; beads at centers of mass of neighbors."""
    mass = np.where(np.arange(n_atoms) % 3 == 0, 12.0, 1.0)
    matrix = np.kron(np.eye(n_atoms // per_bead), np.ones((1, per_bead))) * mass
    bonds = np.stack([np.arange(n_atoms - 1), np.arange(1, n_atoms)], axis=1)
    difference = np.eye(n_atoms)[bonds[:, 1]] - np.eye(n_atoms)[bonds[:, 0]]
    springs = np.where(np.arange(n_atoms - 1) % 2 == 0, 400.0, 100.0)
    stiffness = difference.T @ (springs[:, None] * difference)

    def energy(positions):
        return 0.5 * jnp.sum(jnp.asarray(springs)[:, None] * (positions[1:] - positions[:-1]) ** 2)

    return Chain(Fibre(matrix / matrix.sum(axis=1, keepdims=True)), stiffness, energy)


def beads(model: Chain, seed: int = 0) -> np.ndarray:
    """A random walk."""
    return np.cumsum(0.2 * np.random.default_rng(seed).normal(size=(model.fibre.n_beads, 3)), axis=0)


def exact(model: Chain, x: np.ndarray) -> Exact:
    """What linear algebra says."""
    k, n, p = model.stiffness, model.fibre.basis, model.fibre.inverse
    inner = n.T @ k @ n
    covariance = np.linalg.inv(inner)
    mean = -covariance @ n.T @ k @ p @ x
    lowest = 0.5 * np.sum((p @ x + n @ mean) * (k @ (p @ x + n @ mean)))
    # det(M M^T)^(-3/2) by another route than the fibre's own.
    gram = np.linalg.det(model.fibre.matrix @ model.fibre.matrix.T)
    log_z = -1.5 * np.log(gram) + 1.5 * (len(inner) * np.log(2 * np.pi) - np.linalg.slogdet(inner)[1]) - lowest
    return Exact(mean.reshape(-1), np.kron(covariance, np.eye(3)), float(log_z))


def guide(model: Chain, x: np.ndarray, shift: float, widen: float, seed: int) -> GaussianConditional:
    """A wrong one: mean off by `shift` standard deviations in random directions, widths off, correlations lost."""
    truth = exact(model, x)
    width = np.sqrt(np.diagonal(truth.covariance))
    random = np.random.default_rng(seed)
    mean = truth.mean + shift * width * random.normal(size=len(width))
    return GaussianConditional(model.fibre, mean, np.diag((widen * width * random.uniform(0.7, 1.4, len(width))) ** 2))


def ensemble(*frames: np.ndarray) -> xr.Dataset:
    """Bead positions as a Dataset."""
    return xr.Dataset({"positions": (("frame", "bead", "xyz"), np.stack(frames))})


class Misses(NamedTuple):
    """How far draws are from the truth: worst mean in sd, worst covariance in correlation units, ln Z, residual."""

    mean: float
    covariance: float
    log_z: float
    residual: float
    ess: float


def misses(model: Chain, x: np.ndarray, data: xr.Dataset, frame: int = 0) -> Misses:
    """Compare draws of one frame with what is exact."""
    truth, part = exact(model, x), data.isel(frame=frame)
    positions, weights = part["positions"].values, np.exp(part["log_weight"].values)
    free = np.einsum("ar,dax->drx", model.fibre.basis, positions).reshape(len(positions), -1)
    width = np.sqrt(np.diagonal(truth.covariance))
    white = (free - truth.mean) / width
    mean = weights @ white
    covariance = ((white - mean) * weights[:, None]).T @ (white - mean)
    correlation = truth.covariance / np.outer(width, width)
    residual = np.abs(np.einsum("ba,dax->dbx", model.fibre.matrix, positions) - x).max()
    return Misses(
        float(np.abs(mean).max()),
        float(np.abs(covariance - correlation).max()),
        float(part["log_z"]) - truth.log_z,
        float(residual),
        float(part["ess"]),
    )


class Everywhere(Guide):
    """A normalized Gaussian over all atoms, whose draws miss their beads a little."""

    mean: Float[Array, "atom 3"]
    factor: Float[Array, "atom atom"]

    @property
    def normalized(self):
        return True

    @property
    def space(self):
        return "atoms"

    def log_density(self, positions):
        white = solve_triangular(self.factor, positions - self.mean, lower=True)
        volume = 3 * jnp.sum(jnp.log(jnp.diagonal(self.factor)))
        return -0.5 * jnp.sum(white**2) - volume - 0.5 * white.size * np.log(2 * np.pi)

    def sample(self, *, key):
        return self.mean + self.factor @ jax.random.normal(key, self.mean.shape, self.mean.dtype)


class AnyAtoms(Conditional):
    """All atoms about the straight lines between the beads, in wrong widths."""

    fibre: Fibre
    width: float

    def guide(self, beads):
        n = self.fibre.n_atoms
        middle = (jnp.arange(self.fibre.n_beads) + 0.5) * (n / self.fibre.n_beads)
        line = jnp.stack([jnp.interp(jnp.arange(n) + 0.5, middle, beads[:, k]) for k in range(3)], axis=1)
        return Everywhere(line, self.width * jnp.eye(n))


class Offset(Guide):
    """A guide whose constant is unknown: larger by e^7.3, and draws that are only typical."""

    inner: Guide

    @property
    def normalized(self):
        return False

    @property
    def space(self):
        return self.inner.space

    def log_density(self, positions):
        return self.inner.log_density(positions) + 7.3

    def sample(self, *, key):
        return self.inner.sample(key=key)


class Unnormalized(Conditional):
    """Another conditional with the constant lost."""

    inner: Conditional
    fibre: Fibre

    def guide(self, beads):
        return Offset(self.inner.guide(beads))

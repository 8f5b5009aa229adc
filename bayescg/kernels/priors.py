"""Priors of the coefficients of a term: what every prior can be asked, and which one a term has.

`prior_of` chooses by the type of the term. A new kind of term needs no line here: it has a plain Gaussian process on
its `sites`, or independent coefficients; a better prior is registered by `@prior_of.register`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, singledispatch

import gpjax
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.kernels.hyperparameters import JITTER, lognormal_hyperpriors, parameters, with_parameters
from bayescg.potentials import Term

_WARP, _WARP_SPREAD = 5.0, 0.7
"""Prior median of how much longer the lengthscale of a warped kernel is in the tail, and its spread (log)."""


class TermPrior(abc.ABC):
    """Prior of the coefficients w of one term.

    w = mean + lift v. The free coefficients v are normal with mean zero, and a covariance that a kernel gives. The
    kernel's hyperparameters are the unknowns; all else is constant.

    Attributes:
        name: of the term.
        lift: (basis, free) maps v to w.
        mean: (basis,) prior mean of w [kJ/mol].
    """

    name: str
    lift: Float[AnyArray, "basis free"]
    mean: Float[AnyArray, " basis"]

    @abc.abstractmethod
    def hyperpriors(self, kernel: gpjax.kernels.AbstractKernel) -> dict[str, dist.LogNormal]:
        """Priors of the unknowns.

        Args:
            kernel: the kernel of the term.

        Returns:
            Name of a NumPyro site -> its prior; names end in that of the term.
        """

    @abc.abstractmethod
    def factor(self, kernel: gpjax.kernels.AbstractKernel, values: Mapping[str, Array]) -> Float[Array, "free free"]:
        """Factor L of the covariance L L' of v.

        Args:
            kernel: the kernel of the term.
            values: of the sites that `hyperpriors` names; traced values work.

        Returns:
            (free, free) [kJ/mol].
        """


@partial(jax.tree_util.register_dataclass, data_fields=("lift", "mean", "amplitude"), meta_fields=("name",))
@dataclass(frozen=True, eq=False)
class IndependentPrior(TermPrior):
    """Free coefficients have independent normal distributions of one standard deviation, the only unknown.

    Attributes:
        name: the term.
        lift: (basis, free) maps free coefficients to the term's.
        mean: (basis,) prior mean [kJ/mol].
        amplitude: prior median of the standard deviation [kJ/mol].
    """

    name: str
    lift: Float[AnyArray, "basis free"]
    mean: Float[AnyArray, " basis"]
    amplitude: float

    def hyperpriors(self, kernel):
        del kernel
        return {f"amplitude_{self.name}": dist.LogNormal(jnp.log(self.amplitude), 1.5)}

    def factor(self, kernel, values):
        del kernel
        return values[f"amplitude_{self.name}"] * jnp.eye(self.lift.shape[1])


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("inputs", "warp", "transform", "lift", "mean", "lengthscale", "amplitude", "repulsive", "drift"),
    meta_fields=("name",),
)
@dataclass(frozen=True, eq=False)
class CurvePrior(TermPrior):
    """Gaussian process on a curve u(x).

    Coefficients follow by interpolation at the sites, w = S^-1 u(sites), so that Cov(w) = S^-1 k(sites, sites) S^-T,
    exact at the sites. Edge conditions enter by conditioning: the transformed coefficients (C w, Z'w), with C w = 0 the
    conditions and Z a basis of its null space, have a joint Cholesky factor whose lower right block is the factor of
    Cov(Z'w | C w = 0).

    Attributes:
        name: the term.
        inputs: (site, dimension) where the kernel is evaluated; angles on the circle for dihedrals.
        warp: (site, dimension) or None; the kernel sees (inputs + w warp) / (1 + w), with w >= 0 learned. Where the
            warp grows as the inputs do, at contact, the lengthscale is what it says; where the warp is flat, in the
            tail, it is 1 + w times as long.
        transform: (kept, site) maps curve values at the sites to (conditioned, free) coefficients.
        lift: (basis, free) maps free coefficients to the term's, damping and gauge applied.
        mean: (basis,) prior mean [kJ/mol].
        lengthscale: prior median of lengthscales, in units of the inputs; with a warp, at contact.
        amplitude: prior median of the curve's standard deviation [kJ/mol].
        repulsive: (row, basis) or None; rows whose products with w are forces that the prior knows to be positive.
            The Gaussian does not: draws are conditioned on it (`bayescg.inference.linear.draws`).
        drift: (site, shape) or None; smooth shapes at the sites whose independent normal weights have standard
            deviation one [kJ/mol]. They obey the edge conditions. What the kernel would shrink as it shrinks
            everything, they leave to the data.
    """

    name: str
    inputs: Float[AnyArray, "site dimension"]
    warp: Float[AnyArray, "site dimension"] | None
    transform: Float[AnyArray, "kept site"]
    lift: Float[AnyArray, "basis free"]
    mean: Float[AnyArray, " basis"]
    lengthscale: float
    amplitude: float
    repulsive: Float[AnyArray, "row basis"] | None = None
    drift: Float[AnyArray, "site shape"] | None = None

    def hyperpriors(self, kernel):
        sites = lognormal_hyperpriors(kernel, self.name, self.lengthscale, self.amplitude)
        if self.warp is not None:
            sites[f"warp_{self.name}"] = dist.LogNormal(jnp.log(_WARP), _WARP_SPREAD)
        return sites

    def gram(self, kernel: gpjax.kernels.AbstractKernel, values: Mapping[str, Array]) -> Float[Array, "site site"]:
        """Covariance of the curve at its sites, without conditions [(kJ/mol)^2]."""
        inputs = jnp.asarray(self.inputs)
        if self.warp is not None:
            strength = values[f"warp_{self.name}"]
            inputs = (inputs + strength * jnp.asarray(self.warp)) / (1 + strength)
        found = with_parameters(kernel, own_values(kernel, self.name, values)).cross_covariance(inputs, inputs)
        return jnp.asarray(found) + self._of_drift()

    def _of_drift(self) -> Float[Array, "site site"] | float:
        if self.drift is None:
            return 0.0
        drift = jnp.asarray(self.drift)
        return drift @ drift.T

    def factor(self, kernel, values):
        gram = self.gram(kernel, values)
        # Relative to the kernel's variance: beside that of the drift it would be noise that forces feel.
        small = JITTER * jnp.trace(gram - self._of_drift()) / len(gram)
        gram = gram + small * jnp.eye(len(gram))
        transform = jnp.asarray(self.transform)
        joint = jnp.linalg.cholesky(transform @ gram @ transform.T)
        free = self.lift.shape[1]
        return joint[-free:, -free:]


def own_values(kernel: gpjax.kernels.AbstractKernel, name: str, values: Mapping[str, Array]) -> dict[str, Array]:
    """Values of a kernel's parameters by label, from those of the sites of all terms."""
    return {label: values[f"{label}_{name}"] for label in parameters(kernel)}


@singledispatch
def prior_of(
    term: Term,
    counts: Float[np.ndarray, " bin"],
    sampled: tuple[float, float],
    *,
    kT: float,
    first: Float[np.ndarray, " basis"] | None = None,
) -> TermPrior:
    """Prior of the coefficients of a term, from where it was sampled.

    Args:
        term: the term.
        counts: (bin,) interactions met, by bin of its histogram.
        sampled: smallest and largest value of its variable met [nm or rad].
        kT: thermal energy [kJ/mol].
        first: (basis,) coefficients of a first fit, which show how steep a pair's wall is [kJ/mol]; None: this is for
            the first fit.

    Returns:
        The prior. A term without a prior of its own has a Gaussian process on its sites, or independent coefficients.
    """
    del counts, sampled, first
    size = term.n_basis
    if term.graph is None or term.sites is None:
        return IndependentPrior(term.name, np.eye(size), np.zeros(size), 2.0 * kT)
    low, high = term.span
    transform = np.linalg.inv(term.graph.basis(term.sites)[0])
    inputs = term.sites[:, None]
    return CurvePrior(term.name, inputs, None, transform, np.eye(size), np.zeros(size), 0.25 * (high - low), 2.0 * kT)

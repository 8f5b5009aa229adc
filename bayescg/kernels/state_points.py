"""Kernels over states: how alike the potentials of two systems are, from their descriptors.

The coefficients of a term in all systems have the covariance

    (a0^2 11' + a1^2 k_x(X, X) + a2^2 I) kron K,

with K that of one curve (`bayescg.kernels.priors`): a common part, one that changes smoothly with the descriptors, and
one of each system's own. k_x is a kernel of low rank on inducing states Z,

    k_x(x, x') = k(x, Z) k(Z, Z)^-1 k(Z, x') + [x = x'] (k(x, x) - k(x, Z) k(Z, Z)^-1 k(Z, x)),

whose variance is exact everywhere (fully independent training conditional, Snelson & Ghahramani 2006; Quinonero-Candela
& Rasmussen, JMLR 6, 1939 (2005)): what the inducing states do not carry is a system's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gpjax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.kernels.covariance import covariance, kernel_name
from bayescg.kernels.hyperparameters import parameters

THERMODYNAMIC = ("temperature", "density", "pressure")
"""Descriptors that are taken for thermodynamic unless the kernel says otherwise; and names that begin so: """
FRACTION = "mole_fraction"

_CHANGE, _WEAK, _SLOPE, _OWN = 0.4, 0.15, 0.3, 0.03
"""Prior medians, in units of the common part: of what changes with chemistry, of what bends with the thermodynamic
state, of the slope for a change of one standard deviation, and of a system's own."""

_SPREAD = 1.0
"""Prior standard deviation of their logarithms."""

_LENGTHSCALE = 2.0
"""Prior median of lengthscales, in standard deviations of the descriptor over systems."""


@dataclass(frozen=True)
class StateKernel:
    """Covariance of potentials between systems.

    Parts are common to all systems, change smoothly with the descriptors, or are a system's own. Their sizes are
    relative: of the common part where there is one, which has the amplitude of the term's curve.

    Attributes:
        linear: descriptors in which potentials are linear with a weak smooth bend; None: `temperature`, `density`,
            `pressure` and names that begin with `mole_fraction`, as far as systems have them.
        smooth: descriptors with a lengthscale each (ARD); None: all others.
        rank: number of inducing states. With `rank` states (and a column for each linear descriptor and the common
            part, q in all) the exact evidence of S systems costs S M^3 + (q M)^3.
        common: size of the common part; 0: none.
        change: size of the smooth part; None: learned for each term; 0: none, neither linear nor smooth.
        own: size of each system's own part; None: learned for each term; 0: none.
        shape: GPJax kernel over the descriptors.
        aligned: pair terms whose curves are compared at equal multiples of the distance of contact; None: all.

    Raises:
        ValueError: if a size is negative, all are zero, or the rank is not positive.
    """

    linear: tuple[str, ...] | None = None
    smooth: tuple[str, ...] | None = None
    rank: int = 8
    common: float = 1.0
    change: float | None = None
    own: float | None = None
    shape: Any = field(default_factory=gpjax.kernels.RBF)
    aligned: tuple[str, ...] | None = None

    def __post_init__(self):
        for name in ("common", "change", "own"):
            size = getattr(self, name)
            if size is not None and not 0 <= size < np.inf:
                raise ValueError(f"StateKernel({name}={size}): a size is a number from 0 on, or None to learn it")
        if self.common == 0 and self.change == 0 and self.own == 0:
            raise ValueError("StateKernel: common, change and own are all 0, so that every potential would be known")
        if not (isinstance(self.rank, int) and self.rank > 0):
            raise ValueError(f"StateKernel(rank={self.rank!r}): the number of inducing states is 1 or more")
        if kernel_name(self.shape) is None or set(parameters(self.shape)) - {"lengthscale", "amplitude"}:
            raise ValueError(
                f"StateKernel(shape={self.shape!r}): choose a kernel with a lengthscale and a variance and no parts, "
                "such as gpjax.kernels.RBF() or Matern52()"
            )
        for name in ("linear", "smooth", "aligned"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"StateKernel({name}={value!r}): give a tuple of names, ({value!r},)")
            object.__setattr__(self, name, None if value is None else tuple(value))

    @property
    def parts(self) -> Parts:
        """Sizes that are fixed."""
        return Parts(float(self.common), self.change, self.own)

    def split(self, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Which descriptors enter linearly, and which are smooth only.

        Args:
            names: descriptors that all systems have.

        Raises:
            ValueError: if the kernel names one that they lack.
        """
        for asked in (*(self.linear or ()), *(self.smooth or ())):
            if asked not in names:
                raise ValueError(f"StateKernel names the descriptor {asked!r}; systems have {', '.join(names)}")
        taken = set(self.smooth or ())
        thermodynamic = tuple(n for n in names if (n in THERMODYNAMIC or n.startswith(FRACTION)) and n not in taken)
        linear = thermodynamic if self.linear is None else self.linear
        smooth = tuple(n for n in names if n not in linear) if self.smooth is None else self.smooth
        return linear, smooth


_JITTER = 1e-10
"""Of the inducing states' Gram matrix, whose variance is one; what it takes off is given back to the own parts."""


class Parts(NamedTuple):
    """Sizes of the parts that a `StateKernel` fixes; None: learned."""

    common: float
    change: float | None
    own: float | None


class States(NamedTuple):
    """States of systems, standardized, as a kernel sees them: an argument of compiled programs.

    Attributes:
        linear: (system, linear descriptor).
        smooth: (system, descriptor) inputs of the smooth kernel, the linear ones among them.
        inducing: (rank, descriptor).
        shape: GPJax kernel.
    """

    linear: Float[AnyArray, "system linear"]
    smooth: Float[AnyArray, "system descriptor"]
    inducing: Float[AnyArray, "rank descriptor"]
    shape: Any


class Features(NamedTuple):
    """Factors of the kernel over states.

    Attributes:
        columns: (system, feature), first the common part, then linear ones, then those of the inducing states.
        left: (system,) variance of the smooth kernel that the columns leave, which is a system's own.
    """

    columns: Float[Array, "system feature"]
    left: Float[Array, " system"]


def features(states: States, values: Mapping[str, Array]) -> Features:
    """Factors at given hyperparameters.

    Args:
        states: of the systems.
        values: `lengthscale_state` (descriptor,), in standard deviations; traced values work.
    """
    count = len(states.linear)
    parts = [jnp.ones((count, 1)), jnp.asarray(states.linear)]
    if not states.smooth.shape[1]:
        return Features(jnp.concatenate(parts, axis=1), jnp.zeros(count))
    given = {"lengthscale": values["lengthscale_state"], "amplitude": jnp.ones(())}
    gram = covariance(states.shape, given, states.inducing, states.inducing)
    root = jnp.linalg.cholesky(gram + _JITTER * jnp.eye(len(gram)))
    cross = covariance(states.shape, given, states.inducing, states.smooth)
    smooth = solve_triangular(root, cross, lower=True).T
    left = jnp.maximum(1 - jnp.sum(smooth**2, axis=1), 0.0)
    return Features(jnp.concatenate([*parts, smooth], axis=1), left)


def farthest(points: Float[np.ndarray, "point d"], count: int) -> Float[np.ndarray, "some d"]:
    """So many of the points that none is far from all of them: each next one is the farthest from those before.

    Args:
        points: (point, d).
        count: how many; fewer where points coincide.
    """
    if not points.shape[1]:
        return points[:0]
    first = int(np.argmin(np.sum((points - points.mean(axis=0)) ** 2, axis=1)))
    chosen = [first]
    distance = np.sum((points - points[first]) ** 2, axis=1)
    while len(chosen) < min(count, len(points)) and distance.max() > 1e-6:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.sum((points - points[chosen[-1]]) ** 2, axis=1))
    return points[chosen]


def state_hyperpriors(kernel: Parts, terms: Sequence[str], states: States) -> dict[str, dist.LogNormal]:
    """Priors of the unknowns of a kernel over states, by NumPyro site.

    Args:
        kernel: sizes that are fixed.
        terms: names of the terms that learn.
        states: of the systems.
    """
    sites: dict[str, dist.LogNormal] = {}
    chemical = states.smooth.shape[1] > states.linear.shape[1]
    for term in terms:
        if kernel.change is None:
            if states.smooth.shape[1]:
                sites[f"change_{term}"] = dist.LogNormal(jnp.log(_CHANGE if chemical else _WEAK), _SPREAD)
            if states.linear.shape[1]:
                sites[f"slope_{term}"] = dist.LogNormal(jnp.log(_SLOPE), _SPREAD)
        if kernel.own is None:
            sites[f"own_{term}"] = dist.LogNormal(jnp.log(_OWN), _SPREAD)
    if states.smooth.shape[1] and kernel.change != 0:
        length = jnp.full(states.smooth.shape[1], _LENGTHSCALE)
        # A linear descriptor bends slowly.
        length = length.at[: states.linear.shape[1]].mul(2.0)
        sites["lengthscale_state"] = dist.LogNormal(jnp.log(length), 0.7)
    return sites


class Sizes(NamedTuple):
    """Standard deviations of the parts of one term, in units of its curve's amplitude.

    Attributes:
        columns: (feature,) of each column of `Features`.
        smooth: of the smooth part, whose rest is a system's own.
        own: of a system's own part.
    """

    columns: Float[Array, " feature"]
    smooth: Float[Array, ""]
    own: Float[Array, ""]


def sizes(kernel: Parts, term: str, states: States, values: Mapping[str, Array]) -> Sizes:
    """Standard deviations of the parts of one term.

    Args:
        kernel: sizes that are fixed.
        term: name of the term.
        states: of the systems.
        values: of the sites that `state_hyperpriors` names; traced values work.
    """
    linear = states.linear.shape[1]
    rank = len(states.inducing) if states.smooth.shape[1] else 0
    change = jnp.asarray(values[f"change_{term}"] if kernel.change is None and rank else kernel.change or 0.0)
    slope = jnp.asarray(values[f"slope_{term}"] if kernel.change is None and linear else kernel.change or 0.0)
    own = jnp.asarray(values[f"own_{term}"] if kernel.own is None else kernel.own)
    columns = [jnp.full(1, kernel.common), jnp.full(linear, slope), jnp.full(rank, change)]
    return Sizes(jnp.concatenate(columns), change if rank else jnp.zeros(()), own)

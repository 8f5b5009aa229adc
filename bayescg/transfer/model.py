"""The model of the potentials of many systems, and the density of its hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.kernels.priors import TermPrior
from bayescg.kernels.state_points import States, features, sizes, state_hyperpriors
from bayescg.potentials import Pair, Potential
from bayescg.samplers.density import Density, density
from bayescg.transfer.alignment import Reference, transfer_matrix
from bayescg.transfer.gaussian import Design, log_evidence


class Parts(NamedTuple):
    """Sizes of the parts that a `StateKernel` fixes; None: learned."""

    common: float
    change: float | None
    own: float | None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("terms", "kernels"),
    meta_fields=("potential", "references", "parts"),
)
@dataclass(frozen=True, eq=False)
class Model:
    """What does not change with the systems.

    Attributes:
        potential: all terms of all systems.
        terms: prior of a curve of each term that learns, aligned ones on their common axis.
        kernels: kernel of each term.
        references: axis of each term; None: not aligned.
        parts: fixed sizes.
    """

    potential: Potential
    terms: tuple[TermPrior, ...]
    kernels: Mapping[str, Any]
    references: tuple[Reference | None, ...]
    parts: Parts

    def hyperpriors(self, states: States) -> dict[str, dist.LogNormal]:
        """Priors of all unknowns, by site."""
        sites: dict[str, dist.LogNormal] = {}
        for term in self.terms:
            sites.update(term.hyperpriors(self.kernels[term.name]))
        return {**sites, **state_hyperpriors(self.parts, [term.name for term in self.terms], states)}

    @property
    def aligned(self) -> tuple[str, ...]:
        """Names of the aligned terms."""
        return tuple(t.name for t, r in zip(self.terms, self.references, strict=True) if r is not None)


class Sums(NamedTuple):
    """Data of all systems, of unit noise: target = design @ w + scatter @ e, in coefficients of the joint potential.

    Attributes:
        design: (system, datum, basis) [mol/kJ]; zero where a system has fewer data or lacks a term.
        target: (system, datum).
        scatter: (system, datum, datum) a root of the covariance of the data's noise; the identity where it is not
            calibrated.
    """

    design: Float[AnyArray, "system datum basis"]
    target: Float[AnyArray, "system datum"]
    scatter: Float[AnyArray, "system datum datum"]


class Problem(NamedTuple):
    """What the evidence needs; an argument of compiled programs.

    Attributes:
        model: the model.
        states: of the systems.
        design: (system, datum, free) in free coordinates of the curves.
        target: (system, datum) about the prior mean.
    """

    model: Model
    states: States
    design: Float[Array, "system datum free"]
    target: Float[Array, "system datum"]


def lift_and_mean(model: Model, ratios: Float[AnyArray, " aligned"]) -> tuple[Array, Array]:
    """Free coordinates to coefficients of a system, and their prior mean.

    Args:
        model: the model.
        ratios: typical distance of contact over the system's, of each aligned term; may be traced.

    Returns:
        (basis, free) and (basis,) [kJ/mol].
    """
    lifts, means, place = [], [], 0
    for term, reference in zip(model.terms, model.references, strict=True):
        lift, mean = jnp.asarray(term.lift), jnp.asarray(term.mean)
        if reference is not None:
            own = model.potential.term(term.name)
            assert isinstance(own, Pair)
            moved = transfer_matrix(reference.term.spline, own.spline, ratios[place])
            lift, mean = moved @ lift, moved @ mean
            place += 1
        lifts.append(lift)
        means.append(mean)
    return block_diag(*lifts), jnp.concatenate(means)


@jax.jit
def problem_of(model: Model, states: States, sums: Sums, ratios: Float[AnyArray, "system aligned"]) -> Problem:
    """The problem at given distances of contact."""

    def one(design, target, ratio):
        lift, mean = lift_and_mean(model, ratio)
        return design @ lift, target - design @ mean

    design, target = jax.vmap(one)(jnp.asarray(sums.design), jnp.asarray(sums.target), jnp.asarray(ratios))
    return Problem(model, states, design, target)


def factors(model: Model, values: Mapping[str, Array]) -> list[Array]:
    """Factor of the covariance of each term's curve."""
    return [term.factor(model.kernels[term.name], values) for term in model.terms]


class StateDesign(NamedTuple):
    """Columns, sizes and own parts of systems at given hyperparameters (`gaussian.Design`)."""

    columns: Float[Array, "system feature"]
    sizes: Float[Array, "feature free"]
    own: Float[Array, "system free"]


def state_design(model: Model, states: States, values: Mapping[str, Array]) -> StateDesign:
    """The kernel over states, for each free coordinate."""
    found = features(states, values)
    widths = [term.lift.shape[1] for term in model.terms]
    of = [sizes(model.parts, term.name, states, values) for term in model.terms]
    own = [jnp.sqrt(s.own**2 + s.smooth**2 * found.left) for s in of]
    return StateDesign(
        found.columns,
        jnp.concatenate([jnp.repeat(s.columns[:, None], n, axis=1) for s, n in zip(of, widths, strict=True)], axis=1),
        jnp.concatenate([jnp.repeat(o[:, None], n, axis=1) for o, n in zip(own, widths, strict=True)], axis=1),
    )


def design_at(problem: Problem, values: Mapping[str, Array]) -> Design:
    """The linear model at given hyperparameters."""
    found, first, columns = factors(problem.model, values), 0, []
    for factor in found:
        columns.append(problem.design[:, :, first : first + len(factor)] @ factor)
        first += len(factor)
    return Design(
        jnp.concatenate(columns, axis=-1), problem.target, *state_design(problem.model, problem.states, values)
    )


def sample_all(problem: Problem) -> None:
    """The NumPyro model of the hyperparameters."""
    sites = problem.model.hyperpriors(problem.states)
    values = {name: jnp.asarray(numpyro.sample(name, distribution)) for name, distribution in sites.items()}
    numpyro.factor("log_evidence", log_evidence(design_at(problem, values)))


def hyperparameter_density(problem: Problem) -> Density:
    """Density of the hyperparameters, all coefficients integrated out."""
    sites = problem.model.hyperpriors(problem.states)
    return density(sample_all, (problem,), {name: jnp.asarray(d.loc) for name, d in sites.items()})


@jax.jit
def evidence_at(problem: Problem, values: dict[str, Array]) -> Float[Array, ""]:
    """Log evidence at given hyperparameters."""
    return log_evidence(design_at(problem, values))


def medians(model: Model, states: States) -> dict[str, np.ndarray]:
    """Prior medians of all unknowns."""
    return {name: np.exp(np.asarray(d.loc)) for name, d in model.hyperpriors(states).items()}

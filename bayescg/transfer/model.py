"""The model of the potentials of many systems, and the density of its hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.kernels.priors import TermPrior
from bayescg.kernels.state_points import Parts, States, features, sizes, state_hyperpriors
from bayescg.potentials import Pair, Potential
from bayescg.samplers.density import Density, density
from bayescg.transfer.aligned import distances
from bayescg.transfer.aligned.alignment import Reference, transfer_matrix
from bayescg.transfer.gaussian import Design, log_evidence


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

    @property
    def axes(self) -> tuple[Reference, ...]:
        """Axes of the aligned terms."""
        return tuple(r for r in self.references if r is not None)


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
        sums: their data.
        measured: distances of contact of each aligned term.
    """

    model: Model
    states: States
    sums: Sums
    measured: tuple[distances.Measured, ...]

    def hyperpriors(self) -> dict[str, dist.LogNormal]:
        """Priors of all positive unknowns, by site."""
        sites = self.model.hyperpriors(self.states)
        for name, measured in zip(self.model.aligned, self.measured, strict=True):
            sites.update(distances.contact_priors(name, measured))
        return sites

    def medians(self) -> dict[str, Array]:
        """Their prior medians."""
        return {name: jnp.exp(jnp.asarray(d.loc)) for name, d in self.hyperpriors().items()}

    def first(self) -> dict[str, Array]:
        """Nodes of distances of contact, as histograms say."""
        each = zip(self.model.aligned, self.measured, strict=True)
        return {f"contact_nodes_{name}": distances.first_nodes(name, measured) for name, measured in each}


def ratios_at(problem: Problem, values: Mapping[str, Array]) -> Float[Array, "system aligned"]:
    """Typical distance of contact over that of each system, at given hyperparameters."""
    columns = [
        math.log(reference.distance) - measured.center - distances.along(name, measured, values, measured.x).mean
        for name, reference, measured in zip(problem.model.aligned, problem.model.axes, problem.measured, strict=True)
    ]
    return jnp.exp(jnp.stack(columns, axis=1)) if columns else jnp.zeros((len(problem.sums.target), 0))


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


def design_at(
    problem: Problem, values: Mapping[str, Array], ratios: Float[Array, "system aligned"] | None = None
) -> Design:
    """The linear model at given hyperparameters, and distances of contact of their own if given."""
    ratios = ratios_at(problem, values) if ratios is None else ratios
    factor = block_diag(*factors(problem.model, values))

    def one(design, target, ratio):
        lift, mean = lift_and_mean(problem.model, ratio)
        return (design @ lift) @ factor, target - design @ mean

    x, y = jax.vmap(one)(problem.sums.design, problem.sums.target, ratios)
    return Design(x, jnp.asarray(y), *state_design(problem.model, problem.states, values))


def sample_all(problem: Problem) -> None:
    """The NumPyro model of the hyperparameters."""
    sites = problem.hyperpriors()
    values = {name: jnp.asarray(numpyro.sample(name, distribution)) for name, distribution in sites.items()}
    for name, measured in zip(problem.model.aligned, problem.measured, strict=True):
        nodes = numpyro.sample(f"contact_nodes_{name}", distances.node_prior(name, measured, values))
        values[f"contact_nodes_{name}"] = jnp.asarray(nodes)
        numpyro.factor(f"histograms_{name}", distances.histogram_evidence(name, measured, values))
    numpyro.factor("log_evidence", log_evidence(design_at(problem, values)))


def hyperparameter_density(problem: Problem) -> Density:
    """Density of the hyperparameters, all coefficients integrated out."""
    return density(
        sample_all, (problem,), {name: jnp.log(v) for name, v in problem.medians().items()} | problem.first()
    )


@jax.jit
def evidence_at(problem: Problem, values: dict[str, Array]) -> Float[Array, ""]:
    """Log evidence of the forces at given hyperparameters."""
    return log_evidence(design_at(problem, values))

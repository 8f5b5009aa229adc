"""`next_reference`: which system to simulate next, so that the most is learned about others.

At given hyperparameters coefficients of all systems are jointly Gaussian, and the covariance does not depend on what a
run will show. With K the covariance of the states asked about, given all systems, and X the data of a run (of unit
noise) at state c, the variance of g'v_t drops by

    g' K_tc X' (I + X K_cc X')^-1 X K_ct g,

the expected gain of Bayesian experimental design for linear functions (Chaloner & Verdinelli, Statist. Sci. 10, 273
(1995), doi:10.1214/ss/1177009939). It is averaged over draws of the hyperparameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg._runtime import double_precision
from bayescg.observables import evaluation
from bayescg.observables.references import gather
from bayescg.transfer import layout
from bayescg.transfer.aligned import distances
from bayescg.transfer.assembly import states_of
from bayescg.transfer.drawing import as_arrays
from bayescg.transfer.gaussian import eliminate, shared_system
from bayescg.transfer.layout import Stored
from bayescg.transfer.model import Problem, Sums, design_at, factors, lift_and_mean, ratios_at
from bayescg.transfer.systems import values_of
from bayescg.units import BOLTZMANN

_DRAWS, _POINTS, _STEP = 20, 40, 0.1


def sensitivity(
    posterior: xr.DataTree, reference: xr.Dataset, observable: evaluation.Observable
) -> Float[np.ndarray, "row basis"]:
    """How an observable of a model changes with its coefficients, d<O>/dw = <dO/dw> - beta Cov(O, dU/dw).

    Args:
        posterior: from `predict`, `of_system` or `force_match`.
        reference: a run of its mean, as for `propagate`.
        observable: as for `propagate`.

    Returns:
        (row, basis) rows of its bins [its unit mol/kJ], for `next_reference`.

    Raises:
        ValueError: as `propagate`, and if the run is of several draws.
    """
    evaluation.check_observable(observable)
    references = gather(reference, posterior)
    if len(references.coefficients) > 1:
        raise ValueError(
            f"the reference is of {len(references.coefficients)} draws: give one of the posterior mean, simulate(..., "
            "draws=None)"
        )
    energies = references.frames["basis_energy"].transpose("frame", "basis").values.astype(float)
    change = -(energies - energies.mean(axis=0)) / (BOLTZMANN * references.temperature)
    # A tenth of a weight at most: both differences below have positive weights. What is never met changes nothing.
    largest = np.abs(change).max(axis=0)
    used = np.flatnonzero(largest > 0)
    step = _STEP / largest[used]
    tilt = step[:, None] * change.T[used]
    (center,) = references.coefficients
    moved = step[:, None] * np.eye(energies.shape[1])[used]
    array = evaluation.evaluate(
        observable,
        references,
        np.concatenate([center + moved, center - moved]),
        np.concatenate([1 + tilt, 1 - tilt]) / len(energies),
    )
    plus, minus = np.split(evaluation.averages(array).reshape(2 * len(used), -1), 2)
    rows = np.zeros((plus.shape[1], energies.shape[1]))
    rows[:, used] = ((plus - minus) / (2 * step[:, None])).T
    return rows


def next_reference(
    posterior: xr.DataTree,
    candidates: Sequence[Mapping[str, float]],
    targets: Sequence[Mapping[str, float]],
    *,
    observable: Sequence[Float[AnyArray, "row basis"]] | None = None,
    cost: Sequence[float] | None = None,
) -> xr.Dataset:
    """Which of some systems to simulate next, to know the most about others.

    A new run is taken to be worth as much as that of the nearest system that was learned from. A target that is also a
    candidate learns about its own part as well. Systems that were run already count as others: to run one longer is
    not among the candidates.

    Args:
        posterior: from `transfer.fit`.
        candidates: descriptors of systems that can be simulated.
        targets: descriptors of systems that are asked about.
        observable: of each target, (row, basis) how observables change with its coefficients (`sensitivity`), scaled so
            that rows count alike; None: the forces of all curves over what was sampled, of aligned pairs from the
            distance of contact on, times that span [kJ/mol].
        cost: of each candidate; None: all the same.

    Returns:
        Dataset over `candidate`: `gain`, the expected drop of the variance, summed over targets and rows; `score`, gain
        per cost; `left` (candidate, target), the share of the variance of each target that would be left. `variance`
        (target) is what it is now. The attribute `best` is the number of the candidate of the highest score.

    Raises:
        ValueError: if it is no posterior of `transfer.fit`, descriptors do not fit, or numbers of rows or costs.
    """
    stored = layout.read(posterior)
    costs = _costs(cost, len(candidates))
    asked = [[tuple(values_of(stored.axes.names, s).tolist()) for s in states] for states in (candidates, targets)]
    if not all(asked):
        raise ValueError("give at least one candidate and one target")
    states = list(dict.fromkeys(asked[0] + asked[1]))
    x = np.array(states)
    chosen = np.unique(np.linspace(0, len(stored.shared) - 1, _DRAWS).astype(int))
    near = np.linalg.norm(
        stored.axes.standardized(x)[:, None] - stored.axes.standardized(stored.axes.values), axis=-1
    ).argmin(axis=1)
    with double_precision():
        problem = _extended(stored, x)
        values = {name: jnp.asarray(v[chosen]) for name, v in stored.values.items()}
        places = jnp.asarray([states.index(s) for s in asked[0]]), jnp.asarray([states.index(s) for s in asked[1]])
        ratios = _contact_ratios(stored, x, values)
        typical = np.array([reference.distance for reference in stored.model.axes])
        rows = _rows(stored, observable, (typical / ratios.mean(axis=0))[np.asarray(places[1])])
        found = _gains(problem, values, jnp.asarray(ratios), jnp.asarray(near), jnp.asarray(rows), places)
        now, gain = (np.asarray(v).mean(axis=0) for v in found)
    total = gain.sum(axis=1)
    names = list(stored.axes.names)
    coords = {f"candidate_{n}": ("candidate", [float(s[n]) for s in candidates]) for n in names}
    coords |= {f"target_{n}": ("target", [float(s[n]) for s in targets]) for n in names}
    return xr.Dataset(
        {
            "gain": ("candidate", total),
            "score": ("candidate", total / costs),
            "left": (("candidate", "target"), 1 - gain / now),
            "variance": ("target", now),
        },
        coords,
        attrs={"best": int(np.argmax(total / costs)), "draws": len(chosen)},
    )


def _costs(cost: Sequence[float] | None, count: int) -> np.ndarray:
    costs = np.ones(count) if cost is None else np.asarray(cost, float)
    if costs.shape != (count,) or not np.all(np.isfinite(costs) & (costs > 0)):
        raise ValueError(f"cost must be {count} positive numbers, one for each candidate; got {cost!r}")
    return costs


def _rows(
    stored: Stored, observable, contact: Float[np.ndarray, "target aligned"]
) -> Float[np.ndarray, "target row basis"]:
    """What counts of each target. Without observables the forces times the span that they act over: energies.

    Of aligned pairs from the distance of contact [nm] on: within, forces are hundreds of times as uncertain, and hardly
    any pair feels them.
    """
    potential, targets = stored.model.potential, len(contact)
    if observable is None:
        found = [_forces(stored, each) for each in contact]
        if not len(found[0]):
            raise ValueError("no term has a curve: give observable=, rows from sensitivity(...)")
        return np.stack(found)
    found = [np.atleast_2d(np.asarray(each, float)) for each in observable]
    if len(found) != targets or any(each.shape[1] != potential.n_basis for each in found):
        raise ValueError(
            f"observable must be {targets} arrays (row, {potential.n_basis}), one for each target; got shapes "
            f"{[each.shape for each in found]}"
        )
    most = max(map(len, found))
    return np.stack([np.pad(each, ((0, most - len(each)), (0, 0))) for each in found])


def _forces(stored: Stored, contact: Float[np.ndarray, " aligned"]) -> Float[np.ndarray, "row basis"]:
    potential, parts = stored.model.potential, []
    first = dict(zip(stored.model.aligned, contact, strict=True))
    for term in potential.terms:
        if term.n_basis and term.graph is not None:
            low, high = layout.sampled_range(stored, term.name)
            low = float(first.get(term.name, low))
            at = np.linspace(low, high, _POINTS + 2)[1:-1]
            whole = np.zeros((_POINTS, potential.n_basis))
            whole[:, potential.slices[term.name]] = -(high - low) * np.asarray(term.graph.basis(at)[1])
            parts.append(whole)
    return np.concatenate(parts) if parts else np.zeros((0, potential.n_basis))


def _extended(stored: Stored, x: np.ndarray) -> Problem:
    """The problem with further systems that have no data."""
    more = states_of(stored.kernel, stored.axes, x)
    joined = stored.states._replace(
        linear=np.concatenate([stored.states.linear, more.linear]),
        smooth=np.concatenate([stored.states.smooth, more.smooth]),
    )
    sums = Sums(*(np.concatenate([part, np.zeros((len(x), *part.shape[1:]))]) for part in map(np.asarray, stored.sums)))
    return as_arrays(Problem(stored.model, joined, sums, stored.measured))


def _contact_ratios(
    stored: Stored, x: np.ndarray, values: Mapping[str, Array]
) -> Float[np.ndarray, "draw state aligned"]:
    """Typical distance of contact over that of each new state, its mean at each draw."""
    at, found = jnp.asarray(stored.axes.standardized(x)), []
    for name, measured, reference in zip(stored.model.aligned, stored.measured, stored.model.axes, strict=True):
        own = {n: v for n, v in values.items() if n.startswith("contact_") and n.endswith(f"_{name}")}
        mean = jax.lax.map(lambda value, n=name, m=measured: distances.along(n, m, value, at).mean, own)
        found.append(reference.distance / np.exp(measured.center + np.asarray(mean)))
    draws = len(next(iter(values.values())))
    return np.stack(found, axis=-1) if found else np.zeros((draws, len(x), 0))


@jax.jit
def _gains(problem: Problem, values, contact, near, rows, places):
    """Variance of each target now (draw, target), and its drops (draw, candidate, target)."""

    def one(item):
        value, new = item
        known = ratios_at(problem._replace(sums=jax.tree.map(lambda a: a[: -len(near)], problem.sums)), value)
        over = jnp.concatenate([known, new])
        design = design_at(problem, value, over)
        lamda, _ = shared_system(design, eliminate(design))
        first, (features, free) = len(known), design.sizes.shape
        onto = (design.columns[first:, :, None] * design.sizes)[:, :, :, None] * jnp.eye(free)
        onto = onto.reshape(len(near), features * free, free)
        half = jax.scipy.linalg.solve_triangular(
            jnp.linalg.cholesky(lamda), jnp.moveaxis(onto, 0, 1).reshape(features * free, -1), lower=True
        )
        joint = (half.T @ half).reshape(len(near), free, len(near), free)
        own = design.own[first:]
        joint = joint + jnp.eye(len(near))[:, None, :, None] * (
            own[:, :, None, None] ** 2 * jnp.eye(free)[None, :, None]
        )
        factor = block_diag(*factors(problem.model, value))
        lifts = jax.vmap(lambda ratio: lift_and_mean(problem.model, ratio)[0])(new) @ factor
        g = jnp.einsum("trb,tbf->trf", rows, lifts[places[1]])
        now = jnp.einsum("trf,tfg,trg->t", g, joint[places[1], :, places[1]], g)

        def candidate(c):
            seen = design.x[near[c]]
            towards = jnp.einsum("kf,ftg->ktg", seen, joint[c][:, places[1]])
            root = jnp.linalg.cholesky(jnp.eye(len(seen)) + seen @ joint[c, :, c] @ seen.T)
            white = jax.scipy.linalg.solve_triangular(root, towards.reshape(len(seen), -1), lower=True)
            white = white.reshape(towards.shape)
            return jnp.sum(jnp.einsum("ktg,trg->ktr", white, g) ** 2, axis=(0, 2))

        return now, jax.lax.map(candidate, places[0])

    return jax.lax.map(one, (values, contact))

"""`predict`: the posterior of a potential at a state, from all systems; `of_system`: that of one of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float

from bayescg import posterior as posterior_room
from bayescg._arrays import AnyArray
from bayescg._runtime import double_precision
from bayescg.inference import ForceStatistics
from bayescg.kernels.covariance import covariance
from bayescg.kernels.pairs import force_below
from bayescg.kernels.state_points import States
from bayescg.potentials import Pair, Potential
from bayescg.transfer import layout
from bayescg.transfer.aligned import distances
from bayescg.transfer.aligned.contact import contact_distance
from bayescg.transfer.assembly import states_of
from bayescg.transfer.drawing import as_arrays, draw_systems
from bayescg.transfer.layout import Stored
from bayescg.transfer.model import Model, Problem, Sums, factors, lift_and_mean, state_design
from bayescg.transfer.sums import calibrated_sums, first_fit, stacked
from bayescg.transfer.systems import values_of

_TRIES = 8
"""Attempts at a draw that repels below the smallest distance of any system, in multiples of the distance of contact."""

_INSISTING = 0.5
"""Share of attractive draws above which the data, or what is unknown, say that the term attracts."""

_FAR = 0.5
"""Share of the changing part's variance that no system says anything about, from which a prediction is labelled."""


def predict(
    posterior: xr.DataTree,
    descriptors: Mapping[str, float],
    *,
    statistics: ForceStatistics | None = None,
    key: Array,
) -> xr.DataTree:
    """Posterior of the potential of a system that was never simulated, or hardly.

    For every draw of the hyperparameters a distance of contact and a potential are drawn, given all systems. A few
    frames of the new system sharpen both, at the hyperparameters that the others taught.

    Args:
        posterior: from `transfer.fit`.
        descriptors: of the new system, all that the others have.
        statistics: `force_statistics` of a few frames of it, of one potential that has the same terms.
        key: JAX random key.

    Returns:
        DataTree in the layout of `force_match`, for `simulate`, `propagate`, `export` and plots. `posterior` has
        `contact_TERM` (chain, draw) [nm] beside hyperparameters, `coefficients` and curves. Attributes: `extrapolated`,
        the descriptors that lie outside of what was learned from; `uninformed`, the share of the changing part's prior
        variance that no system informs (1: nothing but the common part is known).

    Raises:
        ValueError: if it is no posterior of `transfer.fit`, descriptors are missing, unknown or not finite, or the
            statistics are of other terms.
    """
    stored = layout.read(posterior)
    x = values_of(stored.axes.names, descriptors)
    with double_precision():
        states = states_of(stored.kernel, stored.axes, x[None])
        if statistics is None:
            coefficients, contact = _unseen(stored, states, x, key)
        else:
            coefficients, contact = _sharpened(stored, states, x, statistics, key)
        uninformed = _uninformed(stored, states)
    outside = [n for n, v, c in zip(stored.axes.names, x, stored.axes.values.T, strict=True) if not _within(v, c)]
    attrs: dict[str, Any] = {
        "descriptors": json.dumps(dict(zip(stored.axes.names, x.tolist(), strict=True))),
        "extrapolated": ", ".join(outside),
        "uninformed": uninformed,
        "n_frames": 0 if statistics is None else statistics.n_frames,
        "temperature": _temperature(stored, posterior, descriptors, statistics),
    }
    if outside:
        warnings.warn(
            f"{', '.join(outside)} lies outside of what was learned from: the prediction rests on the kernel, and its "
            "error bars with it",
            stacklevel=2,
        )
    elif uninformed > _FAR:
        warnings.warn(
            f"no system is near: {uninformed:.0%} of the variance of what changes is not informed by any", stacklevel=2
        )
    potential = stored.model.potential if statistics is None else statistics.potential
    return _tree(stored, potential, coefficients, contact, attrs)


def of_system(posterior: xr.DataTree, name: str | int) -> xr.DataTree:
    """Posterior of one of the systems that were learned from.

    Args:
        posterior: from `transfer.fit`.
        name: of the system, or its number.

    Returns:
        DataTree in the layout of `force_match`.

    Raises:
        ValueError: if it is no posterior of `transfer.fit`, or has no such system.
    """
    stored = layout.read(posterior)
    if str(name) not in stored.names:
        raise ValueError(f"no system {name!r}; systems: {', '.join(stored.names)}")
    place = stored.names.index(str(name))
    constants = posterior["constant_data"].to_dataset().isel(system=place)
    lacking = {str(t) for t, has in zip(constants["term"].values, constants["has_term"].values, strict=True) if not has}
    whole = stored.model.potential
    potential = Potential(*(t for t in whole.terms if t.name not in lacking), exclude_bonds=whole.exclude_bonds)
    coefficients = (
        posterior["posterior"].to_dataset()["coefficients"].isel(system=place).values.reshape(-1, whole.n_basis)
    )
    contact = [r.distance / ratio for r, ratio in zip(stored.model.axes, stored.ratios[:, place].T, strict=True)]
    attrs = {
        "descriptors": json.dumps(dict(zip(stored.axes.names, stored.axes.values[place].tolist(), strict=True))),
        "system": str(name),
        "n_frames": int(constants["n_frames"]),
        "temperature": float(constants["temperature"]),
    }
    return _tree(stored, potential, coefficients, contact, attrs)


def _within(value: float, column: Float[np.ndarray, " system"]) -> bool:
    margin = 1e-9 * float(np.ptp(column))
    return bool(column.min() - margin <= value <= column.max() + margin)


def _unseen(stored: Stored, states: States, x: np.ndarray, key: Array):
    """Draws of coefficients (draw, basis) and distances of contact of each aligned term (draw,) [nm]."""
    rows, found, contact, attracts = None, np.zeros(0), [np.zeros(0)], np.ones(len(stored.shared), bool)
    for attempt in range(_TRIES):
        own_key, far_key = jax.random.split(jax.random.fold_in(key, attempt))
        distance = _ahead(stored, x, far_key)
        ratios = _over(stored, distance)
        values = {name: jnp.asarray(v) for name, v in stored.values.items()}
        noise = jax.random.normal(own_key, (len(ratios), stored.shared.shape[2]))
        drawn = np.asarray(
            _predict_each(stored.model, states, values, jnp.asarray(ratios), jnp.asarray(stored.shared), noise)
        )
        if not attempt:
            found, contact, rows = drawn, distance, _repulsive(stored, distance)
        else:
            found = np.where(attracts[:, None], drawn, found)
            contact = [np.where(attracts, new, old) for new, old in zip(distance, contact, strict=True)]
        attracts = _attracts(found, rows)
        if not attracts.any() or attracts.mean() > _INSISTING:
            break
    return found, contact


@jax.jit
def _predict_each(model: Model, states: States, values, ratios, shared, noise) -> Float[Array, "draw basis"]:
    def one(item):
        value, ratio, common, z = item
        at = state_design(model, states, value)
        factor = jax.scipy.linalg.block_diag(*factors(model, value))
        lift, mean = lift_and_mean(model, ratio)
        return mean + lift @ (at.columns[0] @ common + factor @ (at.own[0] * z))

    return jax.lax.map(one, (values, ratios, shared, noise))


def _ahead(stored: Stored, x: np.ndarray, key: Array) -> list[Float[np.ndarray, " draw"]]:
    """Drawn distances of contact of a new system [nm]."""
    drawn = []
    for number, measured in enumerate(stored.measured):
        z = np.asarray(jax.random.normal(jax.random.fold_in(key, number), (len(stored.shared),)))
        mean, left = _along_of(stored, number, x)
        drawn.append(np.exp(measured.center + mean + np.sqrt(left) * z))
    return drawn


def _along_of(stored: Stored, number: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of log d about its center at a new state, (draw,) each."""
    name = stored.model.aligned[number]
    own = {n: jnp.asarray(v) for n, v in stored.values.items() if n.startswith("contact_") and n.endswith(f"_{name}")}
    at = jnp.asarray(stored.axes.standardized(x))[None]
    mean, left = _each_along(name, jax.tree.map(jnp.asarray, stored.measured[number]), own, at)
    return np.asarray(mean)[:, 0], np.asarray(left)[:, 0]


@partial(jax.jit, static_argnums=0)
def _each_along(name: str, measured: distances.Measured, values, x) -> distances.Along:
    return jax.lax.map(lambda value: distances.along(name, measured, value, x), values)


def _sharpened(stored: Stored, states: States, x: np.ndarray, statistics: ForceStatistics, key: Array):
    """The same with frames of the new system: all systems are solved again, with one more."""
    model = stored.model
    for term in statistics.potential.terms:
        if term not in model.potential.terms:
            raise ValueError(f"the statistics have the term {term!r}, which the systems that were learned from lack")
    far_key, draw_key = jax.random.split(key)
    contact = []
    for number, (name, measured) in enumerate(zip(model.aligned, stored.measured, strict=True)):
        mean, variance = _along_of(stored, number, x)
        if name in statistics.potential.slices:
            term = statistics.potential.term(name)
            assert isinstance(term, Pair)
            own = contact_distance(term, statistics.counts[name])
            gain = variance / (variance + (own.error / own.distance) ** 2)
            mean = mean + gain * (np.log(own.distance) - measured.center - mean)
            variance = variance * (1 - gain)
        z = np.asarray(jax.random.normal(jax.random.fold_in(far_key, number), mean.shape))
        contact.append(np.exp(measured.center + mean + np.sqrt(variance) * z))
    ratios = _over(stored, contact)
    typical = np.exp(np.mean(np.log(ratios), axis=0))
    first = first_fit(statistics, model.kernels)
    one = calibrated_sums(model, statistics, first, typical, str(stored.attrs["calibration"]))
    sums = _with(stored.sums, stacked([one]))
    joined = stored.states._replace(
        linear=np.concatenate([stored.states.linear, states.linear]),
        smooth=np.concatenate([stored.states.smooth, states.smooth]),
    )
    problem = Problem(model, as_arrays(joined), as_arrays(sums), as_arrays(stored.measured))
    over = np.concatenate([stored.ratios, ratios[:, None]], axis=1)
    drawn = draw_systems(problem, stored.values, ratios=over, key=draw_key)
    order = {n: model.potential.slices[n] for n in statistics.potential.slices}
    columns = np.concatenate([np.arange(s.start, s.stop) for s in order.values()])
    return drawn.systems[:, -1][:, columns], contact


def _with(sums: Sums, more: Sums) -> Sums:
    """Sums of one more system."""
    data = max(sums.target.shape[1], more.target.shape[1])

    def padded(part: np.ndarray, axes: int) -> np.ndarray:
        wanted = [(0, 0)] + [(0, data - part.shape[1 + k]) for k in range(axes)] + [(0, 0)] * (part.ndim - 1 - axes)
        return np.pad(part, wanted)

    return Sums(
        *(
            np.concatenate([padded(np.asarray(a), axes), padded(np.asarray(b), axes)])
            for a, b, axes in zip(sums, more, (1, 1, 2), strict=True)
        )
    )


def _over(stored: Stored, contact: list[np.ndarray]) -> Float[np.ndarray, "draw aligned"]:
    typical = [r.distance for r in stored.model.references if r is not None]
    if not typical:
        return np.zeros((len(stored.shared), 0))
    return np.stack([d / c for d, c in zip(typical, contact, strict=True)], axis=-1)


def _repulsive(stored: Stored, contact: list[np.ndarray]) -> Float[np.ndarray, "row basis"]:
    """Rows of forces that must be positive, below the smallest distance met in multiples of that of contact."""
    model, place = stored.model, 0
    found = [np.zeros((0, model.potential.n_basis))]
    for term, reference in zip(model.terms, model.references, strict=True):
        if reference is None:
            continue
        own = model.potential.term(term.name)
        assert isinstance(own, Pair)
        smallest = _smallest(stored, place, term.name) * float(np.median(contact[place]))
        part = force_below(own, smallest)
        rows = np.zeros((len(part), model.potential.n_basis))
        rows[:, model.potential.slices[term.name]] = part
        found.append(rows)
        place += 1
    return np.concatenate(found)


def _smallest(stored: Stored, place: int, name: str) -> float:
    """Smallest distance met in any system, in multiples of its distance of contact."""
    low = json.loads(stored.attrs["sampled_ranges"])[name][0]
    measured = stored.measured[place]
    return float(low / np.exp(measured.center + np.min(np.asarray(measured.log_distance))))


def _attracts(coefficients: np.ndarray, rows: np.ndarray | None) -> Bool[np.ndarray, " draw"]:
    if rows is None or not len(rows):
        return np.zeros(len(coefficients), bool)
    return np.any(coefficients @ rows.T < 0, axis=1)


def _uninformed(stored: Stored, states: States) -> float:
    """Share of the smooth kernel's variance at a state that the states of the systems leave, at typical unknowns."""
    if "lengthscale_state" not in stored.values:
        return 1.0 if stored.kernel.change == 0 else 0.0
    typical = np.exp(np.mean(np.log(stored.values["lengthscale_state"]), axis=0))
    given = {"lengthscale": jnp.asarray(typical), "amplitude": jnp.ones(())}
    known: AnyArray = stored.states.smooth
    gram = np.asarray(covariance(stored.states.shape, given, known, known)) + 1e-6 * np.eye(len(known))
    cross = np.asarray(covariance(stored.states.shape, given, states.smooth, known))[0]
    return float(np.clip(1 - cross @ np.linalg.solve(gram, cross), 0.0, 1.0))


def _temperature(stored: Stored, posterior: xr.DataTree, descriptors: Mapping[str, float], statistics) -> float:
    if statistics is not None:
        return float(statistics.temperature)
    if "temperature" in descriptors:
        return float(descriptors["temperature"])
    return float(posterior["constant_data"].to_dataset()["temperature"].mean())


def _tree(stored: Stored, potential: Potential, coefficients: np.ndarray, contact, attrs: Mapping[str, Any]):
    chains, draws = stored.shape

    def folded(value: np.ndarray) -> np.ndarray:
        return value.reshape(chains, draws, *value.shape[1:])

    if coefficients.shape[1] != potential.n_basis:
        kept = [stored.model.potential.slices[t.name] for t in potential.terms]
        coefficients = np.concatenate([coefficients[:, s] for s in kept], axis=1)
    values = {name: folded(v) for name, v in stored.values.items()}
    values |= {f"contact_{n}": folded(c) for n, c in zip(stored.model.aligned, contact, strict=True)}
    ranges = {name: (low, high) for name, (low, high) in json.loads(stored.attrs["sampled_ranges"]).items()}
    for place, name in enumerate(stored.model.aligned):
        low = _smallest(stored, place, name) * float(np.median(contact[place]))
        ranges[name] = (low, ranges[name][1])
    kept = {k: stored.attrs[k] for k in ("method", "calibration") if k in stored.attrs}
    return posterior_room.build(
        potential,
        folded(coefficients),
        values,
        {},
        ranges={t.name: ranges[t.name] for t in potential.terms},
        attrs={**kept, "kind": "predicted", "misfit": _MISFIT, **attrs},
    )


_MISFIT = (
    "Error bars cover the best potential of this form at this state, as far as potentials change with the descriptors "
    "as the kernel over states says. Model misfit, the difference between that potential and the true many-body free "
    "energy, is outside of them."
)

"""`propagate`: an observable under every draw of the posterior from the frames of one reference simulation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg import posterior as posteriors
from bayescg.observables import evaluation
from bayescg.observables.evaluation import Observable
from bayescg.observables.guards import Guard, Verdict, judge, next_reference
from bayescg.observables.references import References, gather, simulate_more
from bayescg.observables.reweighting import Mixture, log_weights, mixture

_GUARD = Guard()
_NONLINEAR = 3.0
"""Discrepancy from linear response, in error bars, above which a warning is due."""


def propagate(
    posterior: xr.DataTree,
    reference: xr.Dataset | Iterable[xr.Dataset],
    observable: Observable,
    *,
    draws: int = 200,
    guard: Guard = _GUARD,
    key: Array,
) -> xr.DataArray:
    """An observable at draws of the posterior, reweighted from reference simulations.

    The energy is linear in the coefficients. So a frame that was simulated with some coefficients can be reweighted
    exactly to any others, by MBAR (doi:10.1063/1.2978177) if there are several references. Each frame is measured once
    for all draws.

    The guard decides which reweighted draws are trusted. For those that are not, further references are simulated like
    the first one, where they help most. Draws that still fail are simulated by themselves. `Guard` limits the number of
    both. Draws that are left over are marked `unreliable`, and a warning counts them. Ctrl-C ends the simulations, and
    the result is made of what there is.

    As a check, each reweighted draw is compared with its linear response, -beta Cov(O, dU/dw) . (w_d - w_ref). A
    warning says if the two differ by more than three error bars, rms over draws.

    The result holds for the box and temperature of the reference. Its error bars do not cover model misfit.

    Args:
        posterior: from `force_match`, `relative_entropy` or `posterior.from_coefficients`.
        reference: ensemble of the posterior mean, `simulate(posterior, initial, time=..., draws=None, key=...)`; or of
            several draws; or a list of ensembles. They may come from another posterior of the same potential.
        observable: callable (dataset, *, weights) -> DataArray (draw, block, ...): those of `bayescg.observables`, such
            as functools.partial(rdf, a="W", b="W", cutoff=0.9), `potential_energy`, `virial_pressure`, or
            `per_frame(function)` of positions and box.
        draws: how many draws, at random without repetition.
        guard: when a draw is trusted, and how many simulations may be added.
        key: JAX random key; it chooses draws and seeds simulations.

    Returns:
        Dims (draw, block, ...), for `summarize`; blocks are slices of time of every reference. Coordinates of the
        draws: `posterior_chain`, `posterior_draw`, `source` ("reweighted", "simulated" or "unreliable"), `ess_share`
            (Kish's
        effective sample size over the number of frames), `ess` (independent frames that the weights are worth),
        `pareto_k`, and `linear_response` (difference from it in error bars), whose rms over draws is an attribute. The
        attribute `shared_reference` tells `summarize` that draws share frames.

    Raises:
        ValueError: if the references do not fit the posterior or one another (potential, temperature, box, beads),
            have failed or too few frames, or share no configurations; if the observable takes no weights; and if more
            than half of the draws would be unreliable.
    """
    evaluation.check_observable(observable)
    chosen, references, mixed, verdict, last = _covered(posterior, reference, draws, guard, key, go_on=True)
    alone = _to_simulate(verdict, guard)
    runs, rows = _simulate(posterior, references, chosen.coefficients, verdict, alone, last)
    reweighted = verdict.passed
    logs = log_weights(mixed, chosen.coefficients)
    weights = np.exp(logs)
    weights /= weights.sum(axis=1, keepdims=True)
    believed = chosen.coefficients[reweighted]
    tilted, step = evaluation.response_weights(mixed, references, believed, verdict.nearest[reweighted])
    everything = evaluation.evaluate(
        observable,
        references,
        np.concatenate([chosen.coefficients, believed, believed]),
        np.concatenate([weights, tilted]),
    )
    array = everything.isel(draw=slice(len(weights)))
    source = np.where(reweighted, "reweighted", "unreliable").astype("<U10")
    if runs is not None:
        array = _with_simulated(array, evaluation.checked(observable(runs), None), rows)
        source[rows] = "simulated"
    _warn_of_unreliable(source, guard)
    array = array.assign_attrs(shared_reference=1, n_references=len(references.runs)).assign_coords(
        draw=np.arange(len(weights)),
        posterior_chain=("draw", chosen.chain),
        posterior_draw=("draw", chosen.draw),
        source=("draw", source),
        ess_share=("draw", verdict.share, {"long_name": "effective sample size over number of frames"}),
        ess=("draw", verdict.ess, {"long_name": "independent frames that the weights are worth"}),
        pareto_k=("draw", verdict.pareto_k, {"long_name": "Pareto k of the weights"}),
    )
    count = len(believed)
    means = evaluation.averages(everything.isel(draw=slice(len(weights), None)))
    predicted = evaluation.linear_response(means[:count], means[count:], step)
    difference = evaluation.discrepancy(array, predicted, reweighted)
    array = array.assign_coords(
        linear_response=("draw", difference, {"long_name": "difference from linear response in error bars"})
    )
    pooled = float(np.sqrt(np.mean(difference[reweighted] ** 2))) if count else float("nan")
    if pooled > _NONLINEAR:
        warnings.warn(
            f"{array.name or 'observable'}: reweighting and linear response differ by {pooled:.2g} error bars (rms "
            "over draws): the weights may be wrong, or the observable is far from linear in the coefficients. "
            "Compare with a longer reference or with simulated draws",
            UserWarning,
            stacklevel=2,
        )
    return array.assign_attrs(linear_response=pooled)


def add_references(
    posterior: xr.DataTree,
    reference: xr.Dataset | Iterable[xr.Dataset],
    *,
    draws: int = 200,
    guard: Guard = _GUARD,
    key: Array,
) -> list[xr.Dataset]:
    """The references that `propagate` would use, to be kept for several observables.

    Args:
        posterior: as for `propagate`.
        reference: as for `propagate`.
        draws: as for `propagate`.
        guard: as for `propagate`.
        key: the same as for `propagate`, so that draws are the same.

    Returns:
        Ensembles without the dimension `draw`: the given ones and those that were added.

    Raises:
        ValueError: as `propagate`.
        KeyboardInterrupt: if interrupted.
    """
    return list(_covered(posterior, reference, draws, guard, key, go_on=False)[1].runs)


def _covered(
    posterior: xr.DataTree,
    reference: xr.Dataset | Iterable[xr.Dataset],
    draws: int,
    guard: Guard,
    key: Array,
    *,
    go_on: bool,
) -> tuple[posteriors.Draws, References, Mixture, Verdict, Array]:
    """Draws, and references that cover as many of them as the guard's number of further references allows.

    An interrupt ends it, unless it goes on with the references that there are.
    """
    references = gather(reference, posterior)
    pick, key = jax.random.split(key)
    chosen = posteriors.draw_coefficients(posterior, draws, key=pick)
    mixed = mixture(references)
    verdict = judge(references, mixed, chosen.coefficients, guard)
    for _ in range(guard.references):
        if verdict.enough:
            break
        key, run_key = jax.random.split(key)
        coefficients, start = next_reference(references, mixed, chosen.coefficients, verdict)
        try:
            added = simulate_more(references, coefficients[None], start, posterior, key=run_key)
        except KeyboardInterrupt:
            if not go_on:
                raise
            warnings.warn("interrupted: going on without further references", UserWarning, stacklevel=3)
            break
        references = gather([*references.runs, added], posterior)
        mixed = mixture(references)
        verdict = judge(references, mixed, chosen.coefficients, guard)
    return chosen, references, mixed, verdict, key


def _to_simulate(verdict: Verdict, guard: Guard) -> np.ndarray:
    """Numbers of the draws to be simulated by themselves: those with the fewest effective frames.

    Raises:
        ValueError: if more than half of the draws would be left over.
    """
    failing = np.flatnonzero(~verdict.passed)
    if verdict.enough:
        return failing[:0]
    order = failing[np.argsort(verdict.ess[failing], kind="stable")]
    if 2 * (len(failing) - guard.simulations) > len(verdict.passed):
        raise ValueError(
            f"the reference does not represent this posterior: the weights of {len(failing)} of {len(verdict.passed)} "
            f"draws fail the guard (median of effective frames {np.median(verdict.ess):.3g}, needed "
            f"{guard.ess:g}; median Pareto k {np.median(verdict.pareto_k):.2f}). Simulate a longer "
            "reference or one of this posterior's mean, allow more runs, guard=Guard(references=..., simulations=...), "
            "or fit to more data"
        )
    return order[: guard.simulations]


def _simulate(
    posterior: xr.DataTree,
    references: References,
    coefficients: np.ndarray,
    verdict: Verdict,
    alone: np.ndarray,
    key: Array,
) -> tuple[xr.Dataset | None, np.ndarray]:
    """Simulate draws by themselves: the ensemble, and the draws that it holds (those that failed are left out)."""
    if not len(alone):
        return None, alone
    try:
        runs = simulate_more(references, coefficients[alone], int(verdict.nearest[alone[0]]), posterior, key=key)
    except KeyboardInterrupt:
        warnings.warn("interrupted: going on without simulating draws by themselves", UserWarning, stacklevel=3)
        return None, alone[:0]
    runs = runs.isel(draw=np.flatnonzero(~runs["failed"].values))
    return runs, alone[runs["posterior_draw"].values]


def _with_simulated(array: xr.DataArray, simulated: xr.DataArray, rows: np.ndarray) -> xr.DataArray:
    """Put draws that were simulated in the place of their reweighted values."""
    if simulated.shape[1:] != array.shape[1:]:
        raise ValueError(
            f"the observable has the shape {simulated.shape[1:]} for a simulated draw and {array.shape[1:]} for "
            "reweighted ones: give it fixed bins and a number of blocks that fits both"
        )
    values, weight = array.values.copy(), array["block_weight"].transpose("draw", "block").values.copy()
    share = simulated["block_weight"].transpose("draw", "block").values
    values[rows], weight[rows] = simulated.values, share
    total = weight.sum(axis=1, keepdims=True)
    return array.copy(data=values).assign_coords(block_weight=(("draw", "block"), weight / total))


def _warn_of_unreliable(source: np.ndarray, guard: Guard) -> None:
    left = int((source == "unreliable").sum())
    if left:
        warnings.warn(
            f"{left} of {len(source)} draws fail the guard and were not simulated (coordinate source is 'unreliable'): "
            "their own numbers are not to be trusted. Simulate a longer reference, or allow more in guard=Guard("
            f"references={guard.references}, simulations={guard.simulations}, tolerance={guard.tolerance:g})",
            UserWarning,
            stacklevel=3,
        )

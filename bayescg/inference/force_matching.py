"""Bayesian force matching: from statistics to the posterior of a coarse-grained potential."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from numpyro.infer import Predictive

from bayescg import kernels as kernel_room
from bayescg import posterior as posterior_room
from bayescg._runtime import double_precision
from bayescg.data.units import BOLTZMANN
from bayescg.inference import diagnostics, marginal, scores
from bayescg.inference import sampling as sampler
from bayescg.inference.blocks import Sums
from bayescg.inference.marginal import Prior
from bayescg.inference.statistics import ForceStatistics, force_statistics
from bayescg.kernels import Wall
from bayescg.potentials import Bond, Potential, Term

METHODS = ("nuts", "vi", "laplace")

_STORED_COEFFICIENTS = 300
"""Above this many coefficients the sums are not copied into the posterior: tens of MB that their own file holds."""

_SCORE_BUDGET = 2e11
"""Multiplications spent on leave-block-out scores, some ten seconds."""

_MISFIT = (
    "Error bars cover the best potential of this form under independent Gaussian force noise (calibration 'none'). "
    "Model misfit, the difference between that potential and the true many-body free energy, is outside all of them."
)


@dataclass(frozen=True)
class Sampling:
    """How much to sample.

    Attributes:
        chains: NUTS chains; `vi` and `laplace` draw chains * draws as one chain.
        warmup: discarded steps of each chain.
        draws: kept draws of each chain.
    """

    chains: int = 4
    warmup: int = 500
    draws: int = 500

    def __post_init__(self):
        if min(self.chains, self.warmup, self.draws) < 1:
            raise ValueError(f"chains, warmup and draws must be at least 1; got {self}")


def force_match(
    potential: Potential,
    data: xr.Dataset | ForceStatistics | Iterable[xr.Dataset],
    *,
    kernels: Mapping[str, object] | None = None,
    method: str = "nuts",
    calibration: str = "none",
    sampling: Sampling = Sampling(),
    noise_ceiling: float | None = None,
    key: Array,
) -> xr.DataTree:
    """Posterior of a CG potential from forces (multiscale coarse-graining with Gaussian-process priors).

    Hyperparameters (kernel lengthscales and amplitudes, one force noise for each bead type) are sampled on the exact
    marginal likelihood; coefficients given hyperparameters are exactly Gaussian and drawn for every hyperparameter
    draw. Sources: Noid et al., doi:10.1063/1.2938860; Rasmussen & Williams 2006.

    Args:
        potential: terms to learn.
        data: a CG dataset with forces, chunks of one (`bayescg.stream`), or `ForceStatistics` made earlier.
        kernels: GPJax kernel of each term by the term's name (an object or the name of its class), e.g.
            `{"W-W": gpjax.kernels.RBF()}`; Matern-5/2 where absent. Their lengthscales and variances are learnt, not
            read from the object.
        method: how hyperparameters are sampled: "nuts" (exact), "vi" (full-rank Gaussian), "laplace" (Gaussian at the
            mode, corrected by importance resampling; fastest).
        calibration: "none": the posterior under independent Gaussian noise.
        sampling: numbers of chains and draws.
        noise_ceiling: largest R^2 that any function of the beads can reach, if known from replicate forces at fixed
            beads; it cannot be found from one trajectory and is otherwise reported as unknown.
        key: JAX random key.

    Returns:
        DataTree in ArviZ layout: `posterior` (hyperparameters, `coefficients` (chain, draw, basis) [kJ/mol], curves
        `u_TERM` [kJ/mol] and `f_TERM` [kJ/mol/nm]), `sample_stats`, `log_likelihood` (predictive, per time block; for
        `arviz_stats.loo`), `prior`, `constant_data`, `statistics`.

    Raises:
        ValueError: for an unknown method or kernel name, or data that do not fit the potential.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if calibration != "none":
        raise ValueError(f"calibration must be 'none' in this version; got {calibration!r}")
    if noise_ceiling is not None and not 0 < noise_ceiling <= 1:
        raise ValueError(f"noise_ceiling is a share of variance, in (0, 1]; got {noise_ceiling}")
    statistics = data if isinstance(data, ForceStatistics) else force_statistics(potential, data)
    potential = _same(potential, statistics.potential)
    unknown = set(kernels or {}) - {term.name for term in potential.terms if term.n_basis}
    if unknown:
        raise ValueError(f"kernels name unknown terms {sorted(unknown)}; terms: {[t.name for t in potential.terms]}")
    if potential.n_basis == 0:
        raise ValueError("no term of this potential learns anything: every term has learn=False")
    fit_key, prior_key, draw_key = jax.random.split(key, 3)
    chosen = {name: _kernel(kernel) for name, kernel in (kernels or {}).items()}
    with double_precision():
        total, blocks = statistics.total(), statistics.blocks
        prior = build_prior(statistics, chosen)
        reduced = marginal.reduce(prior, total)
        target = sampler.density(marginal.model, (prior, reduced), prior.medians())
        mode = sampler.find_mode(target)
        plan = sampling
        if method == "nuts":
            found = sampler.nuts(target, mode, **dataclasses.asdict(plan), key=fit_key)
        elif method == "vi":
            draws = plan.chains * plan.draws
            found = sampler.variational(target, mode, draws, key=fit_key)
        else:
            found = sampler.laplace(target, mode, plan.chains * plan.draws, key=fit_key)
        coefficients = draw_coefficients(prior, reduced, found.values, key=draw_key)
        at_mode = target.constrain(mode.position)
        groups, attrs, notes = _groups(prior, statistics, blocks, total, found, key=prior_key)
        attrs["log_evidence"] = _log_evidence(target, mode)
        attrs.update(_quality(prior, blocks, total, at_mode, coefficients, noise_ceiling))
    if method == "vi" and not found.attrs.get("converged", True):
        notes.append("variational inference has not converged: compare with method='nuts'")
    if found.attrs.get("laplace_pareto_k", 0.0) > 0.7:
        k = found.attrs["laplace_pareto_k"]
        notes.append(
            f"the Gaussian at the mode is a poor guide (Pareto k {k:.2f}, should be below 0.7): use method='nuts'"
        )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    attrs.update(
        temperature=statistics.temperature,
        method=method,
        calibration=calibration,
        n_frames=statistics.n_frames,
        warnings="; ".join(notes),
        misfit=_MISFIT,
        **{name: value for name, value in found.attrs.items() if name != "converged"},
    )
    return posterior_room.build(potential, coefficients, found.values, groups, ranges=statistics.ranges, attrs=attrs)


def _kernel(kernel: object) -> object:
    return kernel_room.by_name(kernel) if isinstance(kernel, str) else kernel


def build_prior(statistics: ForceStatistics, kernels: Mapping[str, object]) -> Prior:
    """Prior of all terms, its walls placed and its noise scaled by a first, fixed fit to the same sums."""
    potential = statistics.potential
    kT = BOLTZMANN * statistics.temperature
    learning = [term for term in potential.terms if term.n_basis]
    chosen = {term.name: kernels.get(term.name, kernel_room.default_kernel()) for term in learning}
    total = statistics.total()
    noise = np.sqrt(total.square / np.maximum(total.components, 1))
    noise = tuple(np.where(noise > 0, noise, 1.0).tolist())

    def prior(walls: Mapping[str, Wall], noise) -> Prior:
        terms = tuple(
            kernel_room.term_prior(
                t, statistics.counts[t.name], statistics.ranges[t.name], kT=kT, wall=walls.get(t.name)
            )
            for t in learning
        )
        return Prior(potential, terms, chosen, noise, statistics.bead_types)

    first = prior({}, noise)
    medians = {
        name: jnp.exp(d.loc) * (5.0 if name.startswith("amplitude") else 0.5 if name.startswith("length") else 1.0)
        for name, d in first.distributions().items()
    }
    reduced = marginal.reduce(first, total)
    mean, _ = marginal.mean_and_spread(marginal.solve(reduced, first.factors(medians), first.noises(medians)))
    w = first.mean + first.lift @ np.asarray(mean)
    walls = {}
    for term in learning:
        if term.kind != "pair":
            continue
        walls[term.name] = _wall(term, statistics.counts[term.name], w[potential.slices[term.name]], kT)
    residual = np.sqrt(np.maximum(scores.residual_variance(total, w), 1e-12))
    return prior(walls, tuple(np.maximum(residual, 1e-6 * np.asarray(noise)).tolist()))


def _wall(term: Term, counts, w: Float[np.ndarray, " basis"], kT: float) -> Wall:
    """Power law through the first fit's force at the inner edge of the well-sampled range."""
    edge = kernel_room.well_sampled_edge(term, counts)
    outer = edge + 2 * term.spline.spacing
    inner_force, outer_force = -term.spline.matrix([edge, outer], 1)[:, : term.n_basis] @ w
    # However soft the data make it look, the wall must hold beads apart: kT within a twentieth of a nanometer.
    force = max(float(inner_force), kT / 0.05)
    power = np.log(force / max(float(outer_force), 1e-3 * force)) / np.log(outer / edge)
    return Wall(edge, force, float(np.clip(power, 10, 24)))


def draw_coefficients(
    prior: Prior, data: marginal.Reduced, values: Mapping[str, np.ndarray], *, key: Array
) -> Float[np.ndarray, "chain draw basis"]:
    """One exact Gaussian draw of the coefficients for every hyperparameter draw."""
    chains, draws = next(iter(values.values())).shape[:2]

    flat = {name: jnp.asarray(v).reshape(chains * draws, *v.shape[2:]) for name, v in values.items()}
    free = np.asarray(_draw_each(prior, data, flat, jax.random.split(key, chains * draws)))
    return (prior.mean + free @ prior.lift.T).reshape(chains, draws, -1)


@jax.jit
def _draw_each(prior: Prior, data: marginal.Reduced, values, keys):
    def one(item):
        value, draw_key = item
        solution = marginal.solve(data, prior.factors(value), prior.noises(value))
        return marginal.draw(solution, jax.random.normal(draw_key, solution.whitened.shape))

    return jax.lax.map(one, (values, keys))


def _groups(prior: Prior, statistics, blocks, total: Sums, found: sampler.Sampled, *, key: Array):
    attrs: dict[str, object] = {}
    notes: list[str] = []
    groups: dict[str, xr.Dataset] = {}
    if found.stats:
        numbers, words = diagnostics.convergence(found.values, found.stats)
        attrs.update(numbers)
        notes += words
        groups["sample_stats"] = xr.Dataset({n: (("chain", "draw"), v) for n, v in found.stats.items()})
    chains, draws = next(iter(found.values.values())).shape[:2]
    if len(blocks) > 1:
        # A few hundred draws of a handful of hyperparameters are plenty for PSIS: each costs a solve for every block.
        wanted = int(np.clip(_SCORE_BUDGET / (len(blocks) * prior.lift.shape[1] ** 3), 100, 400))
        chosen = np.arange(0, draws, max(1, chains * draws // wanted))
        flat = {n: v[:, chosen].reshape(chains * len(chosen), *v.shape[2:]) for n, v in found.values.items()}
        pointwise = scores.block_log_likelihood(prior, blocks, total, flat).reshape(chains, len(chosen), -1)
        groups["log_likelihood"] = xr.Dataset(
            {"forces": (("chain", "draw", "block"), pointwise)},
            {"block": np.arange(len(blocks)), "chain": np.arange(chains), "draw": chosen},
            {"kind": "predictive: log p(block | other blocks, hyperparameters), coefficients integrated out"},
        )
        attrs.update(diagnostics.predictive_score(groups["log_likelihood"], found.values, notes))
    sites = Predictive(partial(_prior_model, prior), num_samples=500)(key)
    groups["prior"] = xr.Dataset(
        {
            name: (("chain", "draw", *(f"{name}_dim_{k}" for k in range(v.ndim - 1))), np.asarray(v)[None])
            for name, v in sites.items()
        }
    )
    constants: dict = {
        "components": ("bead_type", total.components),
        "force_variance": ("bead_type", total.square / np.maximum(total.components, 1)),
    }
    for name, counts in statistics.counts.items():
        constants[f"counts_{name}"] = (f"interval_{name}", counts)
    groups["constant_data"] = xr.Dataset(constants, {"bead_type": np.asarray(statistics.bead_types, str)})
    if statistics.potential.n_basis <= _STORED_COEFFICIENTS:
        groups["statistics"] = statistics.to_dataset()
    return groups, attrs, notes


def _prior_model(prior: Prior) -> None:
    import numpyro

    for name, distribution in prior.distributions().items():
        numpyro.sample(name, distribution)


def _log_evidence(target: sampler.Density, mode: sampler.Mode) -> float:
    """Laplace approximation of the evidence over hyperparameters (coefficients are integrated out exactly)."""
    _, logdet = np.linalg.slogdet(mode.covariance)
    at_mode = -float(target.value_and_gradient(jnp.asarray(mode.position))[0])
    return at_mode + 0.5 * len(mode.position) * math.log(2 * math.pi) + 0.5 * float(logdet)


def _quality(prior: Prior, blocks, total: Sums, at_mode, coefficients, noise_ceiling) -> dict[str, object]:
    score, error = scores.held_out_r2(prior, blocks, at_mode)
    residual = scores.residual_variance(total, coefficients.mean(axis=(0, 1)))
    ceiling = "unknown" if noise_ceiling is None else float(noise_ceiling)
    return {
        "held_out_r2": score,
        "held_out_r2_se": error,
        "noise_ceiling_r2": ceiling,
        "residual_variance": json.dumps(dict(zip(prior.bead_types, residual.tolist(), strict=True))),
    }


def _same(asked: Potential, stored: Potential) -> Potential:
    """The statistics' potential, if it is the one asked for (ranges left open are filled from the statistics)."""
    if len(asked.terms) == len(stored.terms):
        filled = [
            dataclasses.replace(
                a, start=s.start if a.start is None else a.start, stop=s.stop if a.stop is None else a.stop
            )
            if isinstance(a, Bond) and isinstance(s, Bond)
            else a
            for a, s in zip(asked.terms, stored.terms, strict=True)
        ]
        if Potential(*filled, exclude_bonds=asked.exclude_bonds) == stored:
            return stored
    raise ValueError(f"the statistics belong to another potential: {stored!r}, not {asked!r}")

"""Curves and points of several fidelities: `multi_fidelity` fits them, cheap levels telling about dear ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from gpjax.kernels import AbstractKernel
from jaxtyping import Array, Float
from numpyro.distributions import Distribution
from scipy.special import logsumexp

from bayescg._runtime import double_precision
from bayescg.kernels import default_kernel
from bayescg.kernels.covariance import given_values, kernel_name
from bayescg.samplers import convergence
from bayescg.samplers.settings import Sampling
from bayescg.surrogates.density import prior_draws
from bayescg.surrogates.levels import density, links, tree
from bayescg.surrogates.levels.data import Levels, read_levels
from bayescg.surrogates.levels.model import LINKS, Link, assembled, priors_of
from bayescg.surrogates.levels.particles import PARTICLES, fit_particles
from bayescg.surrogates.levels.sampling import METHODS, Drawn, Method, draw_linked, mixed

_DEFAULT = Sampling()
_FEW = 20
"""Particles: fewer make bands that depend on which they are."""

_DIVERGENT = 0.005
"""Share of divergent transitions that leaves no corner out."""


def multi_fidelity(
    levels: Sequence | Mapping,
    *,
    bins: Float[np.ndarray, " bin"] | Sequence[float] | None = None,
    link: Link = "constant",
    kernel: AbstractKernel | None = None,
    priors: Mapping[str, Distribution] | None = None,
    method: Method = "nuts",
    settings: Sampling = _DEFAULT,
    key: Array,
) -> xr.DataTree:
    """Fit levels of fidelity, from the cheapest to the best: each is rho times the one below, plus a discrepancy.

    f_t(x) = m_t + rho_t (f_{t-1}(x) - m_{t-1}) + delta_t(x), the delta_t independent Gaussian processes (Kennedy &
    O'Hagan, doi:10.1093/biomet/87.1.1). All levels are fitted together, each with its noise, so that inputs need not be
    nested. The processes are integrated out exactly; rho, amplitudes, lengthscales and noise that is not known are
    drawn. That a link is cut (rho = 0) is a model of its own, of equal prior probability: a level that misleads is
    ignored as far as the evidence says so, and `linked` tells how far that is.

    Args:
        levels: from the cheapest to the best, each (x, y), (x, y, error), or a dataset or mapping with these names; or
            a mapping from names of levels to these. `x` is (point, d) or (point,), `y` (point,), `error` the standard
            deviations of the measurement; without them noise is learned. Two levels or more; of one, the result is a
            plain Gaussian process. At most 2000 points in all.
        bins: (bin,) for curves, such as the distances of g(r): then `x` is (state, d), `y` (state, bin) and `error`
            (state, bin), or (state, bin, bin) for covariances. Bins have one correlation at all levels. If the errors
            are one covariance times a number for each state, the cost is that of states plus that of bins; elsewhere at
            most 2000 values.
        link: "constant": rho is a number. "varying": it also varies linearly with the inputs. "nonlinear": f_t is any
            smooth function of f_{t-1} and x (Perdikaris et al., doi:10.1098/rspa.2016.0751); points only.
        kernel: GPJax kernel of all processes, of one part; Matern-5/2 unless given. Its parameters are learned.
        priors: NumPyro distributions in place of defaults, in the units of the data, such as {"rho": dist.Normal(1,
            0.1)} for a cheap level that is known to be nearly right. Names are `amplitude_0`, `constant_0`, `slope_0`
            (cheapest level), `amplitude_added`, `constant_added`, `slope_added`, `rho`, `rho_slope` (links),
            `lengthscale` (level, input), `noise` (levels without errors), `bin_lengthscale`.
        method: "nuts", or "laplace", which is fast and says by `laplace_pareto_k` whether it could be trusted.
        settings: numbers of chains and draws.
        key: JAX random key.

    Returns:
        DataTree in ArviZ layout: `posterior` (`amplitude`, `constant`, `slope` (level), `lengthscale` (level, input),
        `rho`, `linked` (link), `noise`), `sample_stats`, `log_likelihood` (leave-one-out predictive, by point or
        curve), `prior`, `constant_data`. Attributes `log_evidence` and its `log_evidence_se`: of equal data, more is
        better. For `predict_levels` and `leave_one_out`.

    Raises:
        ValueError: for data or settings that cannot be fitted, with the remedy.
    """
    kernel = _checked(kernel, link, method)
    found = read_levels(levels, bins)
    if link == "nonlinear" and (bins is not None or len(found.levels) < 2 or priors):
        raise ValueError(
            "link='nonlinear' is for points of two or more levels, with default priors: use link='varying'"
        )
    sites = priors_of(found, link, priors or {})
    means = np.array([level.y.mean() for level in found.levels])
    if link == "nonlinear":
        return _nonlinear(found, means, sites, kernel, method, settings, key)
    with double_precision():
        problem = density.build(found, means, sites, kernel)
        models, shares = draw_linked(links.model, problem, method, settings, key=key)
        drawn = models[int(np.argmax(shares))]
        values = mixed([_values(problem, each, k) for k, each in enumerate(models)], shares, key=key)
        prior = _prior(sites, drawn.prior, key)
        flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in values.items()}
        pointwise = np.asarray(_left_out_density(problem, jax.tree.map(jnp.asarray, flat)))
    shape = next(iter(values.values())).shape[:2]
    evidence = _evidence(models, shares)
    return _tree(found, means, kernel, link, drawn, values, prior, pointwise.reshape(*shape, -1), evidence)


def _checked(kernel: AbstractKernel | None, link: str, method: str) -> AbstractKernel:
    if link not in LINKS:
        raise ValueError(f"link must be one of {', '.join(map(repr, LINKS))}; got {link!r}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}; got {method!r}")
    kernel = default_kernel() if kernel is None else kernel
    labels = set(given_values(kernel))
    if not {"amplitude", "lengthscale"} <= labels or kernel_name(kernel) is None:
        raise ValueError(f"kernel must be of one part with a lengthscale, such as RBF() or Matern52(); got {kernel!r}")
    return kernel


@jax.jit
def _resolved(problem, sites):
    return jax.vmap(jax.vmap(lambda site: links.resolved(problem, site).values))(sites)


def _values(problem: density.Problem, drawn: Drawn, number: int) -> dict[str, np.ndarray]:
    """Draws of one model: number 0 has all links, number k has link k - 1 cut."""
    linked = np.ones(problem.count - 1) - (np.arange(problem.count - 1) == number - 1)
    problem = replace(problem, linked=jnp.asarray(linked))
    found = _resolved(problem, jax.tree.map(jnp.asarray, drawn.sampled.values))
    out = {name: np.asarray(value) for name, value in found.items()}
    return {**out, "linked": np.broadcast_to(linked, out["rho"].shape)} if problem.count > 1 else out


def _prior(sites: Mapping[str, Distribution], drawn: Mapping[str, np.ndarray], key: Array) -> dict[str, np.ndarray]:
    """Draws of the model's unknowns from their priors, (chain, draw, ...)."""
    rho = {name: prior for name, prior in sites.items() if name.startswith("rho")}
    count = len(next(iter(drawn.values())))
    values = {**drawn, **prior_draws(rho, count, key=jax.random.fold_in(key, 1))}
    found = jax.vmap(assembled)({name: jnp.asarray(value) for name, value in values.items()})
    return {name: np.asarray(value)[None] for name, value in found.items()}


def _nonlinear(levels: Levels, means, sites, kernel, method: Method, settings: Sampling, key: Array) -> xr.DataTree:
    with double_precision():
        found = fit_particles(levels, means, sites, kernel, method, settings, key=key)
    numbers: dict[str, float] = {"particles_left": found.left}
    notes: list[str] = []
    for level, drawn in zip(levels.levels, found.drawn, strict=True):
        own, words = convergence.judge(drawn.sampled, tolerated=_DIVERGENT)
        numbers |= {f"{name} of {level.name}": value for name, value in own.items()}
        notes += [f"{level.name}: {word}" for word in words]
    if found.left < _FEW:
        notes.append(
            f"the best level is explained by only {found.left} of {PARTICLES} draws of the cheapest one: measure that "
            "with less noise, or use link='varying', which has no such limit"
        )
    for note in notes:
        warnings.warn(note, stacklevel=4)
    errors = [drawn.log_evidence_se for drawn in found.drawn]
    numbers["log_evidence"] = sum(drawn.log_evidence for drawn in found.drawn)
    numbers["log_evidence_se"] = float(np.hypot.reduce(errors))
    values = {name: value[None] for name, value in tree.stacked(found.values).items()}
    prior = tree.stacked([drawn.prior for drawn in found.drawn])
    posterior = tree.variables(levels, values, ("chain", "draw"))
    posterior["level_at_sites"] = (("chain", "draw", "level", "site"), found.level[None])
    groups = {
        "posterior": posterior,
        "prior": tree.variables(levels, {name: value[None] for name, value in prior.items()}, ("chain", "draw")),
        "constant_data": tree.constants(levels, means).assign(sites=(("site", "input"), found.sites)),
    }
    return _labelled(groups, tree.attributes("nonlinear", kernel, numbers, notes))


def _evidence(models: Sequence[Drawn], shares: np.ndarray) -> dict[str, float]:
    """Of all models with equal prior probabilities."""
    logs, errors = (np.array([getattr(each, name) for each in models]) for name in ("log_evidence", "log_evidence_se"))
    error = float(np.sqrt(np.sum((shares * errors) ** 2)))
    return {"log_evidence": float(logsumexp(logs) - np.log(len(logs))), "log_evidence_se": error}


def _labelled(groups: Mapping[str, xr.Dataset], attrs: Mapping) -> xr.DataTree:
    out = xr.DataTree.from_dict(dict(groups))
    out.attrs.update(attrs)
    out["posterior"].attrs.update(attrs)
    return out


@jax.jit
def _left_out_density(problem, values):
    return jax.lax.map(lambda value: density.left_out(problem, value)[2], values)


def _tree(levels: Levels, means, kernel, link: Link, drawn, values, prior, pointwise, evidence) -> xr.DataTree:
    numbers, notes = convergence.judge(drawn.sampled, tolerated=_DIVERGENT)
    chains, draws = pointwise.shape[:2]
    where = {"chain": np.arange(chains), "draw": np.arange(draws)}
    likelihood = xr.Dataset(
        {"y": (("chain", "draw", "point"), pointwise)},
        where,
        attrs={"kind": "predictive: log p(y_i | other points, unknowns), processes integrated out"},
    )
    score, words = convergence.leave_one_out(likelihood, drawn.sampled.values, name="y", unit="point")
    # Of few points one often decides: that is about the score, not about the fit, and no reason to raise an alarm.
    for note in notes if np.isfinite(score["elpd"]) else notes + words:
        warnings.warn(note, stacklevel=3)
    attrs = tree.attributes(link, kernel, {**numbers, **score, **evidence}, notes + words)
    groups = {
        "posterior": tree.variables(levels, values, ("chain", "draw")),
        "log_likelihood": likelihood,
        "prior": tree.variables(levels, prior, ("chain", "draw")),
        "constant_data": tree.constants(levels, means),
    }
    if drawn.sampled.stats:
        groups["sample_stats"] = xr.Dataset(
            {name: (("chain", "draw"), v) for name, v in drawn.sampled.stats.items()}, where
        )
    return _labelled(groups, attrs)

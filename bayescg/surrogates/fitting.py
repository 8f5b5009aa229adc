"""From data to the posterior of physics parameters, discrepancy and noise."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from bayescg._runtime import double_precision
from bayescg._version import ORIGIN
from bayescg.kernels.covariance import kernel_name
from bayescg.samplers import convergence
from bayescg.samplers.density import Sampled
from bayescg.samplers.nuts import nuts
from bayescg.samplers.settings import Sampling
from bayescg.surrogates import density
from bayescg.surrogates.data import Data, read
from bayescg.surrogates.density import Problem
from bayescg.surrogates.means import Mean, law_name
from bayescg.surrogates.model import FORMAT, PhysicsGuidedGP, hyperpriors

_DEFAULT = Sampling()
_FAR = 1e3
"""Typical curves of the prior and the data may differ in size by this factor before units are suspected."""

_ACCEPTANCE = 0.99
"""That step sizes aim at: where physics and discrepancy make up for each other, corners are narrow."""

_DIVERGENT = 0.005
"""Share of divergent transitions that leaves no corner out."""


def fit(
    model: PhysicsGuidedGP,
    data: xr.Dataset | Mapping | Sequence,
    *,
    settings: Sampling = _DEFAULT,
    key: Array,
) -> xr.DataTree:
    """Fit physics parameters, discrepancy and noise to a curve or surface.

    y = m(x; parameters) + discrepancy(x) + noise. The discrepancy, a Gaussian process, is integrated out exactly;
    parameters, amplitude, lengthscales and noise are sampled by NUTS. `PhysicsGuidedGP` says how physics and
    discrepancy are told apart.

    Args:
        model: mean, kernel and priors.
        data: a dataset or mapping with `x` (point, d) or (point,), `y` (point,) and, where known, `error` (point,), the
            standard deviations of the measurement; or a tuple (x, y) or (x, y, error). At most 2000 points.
        settings: numbers of chains and draws.
        key: JAX random key.

    Returns:
        DataTree in ArviZ layout: `posterior` (parameters of the mean by name, `amplitude`, `lengthscale`, `noise`),
        `sample_stats`, `log_likelihood` (leave-one-out predictive, for `arviz_stats.loo`), `prior`, `constant_data`
        (x, y, error).

    Raises:
        ValueError: for data that cannot be fitted, or priors that do not fit the mean.
    """
    if not isinstance(model, PhysicsGuidedGP):
        raise ValueError(f"model must be a PhysicsGuidedGP(mean, kernel); got {type(model).__name__}")
    columns = None if model.mean.inputs is None else len(model.mean.inputs)
    found = read(data, columns, noisy="noise" in model.priors)
    mode_key, chain_key, prior_key = jax.random.split(key, 3)
    with double_precision():
        problem = build_problem(model, found)
        prior = density.prior_draws(problem.priors, 500, key=prior_key)
        _check_prior_curves(model.mean, problem, prior, found)
        target = density.posterior(problem, prior)
        mode = density.find_mode(target, key=mode_key)
        sampled = nuts(target, mode, settings, acceptance=_ACCEPTANCE, key=chain_key)
        flat = {n: jnp.asarray(v.reshape(-1, *v.shape[2:])) for n, v in sampled.values.items()}
        pointwise = np.asarray(_leave_one_out(problem, flat)).reshape(*sampled.stats["lp"].shape, -1)
    return _tree(model, found, sampled, prior, pointwise)


def build_problem(model: PhysicsGuidedGP, data: Data) -> Problem:
    """The density's constants; in double precision."""
    priors = {**model.mean.priors, **hyperpriors(model, data)}
    return Problem(
        jnp.asarray(data.x),
        jnp.asarray(data.y),
        jnp.asarray(data.error),
        jax.tree.map(lambda leaf: jnp.asarray(leaf, float), priors),
        {name: jnp.asarray(value) for name, value in model.mean.constants.items()},
        model.kernel,
        model.mean.function,
        tuple(model.mean.priors),
    )


@jax.jit
def _leave_one_out(problem, values):
    return jax.lax.map(lambda value: density.leave_one_out(problem, value), values)


def _check_prior_curves(mean: Mean, problem: Problem, prior: Mapping[str, np.ndarray], data: Data) -> None:
    """The law must be defined at the data for what its prior allows, and be of the data's size."""
    if not mean.priors:
        return
    few = {name: jnp.asarray(prior[name][:200]) for name in mean.priors}
    curves = np.asarray(jax.vmap(lambda values: density.physics(problem, values, problem.x))(few))
    if curves.shape[1:] != data.y.shape:
        raise ValueError(f"the mean returns shape {curves.shape[1:]} for x {data.x.shape}; it must be {data.y.shape}")
    bad = np.argwhere(~np.isfinite(curves))
    if len(bad):
        draw, point = bad[0]
        values = ", ".join(f"{name} = {float(few[name][draw]):.4g}" for name in mean.priors)
        raise ValueError(
            f"the mean is {curves[draw, point]} at x = {data.x[point].tolist()} for {values}, which its prior allows: "
            "leave the point out, or narrow the prior"
        )
    theirs = np.median(np.sqrt(np.mean(curves**2, axis=1)))
    ours = np.sqrt(np.mean(data.y**2))
    if not ours / _FAR < theirs < ours * _FAR:
        raise ValueError(
            f"curves of the mean under its prior are of size {theirs:.3g}, the data of size {ours:.3g}: are units of "
            "x, y and priors the same (nm and Angstrom, GPa and Pa, kJ/mol and eV)? If they are, change the priors"
        )


def _tree(model: PhysicsGuidedGP, data: Data, sampled: Sampled, prior, pointwise) -> xr.DataTree:
    names = list(model.mean.inputs or (f"x{k}" for k in range(data.x.shape[1])))
    units = model.mean.units
    chains, draws = pointwise.shape[:2]
    coords = {"input": np.asarray(names, str), "chain": np.arange(chains), "draw": np.arange(draws)}

    def variables(values, lead):
        out = {}
        for name, v in values.items():
            own = v.shape[len(lead) :]
            last = ("input",) if own == (len(names),) and name.startswith("lengthscale") else None
            out[name] = ((*lead, *(last or (f"{name}_dim_{k}" for k in range(len(own))))), v, _unit(units, name, names))
        return out

    where = {name: coords[name] for name in ("chain", "draw")}
    numbers, notes = convergence.judge(sampled, tolerated=_DIVERGENT)
    attrs = {
        "format": FORMAT,
        **ORIGIN,
        "creation_library": "bayescg",
        "law": law_name(model.mean.function) or "",
        "constants": json.dumps(dict(model.mean.constants)),
        "physics": json.dumps(list(model.mean.priors)),
        "kernel": kernel_name(model.kernel) or "",
        **numbers,
    }
    posterior = xr.Dataset(variables(sampled.values, ("chain", "draw")), coords)
    constants = {"x": (("point", "input"), data.x), "y": ("point", data.y, _unit(units, "y", names))}
    constants["error"] = ("point", data.error, {**_unit(units, "y", names), "known": int(data.has_error)})
    groups = {
        "posterior": posterior,
        "sample_stats": xr.Dataset({n: (("chain", "draw"), v) for n, v in sampled.stats.items()}, where),
        "log_likelihood": xr.Dataset(
            {"y": (("chain", "draw", "point"), pointwise)},
            where,
            attrs={"kind": "predictive: log p(y_i | other points, parameters), discrepancy integrated out"},
        ),
        "prior": xr.Dataset(
            variables({n: v[None] for n, v in prior.items()}, ("chain", "draw")), {"input": coords["input"]}
        ),
        "constant_data": xr.Dataset(
            constants,
            {"input": coords["input"]},
            {"input_units": json.dumps([units.get(n, "") for n in names])},
        ),
    }
    score, words = convergence.leave_one_out(groups["log_likelihood"], sampled.values, name="y", unit="point")
    # Of few points one often decides: that is about the score, not about the fit, and no reason to raise an alarm.
    for note in notes if np.isfinite(score["elpd"]) else notes + words:
        warnings.warn(note, stacklevel=3)
    notes += words
    attrs.update(score)
    tree = xr.DataTree.from_dict(groups)
    attrs["warnings"] = "; ".join(notes)
    tree.attrs.update(attrs)
    tree["posterior"].attrs.update(attrs)
    return tree


def _unit(units: Mapping[str, str], name: str, inputs: list[str]) -> dict[str, str]:
    if name in ("amplitude", "noise"):
        name = "y"
    if name == "lengthscale" and len(inputs) == 1:
        name = inputs[0]
    return {"units": units[name]} if units.get(name) else {}

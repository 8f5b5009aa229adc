"""The library's slow functions with small settings: each is called as the page says, for less long.

Arguments are bound to the real signature, then numbers are made smaller, then the real function is called. What has
been made from the same arguments before, on any page, is not made again.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from dataclasses import replace

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg import (
    atomistic,
    backmapping,
    exports,
    generative,
    inference,
    observables,
    potentials,
    simulation,
    surrogates,
    transfer,
)
from bayescg.backmapping.liquid.checks import is_liquid
from bayescg.generative import discovery
from bayescg.generative.model.latent_model import build_model
from bayescg.generative.model.whitening import whitening_of_target

SHORT = bcg.Langevin(timestep=0.002, equilibration=0.02, interval=0.02)
TIME = 1.0
"""Of simulations [ps]."""


def force_match(given):
    given["settings"] = replace(given["settings"], chains=1, warmup=10, draws=20)
    if given["method"] == "nuts" and (given["kernels"] or given["calibration"] != "godambe"):
        given["method"] = "laplace"  # each kind of fit by NUTS is compiled anew
    if isinstance(given["data"], xr.Dataset):
        pilot = None if given["calibration"] == "none" else "first"
        given["data"] = bcg.force_statistics(given["potential"], given["data"], pilot=pilot)


def simulate(given):
    assert isinstance(given["dynamics"], bcg.Langevin)
    given.update(time=min(given["time"], TIME), dynamics=SHORT, draws=given["draws"] and min(given["draws"], 2))


def relative_entropy(given):
    tiny = {"iterations": 1, "time": TIME / 2, "longest": TIME / 2, "dynamics": SHORT}
    given["settings"] = replace(given["settings"], **tiny, sampling=bcg.Sampling(1, 10, 20))


def propagate(given):
    # So few frames are no reference for a real fit, and pass no real guard.
    given["draws"] = min(given["draws"], 4)
    few = {"references": min(given["guard"].references, 1), "simulations": 0}
    given["guard"] = replace(given["guard"], ess=1.0, pareto_k=1.0, **few)


def coverage(given):
    given["segments"] = min(given["segments"], 4)


def rank_statistics(given):
    given.update(simulations=min(given["simulations"], 2), draws=min(given["draws"], 20))


def draw_model(given):
    given["draws"] = min(given["draws"], 100)


def fit_surrogate(given):
    given["settings"] = replace(given["settings"], chains=1, warmup=20, draws=20)


def predict(given):
    given["draws"] = min(given["draws"], 10)


def place(given):
    liquid = is_liquid(given["conditional"], given["ensemble"])
    how = given["tempering"] or (backmapping.Annealing() if liquid else backmapping.Tempering())
    fewer = {"chains": 2, "rise": 2, "settle": 2, "between": 1} if liquid else {"particles": 20, "replicates": 2}
    given.update(tempering=replace(how, **fewer), draws=min(given["draws"], 4), floor=1.0)


def once(given):
    """As it is."""


def export(given):
    given["draws"] = given["draws"] and min(given["draws"], 2)


def fill_ranges(given):
    given["cg"] = given["cg"].isel(frame=slice(1), bead=slice(100))


SLOW = (
    (bcg.force_match, (bcg, inference), force_match),
    (bcg.simulate, (bcg, simulation), simulate),
    (bcg.relative_entropy, (bcg, inference), relative_entropy),
    (bcg.propagate, (bcg, observables), propagate),
    (observables.add_references, (observables,), propagate),
    (bcg.coverage, (bcg, inference), coverage),
    (inference.rank_statistics, (inference,), rank_statistics),
    (generative.discover, (generative,), once),
    (generative.sample, (generative,), draw_model),
    (surrogates.fit, (surrogates,), fit_surrogate),
    (surrogates.predict, (surrogates,), predict),
    (backmapping.fit_conditional, (backmapping,), once),
    (bcg.force_statistics, (bcg, inference), once),
    (backmapping.sample, (backmapping,), place),
    (transfer.fit, (transfer,), fit_surrogate),
    (bcg.fill_ranges, (bcg, potentials), fill_ranges),
)
"""Functions, the rooms in which pages look them up, and how their arguments are made smaller."""


def make_smaller(monkeypatch, molecule: atomistic.OpenMMTarget) -> None:
    """Put the smaller functions in the places of the real ones; `molecule` stands for alanine dipeptide."""
    made: dict[str, object] = {}
    for function, rooms, smaller in SLOW:
        for room in rooms:
            monkeypatch.setattr(room, function.__name__, _smaller(function, smaller, made))
    # What writes files is done each time.
    for room in (bcg, exports):
        monkeypatch.setattr(room, "export", _smaller(bcg.export, export, None))
    monkeypatch.setattr(atomistic, "alanine_dipeptide", _instead(atomistic.alanine_dipeptide, molecule))
    # All that `discover` does before it trains is done.
    monkeypatch.setattr(discovery, "_annealed", _untrained)


def _smaller(function, smaller, made: dict | None):
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        smaller(bound.arguments)
        if made is None:
            return function(*bound.args, **bound.kwargs)
        name = _label([function.__qualname__, dict(bound.arguments)])
        if name not in made:
            # The arguments are kept, so that no other object gets the address of one.
            made[name] = function(*bound.args, **bound.kwargs), bound
        return made[name][0]

    return call


def _untrained(target, latent_dim, allowance, training, store, key):
    """A model with random weights, in place of the one that `discover` trains once it has looked at its arguments."""
    return build_model(whitening_of_target(target), latents=latent_dim, key=key).with_report({})


def _instead(function, result):
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        signature.bind(*args, **kwargs)
        return result

    return call


def _label(value) -> str:
    """A name that is the same for equal arguments."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_label(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_label, value)) + "]"
    if isinstance(value, xr.Dataset) and "positions" in value:
        return f"beads {_label(value['positions'].values)}"
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return "key"
    if isinstance(value, np.ndarray | jax.Array):
        return hashlib.sha256(np.asarray(value).tobytes()).hexdigest()
    if isinstance(value, xr.Dataset | xr.DataTree | bcg.ForceStatistics):
        return f"{type(value).__name__} {id(value)}"
    if isinstance(value, atomistic.OpenMMTarget):
        return f"molecule of {value.dimension}"
    # Where results are kept on the way does not change them.
    return re.sub(r"checkpoint=[^,)]+", "", f"{value!r}")

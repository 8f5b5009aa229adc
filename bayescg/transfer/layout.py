"""The tree of a transfer posterior: what it holds, put together and read back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg._version import ORIGIN
from bayescg.kernels import by_name
from bayescg.kernels.covariance import kernel_name
from bayescg.kernels.grids import GridPrior
from bayescg.kernels.priors import CurvePrior, IndependentPrior
from bayescg.kernels.state_points import StateKernel, States, farthest
from bayescg.posterior import FORMAT
from bayescg.potentials import Pair, Potential
from bayescg.samplers.density import Sampled
from bayescg.transfer.aligned.alignment import Reference
from bayescg.transfer.aligned.distances import MOST_NODES, Measured
from bayescg.transfer.assembly import Assembled, Axes, states_of
from bayescg.transfer.drawing import Drawn
from bayescg.transfer.model import Model, Sums
from bayescg.transfer.systems import System

_PRIORS: dict[str, Any] = {c.__name__: c for c in (CurvePrior, IndependentPrior, GridPrior)}


class Stored(NamedTuple):
    """A transfer posterior, read back.

    Attributes:
        axes: descriptors.
        kernel: over states.
        model: the model.
        states: of the systems.
        sums: of the systems.
        names: of the systems.
        values: hyperparameters, each (draw, ...), chains one after the other.
        shape: number of chains and of draws of each.
        measured: distances of contact of each aligned term.
        ratios: (draw, system, aligned) typical distance of contact over each system's.
        shared: (draw, feature, free) what columns of the kernel over states are multiplied with [kJ/mol].
        attrs: of the posterior.
    """

    axes: Axes
    kernel: StateKernel
    model: Model
    states: States
    sums: Sums
    names: tuple[str, ...]
    values: dict[str, np.ndarray]
    shape: tuple[int, int]
    measured: tuple[Measured, ...]
    ratios: Float[np.ndarray, "draw system aligned"]
    shared: Float[np.ndarray, "draw feature free"]
    attrs: dict[str, Any]


def build(
    systems: Sequence[System],
    names: Sequence[str],
    axes: Axes,
    kernel: StateKernel,
    found: Assembled,
    sampled: Sampled,
    drawn: Drawn,
    attrs: Mapping[str, Any],
) -> xr.DataTree:
    """Put the tree together."""
    model, potential = found.model, found.model.potential
    chains, draws = next(iter(sampled.values.values())).shape[:2]

    def folded(value: np.ndarray) -> np.ndarray:
        return value.reshape(chains, draws, *value.shape[1:])

    lead = ("chain", "draw")
    variables: dict[str, Any] = {
        name: ((*lead, *(f"{name}_dim_{k}" for k in range(v.ndim - 2))), v) for name, v in sampled.values.items()
    }
    if "lengthscale_state" in variables:
        variables["lengthscale_state"] = ((*lead, "state"), sampled.values["lengthscale_state"])
    variables["coefficients"] = ((*lead, "system", "basis"), folded(drawn.systems), {"units": "kJ/mol"})
    variables["shared"] = ((*lead, "feature", "free"), folded(drawn.shared), {"units": "kJ/mol"})
    for place, (name, reference) in enumerate(zip(model.aligned, model.axes, strict=True)):
        distance = reference.distance / drawn.ratios[:, :, place]
        variables[f"contact_{name}"] = ((*lead, "system"), folded(distance), {"units": "nm"})
    seen = () if kernel.change == 0 else (*axes.linear, *axes.smooth)
    coords = {
        "chain": np.arange(chains),
        "draw": np.arange(draws),
        "system": np.asarray(names, str),
        "descriptor": np.asarray(axes.names, str),
        "state": np.asarray(seen, str),
    }
    root = {
        "format": FORMAT,
        **ORIGIN,
        "kind": "transfer",
        "creation_library": "bayescg",
        "potential": potential.to_json(),
        "exclude_bonds": potential.exclude_bonds,
        "state_kernel": json.dumps(_kernel_record(kernel)),
        "kernels": json.dumps({name: kernel_name(k) for name, k in model.kernels.items()}),
        "references": json.dumps([None if r is None else _reference_record(r) for r in model.references]),
        "sampled_ranges": json.dumps(_ranges(systems, potential)),
        "reports": json.dumps(found.reports),
        **attrs,
    }
    groups = {"constant_data": _constants(systems, axes, found)}
    if sampled.stats:
        groups["sample_stats"] = xr.Dataset({n: (lead, v) for n, v in sampled.stats.items()})
    posterior = xr.Dataset(variables, {k: v for k, v in coords.items() if len(v)}, attrs=root)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root), "posterior": posterior, **groups})


def read(posterior: xr.DataTree) -> Stored:
    """Read a transfer posterior back.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(posterior, xr.DataTree) or "posterior" not in posterior.children:
        raise ValueError("this object is no posterior of transfer.fit")
    draws = posterior["posterior"].to_dataset()
    attrs = dict(draws.attrs)
    if attrs.get("kind") != "transfer":
        raise ValueError("this posterior is of one system, not of transfer.fit: give what transfer.fit returned")
    constants = posterior["constant_data"].to_dataset()
    kernel = _kernel_of(json.loads(attrs["state_kernel"]))
    names = tuple(str(n) for n in draws["descriptor"].values)
    values = constants["descriptors"].values
    linear, smooth = kernel.split(names)
    axes = Axes(names, values, values.mean(axis=0), values.std(axis=0), linear, smooth)
    model = _model_of(attrs, constants, kernel)
    chains, count = draws.sizes["chain"], draws.sizes["draw"]

    def flat(name: str) -> np.ndarray:
        v = draws[name].values
        return v.reshape(chains * count, *v.shape[2:])

    taken = {"coefficients", "shared", *(f"contact_{name}" for name in model.aligned)}
    ratios = [r.distance / flat(f"contact_{name}") for name, r in zip(model.aligned, model.axes, strict=True)]
    shape = chains * count, draws.sizes["system"], 0
    measured = tuple(
        Measured(
            axes.standardized(values),
            farthest(axes.standardized(values), MOST_NODES),
            constants[f"log_contact_{name}"].values,
            constants[f"log_contact_error_{name}"].values,
            float(constants[f"log_contact_{name}"].attrs["center"]),
        )
        for name in model.aligned
    )
    return Stored(
        axes,
        kernel,
        model,
        states_of(kernel, axes, values),
        Sums(*(constants[name].values for name in Sums._fields)),
        tuple(str(n) for n in draws["system"].values),
        {str(n): flat(str(n)) for n in draws.data_vars if n not in taken},
        (chains, count),
        measured,
        np.stack(ratios, axis=-1) if ratios else np.zeros(shape),
        flat("shared"),
        attrs,
    )


def sampled_range(stored: Stored, name: str) -> tuple[float, float]:
    """Smallest and largest value of a term's variable that any system has sampled [nm or rad]."""
    low, high = json.loads(stored.attrs["sampled_ranges"])[name]
    return float(low), float(high)


def _constants(systems: Sequence[System], axes: Axes, found: Assembled) -> xr.Dataset:
    model = found.model
    variables: dict[str, Any] = {
        "descriptors": (("system", "descriptor"), axes.values),
        "temperature": ("system", [s.statistics.temperature for s in systems], {"units": "K"}),
        "n_frames": ("system", [s.statistics.n_frames for s in systems]),
        "has_term": (
            ("system", "term"),
            [[t.name in s.statistics.potential.slices for t in model.terms] for s in systems],
        ),
        "design": (("system", "datum", "basis"), np.asarray(found.sums.design)),
        "target": (("system", "datum"), np.asarray(found.sums.target)),
        "scatter": (("system", "datum", "datum_of_scatter"), np.asarray(found.sums.scatter)),
        "ratios": (("system", "aligned"), found.ratios),
    }
    for name, measured in zip(model.aligned, found.measured, strict=True):
        center = {"center": float(measured.center)}
        variables[f"log_contact_{name}"] = ("system", np.asarray(measured.log_distance), center)
        variables[f"log_contact_error_{name}"] = ("system", np.asarray(measured.error))
    for term in model.terms:
        for field in dataclasses.fields(_PRIORS[type(term).__name__]):
            value = getattr(term, field.name)
            if field.name == "name" or value is None:
                continue
            array = np.asarray(value)
            label = f"prior_{field.name}_{term.name}"
            variables[label] = (tuple(f"{label}_{k}" for k in range(array.ndim)), array)
    kinds = {"prior_kinds": json.dumps([type(term).__name__ for term in model.terms])}
    return xr.Dataset(variables, {"term": [t.name for t in model.terms]}, attrs=kinds)


def _model_of(attrs: Mapping[str, Any], constants: xr.Dataset, kernel: StateKernel) -> Model:
    potential = Potential.from_json(attrs["potential"])
    learning = [term.name for term in potential.terms if term.n_basis]
    terms = []
    for name, kind in zip(learning, json.loads(constants.attrs["prior_kinds"]), strict=True):
        given: dict[str, Any] = {"name": name}
        for field in dataclasses.fields(_PRIORS[kind]):
            label = f"prior_{field.name}_{name}"
            if label in constants:
                value = constants[label].values
                given[field.name] = value if value.ndim else value.item()
        if "conditions" in given:
            given["conditions"] = tuple(int(v) for v in given["conditions"])
        given |= {f.name: None for f in dataclasses.fields(_PRIORS[kind]) if f.name not in given}
        terms.append(_PRIORS[kind](**given))
    kernels = {name: by_name(k) for name, k in json.loads(attrs["kernels"]).items()}
    references = tuple(None if r is None else _reference_of(r) for r in json.loads(attrs["references"]))
    return Model(potential, tuple(terms), kernels, references, kernel.parts)


def _kernel_record(kernel: StateKernel) -> dict[str, Any]:
    fields = {f.name: getattr(kernel, f.name) for f in dataclasses.fields(kernel)}
    return {**fields, "shape": kernel_name(kernel.shape)}


def _kernel_of(record: Mapping[str, Any]) -> StateKernel:
    return StateKernel(**{**record, "shape": by_name(record["shape"])})


def _reference_record(reference: Reference) -> dict[str, Any]:
    term = reference.term
    axis = {"a": term.a, "b": term.b, "cutoff": term.cutoff, "start": term.start, "knot_spacing": term.knot_spacing}
    return {"distance": reference.distance, "term": axis}


def _reference_of(record: Mapping[str, Any]) -> Reference:
    return Reference(Pair(**record["term"]), record["distance"])


def _ranges(systems: Sequence[System], potential: Potential) -> dict[str, list[float]]:
    ranges = {}
    for term in potential.terms:
        own = [s.statistics.ranges[term.name] for s in systems if term.name in s.statistics.ranges]
        ranges[term.name] = [min(low for low, _ in own), max(high for _, high in own)]
    return ranges

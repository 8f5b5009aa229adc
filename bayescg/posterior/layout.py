"""The tree of a posterior: what it holds, put together and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg._version import ORIGIN
from bayescg.posterior.grids import curve_grid, curves
from bayescg.potentials import Coulomb, Potential

FORMAT = 2


def build(
    potential: Potential,
    coefficients: Float[np.ndarray, "chain draw basis"],
    hyperparameters: Mapping[str, np.ndarray],
    groups: Mapping[str, xr.Dataset],
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    attrs: Mapping[str, object],
) -> xr.DataTree:
    """Assemble a posterior DataTree.

    Args:
        potential: the potential that the coefficients belong to.
        coefficients: (chain, draw, basis) draws [kJ/mol].
        hyperparameters: name -> (chain, draw, ...) draws.
        groups: further groups (`sample_stats`, `log_likelihood`, `prior`, `constant_data`, `statistics`).
        ranges: sampled range of each term's descriptor, for the grids of the curves; the whole span if absent.
        attrs: attributes of the root *and* of the posterior group (root attributes vanish from a group), such as
            temperature, method, calibration.

    Returns:
        DataTree with `posterior` (hyperparameters, `coefficients`, and for each term `u_NAME` [kJ/mol] and `f_NAME`
        (minus the slope) on a grid; `dielectric`, the relative permittivity, where charges learn it), and the given
        groups.
    """
    coefficients = np.asarray(coefficients, float)
    variables: dict[str, tuple] = {"coefficients": (("chain", "draw", "basis"), coefficients, {"units": "kJ/mol"})}
    coords: dict = {
        "chain": np.arange(coefficients.shape[0]),
        "draw": np.arange(coefficients.shape[1]),
        "basis": np.arange(coefficients.shape[2]),
    }
    for name, found in hyperparameters.items():
        values = np.asarray(found)
        dims = ("chain", "draw", *(f"{name}_dim_{k}" for k in range(values.ndim - 2)))
        variables[name] = (dims, values, {"units": _unit(name, potential)})
    for term in potential.terms:
        if isinstance(term, Coulomb) and term.learn:
            permittivity = 1 / coefficients[..., potential.slices[term.name].start]
            variables["dielectric"] = (("chain", "draw"), permittivity, {"units": "1"})
        if term.graph is None:
            continue
        grid = curve_grid(potential, term.name, (ranges or {}).get(term.name))
        energy, force = curves(potential, term.name, coefficients, grid)
        dimension = f"x_{term.name}"
        coords[dimension] = (dimension, grid, {"units": term.unit, "long_name": term.graph.quantity})
        variables[f"u_{term.name}"] = (("chain", "draw", dimension), energy, {"units": "kJ/mol"})
        variables[f"f_{term.name}"] = (("chain", "draw", dimension), force, {"units": f"kJ/mol/{term.unit}"})
    root = {
        "format": FORMAT,
        **ORIGIN,
        "potential": potential.to_json(),
        "exclude_bonds": potential.exclude_bonds,
        "sampled_ranges": json.dumps({name: list(pair) for name, pair in (ranges or {}).items()}),
        "creation_library": "bayescg",
        **attrs,
    }
    posterior = xr.Dataset(variables, coords, attrs=root)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root), "posterior": posterior, **groups})


def _unit(hyperparameter: str, potential: Potential) -> str:
    """Unit of a hyperparameter, which its name tells: `amplitude_W-W`, `lengthscale_angle_A-B-A`, `noise_W`."""
    if hyperparameter.startswith("lengthscale"):
        return next((term.unit for term in potential.terms if hyperparameter.endswith(f"_{term.name}")), "1")
    units = {"amplitude": "kJ/mol", "noise": "kJ/mol/nm"}
    return next((unit for kind, unit in units.items() if hyperparameter.startswith(kind)), "1")


def from_coefficients(
    potential: Potential,
    coefficients: Float[np.ndarray, "*draw basis"],
    *,
    temperature: float,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> xr.DataTree:
    """A posterior from coefficient vectors of any origin, for `simulate`, `export` and `propagate`.

    Args:
        potential: the potential.
        coefficients: (draw, basis) or (basis,) [kJ/mol].
        temperature: [K].
        ranges: sampled range of each term's descriptor [nm or rad].

    Returns:
        A posterior of one chain, without hyperparameters.

    Raises:
        ValueError: if the number of coefficients is not the potential's, or a value is not finite.
    """
    coefficients = np.atleast_2d(np.asarray(coefficients, float))
    if coefficients.ndim != 2 or coefficients.shape[1] != potential.n_basis:
        raise ValueError(f"this potential has {potential.n_basis} coefficients; got an array {coefficients.shape}")
    if not np.all(np.isfinite(coefficients)):
        raise ValueError("coefficients must be finite; got nan or inf")
    attrs = {"temperature": float(temperature), "method": "given", "calibration": "none"}
    return build(potential, coefficients[None], {}, {}, ranges=ranges, attrs=attrs)


def check(tree: object, what: str) -> None:
    """Refuse what is no posterior.

    Args:
        tree: any object.
        what: its name in messages, such as its file.

    Raises:
        ValueError: if it is no posterior, of another format, or damaged.
    """
    if not isinstance(tree, xr.DataTree) or "posterior" not in tree.children:
        raise ValueError(f"{what} is not a bayescg posterior: it has no group 'posterior'")
    attrs = tree["posterior"].attrs
    if "potential" not in attrs or "coefficients" not in tree["posterior"].data_vars:
        raise ValueError(
            f"{what} is not a bayescg posterior: its group 'posterior' lacks the attribute 'potential' or the "
            "variable 'coefficients'"
        )
    if str(attrs.get("format")) != str(FORMAT):
        raise ValueError(
            f"{what} was written in format {attrs.get('format')} (bayescg {attrs.get('bayescg_version', '?')}); this "
            f"version reads format {FORMAT}: run the fit again"
        )
    try:
        potential = Potential.from_json(attrs["potential"])
    except ValueError as error:
        raise ValueError(f"{what} is damaged: {error}") from error
    coefficients = tree["posterior"]["coefficients"]
    if coefficients.sizes.get("basis") != potential.n_basis or not bool(np.all(np.isfinite(coefficients))):
        raise ValueError(
            f"{what} is damaged: its potential has {potential.n_basis} coefficients, the file "
            f"{dict(coefficients.sizes)}, all of which must be finite"
        )

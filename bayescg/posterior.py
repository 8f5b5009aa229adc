"""The posterior, an `xarray.DataTree` in ArviZ layout: built, checked, saved, loaded, drawn from and evaluated."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from bayescg._runtime import double_precision, write_netcdf
from bayescg._version import __version__
from bayescg.potentials import Potential, Term, freeze
from bayescg.potentials.term import Graph

FORMAT = 1
_GRID_POINTS = 200


class Draws(NamedTuple):
    """Coefficient vectors picked from a posterior.

    Attributes:
        coefficients: (draw, basis) [kJ/mol].
        chain: (draw,) chain of each vector; -1 for the posterior mean.
        draw: (draw,) number within the chain; -1 for the posterior mean.
    """

    coefficients: Float[np.ndarray, "draw basis"]
    chain: Int[np.ndarray, " draw"]
    draw: Int[np.ndarray, " draw"]


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
        (minus the slope) on a grid), and the given groups.
    """
    coefficients = np.asarray(coefficients, float)
    terms = [term for term in potential.terms if term.n_basis]
    labels = np.concatenate([np.full(t.n_basis, t.name) for t in terms] or [np.zeros(0, str)])
    variables = {"coefficients": (("chain", "draw", "basis"), coefficients, {"units": "kJ/mol"})}
    coords: dict = {
        "chain": np.arange(coefficients.shape[0]),
        "draw": np.arange(coefficients.shape[1]),
        "basis": np.arange(coefficients.shape[2]),
        "basis_term": ("basis", labels.astype(str)),
    }
    for name, values in hyperparameters.items():
        values = np.asarray(values)
        variables[name] = (("chain", "draw", *(f"{name}_dim_{k}" for k in range(values.ndim - 2))), values)
    for term in potential.terms:
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
        "bayescg_version": __version__,
        "potential": potential.to_json(),
        "exclude_bonds": potential.exclude_bonds,
        "sampled_ranges": json.dumps({name: list(pair) for name, pair in (ranges or {}).items()}),
        "creation_library": "bayescg",
        **attrs,
    }
    posterior = xr.Dataset(variables, coords, attrs=root)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root), "posterior": posterior, **groups})


def from_coefficients(
    potential: Potential,
    coefficients: Float[np.ndarray, "draw basis"],
    *,
    temperature: float,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> xr.DataTree:
    """A posterior from coefficient vectors of any origin, for `simulate`, `export` and `propagate`.

    Args:
        potential: the potential.
        coefficients: (draw, basis) or (basis,) [kJ/mol].
        temperature: [K].
        ranges: sampled range of each term's descriptor.

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


def potential_of(posterior: xr.DataTree) -> Potential:
    """The potential that a posterior belongs to.

    Raises:
        ValueError: if the object is no posterior of bayescg.
    """
    _check(posterior, "this object")
    return Potential.from_json(posterior["posterior"].attrs["potential"])


def temperature_of(posterior: xr.DataTree) -> float:
    """Temperature of the data [K]."""
    return float(posterior["posterior"].attrs["temperature"])


def ranges_of(posterior: xr.DataTree) -> dict[str, tuple[float, float]]:
    """Sampled range of each term's descriptor, where known."""
    stored = json.loads(posterior["posterior"].attrs.get("sampled_ranges", "{}"))
    return {name: (float(low), float(high)) for name, (low, high) in stored.items()}


def mean_coefficients(posterior: xr.DataTree) -> Float[np.ndarray, " basis"]:
    """Posterior mean of the coefficients [kJ/mol]."""
    return np.asarray(posterior["posterior"]["coefficients"].mean(("chain", "draw")))


def as_baseline(posterior: xr.DataTree) -> tuple[Term, ...]:
    """The terms of a fitted potential as known curves at the posterior mean, to learn others on top (Δ-learning).

    `Potential(*as_baseline(pair), Angle("A", "B", "A"))` learns the angle on the forces that the pairs leave;
    `Pair("W", "W", cutoff=0.9, baseline=as_baseline(pair)[0].baseline)` learns a correction to the pair itself. The
    uncertainty of the mean is not carried along: to have it, learn all terms together.

    Raises:
        ValueError: if the object is no posterior of bayescg, or a term is no curve of one descriptor.
    """
    return freeze(potential_of(posterior), mean_coefficients(posterior))


def draw_coefficients(posterior: xr.DataTree, draws: int | None, *, key: Array) -> Draws:
    """Pick coefficient vectors.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.
        draws: how many, without repetition, at random over all chains; None: the posterior mean.
        key: JAX random key.

    Raises:
        ValueError: if there are fewer draws than asked for.
    """
    potential_of(posterior)
    if draws is None:
        return Draws(mean_coefficients(posterior)[None], np.array([-1]), np.array([-1]))
    values = posterior["posterior"]["coefficients"].transpose("chain", "draw", "basis").values
    chains, length, size = values.shape
    if not 1 <= draws <= chains * length:
        raise ValueError(f"draws must lie between 1 and the posterior's {chains * length}; got {draws}")
    chosen = np.sort(np.asarray(jax.random.permutation(key, chains * length))[:draws])
    return Draws(values.reshape(chains * length, size)[chosen], chosen // length, chosen % length)


def only_choice(posterior: xr.DataTree, choice: int = 0) -> xr.DataTree:
    """The draws of one choice of candidates from a fit with method "rvm": a sparse potential.

    Args:
        posterior: from `force_match(..., method="rvm")`.
        choice: its number; 0 is the most probable one, the others are listed in the group `choices`.

    Returns:
        The posterior with those draws alone and the attribute `choice`, without the group `relevance`, which describes
        all draws, and for other choices than the first without scores, which are of that one. Its bands take the choice
        for certain and are too narrow where it is not.

    Raises:
        ValueError: if the fit was no choice, or no draw is of that one.
    """
    potential_of(posterior)
    draws = posterior["posterior"].to_dataset()
    if "choice" not in draws:
        raise ValueError('only a fit with method="rvm" chooses among candidates')
    (chosen,) = draws["choice"].values  # one chain
    rows = np.flatnonzero(chosen == choice)
    if not len(rows):
        known = posterior["choices"].sizes["choice"]
        why = "more draws would hold some" if 0 <= choice < known else f"there are {known}, from 0 on"
        raise ValueError(f"no draw is of choice {choice}: {why}")
    gone = ["relevance", *(("predictive",) if choice else ())]
    tree = posterior.drop_nodes(gone, errors="ignore")
    draws = draws.isel(draw=rows).assign_coords(draw=np.arange(len(rows)))
    for part in (tree, draws):
        known = {k: v for k, v in part.attrs.items() if not choice or not k.startswith("held_out_r2")}
        part.attrs = known | {"choice": choice}
    tree["posterior"] = draws
    return tree


def curve_grid(
    potential: Potential, name: str, sampled: tuple[float, float] | None, points: int = _GRID_POINTS
) -> Float[np.ndarray, " x"]:
    """Abscissae for plotting a term: its sampled range with a margin, or the whole knot range."""
    term = potential.term(name)
    (start, stop), graph = term.span, _graph_of(term)
    if sampled is not None:
        margin = 0.15 * (sampled[1] - sampled[0])
        start = max(start, sampled[0] - margin)
        if not graph.vanishes:
            stop = min(stop, sampled[1] + margin)
    return np.linspace(start, stop, points)


def curves(
    potential: Potential, name: str, coefficients: Float[np.ndarray, "*draw basis"], x: Float[np.ndarray, " x"]
) -> tuple[Float[np.ndarray, "*draw x"], Float[np.ndarray, "*draw x"]]:
    """Energy [kJ/mol] and force (minus slope) of one term at x for every coefficient vector, baseline included.

    The energy of a bonded term is defined up to a constant: its mean over the grid of the spline is zero.
    """
    graph, x = _graph_of(potential.term(name)), np.asarray(x, float)
    part = np.asarray(coefficients, float)[..., potential.slices[name]]
    energy, slope = (part @ rows.T for rows in graph.basis(x))
    if graph.baseline is not None:
        with double_precision():
            base, base_slope = graph.baseline(jnp.asarray(x))
            energy, slope = energy + np.asarray(base), slope + np.asarray(base_slope)
    return energy, -slope


def save(posterior: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write a posterior to netCDF, atomically."""
    _check(posterior, "this object")
    return write_netcdf(posterior, path)


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a posterior, wholly into memory (the file is not kept open).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not netCDF, is no bayescg posterior, or was written by another file format version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no posterior at {path}")
    try:
        tree = xr.load_datatree(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable netCDF file: {error}") from error
    _check(tree, str(path))
    return tree


def _check(tree: xr.DataTree, what: str) -> None:
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


def _graph_of(term: Term) -> Graph:
    if term.graph is None:
        raise ValueError(f"{term.name} is no function of one variable and has no curve")
    return term.graph

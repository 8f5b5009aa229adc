"""Figures of a potential: what the data say about u(x) and its force, and where they say nothing."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import find_peaks

from bayescg import posterior as posteriors
from bayescg.plots import style as look
from bayescg.units import BOLTZMANN

_SHOWN_DRAWS = 5
_POINTS = 400


def potential(
    posterior: xr.DataTree,
    term: str | None = None,
    reference: xr.Dataset | Mapping[str, xr.Dataset] | None = None,
) -> Figure:
    """Energy and force of the terms of a posterior: mean, 50 % and 90 % bands, and a few draws.

    Where the descriptor was never sampled the background is gray; there the prior alone determines the curve. The
    vertical axes show what thermal motion reaches, so that the repulsive core leaves the frame. Energies of pairs are
    zero at the cutoff; those of bonded terms, whose constant has no meaning, are drawn from the minimum of their mean,
    and so is a reference.

    Args:
        posterior: from `force_match` or `posterior.from_coefficients`.
        term: name of one term; None: all terms that have a curve, one row each.
        reference: curves of another origin, a Dataset of one dimension (the descriptor, [nm] or [rad]) with `energy`
            [kJ/mol] and/or `force` [kJ/mol/nm], optionally `energy_sd` and `force_sd`, and an attr `label`; for several
            terms a dict of them by term name.

    Returns:
        The figure: on the left energies, on the right forces.

    Raises:
        ValueError: if there is no such term, it is no function of one variable, or the reference holds
            neither energy nor force.
    """
    model = posteriors.potential_of(posterior)
    names = [model.term(term).name] if term is not None else [t.name for t in model.terms if t.graph is not None]
    if not names or model.term(names[0]).graph is None:
        which = names[0] if names else ", ".join(t.name for t in model.terms)
        raise ValueError(f"no curve of one variable: {which}; plots.three_body draws three-body terms")
    references = {names[0]: reference} if isinstance(reference, xr.Dataset) else dict(reference or {})
    unknown = set(references) - set(names)
    if unknown:
        raise ValueError(f"reference names unknown terms {sorted(unknown)}; terms: {names}")
    with look.style():
        figure, axes = look.new_figure(len(names), 2, width=2 * look.COLUMN, height=2.6 * len(names))
        for number, (row, name) in enumerate(zip(axes, names, strict=True)):
            _draw_term(row, posterior, name, references.get(name), explain=number == 0 or name in references)
    return figure


def _draw_term(row, posterior: xr.DataTree, name: str, reference: xr.Dataset | None, explain: bool) -> None:
    model = posteriors.potential_of(posterior)
    term = model.term(name)
    sampled = posteriors.ranges_of(posterior).get(name)
    x = posteriors.curve_grid(model, name, sampled, _POINTS)
    coefficients = (
        posterior["posterior"]["coefficients"].stack(sample=("chain", "draw")).transpose("sample", ...).values
    )
    chosen = posteriors.draw_coefficients(posterior, min(_SHOWN_DRAWS, len(coefficients)), key=jax.random.key(0))
    shown = posteriors.curves(model, name, chosen.coefficients, x)
    bands = posteriors.curves(model, name, coefficients, x)
    kT = BOLTZMANN * posteriors.temperature_of(posterior)
    first = x[0]
    graph = term.graph
    assert graph is not None
    zero = None
    if not graph.vanishes:
        # A constant has no meaning here: every curve is zero at the minimum of their mean.
        zero = _minimum(x, bands[0].mean(axis=0), sampled)
        bands, shown = ((part[0] - part[0][:, [zero]], part[1]) for part in (bands, shown))
    energy = bands[0].mean(axis=0)
    for axes, values, lines, kind in zip(row, bands, shown, ("energy", "force"), strict=True):
        quantiles = _bands(axes, x, values, lines, sampled)
        window, above = _window(x, energy if kind == "energy" else quantiles[2], energy, sampled, kT, graph.vanishes)
        _limits(axes, quantiles[:, window], above, least=kT if kind == "energy" else 0.0)
        if graph.vanishes and sampled is not None:
            first = max(x[0], sampled[0] - 0.06 * (x[-1] - sampled[0]))
        axes.set_xlim(first, x[-1])
        if reference is not None:
            quantiles = _reference(axes, reference, kind, x, quantiles, zero if kind == "energy" else None)
        unit = "kJ/mol" if kind == "energy" else f"kJ/mol/{term.unit}"
        quantity = f"$u({graph.symbol})$" if kind == "energy" else f"$-\\mathrm{{d}}u/\\mathrm{{d}}{graph.symbol}$"
        axes.set_xlabel(look.label(f"${graph.symbol}$", term.unit))
        axes.set_ylabel(look.label(quantity, unit))
        if kind == "energy":
            axes.set_title(graph.title)
        if explain and kind == "force":
            look.legend(axes, quantiles, x)


def _minimum(x, energy: Float[np.ndarray, " x"], sampled) -> int:
    """Where a curve is lowest within what was sampled."""
    inside = np.ones(len(x), bool) if sampled is None else (x >= sampled[0]) & (x <= sampled[1])
    return int(np.argmin(np.where(inside if inside.any() else True, energy, np.inf)))


def _bands(axes: Axes, x, values: Float[np.ndarray, "sample x"], lines, sampled) -> Float[np.ndarray, "3 x"]:
    """Shade, bands, draws, mean. Returns what must be visible: lower and upper end of the 90 % band, and the mean."""
    low, first, third, high = np.quantile(values, [0.05, 0.25, 0.75, 0.95], axis=0)
    mean = values.mean(axis=0)
    if sampled is not None:
        edges = [(x[0] - 1.0, sampled[0]), (sampled[1], x[-1] + 1.0)]
        # A range that ends where the grid does ends at the cutoff, not where sampling does.
        edges = [(a, b) for a, b in edges if b > x[0] + 1e-3 and a < x[-1] - 1e-3]
        for number, (a, b) in enumerate(edges):
            axes.axvspan(a, b, color=look.UNSAMPLED, alpha=0.18, lw=0, label="never sampled" if number == 0 else None)
    axes.axhline(0, color="0.6", lw=0.7, zorder=1)
    if len(values) > 1:
        axes.fill_between(x, low, high, color=look.OUTER, lw=0, label="90 %")
        axes.fill_between(x, first, third, color=look.INNER, lw=0, label="50 %")
        for number, line in enumerate(lines):
            axes.plot(x, line, color=look.MODEL, lw=0.5, alpha=0.7, label="draws" if number == 0 else None)
    axes.plot(x, mean, color=look.MODEL, label="mean")
    return np.stack([low, high, mean])


def _window(x, curve, energy, sampled, kT: float, vanishes: bool) -> tuple[np.ndarray, float]:
    """Which abscissae set the vertical range, and how far it may exceed the values there (share of their range).

    Bonded terms: what is sampled within 8 kT of the minimum. Pairs, which vanish at their cutoff and whose wells are
    shallow beside their walls: all beyond the first minimum, and half as much again above.
    """
    inside = np.ones(len(x), bool) if sampled is None else (x >= sampled[0]) & (x <= sampled[1])
    if not inside.any():
        return np.ones(len(x), bool), 0.1
    if vanishes:
        prominence = 0.1 * kT if curve is energy else 2.0 * kT
        minima, _ = find_peaks(-np.where(inside, curve, np.inf), prominence=prominence)
        # A ripple near the cutoff is no well: what comes before it would be cut off.
        minima = minima[x[minima] < 0.5 * (x[inside][0] + x[-1])]
        if len(minima):
            return inside & (x >= x[minima[0]]), 0.5
    window = inside & (energy <= energy[inside].min() + (2 if vanishes else 8) * kT)
    return (window if window.sum() > 3 else inside), 0.1


def _limits(axes: Axes, values: np.ndarray, above: float, least: float) -> None:
    """Vertical range: all values with a margin, and no less than `least` in total."""
    low, high = float(np.min(values)), float(np.max(values))
    missing = max(0.0, least - (high - low)) / 2
    low, high = low - missing, high + missing
    span = (high - low) or 1.0
    axes.set_ylim(low - 0.1 * span, high + above * span)


def _reference(axes: Axes, reference: xr.Dataset, kind: str, x, quantiles, zero: int | None):
    """Another curve, with its error bars if it has any; shifted to be zero where ours are, if they have been."""
    if not {"energy", "force"} & set(reference.data_vars):
        raise ValueError(f"a reference holds `energy` or `force`; this one has {sorted(map(str, reference.data_vars))}")
    if kind not in reference:
        return quantiles
    curve = reference[kind]
    if curve.ndim != 1:
        raise ValueError(f"a reference curve has one dimension; {kind} has {curve.dims}")
    at = curve[str(curve.dims[0])].values
    if zero is not None and at.min() <= x[zero] <= at.max():
        curve = curve - np.interp(x[zero], at, curve.values)
    label = str(reference.attrs.get("label", "reference"))
    axes.plot(at, curve.values, color=look.REFERENCE, lw=1.2, ls=(0, (4, 2)), label=label, zorder=3)
    if f"{kind}_sd" in reference:
        sd = reference[f"{kind}_sd"].values
        axes.errorbar(at, curve.values, 1.645 * sd, fmt="none", ecolor=look.REFERENCE, elinewidth=0.7, zorder=3)
    return np.vstack([quantiles, np.interp(x, at, curve.values, left=np.nan, right=np.nan)])

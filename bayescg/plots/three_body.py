"""Figures of three-body potentials: energies of isosceles triangles, which hold what a pair potential cannot."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from bayescg import posterior as posteriors
from bayescg._runtime import double_precision
from bayescg.plots import style as look
from bayescg.potentials import Pair, ThreeBody
from bayescg.units import BOLTZMANN

_LENGTHS = 3
_ANGLES = 121
_TICKS = (0, 60, 120, 180)
_MOST_DRAWS = 400
"""Bands do not change visibly with more."""


def three_body(posterior: xr.DataTree, term: str | None = None) -> Figure:
    """Energy of two neighbors at equal distances r from their center, against the angle between them.

    On the left, mean and 90 % band at three distances; on the right, the mean at all distances, from the shortest
    sampled one on. Angles are left out if the two neighbors would be closer to each other than their pair term ever
    sampled (if there is none: closer than neighbors were to the center).

    Args:
        posterior: from `force_match` or `posterior.from_coefficients`.
        term: name of one three-body term; None: all, one row each.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no such term, or it is not a three-body term.
    """
    model = posteriors.potential_of(posterior)
    if term is not None and not isinstance(model.term(term), ThreeBody):
        raise ValueError(f"{term} is no three-body term: see plots.potential")
    chosen = [each for each in model.terms if isinstance(each, ThreeBody) and term in (None, each.name)]
    if not chosen:
        raise ValueError(f"there is no three-body term; terms: {[each.name for each in model.terms]}")
    kT = BOLTZMANN * posteriors.temperature_of(posterior)
    with look.style():
        figure, axes = look.new_figure(len(chosen), 2, width=2 * look.COLUMN, height=2.8 * len(chosen))
        for (left, right), each in zip(axes, chosen, strict=True):
            low, closest = _sampled(posterior, each)
            lengths, angles = np.linspace(low, each.cutoff, _LENGTHS + 2)[1:-1], np.linspace(0, np.pi, _ANGLES)
            r, theta = np.meshgrid(lengths, angles, indexing="ij")
            for length, reached, values, mean, hue in zip(
                lengths,
                _opposite(r, theta) >= closest,
                np.moveaxis(_energies(posterior, each, r, theta), 1, 0),
                _energies(posterior, each, r, theta, mean=True)[0],
                look.CHAINS,
                strict=False,
            ):
                at = np.degrees(angles[reached])
                if len(values) > 1:
                    band = np.quantile(values[:, reached], [0.05, 0.95], axis=0)
                    left.fill_between(at, *band, color=hue, alpha=0.25, lw=0)
                left.plot(at, mean[reached], color=hue, label=f"r = {length:.3g} nm")
            left.axhline(0, color="0.6", lw=0.7, zorder=1)
            left.legend()
            left.set_title(each.name.removeprefix("three_"))
            left.set(xlim=(0, 180), xticks=_TICKS, xlabel="angle (°)", ylabel=look.label("$u(r, r, θ)$", "kJ/mol"))
            r, theta = np.meshgrid(np.linspace(low, each.cutoff, 61), angles, indexing="ij")
            mean = _energies(posterior, each, r, theta, mean=True)[0]
            mean = np.where(_opposite(r, theta) >= closest, mean, np.nan)
            most = max(float(np.nanquantile(np.abs(mean), 0.99)), 0.1 * kT)
            shown = right.pcolormesh(
                np.degrees(theta), r, mean, cmap="RdBu_r", vmin=-most, vmax=most, shading="gouraud", rasterized=True
            )
            right.set_facecolor("0.85")
            right.set(xlim=(0, 180), xticks=_TICKS, xlabel="angle (°)", ylabel=look.label("$r$", "nm"))
            figure.colorbar(shown, ax=right, label=look.label("mean of $u$", "kJ/mol"), extend="both")
    return figure


def _opposite(r: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Distance of the two neighbors from each other."""
    return 2 * r * np.sin(theta / 2)


def _sampled(posterior: xr.DataTree, term: ThreeBody) -> tuple[float, float]:
    """Shortest distances that were seen: of a neighbor and its center, and of the two neighbors."""
    ranges = posteriors.ranges_of(posterior)
    own = ranges.get(term.name, term.span)[0]
    pairs = [
        ranges[each.name][0]
        for each in posteriors.potential_of(posterior).terms
        if isinstance(each, Pair) and sorted(each.types) == sorted((term.a, term.b)) and each.name in ranges
    ]
    return own, min(pairs, default=own)


def _energies(
    posterior: xr.DataTree, term: ThreeBody, r: np.ndarray, theta: np.ndarray, *, mean: bool = False
) -> Float[np.ndarray, "..."]:
    """(draw, *shape of r): triangles with two sides r and the angle theta between them, for draws or their mean."""
    own = posteriors.potential_of(posterior).slices[term.name]
    draws = posterior["posterior"]["coefficients"].stack(sample=("chain", "draw")).transpose("sample", ...).values
    draws = draws.mean(axis=0)[None] if mean else draws[:: -(-len(draws) // _MOST_DRAWS)]
    sides = np.stack([r, r, _opposite(r, theta)], axis=-1).reshape(-1, 3)
    with double_precision():
        return np.asarray(_surfaces(term, draws[:, own], sides)).reshape(len(draws), *r.shape)


@partial(jax.jit, static_argnums=0)
def _surfaces(
    term: ThreeBody, draws: Float[Array, "draw basis"], sides: Float[Array, "triangle 3"]
) -> Float[Array, "draw triangle"]:
    return jax.vmap(lambda w: term.surface(w, sides)[0])(draws)

"""Figures of three-body potentials: energies of isosceles triangles, which hold what a pair potential cannot."""

from __future__ import annotations

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from bayescg import posterior as posteriors
from bayescg._runtime import double_precision
from bayescg.data.units import BOLTZMANN
from bayescg.plots import style as look
from bayescg.potentials import ThreeBody

_LENGTHS = 3
_ANGLES = 121
_TICKS = (0, 60, 120, 180)
_MOST_DRAWS = 400
"""Bands do not change visibly with more."""


def three_body(posterior: xr.DataTree, term: str | None = None) -> Figure:
    """Energy of two neighbors at equal distances r from their center, against the angle between them.

    Left at three distances, mean and 90 % band; right the mean at all of them. Angles at which the two neighbors would
    be closer to each other than any two beads were are left out.

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
            low = posteriors.ranges_of(posterior).get(each.name, (each.spline.start, each.cutoff))[0]
            lengths = np.linspace(low, each.cutoff, _LENGTHS + 2)[1:-1]
            angles, color = np.linspace(0, np.pi, _ANGLES), iter(look.CHAINS)
            for r in lengths:
                values = _energies(posterior, each, np.full(_ANGLES, r), angles)
                reached = 2 * r * np.sin(angles / 2) >= low
                at, hue = np.degrees(angles[reached]), next(color)
                if len(values) > 1:
                    band = np.quantile(values[:, reached], [0.05, 0.95], axis=0)
                    left.fill_between(at, *band, color=hue, alpha=0.25, lw=0)
                left.plot(at, values.mean(axis=0)[reached], color=hue, label=f"r = {r:.3g} nm")
            left.axhline(0, color="0.6", lw=0.7, zorder=1)
            left.legend()
            left.set_title(each.name.removeprefix("three_"))
            left.set(xlim=(0, 180), xticks=_TICKS, xlabel="angle (°)", ylabel=look.label("$u(r, r, θ)$", "kJ/mol"))
            r, theta = np.meshgrid(np.linspace(low, each.cutoff, 61), angles, indexing="ij")
            mean = _energies(posterior, each, r.ravel(), theta.ravel(), mean=True)[0].reshape(r.shape)
            mean = np.where(2 * r * np.sin(theta / 2) >= low, mean, np.nan)
            most = max(float(np.nanquantile(np.abs(mean), 0.99)), 0.1 * kT)
            shown = right.pcolormesh(
                np.degrees(theta), r, mean, cmap="RdBu_r", vmin=-most, vmax=most, shading="gouraud", rasterized=True
            )
            right.set_facecolor("0.85")
            right.set(xlim=(0, 180), xticks=_TICKS, xlabel="angle (°)", ylabel=look.label("$r$", "nm"))
            figure.colorbar(shown, ax=right, label=look.label("mean of $u$", "kJ/mol"), extend="both")
    return figure


def _energies(
    posterior: xr.DataTree, term: ThreeBody, r: np.ndarray, theta: np.ndarray, *, mean: bool = False
) -> Float[np.ndarray, "draw point"]:
    """Of triangles with two sides r and the angle theta between them, for draws or their mean."""
    own = posteriors.potential_of(posterior).slices[term.name]
    draws = posterior["posterior"]["coefficients"].stack(sample=("chain", "draw")).transpose("sample", ...).values
    draws = draws.mean(axis=0)[None] if mean else draws[:: -(-len(draws) // _MOST_DRAWS)]
    sides = np.stack([r, r, 2 * r * np.sin(theta / 2)], axis=-1)
    with double_precision():
        return np.asarray(jax.jit(jax.vmap(lambda w: term.surface(w, sides)[0]))(draws[:, own]))

"""Figures of generative models: latent space, free-energy surfaces with their bands, Ramachandran plots."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy import stats

from bayescg.plots import style as look

_POINTS = 4000
_CEILING = 10.0
"""Free energies [kT] above this have one color: a few samples of many thousands."""
_QUANTILE = float(stats.norm.ppf(0.95))
_MAP = "viridis_r"
_CYCLIC = LinearSegmentedColormap.from_list("angle", ["#CC79A7", "#0072B2", "#009E73", "#E69F00", "#CC79A7"])
"""Both ends alike, as those of a circle, and nowhere as pale as the paper."""


def latent_space(
    samples: xr.Dataset,
    color: Mapping[str, Float[np.ndarray, " sample"]] | None = None,
    *,
    latents: tuple[int, int] = (0, 1),
    angles: bool = True,
) -> Figure:
    """Two latent variables, one panel for each quantity that colors the points.

    Points are drawn from the samples in proportion to their weights, so that they show the target's distribution, not
    the model's. The title holds the number of effective samples; if it is small, few points are distinct.

    Args:
        samples: the group `samples` of what `generative.sample` returned.
        color: name -> value for each sample; None: points without color.
        latents: which two latent variables.
        angles: the values are angles [rad]; colors have the period 2 pi then, and the scale is in degrees.

    Returns:
        The figure.

    Raises:
        ValueError: if there are not two such latents, or values do not fit the samples.
    """
    z = samples["latent"].values
    if max(latents) >= z.shape[1] or min(latents) < 0:
        raise ValueError(f"latents are {latents}; the samples have {z.shape[1]} (for one, draw its free_energy)")
    colors = {name: np.asarray(values, float) for name, values in (color or {}).items()}
    for name, values in colors.items():
        if values.shape != (len(z),):
            raise ValueError(f"{name} has shape {values.shape}; there are {len(z)} samples")
    weights = _weights(samples, len(z))
    chosen = _systematic(weights, min(_POINTS, len(z)))
    with look.style():
        columns = max(len(colors), 1)
        width = (0.35 + columns) * look.COLUMN if colors else look.COLUMN
        figure, axes = look.new_figure(
            1, columns, width=0.9 * width, height=0.86 * look.COLUMN, sharex=True, sharey=True
        )
        for panel, (name, values) in zip(axes[0], colors.items() or [("", None)], strict=False):
            _points(panel, z[chosen][:, list(latents)], None if values is None else values[chosen], name, angles)
            panel.set_xlabel(f"$z_{{{latents[0] + 1}}}$")
        axes[0, 0].set_ylabel(f"$z_{{{latents[1] + 1}}}$")
        axes[0, 0].set_title(_effective(weights), fontsize=8, color="0.3")
    return figure


def free_energy(
    surface: xr.Dataset,
    reference: xr.Dataset | None = None,
    *,
    symbol: str = "z_1",
    unit: str | None = None,
) -> Figure:
    """A free energy along one variable with its 90 % band.

    Where the error is unknown or withheld the curve is gray and dashed, without a band. Bins without samples are
    hatched: the free energy there is high, by an unknown amount.

    Args:
        surface: what `generative.free_energy` returned: `free_energy` and `free_energy_se` [kT] over `bin`.
        reference: the same for something to compare with, such as a long simulation. It is shifted so that the two
            agree on average where both are known, with bins weighted by how often they are visited.
        symbol: of the variable.
        unit: of the variable.

    Returns:
        The figure.

    Raises:
        ValueError: if no bin has a free energy.
    """
    x, f, error = (surface[name].values for name in ("bin", "free_energy", "free_energy_se"))
    known = np.isfinite(f)
    if not np.any(known):
        raise ValueError("no bin has a free energy: all samples lie outside the edges")
    trusted = known & np.isfinite(error)
    with look.style():
        figure, axes = look.new_figure(1, 1, width=1.35 * look.COLUMN, height=2.9)
        panel = axes[0, 0]
        width = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
        empty = np.flatnonzero(~known)
        for begin, end in _runs(~known):
            panel.axvspan(
                *(x[begin] - width / 2, x[end - 1] + width / 2),
                **{"facecolor": "none", "edgecolor": "0.85", "hatch": "////", "lw": 0, "zorder": 0},
                label="no samples" if begin == empty[0] else None,
            )
        band = _QUANTILE * np.where(trusted, error, np.nan)
        if np.any(trusted):
            panel.fill_between(x, f - band, f + band, color=look.OUTER, lw=0, label="90 % interval")
            # A bin between two others that are not known has no area.
            panel.errorbar(x[trusted], f[trusted], band[trusted], fmt="none", color=look.INNER, elinewidth=0.8)
            panel.plot(x, np.where(trusted, f, np.nan), color=look.MODEL, marker="o", ms=2, label="model", zorder=3)
        if np.any(known & ~trusted):
            panel.plot(
                *(x, np.where(known & (~trusted | _beside(~trusted & known)), f, np.nan)),
                **{"color": look.UNSAMPLED, "ls": "--", "marker": "o", "ms": 2, "mfc": "white", "zorder": 2},
                label="error bars withheld",
            )
        if reference is not None:
            _reference(panel, reference, x, f)
        panel.set_xlim(x[0] - width / 2, x[-1] + width / 2)
        # Guesses from few samples can be a hundred kT high: they must not flatten what is known.
        top = np.nanmax(np.where(trusted if np.any(trusted) else known, f + np.nan_to_num(band), np.nan))
        panel.set_ylim(min(0.0, float(np.nanmin(f - np.nan_to_num(band)))), 1.05 * max(float(top), 1.0))
        panel.set_xlabel(look.label(f"${symbol}$", unit))
        panel.set_ylabel("$F$ (kT)")
        look.legend(panel, np.stack([f, f + np.nan_to_num(band)]), x)
    return figure


def ramachandran(angles: xr.Dataset, reference: xr.DataArray | None = None, *, bins: int = 24) -> Figure:
    """Free energy [kT] over the backbone torsions phi and psi, beside a reference.

    The title holds the total variation distance between both histograms. It also holds the distance that as many
    effective samples of the reference itself would have on average.

    Args:
        angles: `phi` and `psi` [rad] over `sample`, and `log_weight` if there are weights: the group `samples` of what
            `generative.sample` returned, with both angles assigned.
        reference: probabilities (or counts) over `phi` and `psi`, bin by bin from -pi to pi; its bins are used.
        bins: in each direction, if there is no reference.

    Returns:
        The figure.

    Raises:
        ValueError: if an angle is missing or not in radians, or the reference has other dimensions.
    """
    missing = [name for name in ("phi", "psi") if name not in angles]
    if missing:
        raise ValueError(f"the dataset has no {' and no '.join(missing)}: samples.assign(phi=('sample', phi), ...)")
    phi, psi = (np.asarray(angles[name].values, float) for name in ("phi", "psi"))
    if np.nanmax(np.abs([phi, psi])) > 2 * np.pi:
        raise ValueError(f"angles reach {np.nanmax(np.abs([phi, psi])):.3g}: they must be in radians")
    if reference is not None and set(reference.dims) != {"phi", "psi"}:
        raise ValueError(f"the reference has dimensions {reference.dims}; it needs phi and psi")
    theirs = None if reference is None else reference.transpose("phi", "psi").values.astype(float)
    shape = (bins, bins) if theirs is None else theirs.shape
    edges = [np.linspace(-np.pi, np.pi, count + 1) for count in shape]
    weights = _weights(angles, len(phi))
    turned = [(angle + np.pi) % (2 * np.pi) - np.pi for angle in (phi, psi)]
    share = np.histogram2d(*turned, bins=edges, weights=weights)[0]
    share /= share.sum()
    with look.style():
        panels = [("model", share)]
        if theirs is not None:
            theirs = theirs / theirs.sum()
            panels.append(("reference", theirs))
        figure, axes = look.new_figure(
            1, len(panels), width=0.95 * look.COLUMN * len(panels) + 0.5, height=look.COLUMN, sharex=True, sharey=True
        )
        images = []
        for panel, (name, values) in zip(axes[0], panels, strict=True):
            images.append(_surface(panel, values, edges))
            panel.set_title(name)
        axes[0, 0].set_ylabel("$ψ$ (degrees)")
        note = _effective(weights)
        if theirs is not None:
            distance = 0.5 * np.abs(share - theirs).sum()
            count = 1 / np.sum(weights**2)
            floor = 0.5 * np.sum(np.sqrt(2 * theirs * (1 - theirs) / (np.pi * count)))
            note = f"total variation {distance:.3f} (by sampling alone {min(floor, 1.0):.3f}); {note}"
        figure.suptitle(note, fontsize=8, color="0.3", x=0.02, ha="left")
        bar = figure.colorbar(images[-1], ax=axes[0].tolist(), shrink=0.9, pad=0.02, extend="max")
        bar.set_label("$F$ (kT)")
        _thin_outline(bar)
    return figure


def _points(panel: Axes, z: np.ndarray, values: np.ndarray | None, name: str, angles: bool) -> None:
    size = {"s": 4.0, "lw": 0, "rasterized": True}
    if values is None:
        panel.scatter(z[:, 0], z[:, 1], color=look.MODEL, alpha=0.4, **size)
        return
    # In an order that hides no color behind another; NaN, which have none, at the back.
    order = np.random.default_rng(0).permutation(len(z))
    order = order[np.argsort(np.isfinite(values[order]), kind="stable")]
    shown = np.degrees((values + np.pi) % (2 * np.pi) - np.pi) if angles else values
    limits = {"vmin": -180, "vmax": 180, "cmap": _CYCLIC} if angles else {"cmap": "viridis"}
    unknown = ~np.isfinite(shown[order])
    panel.scatter(*z[order][unknown].T, color="0.85", **size)
    drawn = panel.scatter(*z[order][~unknown].T, c=shown[order][~unknown], **limits, **size)
    bar = panel.figure.colorbar(drawn, ax=panel, pad=0.02, aspect=24)
    _thin_outline(bar)
    symbol = {"phi": "$φ$", "psi": "$ψ$", "omega": "$ω$"}.get(name, name)
    bar.set_label(look.label(symbol, "degrees") if angles else symbol)
    if angles:
        bar.set_ticks([-180, -90, 0, 90, 180])


def _thin_outline(bar: Colorbar) -> None:
    # Matplotlib's stubs make the outline a dictionary of spines; it is one.
    bar.outline.set_linewidth(0.6)  # pyright: ignore[reportCallIssue]


def _surface(panel: Axes, share: np.ndarray, edges: list[np.ndarray]):
    """One map of free energies; cells that nobody visited are hatched, not colored."""
    with np.errstate(divide="ignore"):
        energy = -np.log(share / share.max())
    colors = mpl.colormaps[_MAP]
    colors = colors.with_extremes(over=colors(1.0))
    panel.set_facecolor("none")
    panel.patch.set(hatch="....", edgecolor="0.88", facecolor="white", lw=0)
    image = panel.pcolormesh(
        *(np.degrees(edge) for edge in edges),
        np.ma.masked_invalid(energy).T,
        **{"cmap": colors, "vmin": 0, "vmax": _CEILING, "rasterized": True},
    )
    ticks = [-180, -90, 0, 90, 180]
    panel.set(xticks=ticks, yticks=ticks, xlim=(-180, 180), ylim=(-180, 180), aspect="equal")
    panel.set_xlabel("$φ$ (degrees)")
    return image


def _reference(panel: Axes, reference: xr.Dataset, x: np.ndarray, f: np.ndarray) -> None:
    at, values = reference["bin"].values, reference["free_energy"].values
    finite = np.isfinite(values)
    there = np.interp(x, at[finite], values[finite], left=np.nan, right=np.nan)
    both = np.isfinite(there) & np.isfinite(f)
    weight = np.exp(-f[both])
    shift = np.average(f[both] - there[both], weights=weight) if np.any(both) else 0.0
    name = "free_energy_se"
    error = _QUANTILE * np.nan_to_num(reference[name].values) if name in reference else np.zeros_like(values)
    panel.fill_between(at, values + shift - error, values + shift + error, color=look.ATOMISTIC, alpha=0.15, lw=0)
    panel.plot(at, values + shift, color=look.ATOMISTIC, lw=1.0, label="reference", zorder=4)


def _weights(samples: xr.Dataset, count: int) -> np.ndarray:
    if "log_weight" not in samples:
        return np.full(count, 1 / count)
    logs = samples["log_weight"].values
    weights = np.exp(logs - np.max(logs))
    return weights / weights.sum()


def _systematic(weights: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` samples in proportion to their weights, without chance."""
    positions = (np.arange(count) + 0.5) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), positions), len(weights) - 1)


def _effective(weights: np.ndarray) -> str:
    return f"{1 / np.sum(weights**2):,.0f} effective of {len(weights):,} samples"


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First index and one past the last of each run of true values."""
    steps = np.diff(np.concatenate([[0], mask.astype(int), [0]]))
    return list(zip(np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True))


def _beside(mask: np.ndarray) -> np.ndarray:
    """Neighbors of true values, to which a curve is drawn."""
    return np.concatenate([mask[1:], [False]]) | np.concatenate([[False], mask[:-1]])

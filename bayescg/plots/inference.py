"""Figures of the sampler and of what was learned about hyperparameters, by arviz_plots."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayescg.plots import style as look

_DERIVED = ("coefficients", "dielectric", "u_", "f_")


def hyperparameters(posterior: xr.DataTree) -> list[str]:
    """Names of the hyperparameters in a posterior: its variables without coefficients and curves.

    Args:
        posterior: from `force_match` or `relative_entropy`.

    Returns:
        The names.
    """
    return [str(name) for name in posterior["posterior"].data_vars if not str(name).startswith(_DERIVED)]


def trace(posterior: xr.DataTree, names: list[str] | None = None) -> Figure:
    """Marginal densities and traces of the hyperparameters, one color for each chain.

    Chains that disagree or drift mean that the sampler has to run longer; `r_hat` in the summary says the same.

    Args:
        posterior: from `force_match`.
        names: variables of the posterior group; None: all hyperparameters.

    Returns:
        The figure.

    Raises:
        ValueError: if a name is unknown or there are no hyperparameters.
    """
    import arviz_plots

    chosen = _chosen(posterior, names)
    figure = _drawn(
        lambda **options: arviz_plots.plot_trace_dist(posterior, **options),
        *(chosen, (2 * look.COLUMN, 1.5 * len(chosen) + 0.3)),
        aes={"color": ["chain"]},
        color=list(look.CHAINS),
        linestyle=["-"] * max(3, posterior["posterior"].sizes["chain"]),
        visuals={"trace": {"width": 0.4}, "dist": {"width": 1.2}},
    )
    # ArviZ knows no units, and says names on both axes.
    for axes in figure.axes:
        name = next((each for each in chosen if axes.get_xlabel().startswith(each)), None)
        if name is not None:
            axes.set_xlabel(axes.get_xlabel().replace(name, _label(posterior, name, " ")))
            continue
        name = next((each for each in chosen if axes.get_ylabel().startswith(each)), None)
        if name is not None:
            unit = look.label("", posterior["posterior"][name].attrs.get("units"))
            axes.set(xlabel="draw", ylabel=unit.strip(" ()"))
    return figure


def _label(posterior: xr.DataTree, name: str, between: str) -> str:
    """A hyperparameter and its unit."""
    unit = posterior["posterior"][name].attrs.get("units")
    words = name.replace("_", " ", 1)
    return words + look.label("", unit).replace(" ", between, 1)


def pairs(posterior: xr.DataTree, names: list[str] | None = None) -> Figure:
    """Scatter plots of every two hyperparameters, with their marginal densities.

    Args:
        posterior: from `force_match`.
        names: variables of the posterior group; None: all hyperparameters.

    Returns:
        The figure.

    Raises:
        ValueError: if a name is unknown or there are no hyperparameters.
    """
    import arviz_plots

    chosen = _chosen(posterior, names)
    side = max(2 * look.COLUMN, 1.5 * len(chosen))
    return _drawn(
        lambda **options: arviz_plots.plot_pair(posterior, **options),
        *(chosen, (side, 0.8 * side)),
        visuals={"scatter": {"size": 3, "alpha": 0.4, "color": look.MODEL}, "dist": {"color": look.MODEL}},
    )


def prior_posterior(posterior: xr.DataTree, names: list[str] | None = None) -> Figure:
    """Prior beside posterior of the hyperparameters on a logarithmic axis, which shows what the data have taught.

    Args:
        posterior: from `force_match`.
        names: variables of the posterior and prior groups; None: all hyperparameters.

    Returns:
        The figure.

    Raises:
        ValueError: if a name is unknown, has no prior draws, or there are no hyperparameters.
    """
    from arviz_stats.base.array import array_stats

    chosen = _chosen(posterior, names)
    missing = [name for name in chosen if "prior" not in posterior.children or name not in posterior["prior"]]
    if missing:
        raise ValueError(f"the posterior has no prior draws of {', '.join(missing)}: fit it with force_match")
    with look.style():
        columns = min(3, len(chosen))
        rows = -(-len(chosen) // columns)
        figure, axes = look.new_figure(rows, columns, width=2 * look.COLUMN, height=1.7 * rows)
        for panel, name in zip(axes.flat, chosen, strict=False):
            for group, color, label in (("prior", look.UNSAMPLED, "prior"), ("posterior", look.MODEL, "posterior")):
                # Scales are positive and known to a factor: a density of the logarithm shows prior and posterior alike.
                values = np.log10(np.asarray(posterior[group][name].values, float).ravel())
                grid, density, _ = array_stats.kde(values)
                density = density / density.max()
                panel.fill_between(10**grid, density, color=color, alpha=0.25, lw=0)
                panel.plot(10**grid, density, color=color, label=label)
            panel.set_xscale("log")
            panel.set_yticks([])
            panel.set_ylim(0, 1.08)
            panel.spines["left"].set_visible(False)
            panel.set_xlabel(_label(posterior, name, "\n"))  # on one line, labels of neighbors would touch
        for panel in axes.flat[len(chosen) :]:
            panel.set_axis_off()
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _chosen(posterior: xr.DataTree, names: list[str] | None) -> list[str]:
    known = hyperparameters(posterior)
    chosen = known if names is None else list(names)
    unknown = [name for name in chosen if name not in posterior["posterior"].data_vars]
    if unknown:
        raise ValueError(f"no variable {', '.join(unknown)} in this posterior; hyperparameters: {', '.join(known)}")
    if not chosen:
        raise ValueError("this posterior has no hyperparameters: it was made from given coefficients")
    return chosen


def _drawn(plot, names: list[str], size: tuple[float, float], **options) -> Figure:
    """Run a plot of arviz_plots in our style, and take its figure away from pyplot."""
    from matplotlib import pyplot

    with look.style():
        collection = plot(
            var_names=names, backend="matplotlib", figure_kwargs={"figsize": size, "layout": "constrained"}, **options
        )
        figure = collection.viz["figure"].item()
        pyplot.close(figure)
    return figure

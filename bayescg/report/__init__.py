"""One self-contained HTML page about a run: figures inside, no request to anywhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bayescg import plots
from bayescg._checksum import checksum
from bayescg._runtime import atomic_path
from bayescg.report import figures as figure_files
from bayescg.report import outcomes, page, sections, side_by_side
from bayescg.report.results import Compared, Results

__all__ = ["Compared", "Results", "headline", "write"]


def write(
    results: Results,
    path: str | os.PathLike[str],
    *,
    figures: str | os.PathLike[str] | None = None,
    meta: Mapping[str, object] | None = None,
) -> list[Path]:
    """Write the report.

    Args:
        results: of a run.
        path: of the HTML file.
        figures: folder for the figures as PNG and PDF files too, and their numbers as CSV; None: only inside the page.
        meta: further meta tags of the page.

    Returns:
        The page, and the files of the figures.
    """
    written = [Path(path)]
    drawn = draw(results)
    pictures = {name: figure_files.png(figure) for name, figure in drawn.items()}
    if figures is not None:
        for name, figure in drawn.items():
            contents = {"png": pictures[name], "pdf": figure_files.pdf(figure), "csv": figure_files.csv(figure)}
            for ending, content in contents.items():
                written.append(Path(figures) / f"{name}.{ending}")
                with atomic_path(written[-1]) as temporary:
                    temporary.write_bytes(content)
    said = [f"{step}: {line}" for step, lines in _warnings(results).items() for line in lines]
    head = _cards(headline(results)) + page.notice("Warnings", said)
    if results.each:
        title = "Coarse-grained potentials side by side"
        parts = {
            "Potentials": side_by_side.potentials(results),
            "Observables": side_by_side.observables(results, pictures),
            "What these error bars do not cover": outcomes.coverage(next(iter(results.each.values()))),
        }
    else:
        title = "Coarse-grained potential with error bars"
        parts = {
            "Data": sections.data(results),
            "Fit": sections.fit(results, pictures),
            "Potential": sections.potential(results, pictures),
            "Simulation": outcomes.simulation(results),
            "Observables": outcomes.observables(results, pictures),
            "What these error bars do not cover": outcomes.coverage(results),
            "Exports": outcomes.exports(results),
        }
    parts["Reproducibility"] = outcomes.reproducibility(results)
    text = page.frame(title, _subtitle(results), head, parts, meta or {})
    content = f"{text}<!-- ".encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content + checksum(content) + b" -->\n")
    return written


def draw(results: Results) -> dict[str, Figure]:
    """All figures by name."""
    figures = {}
    if results.posterior is not None:
        figures |= plots.potential_figures(results.posterior)
        if plots.hyperparameters(results.posterior):
            if "prior" in results.posterior.children:
                figures["prior_posterior"] = plots.prior_posterior(results.posterior)
            if "rhat_max" in results.posterior["posterior"].attrs:
                figures["trace"] = plots.trace(results.posterior)
    for each in results.observables:
        figures[outcomes.picture_name(each)] = plots.observable(each.predicted, each.atomistic)
    for parts in side_by_side.grouped(results):
        first = next(iter(parts.values()))
        summaries = {name: each.predicted for name, each in parts.items()}
        figures[outcomes.picture_name(first)] = plots.side_by_side(summaries, first.atomistic)
    return figures


def _warnings(results: Results) -> dict[str, list[str]]:
    """By step; of several potentials by potential and step."""
    found = dict(results.warnings)
    for name, part in results.each.items():
        found |= {f"{name}, {step}": lines for step, lines in part.warnings.items()}
    return found


def headline(results: Results) -> dict[str, str]:
    """The few numbers that everyone looks for first: held-out R², R-hat, temperature, mean |z| of each observable.

    Args:
        results: of a run.

    Returns:
        Name -> number as text; what the run did not compute is left out.
    """
    if results.each:
        return side_by_side.headline(results)
    rows: dict[str, str] = {}
    if results.posterior is not None:
        attrs = results.posterior["posterior"].attrs
        if "held_out_r2" in attrs:
            rows["held-out force R²"] = sections.with_error(attrs["held_out_r2"], attrs["held_out_r2_se"], 3)
            ceiling = attrs.get("noise_ceiling_r2", "unknown")
            rows["noise ceiling of R²"] = ceiling if isinstance(ceiling, str) else f"{float(ceiling):.3f}"
        if "structure_z" in attrs:
            rows["mean |z| of the structure"] = sections.with_error(attrs["structure_z"], math.nan, 2)
            rows["virial pressure"] = f"{attrs['pressure']:.0f} bar"
        if "rhat_max" in attrs:
            rows["largest R-hat"] = f"{attrs['rhat_max']:.3f}"
            rows["smallest ESS"] = f"{min(attrs['ess_bulk_min'], attrs['ess_tail_min']):.0f}"
            rows["divergences"] = str(attrs["divergences"])
    if results.ensemble is not None:
        target = float(results.ensemble.attrs.get("temperature", math.nan))
        measured = float(results.ensemble["temperature"].mean())
        rows["temperature"] = f"{measured:.1f} K of {target:g} K"
        if "configurational_temperature" in results.ensemble:
            configurational = float(results.ensemble["configurational_temperature"].mean())
            rows["configurational temperature"] = f"{configurational:.1f} K"
        rows["draws that blew up"] = f"{int(results.ensemble['failed'].sum())} of {results.ensemble.sizes['draw']}"
    for each in results.observables:
        if not math.isnan(each.mean_abs_z):
            rows[f"mean |z|, {each.title}"] = f"{each.mean_abs_z:.1f}"
    return rows


def _cards(rows: Mapping[str, str]) -> str:
    mark = {"unknown": ' class="unknown"'}
    cards = "".join(
        f"<div><dt>{page.text(name)}</dt><dd{mark.get(value, '')}>{page.text(value)}</dd></div>"
        for name, value in rows.items()
    )
    return f'<dl class="cards">{cards}</dl>' if cards else ""


def _subtitle(results: Results) -> str:
    if results.each:
        return f"{_subtitle(next(iter(results.each.values())))} · {len(results.each)} potentials"
    parts = ["bayescg"]
    if results.posterior is not None:
        attrs = results.posterior["posterior"].attrs
        parts[0] += f" {attrs.get('bayescg_version', '')}"
        if "n_frames" in attrs:
            parts.append(f"{attrs['n_frames']} frames at {float(attrs['temperature']):g} K")
    if results.beads:
        parts.append(", ".join(f"{count} {name} beads" for name, count in results.beads.items()))
    return " · ".join(parts)

"""One self-contained HTML page about a run: figures inside, no request to anywhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from bayescg import plots
from bayescg._checksum import checksum
from bayescg._runtime import atomic_path
from bayescg.report import outcomes, page, sections
from bayescg.report.results import Compared, Results

__all__ = ["Compared", "Results", "headline", "write"]


def write(
    results: Results,
    path: str | os.PathLike[str],
    *,
    figures: str | os.PathLike[str] | None = None,
    meta: Mapping[str, object] | None = None,
) -> Path:
    """Write the report.

    Args:
        results: of a run.
        path: of the HTML file.
        figures: folder for the figures as PNG files too; None: only inside the page.
        meta: further meta tags of the page.

    Returns:
        The path.
    """
    pictures = draw(results)
    if figures is not None:
        for name, content in pictures.items():
            with atomic_path(Path(figures) / f"{name}.png") as temporary:
                temporary.write_bytes(content)
    said = [f"{step}: {line}" for step, lines in results.warnings.items() for line in lines]
    head = _cards(headline(results)) + page.notice("Warnings", said)
    parts = {
        "Potential": sections.potential(results, pictures),
        "Observables": outcomes.observables(results, pictures),
        "What these error bars do not cover": outcomes.coverage(results),
        "Fit": sections.fit(results, pictures),
        "Simulation": outcomes.simulation(results),
        "Data": sections.data(results),
        "Exports": outcomes.exports(results),
        "Reproducibility": outcomes.reproducibility(results),
    }
    text = page.frame("Coarse-grained potential with error bars", _subtitle(results), head, parts, meta or {})
    content = f"{text}<!-- ".encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content + checksum(content) + b" -->\n")
    return Path(path)


def draw(results: Results) -> dict[str, bytes]:
    """All figures as PNG files, by name."""
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
    return {name: page.png(figure) for name, figure in figures.items()}


def headline(results: Results) -> dict[str, str]:
    """The few numbers that everyone looks for first: held-out R², R-hat, temperature, mean |z| of each observable.

    Args:
        results: of a run.

    Returns:
        Name -> number as text; what the run did not compute is left out.
    """
    rows: dict[str, str] = {}
    if results.posterior is not None:
        attrs = results.posterior["posterior"].attrs
        if "held_out_r2" in attrs:
            rows["held-out force R²"] = sections.with_error(attrs["held_out_r2"], attrs["held_out_r2_se"], 3)
            ceiling = attrs.get("noise_ceiling_r2", "unknown")
            rows["noise ceiling of R²"] = ceiling if isinstance(ceiling, str) else f"{float(ceiling):.3f}"
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
    cards = "".join(f"<div><dt>{page.text(name)}</dt><dd>{page.text(value)}</dd></div>" for name, value in rows.items())
    return f'<dl class="cards">{cards}</dl>' if cards else ""


def _subtitle(results: Results) -> str:
    parts = ["bayescg"]
    if results.posterior is not None:
        attrs = results.posterior["posterior"].attrs
        parts[0] += f" {attrs.get('bayescg_version', '')}"
        if "n_frames" in attrs:
            parts.append(f"{attrs['n_frames']} frames at {float(attrs['temperature']):g} K")
    if results.beads:
        parts.append(", ".join(f"{count} {name} beads" for name, count in results.beads.items()))
    return " · ".join(parts)

"""What a report says of several potentials beside each other; each has a page of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd

from bayescg import posterior as posteriors
from bayescg.inference.comparison import compare
from bayescg.report import page
from bayescg.report.outcomes import misfit, picture_name
from bayescg.report.results import Compared, Results
from bayescg.report.sections import with_error


def potentials(results: Results) -> str:
    """Terms and quality of each fit."""
    told = _comparison(results)
    rows = []
    for name, part in results.each.items():
        if part.posterior is None:
            continue
        model, attrs = posteriors.potential_of(part.posterior), part.posterior["posterior"].attrs
        r2, behind = "–", "–"
        if "held_out_r2" in attrs:
            r2 = with_error(attrs["held_out_r2"], attrs["held_out_r2_se"], 3)
        if told is not None:
            row = told.loc[name]
            first = int(row["rank"]) == 0
            behind = "best" if first else with_error(float(row["elpd_diff"]), float(row["dse"]), 0)
        terms = ", ".join(term.name for term in model.terms)
        rows.append([name, terms, str(model.n_basis), str(attrs["method"]), r2, behind])
    head = ("potential", "terms", "coefficients", "method", "held-out R² of forces", "elpd behind the best")
    words = (
        "elpd is the log density of the forces of a time block, given the others. Differences of many standard errors "
        "rank potentials; they are no log odds."
    )
    links = ", ".join(f'<a href="{page.text(name)}/report.html">{page.text(name)}</a>' for name in results.each)
    found = page.table(head, rows) + (page.paragraph(words, soft=True) if told is not None else "")
    return found + f"<p>Curves, error bars, sampler and exports of each: {links}.</p>"


def _comparison(results: Results) -> pd.DataFrame | None:
    """Scores of the same blocks, where all fits have them."""
    fits = {name: part.posterior for name, part in results.each.items() if part.posterior is not None}
    try:
        return compare(fits)
    except ValueError:
        return None


def observables(results: Results, pictures: Mapping[str, bytes]) -> str:
    """Each observable of all potentials beside the atomistic data."""
    names = list(results.each)
    rows, missed = [], []
    for parts in grouped(results):
        first = next(iter(parts.values()))
        row = [first.title, first.unit or "1"]
        for value in ("difference", "mean_abs_z"):
            row += [getattr(parts[name], value) if name in parts else math.nan for name in names]
        rows.append(row)
        missed += [(f"{each.title}, {name}", each.mean_abs_z) for name, each in parts.items()]
    if not rows:
        return ""
    head = ("observable", "unit", *(f"∫ |difference|, {n}" for n in names), *(f"mean |z|, {n}" for n in names))
    found = page.table(head, rows) + misfit(missed)
    for parts in grouped(results):
        first = next(iter(parts.values()))
        if (name := picture_name(first)) in pictures:
            caption = f"{first.title}. Bands: 90 % intervals of posterior and sampling."
            if first.atomistic is not None and first.predicted["mean"].dims:
                caption += " Dashed: atomistic. Below: differences from it; gray: its own interval."
            found += page.image(pictures[name], caption)
    return found


def grouped(results: Results) -> Iterator[dict[str, Compared]]:
    """The same observable of all potentials, by name."""
    found: dict[tuple[str, str], dict[str, Compared]] = {}
    for name, part in results.each.items():
        for each in part.observables:
            found.setdefault((each.kind, each.label), {})[name] = each
    yield from found.values()


def headline(results: Results) -> dict[str, str]:
    """Held-out R² of each potential, and how far each observable is off."""
    rows = {}
    for name, part in results.each.items():
        attrs = {} if part.posterior is None else part.posterior["posterior"].attrs
        if "held_out_r2" in attrs:
            rows[f"held-out force R², {name}"] = with_error(attrs["held_out_r2"], attrs["held_out_r2_se"], 3)
    for parts in grouped(results):
        for name, each in parts.items():
            if not math.isnan(each.difference):
                unit = f" {each.unit}" if each.unit else ""
                rows[f"∫ |difference|, {each.title}, {name}"] = f"{each.difference:.3g}{unit}"
    return rows

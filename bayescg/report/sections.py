"""What the report says of data, potential and fit; each function returns HTML, empty where there is nothing to say."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.summary import summary

from bayescg import plots
from bayescg import posterior as posteriors
from bayescg.potentials import Coulomb, Term
from bayescg.report import page
from bayescg.report.results import Results

_TAIL = 0.01
_METHODS = {"nuts": "NUTS", "vi": "variational", "laplace": "Laplace", "rvm": "relevance vector machine"}


def data(results: Results) -> str:
    """Where the forces come from."""
    tree = results.posterior
    if tree is None or "n_frames" not in tree["posterior"].attrs:
        return ""
    rows: dict[str, object] = {
        "temperature": f"{posteriors.temperature_of(tree):g} K",
        "frames" if "structure_z" in tree["posterior"].attrs else "frames with forces": int(
            tree["posterior"].attrs["n_frames"]
        ),
    }
    worth = float(tree["posterior"].attrs.get("effective_frames", math.nan))
    if worth < (1 - 1e-9) * int(tree["posterior"].attrs["n_frames"]):
        rows["worth, by their weights"] = f"{worth:.4g} frames of equal weight"
    if "statistics" in tree.children:
        sources = tree["statistics"].dataset["block_source"].values.astype(str)
        rows["sources"] = ", ".join(sorted(set(sources.tolist())))
        rows["time blocks"] = len(sources)
    if results.beads:
        rows["beads"] = ", ".join(f"{count} {name}" for name, count in results.beads.items())
    return page.pairs(rows) + _force_table(tree)


def _force_table(tree: xr.DataTree) -> str:
    if "constant_data" not in tree.children or "force_variance" not in tree["constant_data"]:
        return ""
    variance = tree["constant_data"].dataset["force_variance"]
    left = json.loads(tree["posterior"].attrs.get("residual_variance", "{}"))
    rows = [
        [str(bead), float(np.sqrt(value)), math.sqrt(left[bead]) if bead in left else float("nan")]
        for bead, value in zip(variance["noise_class"].values.astype(str), variance.values, strict=True)
    ]
    head = ("bead type", "rms force component [kJ/mol/nm]", "rms residual of the mean potential [kJ/mol/nm]")
    return page.table(head, rows)


def potential(results: Results, pictures: dict[str, bytes]) -> str:
    """The terms, and the figure of their curves."""
    tree = results.posterior
    if tree is None:
        return ""
    model = posteriors.potential_of(tree)
    ranges = posteriors.ranges_of(tree)
    rows = []
    for term in model.terms:
        low, high = ranges.get(term.name, (float("nan"), float("nan")))
        first, last = term.span
        rows.append([term.name, term.kind, f"{first:g} – {last:g} {term.unit}"])
        known = getattr(term, "baseline", None)
        baseline = "none" if known is None else type(known).__name__
        rows[-1] += [_sampled(term, low, high), term.n_basis, baseline]
    found = page.table(("term", "kind", "knots", "sampled", "coefficients", "baseline"), rows)
    for term in model.terms:
        if isinstance(term, Coulomb):
            words = f"{term.dielectric:g}, given"
            if term.learn:
                learned = np.asarray(tree["posterior"].dataset["dielectric"])
                words = with_error(learned.mean(), learned.std(), 3)
            rows = {f"charge of {bead}": f"{charge:+g} e" for bead, charge in term.of_types.items()}
            found += page.pairs({**rows, "relative permittivity": words})
    if model.exclude_bonds:
        found += page.paragraph(f"Beads at most {model.exclude_bonds} bonds apart have no pair interaction.")
    caption = (
        "Energy and force of each term: posterior mean, 50 % and 90 % bands, and single draws. Gray: never sampled, "
        f"there the prior speaks{_repulsion(posteriors.attractive_shares(tree))}."
    )
    captions = {
        "potential": caption,
        "three_body": "Three-body energy of two neighbors at equal distances from their center, against the angle "
        "between them: posterior mean with 90 % bands at three distances, and the mean at all. Where the two neighbors "
        "would be closer to each other than was sampled, nothing is shown.",
    }
    return "".join(page.image(pictures[name], words) for name, words in captions.items() if name in pictures) + found


def _repulsion(attractive: Mapping[str, float]) -> str:
    """What the draws of pairs do below the sampled distances."""
    if not attractive:
        return ""
    some = [f"{share:.1%} of the draws of {name}" for name, share in attractive.items() if share > 0]
    if not some:
        return "; below the sampled distances every draw is repulsive"
    return f"; below the sampled distances {' and '.join(some)} attract somewhere: more frames tell what is there"


def _sampled(term: Term, low: float, high: float) -> str:
    return "unknown" if math.isnan(low) else f"{low:.4g} – {high:.4g} {term.unit}"


def fit(results: Results, pictures: dict[str, bytes]) -> str:
    """Quality of the fit and of the sampling, in plain words."""
    tree = results.posterior
    if tree is None:
        return ""
    if "held_out_r2" not in tree["posterior"].attrs:
        return _to_structure(tree) + sampler(tree) + hyperparameters(tree, pictures)
    attrs = tree["posterior"].attrs
    ceiling = attrs.get("noise_ceiling_r2", "unknown")
    known = not isinstance(ceiling, str)
    rows: dict[str, object] = {
        "held-out R² of the forces": with_error(attrs["held_out_r2"], attrs["held_out_r2_se"], 4),
        "noise ceiling of R²": f"{float(ceiling):.4f}" if known else "unknown",
    }
    if "elpd" in attrs:
        rows["elpd, leaving out one time block"] = with_error(attrs["elpd"], attrs["elpd_se"], 1)
        if math.isfinite(attrs["pareto_k_max"]):
            rows["largest Pareto k"] = f"{attrs['pareto_k_max']:.2f} (reliable below 0.7)"
    if "consistency_p" in attrs:
        rows["forces and structure differ as much by chance"] = f"p = {attrs['consistency_p']:.2g}"
    if "log_evidence" in attrs:
        rows["log evidence"] = f"{attrs['log_evidence']:.1f}"
    if "score_variance" in attrs:
        span = f"{attrs['score_variance_min']:.2f} to {attrs['score_variance_max']:.2f}"
        rows["variance of scores over that of independent noise"] = f"{attrs['score_variance']:.2f} ({span})"
        rows["of which memory in time"] = f"{attrs['score_memory']:.2f}"
    words = (
        "The share of force variance that the fit predicts on time blocks it has not seen. "
        + ("" if known else "The rest is noise or misfit, and which of the two cannot be told from one trajectory: ")
        + ("" if known else "the noise ceiling needs replicate forces at fixed beads, so R² is a lower bound of it.")
    )
    return page.pairs(rows) + page.paragraph(words, soft=True) + sampler(tree) + hyperparameters(tree, pictures)


def _to_structure(tree: xr.DataTree) -> str:
    """Quality of a fit to structure."""
    attrs = tree["posterior"].attrs
    if "held_out_structure" in attrs:
        score = {"held-out structure": with_error(attrs["held_out_structure"], attrs["held_out_structure_se"], 3)}
        words = (
            "Fitted to structure by equations, which look for the mean force. The score is 1 where the fit says all "
            "of the structure of time blocks that it has not seen, and 0 for no potential."
        )
        return page.pairs(score) + page.paragraph(words, soft=True)
    if "structure_z" not in attrs:
        return ""
    spread = math.hypot(attrs["pressure_sd_sampling"], attrs["pressure_sd_posterior"])
    told = not math.isnan(spread)
    error = f"± {spread:.0f} bar" if told else "bar, error unknown"
    rows: dict[str, object] = {
        "reference simulations": f"{attrs['iterations']}, {attrs['simulated_time']:g} ps in all",
        "converged": "yes" if attrs["converged"] else "no: allow more iterations",
        "mean |z| of the structure": f"{attrs['structure_z']:.2f} (chance alone: 0.8)" if told else "unknown",
        "virial pressure": f"{attrs['pressure']:.0f} {error}",
        "overlap of the draws with the last reference": f"{attrs['draw_overlap']:.2f}",
    }
    seen = "one more run of the posterior mean, which the fit has not seen" if told else "the last reference"
    words = f"Fitted to structure by relative entropy. Structure and pressure are those of {seen}."
    return page.pairs(rows) + page.paragraph(words, soft=True)


def with_error(value: float, error: float, digits: int) -> str:
    """A score with its standard error; a plain word where it is nan."""
    return f"{value:.{digits}f} ± {error:.{digits}f}" if math.isfinite(value) else "unknown"


def sampler(tree: xr.DataTree) -> str:
    """Convergence of the chains."""
    attrs = tree["posterior"].attrs
    sizes = tree["posterior"].sizes
    method = _METHODS.get(attrs["method"], attrs["method"])
    drawn = f"{sizes['chain']} × {sizes['draw']} draws" if sizes["chain"] > 1 else f"{sizes['draw']} draws"
    title = f"<h3>Sampler: {page.text(method)}, {drawn}</h3>"
    if "rhat_max" not in attrs:
        words = "Gaussian approximations have no chains to diagnose: compare with method nuts where it matters."
        return title + page.paragraph(words, soft=True)
    chains = int(sizes["chain"])
    agree = "chains agree" if attrs["rhat_max"] < 1.01 else "chains disagree: run longer"
    rows = [["largest R-hat", f"{attrs['rhat_max']:.4f}", agree]]
    for name, key in (("bulk", "ess_bulk_min"), ("tail", "ess_tail_min")):
        enough = "enough" if attrs[key] >= 100 * chains else "few: run longer"
        rows.append([f"smallest {name} effective sample size", f"{attrs[key]:.0f}", enough])
    missed = "a corner of the posterior was missed" if attrs["divergences"] else "no corner of the posterior was missed"
    rows.append(["divergent transitions", str(attrs["divergences"]), missed])
    return title + page.table(("diagnostic", "value", "which means"), rows)


def hyperparameters(tree: xr.DataTree, pictures: dict[str, bytes]) -> str:
    """Summary by arviz_stats, and the figures."""
    chosen = plots.hyperparameters(tree)
    if not chosen:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a single chain has no R-hat: shown as a dash
        frame = summary(
            tree,
            var_names=chosen,
            kind="stats",
            ci_prob=0.9,
            ci_kind="eti",
            round_to="none",  # pyright: ignore[reportArgumentType]  as documented; guessed from the default is a number
        )
    assert isinstance(frame, pd.DataFrame)
    units = {name: str(tree["posterior"][name].attrs.get("units", "1")) for name in chosen}
    rows = [
        [str(name), units.get(str(name).split("[")[0], "1"), *(float(value) for value in row)]
        for name, row in zip(frame.index, frame.values, strict=True)
    ]
    named = {"eti90_lb": "5 %", "eti90_ub": "95 %"}
    head = ("", "unit", *(named.get(str(name), str(name)) for name in frame.columns))
    found = "<h3>Hyperparameters</h3>" + page.table(head, rows)
    found += page.notice(
        "In the tail of the prior",
        in_the_tail(tree, chosen),
        "The data ask for values that the prior holds for unlikely. Error bars rest on it there: look at the "
        "curve, and try another kernel or other knots.",
    )
    captions = {
        "prior_posterior": "Prior and posterior of the hyperparameters: where they differ, the data have spoken.",
        "trace": "Densities and traces of the chains, one color for each.",
    }
    return found + "".join(page.image(pictures[n], caption) for n, caption in captions.items() if n in pictures)


def in_the_tail(tree: xr.DataTree, names: Sequence[str]) -> list[str]:
    """Hyperparameters whose posterior median lies beyond all but a hundredth of the prior's draws."""
    if "prior" not in tree.children:
        return []
    found = []
    prior, posterior = tree["prior"].to_dataset(), tree["posterior"].to_dataset()
    for name in names:
        if name not in prior:
            continue
        median = float(posterior[name].median())
        above, count = int((prior[name] > median).sum()), prior[name].size
        if min(above, count - above) < _TAIL * count:
            unit = str(posterior[name].attrs.get("units", "1"))
            value = f"{median:.3g} {unit}" if unit != "1" else f"{median:.3g}"
            fewer, side = (above, "above") if above < count - above else (count - above, "below")
            found.append(f"{name}: median {value}; {fewer} of {count} draws of the prior lie {side} it")
    return found

"""Parts of a posterior: its mean as a baseline for other fits, the draws of one choice of candidates."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescg.posterior.reading import mean_coefficients, potential_of
from bayescg.potentials import Term, freeze


def as_baseline(posterior: xr.DataTree) -> tuple[Term, ...]:
    """The terms of a fitted potential as known curves at the posterior mean, to learn others on top (Δ-learning).

    `Potential(*as_baseline(pair), Angle("A", "B", "A"))` learns the angle on the forces that the pairs leave.
    `Pair("W", "W", cutoff=0.9, baseline=as_baseline(pair)[0].baseline)` learns a correction to the pair itself. The
    uncertainty of the mean is not carried along; to have it, learn all terms together.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.

    Returns:
        The terms, each with `learn=False` and its mean as baseline.

    Raises:
        ValueError: if the object is no posterior of bayescg, or a term is no curve of one descriptor.
    """
    return freeze(potential_of(posterior), mean_coefficients(posterior))


def only_choice(posterior: xr.DataTree, choice: int = 0) -> xr.DataTree:
    """The draws of one choice of candidates from a fit with method "rvm": a sparse potential.

    The bands of the result take the choice for certain, and are too narrow where it is not.

    Args:
        posterior: from `force_match(..., method="rvm")`.
        choice: its number; 0 is the most probable one, the group `choices` lists the others.

    Returns:
        The posterior with those draws alone and the attribute `choice`. The group `relevance` is left out, because it
        describes all draws. Scores are kept for choice 0 only, to which they belong.

    Raises:
        ValueError: if the fit was not by "rvm", or no draw is of that choice.
    """
    potential_of(posterior)
    draws = posterior["posterior"].to_dataset()
    if "choice" not in draws:
        raise ValueError('only a fit with method="rvm" chooses among candidates')
    (chosen,) = draws["choice"].values  # one chain
    rows = np.flatnonzero(chosen == choice)
    if not len(rows):
        known = posterior["choices"].sizes["choice"]
        why = "more draws would hold some" if 0 <= choice < known else f"there are {known}, from 0 on"
        raise ValueError(f"no draw is of choice {choice}: {why}")
    gone = ["relevance", *(("predictive",) if choice else ())]
    tree = posterior.drop_nodes(gone, errors="ignore")
    draws = draws.isel(draw=rows).assign_coords(draw=np.arange(len(rows)))
    for part in (tree, draws):
        known = {k: v for k, v in part.attrs.items() if not choice or not str(k).startswith("held_out_r2")}
        part.attrs = known | {"choice": choice}
    tree["posterior"] = draws
    return tree

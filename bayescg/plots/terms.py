"""All figures of a potential: the curves of its terms together, and those of terms that are no curve."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import xarray as xr
from matplotlib.figure import Figure

from bayescg import posterior as posteriors
from bayescg.plots.potentials import potential
from bayescg.plots.three_body import three_body
from bayescg.potentials import Term, ThreeBody


@singledispatch
def figure_of(term: Term) -> Callable[[xr.DataTree], Figure] | None:
    """The function that draws all terms of a kind that is no curve; None if there is none.

    A kind of term has one by `@figure_of.register`; the function's name is that of the figure.
    """
    del term


@figure_of.register
def _(term: ThreeBody):
    del term
    return three_body


def potential_figures(posterior: xr.DataTree) -> dict[str, Figure]:
    """All figures of a posterior's potential.

    Args:
        posterior: from `force_match` or `posterior.from_coefficients`.

    Returns:
        Name -> figure: "potential" for all terms that are curves, and one for each other kind of term that has a
        figure, such as "three_body".
    """
    terms = posteriors.potential_of(posterior).terms
    functions = [potential] if any(term.graph is not None for term in terms) else []
    functions += [function for term in terms if (function := figure_of(term)) is not None]
    return {function.__name__: function(posterior) for function in dict.fromkeys(functions)}

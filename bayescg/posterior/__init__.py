"""The posterior, an `xarray.DataTree` in ArviZ layout: built, checked, drawn from and evaluated."""

from bayescg.posterior.attraction import attractive_shares
from bayescg.posterior.grids import curve_grid, curves
from bayescg.posterior.layout import FORMAT, build, check, from_coefficients
from bayescg.posterior.parts import as_baseline, only_choice
from bayescg.posterior.reading import (
    Draws,
    draw_coefficients,
    mean_coefficients,
    potential_of,
    ranges_of,
    temperature_of,
)

__all__ = [
    "FORMAT",
    "Draws",
    "as_baseline",
    "attractive_shares",
    "build",
    "check",
    "curve_grid",
    "curves",
    "draw_coefficients",
    "from_coefficients",
    "mean_coefficients",
    "only_choice",
    "potential_of",
    "ranges_of",
    "temperature_of",
]

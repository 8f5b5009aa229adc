"""The curves of a potential as other programs will see them: sampled on a table, interpolated, compared with the fit.

Every table is checked by the same two functions: `count_points` chooses how fine it must be, `worst_error` compares
what a program will read from the written file with the fitted curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline, CubicSpline

from bayescg._runtime import double_precision
from bayescg.potentials import Angle, Baseline, Bond, Pair, Potential, SplineTerm
from bayescg.potentials.baselines import value_and_slope

# What an export must reach, and what tables are designed for, so that rounding in a file cannot tip the balance.
TOLERANCE = 1e-4
_DESIGN = 2e-5
# Energies above this [kJ/mol] are continued linearly towards zero distance: 1e36 kJ/mol of a Lennard-Jones core would
# overflow single precision and make splines ring.
_CEILING = 1e6
# Compared are distances with an energy up to this above the minimum [kJ/mol] (40 kT at 300 K), beyond `_CORE` [nm].
_ACCESSIBLE = 100.0
_CORE = 0.05
_MOST_POINTS = 2**17 + 1
_PIECE = 4096

# (x, energy, force, at) -> energy and force at `at`, as another program reads them from a table.
Interpolation = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Curve:
    """One term's energy and force as functions of its descriptor, with fixed coefficients.

    Attributes:
        term: the term.
        spline: the learned part, the cubic through energies and slopes at the knots; None for a fixed term.
        floor: below this descriptor value the curve goes on linearly, with constant force.
    """

    term: SplineTerm
    spline: CubicHermiteSpline | None
    floor: float = -np.inf

    @classmethod
    def of(cls, potential: Potential, term: SplineTerm, coefficients: Float[np.ndarray, " basis"]) -> Curve:
        """The curve of a term, continued linearly where its energy exceeds 1e6 kJ/mol at short distance.

        Raises:
            ValueError: if the coefficients do not fit the potential or are not finite.
        """
        coefficients = np.asarray(coefficients, float)
        if coefficients.shape != (potential.n_basis,) or not np.all(np.isfinite(coefficients)):
            raise ValueError(
                f"an export needs one vector of {potential.n_basis} finite coefficients; got shape {coefficients.shape}"
            )
        own, knots = coefficients[potential.slices[term.name]], term.spline.knots
        spline = None
        if term.n_basis:
            values, slopes = (term.spline.matrix(knots, k)[:, : term.n_basis] @ own for k in (0, 1))
            spline = CubicHermiteSpline(knots, values, slopes)
        curve = cls(term, spline)
        if not isinstance(term, Pair | Bond):
            return curve
        scan = np.linspace(1e-4, term.spline.stop, 4001)
        energy = curve(scan)[0]
        bounded = np.isfinite(energy) & (energy <= _CEILING)
        if not bounded.any():
            raise ValueError(f"{term.name} exceeds {_CEILING:g} kJ/mol at every distance: there is nothing to export")
        return curve if bounded[0] else cls(term, spline, float(scan[np.argmax(bounded)]))

    @property
    def domain(self) -> tuple[float, float]:
        """Range that a table must cover: [nm] from 0, or [rad]."""
        if isinstance(self.term, Pair):
            return 0.0, self.term.cutoff
        if isinstance(self.term, Bond):
            stop = self.term.spline.stop
            return 0.0, stop + max(stop, 0.5)  # what lies beyond is a broken simulation
        return self.term.span

    def __call__(self, x: Float[np.ndarray, " x"]) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " x"]]:
        """Energy [kJ/mol] and force -du/dx [kJ/mol/nm] or [kJ/mol/rad] at x."""
        x = np.asarray(x, float)
        above = np.maximum(x, self.floor)
        energy, slope = np.zeros_like(x), np.zeros_like(x)
        if self.spline is not None:
            inside = np.clip(above, self.spline.x[0], self.spline.x[-1])
            slope = self.spline(inside, 1)
            energy = self.spline(inside) + slope * (above - inside)
            if isinstance(self.term, Angle):
                # No angle lies beyond 0 and pi; tables that are padded there stay smooth with the curvature kept.
                curvature = self.spline(inside, 2)
                energy += curvature / 2 * (above - inside) ** 2
                slope = slope + curvature * (above - inside)
        if self.term.baseline is not None:
            base, base_slope = _baseline(self.term.baseline, above)
            energy, slope = energy + base, slope + base_slope
        return energy + slope * (x - above), -slope


def _baseline(baseline: Baseline, x: Float[np.ndarray, " x"]) -> tuple[np.ndarray, np.ndarray]:
    """Energy and slope of a baseline, in pieces of one size: JAX compiles every new shape anew."""
    pieces = np.resize(x, (-(-len(x) // _PIECE), _PIECE))
    with double_precision():
        parts = [value_and_slope(baseline, jnp.asarray(piece)) for piece in pieces]
    energy, slope = (np.concatenate([np.asarray(part[k]) for part in parts])[: len(x)] for k in (0, 1))
    return energy, slope


def terms_of(potential: Potential, kind: str) -> list[SplineTerm]:
    """The terms of one kind (`pair`, `bond`, `angle`, `dihedral`), in order: their numbers in every export."""
    return [term for term in potential.terms if isinstance(term, SplineTerm) and term.kind == kind]


def read_linear(x, energy, force, at):
    """Between the entries of a table, straight lines in x."""
    return np.interp(at, x, energy), np.interp(at, x, force)


def read_linear_in_square(x, energy, force, at):
    """Between the entries of a pair table as LAMMPS reads it: energy and F/r by straight lines in r^2."""
    return np.interp(at**2, x**2, energy), at * np.interp(at**2, x**2, force / x)


def read_hermite(x, energy, force, at):
    """Between the entries of a table as GROMACS reads it: cubics through energies and slopes."""
    curve = CubicHermiteSpline(x, energy, -force)
    return curve(at), -curve(at, 1)


def read_natural_spline(x, energy, force, at):
    """Between tabulated energies as OpenMM reads them: the natural cubic spline and its slope."""
    curve = CubicSpline(x, energy, bc_type="natural")
    return curve(at), -curve(at, 1)


def read_periodic_spline(x, energy, force, at):
    """Like `read_natural_spline` where both ends are one point."""
    curve = CubicSpline(x, np.append(energy[:-1], energy[0]), bc_type="periodic")
    return curve(at), -curve(at, 1)


def worst_error(curve: Curve, x, energy, force, interpolate: Interpolation) -> float:
    """Largest relative error of force or energy in an interpolated table.

    Errors are relative to the local value or to 1 % of the largest one of the range, whichever is greater, over
    everything within 100 kJ/mol of the curve's minimum (and beyond 0.05 nm for pairs).

    Args:
        curve: the fit.
        x: abscissae of the table, increasing [nm] or [rad].
        energy: tabulated energies [kJ/mol].
        force: tabulated forces.
        interpolate: how the other program reads between entries.

    Returns:
        The error; inf if the table is not finite.
    """
    if not (np.all(np.isfinite(energy)) and np.all(np.isfinite(force)) and np.all(np.diff(x) > 0)):
        return np.inf
    # A Weyl sequence: every phase between entries, without a random number generator.
    low, high = max(x[0], curve.domain[0]), min(x[-1], curve.domain[1])
    at = low + (high - low) * ((np.arange(1, 4001) * 0.6180339887498949) % 1.0)
    truth, true_force = curve(at)
    reachable = truth - truth.min() <= _ACCESSIBLE
    if isinstance(curve.term, Pair):
        reachable &= at >= _CORE
    if not reachable.any():
        reachable[:] = True
    read = interpolate(x, energy, force, at[reachable])
    pairs = zip((truth, true_force), read, strict=True)
    return max(largest_error(found - true[reachable], true[reachable]) for true, found in pairs)


def largest_error(error: np.ndarray, true: np.ndarray) -> float:
    """Largest error, of the local value or of 1 % of the largest one, whichever is greater; inf if not finite."""
    # A curve of zeros is compared in kJ/mol and nm as it stands.
    scale = np.maximum(np.abs(true), 0.01 * np.abs(true).max() or 1.0)
    return float(np.max(np.abs(error) / scale)) if np.all(np.isfinite(error)) else np.inf


def count_points(curve: Curve, grid: Callable[[int], np.ndarray], interpolate: Interpolation, least: int = 2001) -> int:
    """How many entries a table needs so that what lies between them is right to 2e-5.

    Args:
        curve: the fit.
        grid: number of entries -> abscissae.
        interpolate: how the other program reads between entries.
        least: number to begin with; doubled (intervals) until it suffices.

    Returns:
        The number, at most about 131 thousand.
    """
    points = least
    while points < _MOST_POINTS:
        x = grid(points)
        if worst_error(curve, x, *curve(x), interpolate) <= _DESIGN:
            break
        points = 2 * points - 1
    return points


class Comparison(NamedTuple):
    """What reading one exported term back gave.

    Attributes:
        path: the file.
        name: the term.
        error: from `worst_error`; inf where the term is missing or unreadable.
    """

    path: Path
    name: str
    error: float

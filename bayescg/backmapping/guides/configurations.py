"""What comes in: CG configurations and a target, checked before anything is sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayescg.atomistic.force_field import ForceField
from bayescg.atomistic.openmm_target import OpenMMTarget
from bayescg.backmapping.guides.guide import Conditional
from bayescg.data.trajectories.vacuum import OPEN
from bayescg.units import BOLTZMANN

_SHOWN = 3


class Beads(NamedTuple):
    """CG configurations.

    Attributes:
        positions: (ensemble draw, frame, bead, 3) [nm].
        draws: whether the ensemble has a dimension `draw`.
    """

    positions: np.ndarray
    draws: bool


class Energy(NamedTuple):
    """A target.

    Attributes:
        reduced: beta U of positions (atom, 3) [nm].
        thermal: kT [kJ/mol]; None for a user's beta U without a temperature.
        temperature: [K], or None.
    """

    reduced: Callable
    thermal: float | None
    temperature: float | None


class _Reduced:
    """Beta U of a force field; equal to another of the same one, so that nothing is compiled twice."""

    def __init__(self, field: ForceField, thermal: float):
        self.field, self.thermal = field, thermal

    def __call__(self, positions):
        return self.field.energy(positions) / self.thermal

    def __eq__(self, other) -> bool:
        return isinstance(other, _Reduced) and self.field is other.field and self.thermal == other.thermal

    def __hash__(self) -> int:
        return hash((id(self.field), self.thermal))


def bead_positions(ensemble: xr.Dataset, conditional: Conditional) -> Beads:
    """Positions of the beads, if atoms can belong to them.

    Args:
        ensemble: with `positions`, (frame, bead, xyz) or (draw, frame, bead, xyz) [nm].
        conditional: whose map they must fit.

    Raises:
        ValueError: for missing or wrong dimensions, another number of beads, positions that are not finite, beads that
            no chain of bonds can join, or what the conditional objects to.
    """
    beads = bead_values(ensemble, conditional.fibre.n_beads)
    periodic = "box" in ensemble and ensemble.attrs.get("boundary") != OPEN
    check_beads(beads.positions, conditional, periodic=periodic)
    return beads


def bead_values(ensemble: xr.Dataset, n_beads: int) -> Beads:
    """Positions as an array, whatever dimensions are there.

    Args:
        ensemble: see `bead_positions`.
        n_beads: how many beads there must be.

    Raises:
        ValueError: for missing or wrong dimensions, another number of beads, or positions that are not finite.
    """
    if not isinstance(ensemble, xr.Dataset) or "positions" not in ensemble:
        raise ValueError("the ensemble is a Dataset with `positions`, as coarse_grain and simulate return")
    positions = ensemble["positions"]
    if "bead" not in positions.dims or "xyz" not in positions.dims:
        raise ValueError(f"positions have dims {positions.dims}; they need (frame, bead, xyz), with draw before or not")
    extra = {str(dim) for dim in positions.dims} - {"draw", "frame", "bead", "xyz"}
    if extra:
        raise ValueError(f"positions have a dimension {min(extra)!r}; they need (frame, bead, xyz), with draw or not")
    draws = "draw" in positions.dims
    for name in ("frame", "draw"):
        if name not in positions.dims:
            positions = positions.expand_dims(name)
    values = positions.transpose("draw", "frame", "bead", "xyz").values.astype(float)
    if values.shape[2:] != (n_beads, 3):
        raise ValueError(
            f"the ensemble has {values.shape[2]} beads in {values.shape[3]} directions, but the map of the conditional "
            f"has {n_beads} in 3: they do not belong together; give one molecule, or several of its kind"
        )
    if 0 in values.shape:
        raise ValueError("the ensemble has no frames")
    if not np.all(np.isfinite(values)):
        where = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"the position of bead {where[2]} in frame {where[1]} is not finite")
    return Beads(values, draws)


def check_beads(values: np.ndarray, conditional: Conditional, *, periodic: bool) -> None:
    """Whether atoms can belong to beads.

    Args:
        values: (draw, frame, bead, 3) [nm].
        conditional: of these atoms.
        periodic: whether beads may have been cut by a box.

    Raises:
        ValueError: for beads that no chain of bonds can join, or what the conditional objects to.
    """
    _check_reach(values, np.asarray(conditional.fibre.reach), periodic)
    complaints = {}
    for draw, frame in np.ndindex(values.shape[:2]):
        words = conditional.complaint(values[draw, frame])
        if words is not None:
            complaints[frame] = words
    if complaints:
        shown = "; ".join(f"frame {frame}: {words}" for frame, words in list(complaints.items())[:_SHOWN])
        raise ValueError(f"{len(complaints)} CG frames cannot be backmapped: {shown}")


def _check_reach(values: np.ndarray, reach: np.ndarray, periodic: bool) -> None:
    apart = np.linalg.norm(values[:, :, :, None] - values[:, :, None, :], axis=-1)
    finite = np.isfinite(reach) & (reach > 0)
    ratio = np.where(finite, apart, 0.0) / np.where(finite, reach, 1.0)
    if ratio.max(initial=0.0) <= 1:
        return
    draw, frame, i, j = np.unravel_index(np.argmax(ratio), ratio.shape)
    typical = np.median(ratio[:, :, finite])
    if typical > 1:
        remedy = "positions look like Angstrom: divide them by ten" if typical < 10 else "the unit must be nm"
    elif periodic:
        remedy = "is the molecule cut by the periodic boundary? Make it whole first; if not, drop the frame"
    else:
        remedy = "drop the frame"
    raise ValueError(
        f"no atoms can belong to frame {frame}: its beads {i} and {j} are {apart[draw, frame, i, j]:.3g} nm apart, and "
        f"the bonds between them reach {reach[i, j]:.3g} nm at most; {remedy}"
    )


def reduced_energy(target, ensemble: xr.Dataset, n_atoms: int) -> Energy:
    """Beta U of positions, from any kind of target.

    Args:
        target: `OpenMMTarget`; `ForceField` (at the ensemble's temperature); or a function of positions (atom, 3) [nm]
            that returns beta U.
        ensemble: whose attr temperature [K] counts.
        n_atoms: that the map has.

    Raises:
        ValueError: for anything else, another number of atoms, or another temperature than the ensemble's.
    """
    given = ensemble.attrs.get("temperature")
    given = None if given is None else float(given)
    if isinstance(target, OpenMMTarget):
        field, temperature = target.force_field, target.temperature
        if given is not None and abs(given - temperature) > 0.01 * temperature:
            raise ValueError(
                f"the ensemble is of {given:g} K and the target of {temperature:g} K: atoms given beads have one "
                "temperature; make the target with the ensemble's"
            )
    elif isinstance(target, ForceField):
        field, temperature = target, given
        if temperature is None:
            raise ValueError("a ForceField has no temperature: set ensemble.attrs['temperature'] [K]")
    elif callable(target):
        return Energy(target, None if given is None else BOLTZMANN * given, given)
    else:
        raise ValueError(
            f"the target is {type(target).__name__}; give an OpenMMTarget, a ForceField, or a function of positions "
            "(atom, 3) [nm] that returns beta U"
        )
    if field.n_atoms != n_atoms:
        raise ValueError(
            f"the target has {field.n_atoms} atoms and the map {n_atoms}: mapping and topology disagree; make both "
            "from the same molecule, atoms in the same order"
        )
    thermal = BOLTZMANN * temperature
    return Energy(_Reduced(field, thermal), thermal, temperature)

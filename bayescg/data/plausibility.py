"""Are the forces in kJ/mol/nm? What equilibrium itself says about the unit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayescg.data.neighbors import pairs
from bayescg.geometry.images import minimum_image, shortest_height
from bayescg.units import ANGSTROM, BOLTZMANN, KCAL

# What a number becomes when a force of 1 kJ/mol/nm is written in another unit.
_UNITS = {
    "kcal/mol/Angstrom": 1 / 41.84,
    "kJ/mol/Angstrom": ANGSTROM,
    "kcal/mol/nm": 1 / KCAL,
    "eV/Angstrom": 1 / 964.8533,
    "eV/nm": 1 / 96.48533,
    "Hartree/Bohr": 1 / 49614.75,
    "J/mol/nm": 1e3,
    "kJ/mol/nm with the opposite sign (energy gradients)": -1.0,
    "kcal/mol/Angstrom with the opposite sign (energy gradients)": -1 / 41.84,
}
_SMALLEST, _LARGEST = 0.3, 1e4
_FRAMES, _SIGNIFICANCE, _TOLERANCE = 16, 6.0, 0.1
_APART = 5.0
"""Errors of the configurational temperature that equilibrium does not make: right input is within one, mostly."""


def check_force_magnitude(dataset: xr.Dataset, mistakes: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Refuse forces that cannot be in kJ/mol/nm; nothing is ever converted.

    Two tests. The scale: thermal forces in condensed matter are tens to thousands of kT/nm per component; below 0.3
    or above 1e4 kT/nm they are refused. The unit: the temperature that forces and positions agree on
    (`configurational_temperature`) is the thermostat's if the unit is right, and a known factor off if it is not. It is
    only believed if it is known to a few percent and hits the factor of a common unit, so that forces which do not
    belong to an equilibrium at all (toy data) pass.

    Args:
        dataset: with positions, forces [kJ/mol/nm], box and temperature.
        mistakes: what else may have gone wrong where units were said -> ratio of the configurational temperature to
            the true one then.

    Returns:
        Configurational temperature and its standard error [K].

    Raises:
        ValueError: naming the likely unit; or if all forces are zero, or one constant.
    """
    thermal = BOLTZMANN * float(dataset.attrs["temperature"])
    size = float(np.sqrt(np.mean(np.square(dataset["forces"].values, dtype=np.float64))))
    escape = (
        'nothing is converted for you; if they are meant, give forces="unchecked" to coarse_grain or stream, or arrays '
        "by bayescg.data.with_forces(dataset, forces, check=False)"
    )
    if size == 0.0:
        raise ValueError("all forces are zero: the trajectory has no forces; leave them out or write them (nstfout)")
    flat = dataset["forces"].values.reshape(-1, 3)
    if len(flat) > 1 and np.all(flat == flat[0]):
        raise ValueError(f"all beads have the force {flat[0].tolist()} kJ/mol/nm in all frames: these are no forces")
    measured, error = configurational_temperature(dataset)
    ratio = measured / float(dataset.attrs["temperature"])
    unit = _recognized_unit(ratio, error / max(abs(measured), 1e-9), {**_UNITS, **(mistakes or {})})
    if unit is not None:
        raise ValueError(
            f"forces of {size:.3g} kJ/mol/nm (rms) do not fit {dataset.attrs['temperature']:g} K: they look like "
            f"{unit}; convert them to kJ/mol/nm ({escape})"
        )
    if not _SMALLEST <= size / thermal <= _LARGEST:
        nearest = min(_UNITS, key=lambda name: abs(np.log(size / thermal / abs(_UNITS[name]) / 100)))
        raise ValueError(
            f"forces of {size:.3g} kJ/mol/nm (rms) are implausible: thermal forces are some 10 to 1000 kT/nm, here "
            f"{10 * thermal:.3g} to {1000 * thermal:.3g}. They look like {nearest}; convert them to kJ/mol/nm "
            f"({escape})"
        )
    return measured, error


def errors_apart(measured: float, error: float, temperature: float) -> float | None:
    """By how many of its errors the configurational temperature misses the thermostat's, where that is too far.

    Args:
        measured: configurational temperature [K]; NaN where unknown.
        error: its standard error [K].
        temperature: of the thermostat [K].

    Returns:
        None where positions and forces may belong together, or nothing is known.
    """
    apart = abs(measured - temperature) / max(error, 1e-9)
    return float(apart) if apart > _APART else None


def warn_of_other_forces(measured: float, error: float, temperature: float) -> None:
    """Warn of forces and positions that do not belong together, or not to this temperature. Arguments as above."""
    apart = errors_apart(measured, error, temperature)
    if apart is not None:
        warnings.warn(
            f"positions and forces agree on a temperature of {measured:.0f} ± {error:.0f} K, {apart:.0f} errors from "
            f"{temperature:g} K: they do not belong together. Are forces of another frame or simulation, in another "
            "unit, or of only a part of the force field? Is the temperature right, and the system in equilibrium? If "
            'this is meant, give forces="unchecked" to coarse_grain or stream',
            stacklevel=6,
        )


def configurational_temperature(dataset: xr.Dataset) -> tuple[float, float]:
    """Temperature [K] at which positions and forces belong together, and its standard error.

    In equilibrium <F . v> = -kT <div v> for every vector field v of the positions (integration by parts; Jepps, Ayton
    and Evans, Phys. Rev. E 62, 4757 (2000), doi 10.1103/PhysRevE.62.4757). It also holds for instantaneous mapped
    forces, whose conditional mean is the mean force. The field here pushes close beads apart,
    v_i = sum_j (1 - r_ij/R)^2 (x_i - x_j)/r_ij, with R one and a half times the typical nearest distance.

    Args:
        dataset: with positions, forces and box; at most 16 frames are used. Their weights, if any, count.

    Returns:
        Temperature and standard error [K]; (nan, inf) where no bead has a neighbor.
    """
    chosen = np.unique(np.linspace(0, dataset.sizes["frame"] - 1, _FRAMES).astype(int))
    part = dataset.isel(frame=chosen)
    points = part["positions"].values.astype(np.float64)
    forces = part["forces"].values.astype(np.float64)
    boxes = part["box"].values.astype(np.float64)
    reach = _reach(points[0], boxes[0])
    work, divergence = [], []
    weights = part["weight"].values if "weight" in part else np.ones(len(points))
    largest = max(float(np.max(weights)), 1e-300)
    for x, f, box, own in zip(points, forces, boxes, weights, strict=True):
        if reach is None or reach > shortest_height(box) / 2:
            return float("nan"), float("inf")
        i, j = pairs(x, box, reach).T
        vector = minimum_image(x[i] - x[j], box)
        r = np.maximum(np.sqrt((vector**2).sum(axis=1)), 1e-9)
        weight = (1 - r / reach) ** 2
        work.append(weight * ((f[i] - f[j]) * vector).sum(axis=1) / r)
        divergence.append(2 * (-2 * (1 - r / reach) / reach + 2 * weight / r))
        work[-1], divergence[-1] = own / largest * work[-1], own / largest * divergence[-1]
    w, d = np.concatenate(work), np.concatenate(divergence)
    if len(d) < 50 or d.sum() == 0:
        return float("nan"), float("inf")
    thermal = -w.sum() / d.sum()
    # Pairs that share a bead are correlated: doubling the variance covers what is seen in liquids.
    error = np.sqrt(2 * np.sum((w + thermal * d) ** 2)) / abs(d.sum())
    return thermal / BOLTZMANN, error / BOLTZMANN


def _recognized_unit(ratio: float, error: float, units: Mapping[str, float]) -> str | None:
    """Another unit, or None where the forces fit theirs or nothing can be said.

    Args:
        ratio: of the configurational temperature to the true one.
        error: of the ratio, relative; NaN where unknown.
        units: ratios by what would explain them.
    """
    if not error < 1 / _SIGNIFICANCE:
        return None
    for unit, factor in units.items():
        if abs(ratio / factor - 1) < _TOLERANCE + error:
            return unit
    return None


def _reach(points: NDArray, box: NDArray) -> float | None:
    """One and a half times the median distance to the nearest bead [nm]; None for fewer than two beads."""
    if len(points) < 2:
        return None
    # The volume per bead bounds the search; in a dilute system half the box does.
    start = min(2.0 * (np.linalg.det(box) / len(points)) ** (1 / 3), shortest_height(box) / 2)
    i, j = pairs(points, box, start).T
    if len(i) == 0:
        return None
    r = np.sqrt((minimum_image(points[i] - points[j], box) ** 2).sum(axis=1))
    nearest = np.full(len(points), np.inf)
    np.minimum.at(nearest, i, r)
    np.minimum.at(nearest, j, r)
    return min(1.5 * float(np.median(nearest[np.isfinite(nearest)])), shortest_height(box) / 2)

"""Thermodynamic observables: kinetic temperature, potential energy, virial pressure.

Energy and pressure depend on the coefficients, not on the configuration alone. Ensembles carry them for the
coefficients that they were simulated with. For frames that are reweighted (`propagate`) both are linear in the
coefficients, so that each draw gets its own from the same frames.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg.data.trajectories.vacuum import refuse_open
from bayescg.observables._blocks import (
    BlockAverages,
    block_averages,
    block_of_frame,
    frame_weights,
    given_or_own,
    to_array,
)
from bayescg.observables._virial import basis_virials
from bayescg.units import BAR, BOLTZMANN


def kinetic_temperature(
    dataset: xr.Dataset,
    *,
    degrees_of_freedom: int | None = None,
    blocks: int | None = None,
    weights: ArrayLike | xr.DataArray | None = None,
) -> xr.DataArray:
    """Temperature of the bead velocities, sum m v^2 / (k_B n_dof).

    Velocities must be synchronous with positions: half-step velocities of a leapfrog give another temperature.

    Args:
        dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz) with `velocities` [nm/ps] and the
            coordinate `mass` [Da].
        degrees_of_freedom: None: 3 per bead, as for Langevin dynamics; 3 less if the total momentum was removed.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`.

    Returns:
        [K], dims (draw, block) or (block,).

    Raises:
        ValueError: if there are no velocities or masses, or blocks or weights do not fit.
    """
    if "mass" not in dataset.coords:
        raise ValueError("the dataset has no coordinate 'mass': a temperature needs the masses of the beads")
    mass = dataset["mass"].values.astype(np.float64)
    degrees = 3 * len(mass) if degrees_of_freedom is None else degrees_of_freedom
    if degrees < 1:
        raise ValueError(f"degrees_of_freedom={degrees_of_freedom}: give a positive number")

    def frame_function(velocities: NDArray, box: NDArray) -> tuple[NDArray, float]:
        return np.array((mass[:, None] * velocities**2).sum() / (BOLTZMANN * degrees)), 1.0

    averages = block_averages(
        dataset,
        frame_function,
        (),
        blocks=blocks,
        weights=weights,
        description="kinetic temperature",
        variable="velocities",
    )
    attrs: dict[str, object] = {"long_name": "kinetic temperature", "units": "K"}
    return to_array(averages, dataset, name="kinetic_temperature", axis=None, attrs=attrs)


def potential_energy(
    dataset: xr.Dataset, *, blocks: int | None = None, weights: ArrayLike | xr.DataArray | None = None
) -> xr.DataArray:
    """Potential energy of an ensemble, or inside `propagate` of each draw, U_d = baseline + w_d . dU/dw.

    Args:
        dataset: ensemble from `simulate`.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `rdf`. They change how much each frame counts. The energy of a frame
            is that of the ensemble's own coefficients, except inside `propagate`.

    Returns:
        [kJ/mol], of the whole system, dims (draw, block) or (block,).

    Raises:
        ValueError: if the dataset has no energies, or blocks or weights do not fit.
    """
    values = _stored(dataset, "potential_energy")
    if "target_coefficients" in dataset:
        values = values + _changed(dataset, dataset["basis_energy"].values)
    return _series(dataset, values, blocks, weights, "potential_energy", "potential energy", "kJ/mol")


def virial_pressure(
    dataset: xr.Dataset, *, blocks: int | None = None, weights: ArrayLike | xr.DataArray | None = None
) -> xr.DataArray:
    """Pressure N k T / V + tr(virial) / 3V of an ensemble, or inside `propagate` of each draw.

    T is the thermostat's temperature. Forces at constant volume do not determine the pressure, so that a force-matched
    model has in general another pressure than the atoms at the same density.

    Args:
        dataset: ensemble from `simulate`.
        blocks: number of contiguous blocks of frames, as in `rdf`.
        weights: (draw, frame) or (frame,), as in `potential_energy`.

    Returns:
        [bar], dims (draw, block) or (block,).

    Raises:
        ValueError: if the dataset has no virials, blocks or weights do not fit, or the beads are in vacuum.
    """
    refuse_open(dataset, "there is no volume that could have a pressure", "observe potential_energy")
    name = "pressure" if "pressure" in dataset else "virial"
    values = _stored(dataset, name)
    if name == "virial":
        volume = abs(np.linalg.det(dataset["box"].values))
        trace = np.trace(values, axis1=-2, axis2=-1)
        if "target_coefficients" in dataset:
            trace = trace + _changed(dataset, basis_virials(dataset))
        thermal = dataset.sizes["bead"] * BOLTZMANN * float(dataset.attrs["temperature"])
        values = (thermal + trace / 3) / volume * BAR
    return _series(dataset, values, blocks, weights, "virial_pressure", "virial pressure", "bar")


def _changed(dataset: xr.Dataset, responses: NDArray) -> NDArray:
    """(target, frame) change of a linear quantity from each frame's own coefficients to those of each target."""
    own = np.einsum("fb,fb->f", dataset["coefficients"].values, responses)
    return dataset["target_coefficients"].values @ responses.T - own


def _stored(dataset: xr.Dataset, name: str) -> NDArray:
    """A variable of an ensemble, (draw, frame, ...) or (frame, ...)."""
    if name not in dataset:
        raise ValueError(f"the dataset has no {name!r}: energies and pressures are those of ensembles from simulate")
    if "frame" not in dataset[name].dims:
        raise ValueError("the dataset has no dimension 'frame': select frames with isel(frame=[k]), not isel(frame=k)")
    lead = [dim for dim in ("draw", "frame") if dim in dataset[name].dims]
    values = dataset[name].transpose(*lead, ...).values.astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} has values that are not finite: leave out what blew up with isel")
    return values


def _series(
    dataset: xr.Dataset,
    values: NDArray,
    blocks: int | None,
    weights: ArrayLike | xr.DataArray | None,
    name: str,
    label: str,
    units: str,
) -> xr.DataArray:
    """Block averages of numbers (draw, frame) or (frame,) that are known for each frame."""
    has_draws = "draw" in dataset.dims
    frames = values.shape[-1]
    weights = given_or_own(weights, dataset)
    weight = frame_weights(weights, dataset.sizes["draw"] if has_draws else None, frames)
    if values.ndim == 2 and len(weight) not in (1, len(values)):
        raise ValueError(f"weights of {len(weight)} draws do not fit the {len(values)} sets of coefficients")
    member = np.eye(int(block_of_frame(frames, blocks)[-1]) + 1)[block_of_frame(frames, blocks)]
    weight = np.broadcast_to(weight, np.broadcast_shapes(weight.shape, np.atleast_2d(values).shape))
    total = weight @ member
    averages = np.divide((weight * values) @ member, total, out=np.full(total.shape, np.nan), where=total > 0)
    shared = not has_draws and (values.ndim == 2 or (weights is not None and np.ndim(weights) == 2))
    result = BlockAverages(averages, total, shared, has_draws or shared)
    return to_array(result, dataset, name=name, axis=None, attrs={"long_name": label, "units": units})

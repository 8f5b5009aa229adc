"""Thermodynamic observables that follow from coordinates and velocities alone.

The virial pressure and the configurational temperature need the potential: the ensemble carries them as diagnostics.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg.data.units import BOLTZMANN
from bayescg.observables._blocks import block_averages, to_array


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

"""Observables from functions of one frame: any function of positions and box, averaged and reweighted like ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg.observables._blocks import block_averages, to_array


@dataclass(frozen=True)
class PerFrame:
    """An observable made by `per_frame`: call it with a dataset, or hand it to `propagate`.

    Attributes:
        function: of positions (bead, 3) [nm] and box (3, 3) [nm].
        name: of the result.
        units: of the result.
    """

    function: Callable[[NDArray, NDArray], ArrayLike]
    name: str
    units: str

    def __call__(
        self,
        dataset: xr.Dataset,
        *,
        blocks: int | None = None,
        weights: ArrayLike | xr.DataArray | None = None,
    ) -> xr.DataArray:
        """Average the function over blocks of frames.

        Args:
            dataset: CG trajectory (frame, bead, xyz) or ensemble (draw, frame, bead, xyz).
            blocks: number of contiguous blocks of frames, as in `rdf`.
            weights: (draw, frame) or (frame,), as in `rdf`.

        Returns:
            Dims (draw, block, ...) or (block, ...); the dimensions of an array are named component, component_1, ...

        Raises:
            ValueError: if the function gives something that is not finite or changes its shape.
        """
        lead = {dim: 0 for dim in ("draw",) if dim in dataset["positions"].dims}
        first = dataset.isel(lead, missing_dims="ignore").isel(frame=[0])
        box = np.broadcast_to(first["box"].transpose(..., "vector", "xyz").values, (1, 3, 3))[0]
        shape = self._value(first["positions"].transpose("frame", "bead", "xyz").values[0].astype(float), box).shape

        def frame_function(positions: NDArray, box: NDArray) -> tuple[NDArray, float]:
            value = self._value(positions, box)
            if value.shape != shape:
                raise ValueError(
                    f"{self.name} has the shape {value.shape} in one frame and {shape} in the "
                    "first: it must be the same in all"
                )
            return value.ravel(), 1.0

        size = int(np.prod(shape))
        averages = block_averages(
            dataset, frame_function, (size,), blocks=blocks, weights=weights, description=self.name
        )
        attrs: dict[str, object] = {"long_name": self.name, "units": self.units}
        flat = to_array(averages, dataset, name=self.name, axis=("component", np.arange(size), {}), attrs=attrs)
        if len(shape) == 1:
            return flat
        if not shape:
            return flat.isel(component=0, drop=True)
        names = ["component", *(f"component_{k}" for k in range(1, len(shape)))]
        values = flat.values.reshape(*flat.shape[:-1], *shape)
        coords = {name: c.variable for name, c in flat.coords.items() if "component" not in c.dims}
        return xr.DataArray(values, coords, [*flat.dims[:-1], *names], flat.name, flat.attrs)

    def _value(self, positions: NDArray, box: NDArray) -> NDArray:
        value = np.asarray(self.function(positions, box), dtype=np.float64)
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{self.name} gives values that are not finite")
        return value


def per_frame(
    function: Callable[[NDArray, NDArray], ArrayLike], *, name: str | None = None, units: str = "1"
) -> PerFrame:
    """Make an observable of a function of one frame.

    The function is called once for each frame, in threads, however many draws the frames are reweighted to. The
    observable is the average of the function over frames. Free energies and other non-linear functions of averages
    cannot be computed like this.

        width = per_frame(lambda positions, box: np.ptp(positions[:, 2]), name="width", units="nm")
        width(ensemble)
        propagate(posterior, reference, width, key=key)

    Args:
        function: of positions (bead, 3) [nm], which in ensembles are unwrapped, and box (3, 3) [nm]; gives a number or
            an array of a fixed shape.
        name: of the result; None: that of the function.
        units: of the result.

    Returns:
        The observable.
    """
    chosen = name or getattr(function, "__name__", "observable")
    return PerFrame(function, "observable" if chosen == "<lambda>" else chosen, units)

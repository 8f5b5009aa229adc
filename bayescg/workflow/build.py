"""From settings to objects: trajectory, mapping, kernels, observables."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import xarray as xr

from bayescg import observables as observable_room
from bayescg.data import Mapping, load, stream
from bayescg.data.trajectories.universe import open_universe
from bayescg.kernels import by_name
from bayescg.workflow.config import Config
from bayescg.workflow.items import Observable


class Frames:
    """Mapped frames, read anew by every iteration; those of a trajectory are never held together.

    Args:
        config: the settings. A coarse-grained dataset is read as a whole, a trajectory chunk by chunk.

    Attributes:
        count: how many frames there are.
    """

    def __init__(self, config: Config):
        given = config.input
        self._config = config
        self._window = slice(given.start, given.stop, given.step)
        if given.dataset is not None:
            self._dataset = load(config.path(given.dataset))
            if given.temperature is not None:
                self._dataset = self._dataset.assign_attrs(temperature=given.temperature)
            self._numbers = range(*self._window.indices(self._dataset.sizes["frame"]))
            self._dataset = self._dataset.isel(frame=self._window)
            self.count = self._dataset.sizes["frame"]
            if self.count == 0:
                raise ValueError(f"{given.dataset} has no frames between start and stop")
            return
        self._dataset = None
        files = [config.path(name) for name in given.trajectory]
        self._universe = open_universe(config.path(given.topology), files, units=given.units, timestep=given.timestep)
        self._mapping = mapping_of(config, self._universe)
        self._numbers = range(*self._window.indices(self._universe.trajectory.n_frames))
        self.count = len(self._numbers)

    def __iter__(self) -> Iterator[xr.Dataset]:
        if self._dataset is not None:
            for begin in range(0, self.count, 50):
                yield self._dataset.isel(frame=slice(begin, begin + 50))
            return
        given = self._config.input
        yield from stream(
            self._universe,
            self._mapping,
            temperature=given.temperature,
            start=given.start,
            stop=given.stop,
            step=given.step,
        )

    def chunks(self, size: int = 200) -> list[Callable[[], Frames]]:
        """Functions that open so many successive frames each, wherever they are called."""
        numbers = self._numbers if self._numbers.step > 0 else self._numbers[::-1]
        return [self._opening(numbers[begin : begin + size]) for begin in range(0, len(numbers), size)]

    def last(self) -> Frames:
        """The last frame alone."""
        return self._opening(range(self._numbers[-1], self._numbers[-1] + 1))()

    def _opening(self, numbers: range) -> Callable[[], Frames]:
        part = {"start": numbers[0], "stop": numbers[-1] + 1, "step": numbers.step}
        given = dataclasses.replace(self._config.input, **part)
        return functools.partial(
            Frames, dataclasses.replace(self._config, input=given, file=self._config.file.absolute())
        )


def mapping_of(config: Config, universe) -> Mapping:
    """The mapping that a configuration asks for."""
    chosen, constraints = config.mapping, config.input.constraints
    if chosen.file:
        return Mapping.from_yaml(config.path(chosen.file), universe, constraints=constraints)
    if chosen.votca:
        return Mapping.from_votca([config.path(name) for name in chosen.votca], universe, constraints=constraints)
    make = Mapping.center_of_mass if chosen.center == "mass" else Mapping.center_of_geometry
    return make(universe, chosen.by, chosen.names or None, select=chosen.select, constraints=constraints)


def kernels_of(names: dict[str, str]) -> dict[str, object]:
    """GPJax kernels by the names of their classes.

    Raises:
        ValueError: for a class that GPJax does not have.
    """
    found = {}
    for term, name in names.items():
        try:
            found[term] = by_name(name)
        except ValueError as error:
            raise ValueError(f"kernel of {term}: {error}") from None
    return found


def measure(observable: Observable, dataset: xr.Dataset, blocks: int | None = None) -> xr.DataArray:
    """Compute an observable of a trajectory or an ensemble.

    Args:
        observable: which.
        dataset: trajectory or ensemble.
        blocks: instead of the observable's own number.
    """
    function = getattr(observable_room, observable.kind)
    chosen = observable.blocks if blocks is None else blocks
    if chosen is not None:
        chosen = min(chosen, dataset.sizes["frame"])
    return function(dataset, *observable.beads, blocks=chosen, **dict(observable.options))

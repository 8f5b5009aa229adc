"""Settings and progress of an iterative fit to structure: what every iteration found, and the file it goes on from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg._checksum import check
from bayescg._runtime import write_netcdf
from bayescg.inference.structural.reweighting import Reference
from bayescg.inference.structural.structure import Frames
from bayescg.samplers.settings import Sampling
from bayescg.simulation import Langevin

_FORMAT = 3
_DYNAMICS = Langevin()
_SAMPLING = Sampling()


@dataclass(frozen=True)
class Refinement:
    """How an iterative fit to structure simulates, and when it ends.

    Each iteration simulates a reference ensemble with the current coefficients, and takes Newton steps by reweighting
    it. The last reference is the longest: its length follows from `noise`. One more run, as long, checks the result.

    Attributes:
        iterations: largest number of reference simulations, the last one included and the run that checks left out.
        time: sampled time of each run of a reference [ps].
        runs: independent runs of each reference, in parallel.
        noise: variance that the finite length of the last reference may add to the fit, as a share of the variance that
            the finite length of the data gives it.
        longest: largest time of each run of the last reference [ps].
        overlap: effective share of frames down to which reweighting is trusted.
        dynamics: of the references.
        engine: of the references, see `simulate`.
        sampling: numbers of chains and draws.
        target_pressure: [bar]; after convergence, a linear ramp on the pairs moves the virial pressure there. The
            posterior is then no longer that of the structure alone, and its attributes say what this costs in g(r).
            None: no ramp.
        checkpoint: netCDF file, written after every simulation; an interrupted fit goes on from it. None: no file.

    Raises:
        ValueError: if a number is out of its range: `iterations` and `runs` at least 1, times and `noise` positive,
            `overlap` in (0, 1), the pressure finite.
    """

    iterations: int = 10
    time: float = 50.0
    runs: int = 2
    noise: float = 0.1
    longest: float = 2000.0
    overlap: float = 0.2
    dynamics: Langevin = _DYNAMICS
    engine: str = "auto"
    sampling: Sampling = _SAMPLING
    target_pressure: float | None = None
    checkpoint: str | os.PathLike[str] | None = None

    def __post_init__(self):
        if self.iterations < 1 or self.runs < 1:
            raise ValueError(f"iterations and runs must be at least 1; got {self.iterations} and {self.runs}")
        for name in ("time", "longest", "noise"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite; got {value}")
        if not 0 < self.overlap < 1:
            raise ValueError(f"overlap is a share of frames, in (0, 1); got {self.overlap}")
        if self.target_pressure is not None and not math.isfinite(self.target_pressure):
            raise ValueError(f"target_pressure={self.target_pressure}: give a finite pressure in bar, or None")


class Iteration(NamedTuple):
    """What one reference simulation said.

    Attributes:
        coefficients: (basis,) that were simulated [kJ/mol].
        gradient: (basis,) of the relative entropy per frame, beta (<A>_data - <A>_model) [mol/kJ].
        z: (basis,) difference of <A> over its standard error, both ensembles' in it; nan where neither visits.
        length: standard deviation of beta dU of the Newton step from here.
        noise: length that chance in the simulation alone would give that step.
        step: the part of that step that was taken, same unit.
        overlap: effective share of the reference's frames at the end of the step.
        structure: mean |z| of the histograms of all terms, of g(r) for pairs; about 0.8 where all errors are chance.
        pressure: [bar].
        time: simulated [ps], all runs together; 0 for an ensemble that was given.
    """

    coefficients: Float[np.ndarray, " basis"]
    gradient: Float[np.ndarray, " basis"]
    z: Float[np.ndarray, " basis"]
    length: float
    noise: float
    step: float
    overlap: float
    structure: float
    pressure: float
    time: float


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit stands between two simulations.

    Attributes:
        position: free coordinates to be simulated next.
        before: those of the last reference.
        slope: of the minus log posterior there along the step to `position`; 0 where there is none.
        time: of each run of the next reference [ps].
        last: whether that is meant to be the last one.
        done: nothing is left to simulate.
        radius: largest next step [standard deviation of beta dU].
        records: of the iterations so far.
        reference: the last reference.
        fresh: a run of the posterior mean that no step has seen, after convergence.
    """

    position: Float[np.ndarray, " free"]
    before: Float[np.ndarray, " free"]
    time: float
    last: bool
    done: bool
    radius: float
    slope: float = 0.0
    records: tuple[Iteration, ...] = ()
    reference: Reference | None = field(default=None, repr=False)
    fresh: Reference | None = field(default=None, repr=False)

    def then(self, **changes) -> State:
        """The state with some fields changed."""
        return replace(self, **changes)


def table(records: Sequence[Iteration]) -> xr.Dataset:
    """Iterations as a Dataset with dims (iteration, basis)."""
    units = {"coefficients": "kJ/mol", "gradient": "mol/kJ", "pressure": "bar", "time": "ps"}
    variables = {}
    for name in Iteration._fields:
        values = np.stack([np.asarray(getattr(record, name), float) for record in records])
        dims = ("iteration", "basis") if values.ndim == 2 else ("iteration",)
        variables[name] = (dims, values, {"units": units.get(name, "1")})
    return xr.Dataset(variables, {"iteration": np.arange(len(records))})


def save(state: State, path: str | Path, identity: str) -> None:
    """Write a state, atomically.

    Args:
        state: after at least one iteration.
        path: netCDF file.
        identity: of the fit that it belongs to.
    """
    data = table(state.records)
    assert state.reference is not None
    data["position"], data["before"] = ("free", state.position), ("free", state.before)
    ranges = {}
    for name, run in (("reference", state.reference), ("fresh", state.fresh)):
        if run is not None:
            data.update(_packed(run, name))
            ranges[name] = {term: list(pair) for term, pair in run.frames.ranges.items()}
    scalars = {"time": state.time, "last": state.last, "done": state.done, "radius": state.radius, "slope": state.slope}
    data.attrs = {
        "kind": "relative entropy checkpoint",
        "format": _FORMAT,
        "identity": identity,
        "state": json.dumps({**scalars, "ranges": ranges, "kT": state.reference.kT}),
    }
    write_netcdf(data, path)


def load(path: str | Path, identity: str) -> State:
    """Read a state.

    Raises:
        ValueError: if the file is no checkpoint of this fit.
    """
    try:
        check(path)
        data = xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable netCDF file: {error}; delete it to begin anew") from error
    if data.attrs.get("kind") != "relative entropy checkpoint" or int(data.attrs.get("format", 0)) != _FORMAT:
        raise ValueError(f"{path} is no checkpoint of relative_entropy: give another path")
    if data.attrs["identity"] != identity:
        raise ValueError(
            f"{path} is the checkpoint of another fit (other data, potential, start, settings or key): give another "
            "path, or delete it to begin anew"
        )
    scalars = json.loads(data.attrs["state"])
    ranges, kT = scalars.pop("ranges"), scalars.pop("kT")
    runs = {name: _unpacked(data, name, own, kT) for name, own in ranges.items()}
    columns = [data[name].values for name in Iteration._fields]
    rows = zip(*(list(each) if each.ndim == 2 else each.tolist() for each in columns), strict=True)
    records = tuple(Iteration(*row) for row in rows)
    return State(
        data["position"].values,
        data["before"].values,
        **scalars,
        records=records,
        reference=runs["reference"],
        fresh=runs.get("fresh"),
    )


def _packed(run: Reference, prefix: str) -> dict[str, tuple]:
    """A reference as variables of a dataset."""
    axes = (f"{prefix}_run", f"{prefix}_frame")
    found: dict[str, tuple] = {
        f"{prefix}_basis": ((*axes, "basis"), run.frames.basis),
        f"{prefix}_strained": ((*axes, "basis"), run.frames.strained),
        f"{prefix}_baseline": ((*axes, "part"), run.frames.baseline),
        f"{prefix}_energy": (axes, run.energy),
    }
    counts = {f"{prefix}_counts_{n}": ((*axes, f"interval_{n}"), c) for n, c in run.frames.counts.items()}
    return found | counts


def _unpacked(data: xr.Dataset, prefix: str, ranges: dict[str, list[float]], kT: float) -> Reference:
    frames = Frames(
        data[f"{prefix}_basis"].values,
        data[f"{prefix}_strained"].values,
        data[f"{prefix}_baseline"].values,
        {name: data[f"{prefix}_counts_{name}"].values for name in ranges},
        {name: (low, high) for name, (low, high) in ranges.items()},
    )
    return Reference(frames, data[f"{prefix}_energy"].values, kT)

"""The ensemble: simulated draws put together into one `xarray.Dataset`."""

from __future__ import annotations

import dataclasses
import json
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayescg._version import ORIGIN
from bayescg.posterior import Draws
from bayescg.simulation.dynamics import System, Trajectory
from bayescg.simulation.measure import Measurement, configurational_temperature
from bayescg.units import BAR, BOLTZMANN

_KEPT_VARIABLES = ("bonds", "angles", "dihedrals")
_KEPT_COORDS = ("bead_type", "molecule", "mass", "charge", "bond_group", "angle_group", "dihedral_group", "xyz")
_KEPT_ATTRS = ("source", "mapping", "units", "boundary")


class Finished(NamedTuple):
    """A draw that has been simulated and measured."""

    trajectory: Trajectory
    measurement: Measurement


def assemble(
    system: System, start: xr.Dataset, chosen: Draws, finished: dict[int, Finished], engine: str
) -> xr.Dataset:
    """Put finished draws together, in their order.

    Args:
        system: what was simulated.
        start: the initial configuration: types, molecules, bonds are taken over.
        chosen: the coefficients and where in the posterior they stand.
        finished: by number of the draw.
        engine: which engine ran.

    Returns:
        The ensemble; see `simulate`.
    """
    numbers = sorted(finished)
    trajectories = [finished[k].trajectory for k in numbers]
    measured = [finished[k].measurement for k in numbers]
    potential = system.interactions.potential
    virial = np.stack([m.virial for m in measured])
    thermal = len(system.mass) * BOLTZMANN * system.temperature
    pressure = (thermal + np.trace(virial, axis1=-2, axis2=-1) / 3) / abs(np.linalg.det(system.box)) * BAR
    outside = np.stack([m.outside.sum(axis=0) for m in measured])
    count = np.stack([m.interactions.sum(axis=0) for m in measured])[..., None]
    variables = {
        "positions": (
            ("draw", "frame", "bead", "xyz"),
            np.stack([t.positions for t in trajectories]),
            {"units": "nm"},
        ),
        "box": (("vector", "xyz"), system.box, {"units": "nm"}),
        # A frame is reweighted from the coefficients that it was simulated with; labels alone would mix up posteriors.
        "coefficients": (("draw", "basis"), chosen.coefficients[np.array(numbers)], {"units": "kJ/mol"}),
        "basis_energy": (
            ("draw", "frame", "basis"),
            np.stack([m.basis for m in measured]),
            {"units": "1", "long_name": "dU/dw"},
        ),
        "potential_energy": (("draw", "frame"), np.stack([m.energy for m in measured]), {"units": "kJ/mol"}),
        "temperature": (
            ("draw", "frame"),
            np.stack([t.temperature for t in trajectories]),
            {"units": "K", "long_name": "kinetic temperature"},
        ),
        "configurational_temperature": (
            "draw",
            np.array([configurational_temperature(m) for m in measured]),
            {"units": "K"},
        ),
        "pressure": (("draw", "frame"), pressure, {"units": "bar"}),
        "virial": (("draw", "frame", "axis", "xyz"), virial, {"units": "kJ/mol"}),
        "out_of_range": (
            ("draw", "term", "side"),
            np.divide(outside, count, out=np.zeros_like(outside, float), where=count > 0),
            {"long_name": "share of interactions outside the sampled range"},
        ),
        "failed": ("draw", np.array([t.failure is not None for t in trajectories])),
        "failure": ("draw", np.array([t.failure or "" for t in trajectories], dtype=str)),
        "rebuilds": ("draw", np.array([t.rebuilds for t in trajectories]), {"long_name": "-1: not counted"}),
        "list_growth": ("draw", np.array([t.overflows for t in trajectories])),
    }
    variables |= {name: start[name].variable for name in _KEPT_VARIABLES if name in start}
    coords = {name: start[name].variable for name in _KEPT_COORDS if name in start.coords}
    index = np.array(numbers)
    coords |= {
        "draw": np.arange(len(numbers)),
        "frame": np.arange(system.frames, dtype=np.int64),
        "time": ("frame", system.dynamics.interval * np.arange(1, system.frames + 1), {"units": "ps"}),
        "posterior_chain": ("draw", chosen.chain[index]),
        "posterior_draw": ("draw", chosen.draw[index]),
        "term": [term.name for term in potential.terms],
        "side": ["below", "above"],
    }
    attrs = {name: start.attrs[name] for name in _KEPT_ATTRS if name in start.attrs}
    attrs |= {
        "temperature": system.temperature,
        "ensemble": "NVT",
        "potential": potential.to_json(),
        "exclude_bonds": potential.exclude_bonds,
        "engine": engine,
        "dynamics": json.dumps({"integrator": _INTEGRATORS[engine], **dataclasses.asdict(system.dynamics)}),
        **ORIGIN,
    }
    return xr.Dataset(variables, coords, attrs)


_INTEGRATORS = {"jax": "BAOAB", "lammps": "GJ-I (fix gjf)"}

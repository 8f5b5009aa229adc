"""Ensembles whose every expectation is known: exp(-|x|^2 / 2 - w . x) is a Gaussian of mean -w and unit variance."""

import json

import numpy as np
import xarray as xr

from bayescg.observables import per_frame
from bayescg.posterior import from_coefficients
from bayescg.potentials import Pair, Potential
from bayescg.units import BOLTZMANN

TEMPERATURE = 300.0
KT = BOLTZMANN * TEMPERATURE
SIZE = 6

first_moment = per_frame(lambda positions, box: positions.ravel(), name="x")


def potential_of_size(size):
    """A potential with so many coefficients; only their number matters here."""
    return Potential(Pair("A", "A", cutoff=0.9, knot_spacing=0.9 / size))


def posterior(rows):
    return from_coefficients(potential_of_size(rows.shape[1]), rows, temperature=TEMPERATURE)


def ensemble(rows, frames, rng, box=10.0):
    """Independent samples under each row of coefficients: U = kT (|x|^2 / 2 + w . x), x the beads' coordinates."""
    rows = np.atleast_2d(rows)
    size = rows.shape[1]
    x = rng.normal(size=(len(rows), frames, size)) - rows[:, None]
    return xr.Dataset(
        {
            "positions": (("draw", "frame", "bead", "xyz"), x.reshape(len(rows), frames, size // 3, 3)),
            "box": (("vector", "xyz"), np.eye(3) * box),
            "coefficients": (("draw", "basis"), rows),
            "basis_energy": (("draw", "frame", "basis"), KT * x),
            "potential_energy": (("draw", "frame"), KT * (0.5 * x**2 + rows[:, None] * x).sum(-1)),
            "failed": ("draw", np.zeros(len(rows), bool)),
        },
        {
            "bead_type": ("bead", ["A"] * (size // 3)),
            "mass": ("bead", np.full(size // 3, 18.0)),
            "frame": np.arange(frames),
        },
        {
            "potential": potential_of_size(size).to_json(),
            "temperature": TEMPERATURE,
            "engine": "jax",
            "dynamics": json.dumps({"timestep": 0.002, "friction": 1.0, "equilibration": 0.0, "interval": 0.1}),
        },
    )


def means(array):
    """Average of each draw over its blocks."""
    weight = array["block_weight"] / array["block_weight"].sum("block")
    return (array.fillna(0.0) * weight).sum("block").transpose("draw", ...).values


def rows_of(array, rows):
    """The coefficients of each draw of a propagated observable, chosen out of these rows."""
    return rows[array["posterior_draw"].values]

"""Virials of single coefficients, frame by frame: what the pressure of a reweighted draw needs."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg._runtime import double_precision, map_threads
from bayescg.potentials import Configuration, Interactions, Potential


def basis_virials(dataset: xr.Dataset) -> Float[np.ndarray, "frame basis"]:
    """Trace of the virial for each coefficient, -d(dU/dw)/d(strain) under a homogeneous isotropic strain.

    Args:
        dataset: frames (frame, bead, xyz) of an ensemble in one box, with the attribute `potential`.

    Returns:
        (frame, basis) [1]: the virial's trace is this times the coefficients [kJ/mol], plus what the baselines give.
    """
    potential = Potential.from_json(dataset.attrs["potential"])
    interactions = Interactions.of(potential, dataset)
    box = np.asarray(dataset["box"].values, float)
    positions = dataset["positions"].transpose("frame", "bead", "xyz").values
    # Lists as long as those of the first frame and a tenth more: few frames are then compiled for anew.
    sizes: dict[str, int] = {}
    interactions.configuration(np.asarray(positions[0], float), box, sizes=sizes)
    sizes = {name: int(1.1 * size) for name, size in sizes.items()}

    def one(frame: int) -> np.ndarray:
        configuration = interactions.configuration(np.asarray(positions[frame], float), box, sizes=dict(sizes))
        return np.asarray(_one(potential, configuration))

    with double_precision():
        return np.stack(map_threads(one, range(len(positions)), "virials"))


@partial(jax.jit, static_argnums=0)
def _one(potential: Potential, configuration: Configuration) -> Float[Array, " basis"]:
    def stretched(stretch):
        moved = configuration._replace(positions=configuration.positions * stretch, box=configuration.box * stretch)
        return potential.basis_energies(moved)

    unit = jnp.ones((), configuration.positions.dtype)
    return -jax.jvp(stretched, (unit,), (unit,))[1]

"""What is read from a posterior: its potential, temperature, mean, draws."""

from __future__ import annotations

import json
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from bayescg.posterior.layout import check
from bayescg.potentials import Potential


class Draws(NamedTuple):
    """Coefficient vectors picked from a posterior.

    Attributes:
        coefficients: (draw, basis) [kJ/mol].
        chain: (draw,) chain of each vector; -1 for the posterior mean.
        draw: (draw,) number within the chain; -1 for the posterior mean.
    """

    coefficients: Float[np.ndarray, "draw basis"]
    chain: Int[np.ndarray, " draw"]
    draw: Int[np.ndarray, " draw"]


def potential_of(posterior: xr.DataTree) -> Potential:
    """The potential that a posterior belongs to.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.

    Returns:
        The potential, all ranges filled in.

    Raises:
        ValueError: if the object is no posterior of bayescg.
    """
    check(posterior, "this object")
    return Potential.from_json(posterior["posterior"].attrs["potential"])


def temperature_of(posterior: xr.DataTree) -> float:
    """Temperature of the data.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.

    Returns:
        [K].
    """
    return float(posterior["posterior"].attrs["temperature"])


def ranges_of(posterior: xr.DataTree) -> dict[str, tuple[float, float]]:
    """Sampled range of each term's descriptor.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.

    Returns:
        Name of the term -> smallest and largest value [nm or rad]; terms without a known range are left out.
    """
    stored = json.loads(posterior["posterior"].attrs.get("sampled_ranges", "{}"))
    return {name: (float(low), float(high)) for name, (low, high) in stored.items()}


def mean_coefficients(posterior: xr.DataTree) -> Float[np.ndarray, " basis"]:
    """Posterior mean of the coefficients.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.

    Returns:
        (basis,) [kJ/mol].
    """
    return np.asarray(posterior["posterior"]["coefficients"].mean(("chain", "draw")))


def draw_coefficients(posterior: xr.DataTree, draws: int | None, *, key: Array) -> Draws:
    """Pick coefficient vectors.

    Args:
        posterior: from `force_match`, `relative_entropy` or `from_coefficients`.
        draws: how many, without repetition, at random over all chains; None: the posterior mean.
        key: JAX random key.

    Returns:
        The vectors, with the chain and draw that each comes from.

    Raises:
        ValueError: if the object is no posterior of bayescg, or has fewer draws than asked for.
    """
    potential_of(posterior)
    if draws is None:
        return Draws(mean_coefficients(posterior)[None], np.array([-1]), np.array([-1]))
    values = posterior["posterior"]["coefficients"].transpose("chain", "draw", "basis").values
    chains, length, size = values.shape
    if not 1 <= draws <= chains * length:
        raise ValueError(f"draws must lie between 1 and the posterior's {chains * length}; got {draws}")
    chosen = np.sort(np.asarray(jax.random.permutation(key, chains * length))[:draws])
    return Draws(values.reshape(chains * length, size)[chosen], chosen // length, chosen % length)

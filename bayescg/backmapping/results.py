"""What follows from draws and ln Z(X): potential of mean force, mapping entropy, and a corrected CG ensemble."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayescg.samplers.importance import kish
from bayescg.units import BOLTZMANN

_MOST_VARIANCE = 2.0
"""Of ln Z: beyond, pseudo-marginal chains stick to overestimated frames (Doucet, Pitt, Deligiannidis and Kohn,
Biometrika 102, 295 (2015), doi:10.1093/biomet/asu075, advise about one to two)."""


class Corrected(NamedTuple):
    """A CG ensemble with the statistics of the atomistic model.

    Attributes:
        data: the result with the frames of the chain, in its order, some of them several times.
        frame: position in the original result of each of them.
        acceptance: share of accepted frames.
        ess: effective number of the frames' weights.
    """

    data: xr.Dataset
    frame: np.ndarray
    acceptance: float
    ess: float


def potential_of_mean_force(result: xr.Dataset) -> xr.Dataset:
    """Potential of mean force of the bead positions, -kT ln Z(X), at the CG configurations. Only differences have a
    meaning.

    exp(-W / kT) is a density over the Cartesian positions of the beads. For a potential of mean force of the distance r
    of two beads, add the volume of the shell: W(r) = -kT ln Z - 2 kT ln r.

    Args:
        result: of `sample`, by a method that gives ln Z.

    Returns:
        Dataset with `potential` and its standard error `potential_se`, [kJ/mol] (kT if the result has no temperature).

    Raises:
        ValueError: if the result has no ln Z.
    """
    log_z, error = _log_z(result)
    unit, name = _thermal(result)
    pmf = xr.Dataset({"potential": -unit * log_z, "potential_se": unit * error})
    for variable in pmf.values():
        variable.attrs["units"] = name
    pmf["reliable"] = result["reliable"]
    return pmf


def mapping_entropy(result: xr.Dataset) -> xr.Dataset:
    """Entropy of the atoms given the beads, -k int p(x|X) ln p(x|X) dx over all x with M x = X, in units of k.

    S(X)/k = ln Z(X) + <beta U>_X, with the volume of `Fibre` and lengths in nm (only differences have a meaning). The
    mapping entropy is its average over CG configurations (Foley, Shell and Noid, J. Chem. Phys. 143, 243104 (2015),
    doi:10.1063/1.4929836).

    Args:
        result: of `sample`, by a method that gives ln Z.

    Returns:
        Dataset with `entropy` and its standard error `entropy_se` for each CG configuration, in k. The two terms'
        errors are added as if they were independent.

    Raises:
        ValueError: if the result has no ln Z.
    """
    log_z, error = _log_z(result)
    unit, _ = _thermal(result)
    energy = result["energy"] / unit
    weight = xr.ufuncs.exp(result["log_weight"], keep_attrs=True)
    if "ensemble_draw" in result.dims:
        energy, weight = (_unstacked(array, result) for array in (energy, weight))
    mean = (weight * energy).sum("draw")
    variance = (weight * (energy - mean) ** 2).sum("draw")
    return xr.Dataset(
        {
            "entropy": (log_z + mean).assign_attrs(units="k"),
            "entropy_se": xr.ufuncs.sqrt(error**2 + variance / result["ess"], keep_attrs=True).assign_attrs(units="k"),
            "reliable": result["reliable"],
        }
    )


def correct_ensemble(result: xr.Dataset, cg_energy: ArrayLike, *, steps: int | None = None, key) -> Corrected:
    """Turn frames of an approximate CG model into frames of the atomistic one, by Metropolis's rule over frames.

    Frame j, proposed after frame i, is accepted with probability min(1, w_j / w_i), w = Z(X) exp(beta U_CG(X)). An
    unbiased estimate may take the place of Z(X), if it is kept as long as the chain stays at its frame. The chain is
    then still exact for beads and atoms together (Andrieu and Roberts, Ann. Stat. 37, 697 (2009),
    doi:10.1214/07-AOS574). The frames must be independent samples of exp(-beta U_CG), or nearly so.

    Args:
        result: of `sample`, by a method that gives ln Z; one CG ensemble, without ensemble draws.
        cg_energy: (frame,) U_CG [kJ/mol] (kT if the result has no temperature).
        steps: of the chain; None for as many as there are frames.
        key: JAX random key.

    Returns:
        Frames of the chain and how well it moved.

    Raises:
        ValueError: if the result has no ln Z or ensemble draws, energies do not fit, or the variance of an ln Z is 2 or
            more: the chain would stick.
    """
    log_z, error = _log_z(result)
    if "ensemble_draw" in result.dims:
        raise ValueError("the result holds an ensemble for each draw of a posterior: select one ensemble_draw first")
    energy = np.asarray(cg_energy, float)
    if energy.shape != log_z.shape or not np.all(np.isfinite(energy)):
        raise ValueError(f"cg_energy has shape {energy.shape}: give a finite one for each of {log_z.size} frames")
    worst = float(error.max() ** 2)
    if worst >= _MOST_VARIANCE or not result["reliable"].all():
        raise ValueError(
            f"the variance of ln Z is up to {worst:.2g}, and {int((~result['reliable']).sum())} frames are not "
            f"reliable: a chain can be believed below {_MOST_VARIANCE:g} and with reliable frames only; sample with "
            "more particles"
        )
    unit, _ = _thermal(result)
    log_weight = log_z.values + energy / unit
    count = len(log_weight)
    steps = count if steps is None else steps
    first, second = jax.random.split(key)
    proposal = np.asarray(jax.random.randint(first, (steps,), 0, count))
    level = np.log(np.asarray(jax.random.uniform(second, (steps,), minval=1e-12)))
    probability = np.exp(log_weight - log_weight.max())
    probability /= probability.sum()
    # Begun at the most probable frame, a short chain would remember it; the weights themselves choose.
    state = int(np.searchsorted(np.cumsum(probability), np.asarray(jax.random.uniform(jax.random.fold_in(key, 2)))))
    chain, accepted = [], 0
    for j, limit in zip(proposal, level, strict=True):
        if limit < log_weight[j] - log_weight[state]:
            state, accepted = int(j), accepted + 1
        chain.append(state)
    index = np.array(chain)
    return Corrected(result.isel(frame=index), index, accepted / steps, float(kish(probability)))


def _log_z(result: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    if "log_z" not in result or not np.all(np.isfinite(result["log_z"])):
        raise ValueError(
            f"the result of method {result.attrs.get('method', 'unknown')!r} has no ln Z: sample with 'smc', 'nuts' or "
            "'imh'"
        )
    return result["log_z"], result["log_z_se"]


def _thermal(result: xr.Dataset) -> tuple[float, str]:
    if result["energy"].attrs.get("units") == "kT":
        return 1.0, "kT"
    return BOLTZMANN * float(result.attrs["temperature"]), "kJ/mol"


def _unstacked(array: xr.DataArray, result: xr.Dataset) -> xr.DataArray:
    """(draw, frame) to (ensemble_draw, draw, frame)."""
    shape = (result.sizes["ensemble_draw"], -1, result.sizes["frame"])
    values = array.transpose("draw", "frame").values.reshape(shape)
    return xr.DataArray(values, dims=("ensemble_draw", "draw", "frame"))

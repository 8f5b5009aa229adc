"""`noise_ceiling`: how much of the mapped forces no function of the beads can explain, from replicates at fixed beads.

Mapped forces are f = g(R) + noise: the same beads R are met with many configurations of the atoms. E Var(f | R), and
with it the largest R^2 that any potential of the beads can reach, 1 - E Var(f | R) / E f^2, cannot be told from one
trajectory, which never comes to the same R twice. It can from forces that were sampled again and again with the beads
held fixed (constrained dynamics; Ciccotti, Kapral & Vanden-Eijnden, doi:10.1002/cphc.200400669).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg.geometry.images import minimum_image
from bayescg.inference.statistics.weights import refuse_weights

_ALARM = 2.0
"""Growth of the variogram at its end that is worth a warning, in standard errors; less is often chance."""
_MOVED = 1e-4
"""Beads that differ by more between replicates are not fixed [nm]; single precision makes 1e-6."""


def noise_ceiling(replicates: xr.Dataset | Iterable[xr.Dataset], *, separation: int | None = None) -> xr.Dataset:
    """Force noise at fixed beads, E Var(f | R), and the largest R^2 of any function of the beads.

    The noise variance is half the mean square difference of two independent replicates of a frame. Successive
    replicates of constrained dynamics are too similar. So only pairs at least `separation` replicates apart are used.
    If it is not given, it is the distance at which half the mean square difference has stopped to grow: the smallest
    one, up to half the run, where it is at most one standard error below its mean at all greater distances. If it still
    grows at half the run, by more than two standard errors, a warning says that the noise is too small and the ceiling
    too high.

    Motions slower than the whole run cannot be seen in it, even if the variogram looks flat. The noise is then a lower
    bound and the ceiling an upper one. Replicates from several starts, each equilibrated by itself, avoid this: with a
    coordinate `start` (replicate), only pairs of different starts are used.

    Forces are taken to have mean zero, as in every R^2 of this package. Standard errors are jackknives over frames, so
    frames must be far enough apart to be independent.

    Args:
        replicates: a CG dataset with `forces` (replicate, frame, bead, xyz), in the order of time along `replicate`,
            and `positions` with or without `replicate`; or one CG dataset for every replicate, with the same frames.
            A coordinate `start` (replicate) tells which ones belong to one run.
        separation: distance from which on two replicates are independent; 1 if all of them are. None: found as above.

    Returns:
        Dataset over `bead_type`: `noise_variance` and `force_variance`, per component [(kJ/mol/nm)^2], `ceiling`, their
        standard errors `*_se`; over all beads `r2_ceiling` and `r2_ceiling_se`, for `force_match(noise_ceiling=)`;
        `variogram` (lag) and its `variogram_se` [(kJ/mol/nm)^2]: half the mean square difference of replicates `lag`
        apart. The attributes `separation` and `replicates` say what was used.

    Raises:
        ValueError: for fewer than two replicates, frames or starts, a separation out of range, missing or infinite
            forces, beads that moved between replicates, replicates with other beads or frames, or frames with unequal
            weights.
    """
    data = _joined(replicates)
    refuse_weights(
        data, "noise_ceiling", "give it frames of the unbiased ensemble, or drop_vars('weight') for that of the bias"
    )
    forces = _forces(data)
    _check_fixed(data)
    n = len(forces)
    if separation is not None and not 1 <= separation < n:
        raise ValueError(f"separation={separation}: with {n} replicates it is between 1 and {n - 1}")
    bead_type = np.asarray(data["bead_type"].values, str)
    types = np.unique(bead_type)
    members = (bead_type == types[:, None]).astype(float)
    halves = _half_squares(forces) @ members.T  # (lag, frame, type), summed over components
    pairs = n - np.arange(1, n)
    squares = np.mean(np.sum(forces**2, axis=-1), axis=0) @ members.T
    weight = 3 * members.sum(axis=1)
    overall = halves.sum(axis=-1) / weight.sum()
    if "start" in data.coords:
        if separation is not None:
            raise ValueError("give either `separation` or the coordinate `start`: pairs of different starts are used")
        used = "between starts"
        noise = _between(forces, data["start"].values) @ members.T
    else:
        used = _separation(overall, pairs) if separation is None else separation
        noise = _pooled(halves, pairs, used)
    values = {
        "noise_variance": _jackknife(lambda kept: kept[0] / weight, noise, squares),
        "force_variance": _jackknife(lambda kept: kept[1] / weight, noise, squares),
        "ceiling": _jackknife(lambda kept: 1 - kept[0] / kept[1], noise, squares),
    }
    whole = _jackknife(lambda kept: 1 - kept[0].sum() / kept[1].sum(), noise, squares)
    variogram = _jackknife(lambda kept: kept[0], overall.T, overall.T)
    squared = {"units": "(kJ/mol/nm)^2"}
    variables: dict = {"r2_ceiling": whole[0], "r2_ceiling_se": whole[1]}
    for name, (value, error) in values.items():
        units = {} if name == "ceiling" else squared
        variables |= {name: ("bead_type", value, units), f"{name}_se": ("bead_type", error, units)}
    variables |= {name: ("lag", v, squared) for name, v in zip(("variogram", "variogram_se"), variogram, strict=True)}
    attrs = {"separation": used, "replicates": n, "frames": forces.shape[1]}
    return xr.Dataset(variables, {"bead_type": types, "lag": np.arange(1, n)}, attrs)


def _joined(replicates: xr.Dataset | Iterable[xr.Dataset]) -> xr.Dataset:
    """One dataset with the dimension `replicate`."""
    if isinstance(replicates, xr.Dataset):
        data = replicates
        if "forces" in data and "replicate" not in data["forces"].dims:
            raise ValueError(
                "the forces have no dimension `replicate`: give one dataset for every replicate in a list, or stack "
                'them by xr.concat(datasets, "replicate")'
            )
    else:
        parts = list(replicates)
        if len(parts) < 2:
            raise ValueError(f"{len(parts)} replicates: the noise at fixed beads needs two at least, better ten")
        for part in parts:
            _require_forces(part)
            for name in ("frame", "bead_type"):
                if not np.array_equal(part[name].values, parts[0][name].values):
                    raise ValueError(f"replicates differ in `{name}`: all must hold the same beads and frames")
        starts = [part["start"].values for part in parts if "start" in part and part["start"].ndim == 0]
        names = ["positions", "forces"]
        fixed = xr.concat([part[names] for part in parts], "replicate", join="override", combine_attrs="override")
        fixed = fixed.drop_vars("start", errors="ignore")
        data = parts[0].drop_vars([*names, "start"], errors="ignore").merge(fixed, compat="override", join="override")
        if len(starts) == len(parts):
            data = data.assign_coords(start=("replicate", np.stack(starts)))
    _require_forces(data)
    return data


def _require_forces(data: xr.Dataset) -> None:
    if "forces" not in data:
        raise ValueError("the replicates hold no forces: write them down at every replicate, mapped as the data were")


def _forces(data: xr.Dataset) -> Float[np.ndarray, "replicate frame bead 3"]:
    given = data["forces"]
    given = given if "frame" in given.dims else given.expand_dims("frame")
    n, frames = given.sizes["replicate"], given.sizes["frame"]
    if n < 2:
        raise ValueError(f"{n} replicates: the noise at fixed beads needs two at least, better ten")
    if frames < 2:
        raise ValueError(f"{frames} frame: without a second one there is no error; ten or more serve well")
    forces = given.transpose("replicate", "frame", "bead", "xyz").values.astype(float)
    if not np.all(np.isfinite(forces)):
        replicate, frame = np.argwhere(~np.isfinite(forces))[0][:2]
        raise ValueError(f"forces of replicate {replicate} of frame {frame} are not finite: leave that frame out")
    return forces


def _check_fixed(data: xr.Dataset) -> None:
    if "replicate" not in data["positions"].dims:
        return
    positions = data["positions"].transpose("replicate", ..., "bead", "xyz").values.astype(float)
    moved = np.abs(minimum_image(positions - positions[0], np.asarray(data["box"].values, float)[..., None, :, :]))
    if moved.max() > _MOVED:
        replicate, *frame, bead, _ = np.unravel_index(np.argmax(moved), moved.shape)
        where = f" of frame {int(frame[0])}" if frame else ""
        raise ValueError(
            f"bead {bead}{where} has moved by {moved.max():.2g} nm in replicate {replicate}: beads must be held fixed "
            "between replicates, so that the forces differ by noise alone"
        )


def _half_squares(forces: Float[np.ndarray, "replicate frame bead 3"]) -> Float[np.ndarray, "lag frame bead"]:
    """Half the mean square difference of two replicates, by their distance."""
    n = len(forces)
    return np.stack([0.5 * np.mean(np.sum((forces[k:] - forces[:-k]) ** 2, axis=-1), axis=0) for k in range(1, n)])


def _pooled(halves: Float[np.ndarray, "lag frame type"], pairs, separation: int) -> Float[np.ndarray, "frame type"]:
    """Mean over all pairs at least so far apart."""
    return np.average(halves[separation - 1 :], axis=0, weights=pairs[separation - 1 :])


def _between(forces: Float[np.ndarray, "replicate frame bead 3"], start) -> Float[np.ndarray, "frame bead"]:
    """Half the mean square difference of two replicates of different starts."""
    starts = np.unique(start)
    if len(starts) < 2:
        raise ValueError(f"all replicates are of one start, {starts}: leave `start` out, or give more of them")
    total, count = np.zeros(forces.shape[1:3]), 0
    for k, here in enumerate(start):
        others = [j for j in range(k + 1, len(start)) if start[j] != here]
        total += 0.5 * np.sum((forces[others] - forces[k]) ** 2, axis=(0, -1))
        count += len(others)
    return total / count


def _separation(overall: Float[np.ndarray, "lag frame"], pairs) -> int:
    """The smallest distance from which on replicates are no less alike."""
    last = max(1, (len(pairs) + 1) // 2)
    growth, error = 0.0, 0.0
    for lag in range(1, last + 1):
        if lag == len(pairs):
            return lag
        rest = np.average(overall[lag:], axis=0, weights=pairs[lag:])
        growth, error = _jackknife(lambda kept: kept[0] - kept[1], rest, overall[lag - 1])
        if growth <= error:
            return lag
    if growth <= _ALARM * error:
        return last
    warnings.warn(
        f"replicates {last} apart are still alike (their half mean square difference grows by {growth:.3g} +- "
        f"{error:.2g} (kJ/mol/nm)^2 beyond): the noise is too small and the ceiling too high; sample longer",
        stacklevel=3,
    )
    return last


def _jackknife(function, *parts: Float[np.ndarray, "frame ..."]) -> tuple[np.ndarray, np.ndarray]:
    """A function of means over frames, and its standard error by leaving out one frame after the other."""
    frames = len(parts[0])
    totals = [part.sum(axis=0) for part in parts]
    value = function([total / frames for total in totals])
    left = np.stack(
        [
            function([(total - part[k]) / (frames - 1) for total, part in zip(totals, parts, strict=True)])
            for k in range(frames)
        ]
    )
    return value, np.sqrt((frames - 1) / frames * np.sum((left - left.mean(axis=0)) ** 2, axis=0))

"""`sample`: atoms for CG configurations, with the statistics of exp(-beta U) given the beads."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import numpy as np
import xarray as xr

from bayescg._checkpoint import Parts, digest, parts_in
from bayescg._runtime import double_precision, progress
from bayescg._version import ORIGIN
from bayescg.atomistic.force_field import ForceField
from bayescg.atomistic.openmm_target import OpenMMTarget
from bayescg.backmapping.guides.configurations import Energy, bead_positions, reduced_energy
from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid.checks import is_liquid, liquid_beads
from bayescg.backmapping.liquid.liquid import RHAT, Annealing, Liquid, LiquidResult
from bayescg.backmapping.molecule.frame import Result, Tempering, sample_frame
from bayescg.data.trajectories.vacuum import OPEN

Method = Literal["smc", "nuts", "imh", "gp", "blocks"]
_METHODS = ("smc", "nuts", "imh", "gp", "blocks")


@dataclass
class _Done:
    """Results of the frames that are finished, and why others are not."""

    results: dict[int, list[Result] | list[LiquidResult]]
    failures: dict[int, str]
    interrupted: bool = False


def sample(
    conditional: Conditional,
    ensemble: xr.Dataset,
    target,
    *,
    draws: int = 100,
    method: Method | None = None,
    tempering: Tempering | Annealing | None = None,
    floor: float = 50.0,
    checkpoint: str | os.PathLike[str] | None = None,
    key,
) -> xr.Dataset:
    """Draw atoms for each CG configuration from p(x | X), proportional to exp(-beta U(x)) where M x = X.

    The conditional is a guide, not a factor of the density: a path of tempered densities begins at a normalized
    density, passes the guide and ends at exp(-beta U) alone. A pilot run adapts temperatures, step sizes and mass
    matrices. They are then frozen, so that exp(log_z) is unbiased.

    Methods for one molecule:

    - "smc": the particles of tempered sequential Monte Carlo.
    - "nuts": the no-U-turn sampler, started from fewer such particles.
    - "imh": independence Metropolis-Hastings with the guide as proposal, for normalized guides that are close.
    - "gp": draws of the guide alone. They are approximate, and the attribute `exact` is 0.

    An ensemble of several molecules of the conditional's kind is a liquid. Its target is a `ForceField` with the
    ensemble's box, and molecules have one order in the ensemble and in the target. Methods are "blocks" and "gp". The
    chains of "blocks" begin at the guide and move one molecule after the other, while the energy between molecules
    rises from zero. There is no ln Z.

    Args:
        conditional: gives a guide for each CG configuration.
        ensemble: `positions` of beads, (frame, bead, xyz) or (draw, frame, bead, xyz) [nm].
        target: `OpenMMTarget`; `ForceField`; or a JAX function of positions (atom, 3) [nm] that returns beta U.
        draws: number of draws of atoms for each CG configuration.
        method: see above; None: "smc", for liquids "blocks".
        tempering: how much work is done, `Tempering` or for liquids `Annealing`; None for the defaults.
        floor: a CG configuration's draws are `reliable` if its run has at least this many effective samples.
        checkpoint: folder for finished CG configurations; the same call goes on from there, and returns to the last bit
            what an uninterrupted one would. It stays until you delete it. None: no folder.
        key: JAX random key.

    Returns:
        Dataset with `positions` (draw, frame, atom, xyz) [nm], `log_weight` (draw, frame), normalized over the draws of
        a CG configuration, and `energy` (draw, frame) [kJ/mol], in kT if no temperature is known. For each CG
        configuration it has `log_z`, which is ln int exp(-beta U) delta(M x - X) dx with lengths in nm (NaN for "gp"),
        `log_z_se`, `ess` (of the draws returned), `ess_run`, `acceptance`, `evaluations` of the energy (those of the
        pilot included) and `reliable`.

        For liquids there is `rhat` in place of `log_z`: the largest split R-hat of the total energy, the energy between
        molecules, and the orientations of molecules. `reliable` follows from it and from `ess_run`, that of the
        worse-sampled energy; `evaluations` are of one molecule's energy.

        If the ensemble has draws, `draw` holds their draws of atoms one after the other, told apart by the coordinate
        `of_ensemble_draw`, and values for each CG configuration have the dims (ensemble_draw, frame).

    Raises:
        ValueError: if ensemble, map and target do not fit together, no atoms can belong to a frame's beads, or the
            method needs a normalized guide and there is none, or the checkpoint is of another call.
    """
    liquid = is_liquid(conditional, ensemble)
    method = method or ("blocks" if liquid else "smc")
    tempering = tempering or (Annealing() if liquid else Tempering())
    if method not in _METHODS:
        raise ValueError(f"method={method!r}: choose one of {', '.join(_METHODS)}")
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least one is needed")
    if isinstance(tempering, Annealing) != liquid or (method == "blocks" and not liquid):
        raise ValueError("Annealing and method='blocks' are for ensembles of several molecules, Tempering is for one")
    molecules = ensemble.sizes["bead"] // conditional.fibre.n_beads if liquid else 1
    beads = liquid_beads(ensemble, conditional) if liquid else bead_positions(ensemble, conditional)
    energy = reduced_energy(target, ensemble, conditional.fibre.n_atoms * molecules)
    if isinstance(tempering, Annealing):
        one = Liquid(conditional, ensemble, target, energy, draws=draws, method=method, annealing=tempering)
    else:
        how = {"draws": draws, "method": method, "tempering": tempering}
        one = partial(sample_frame, conditional, energy=energy.reduced, **how)
    n_ensemble, n_frames = beads.positions.shape[:2]
    labels = _labels(ensemble, n_frames)
    done = _Done({}, {})
    how = (draws, method, tempering, energy.temperature)
    with double_precision():
        identity = "" if checkpoint is None else _identity(conditional, target, energy, beads.positions, how, key)
    with (
        double_precision(),
        parts_in(checkpoint, "backmapping", identity, (Result, LiquidResult)) as parts,
        progress(f"Backmapping ({method})", n_ensemble * n_frames) as advance,
    ):
        place = _Resuming(one, parts, beads.positions, key)
        try:
            for frame in range(n_frames):
                kept = []
                for draw in range(n_ensemble):
                    # What is wrong with the first is wrong with all: say it now, not after hours.
                    found = place(frame, draw, failures=bool(done.results))
                    if isinstance(found, str):
                        done.failures[frame] = found
                        break
                    kept.append(found)
                    advance(1)
                if len(kept) == n_ensemble:
                    done.results[frame] = kept
        except KeyboardInterrupt:
            if not done.results:
                raise
            done.interrupted = True
    return _dataset(done, ensemble, energy, labels, beads.draws, method, floor)


class _Resuming:
    """Places atoms for one CG configuration after the other, or finds what an earlier call has placed.

    Args:
        one: for one configuration.
        parts: that are finished.
        beads: (draw, frame, bead, 3) [nm].
        key: of all.
    """

    def __init__(self, one, parts: Parts, beads: np.ndarray, key):
        self._one, self._parts, self._beads, self._key = one, parts, beads, key
        self._room: int | None = None
        """That a liquid had when the last part that was found was finished."""

    def __call__(self, frame: int, draw: int, *, failures: bool):
        """The result, or in words why there is none.

        Args:
            frame: its number.
            draw: number of the ensemble's draw.
            failures: return the words; else raise ValueError.
        """
        name, liquid = f"frame_{frame:06d}_{draw:05d}", isinstance(self._one, Liquid)
        kept = self._parts.read(name)
        if kept is not None:
            found, self._room = kept
            return found
        if liquid and self._room is not None:
            self._one.resume(self._beads[0, 0], self._room, key=self._subkey(0, 0))
            self._room = None
        try:
            found = self._one(self._beads[draw, frame], key=self._subkey(frame, draw))
        except ValueError as error:
            if not failures:
                raise
            found = str(error)
        self._parts.keep(name, (found, self._one.room if liquid else 0))
        return found

    def _subkey(self, frame: int, draw: int):
        return jax.random.fold_in(jax.random.fold_in(self._key, frame), draw)


def _identity(conditional: Conditional, target, energy: Energy, beads: np.ndarray, how: tuple, key) -> str:
    """What two calls must share for their draws to be the same."""
    field = target.force_field if isinstance(target, OpenMMTarget) else target
    if isinstance(field, ForceField):
        known = jax.tree.leaves(field)
    else:
        places = np.random.default_rng(0).normal(size=(2, conditional.fibre.n_atoms, 3))
        known = [f"{float(energy.reduced(x)):.4g}" for x in places]
    parts = (np.asarray(leaf) for leaf in (*jax.tree.leaves(conditional), *known))
    return digest(type(conditional).__name__, *parts, beads, *how, np.asarray(jax.random.key_data(key)))


def _labels(ensemble: xr.Dataset, n_frames: int) -> np.ndarray:
    return ensemble["frame"].values if "frame" in ensemble.coords else np.arange(n_frames)


def _dataset(
    done: _Done, ensemble: xr.Dataset, energy: Energy, labels: np.ndarray, has_draws: bool, method: str, floor: float
) -> xr.Dataset:
    frames = list(done.results)
    rows = [done.results[frame] for frame in frames]
    names = [name for name in _PER_CONFIGURATION if name in rows[0][0]._fields]
    per = {name: np.array([[getattr(r, name) for r in row] for row in rows]).T for name in names}
    exact = method != "gp"
    per["reliable"] = (per["ess_run"] >= floor) & exact
    for name, limit in (("log_z_se", 1.0), ("rhat", RHAT)):
        per["reliable"] &= ~(per[name] > limit) if name in per else True
    positions = np.stack([np.concatenate([r.positions for r in row]) for row in rows], axis=1)
    log_weight = np.stack([np.concatenate([r.log_weight for r in row]) for row in rows], axis=1)
    unit = 1.0 if energy.thermal is None else energy.thermal
    energies = unit * np.stack([np.concatenate([r.energy for r in row]) for row in rows], axis=1)
    own = ("ensemble_draw", "frame") if has_draws else ("frame",)
    data = xr.Dataset(
        {
            "positions": (("draw", "frame", "atom", "xyz"), positions, {"units": "nm"}),
            "log_weight": (("draw", "frame"), log_weight),
            "energy": (("draw", "frame"), energies, {"units": "kT" if energy.thermal is None else "kJ/mol"}),
            **{name: (own, values if has_draws else values[0]) for name, values in per.items()},
        },
        {"frame": labels[frames], "xyz": list("xyz")},
        {
            "method": method,
            "exact": int(exact),
            "interrupted": int(done.interrupted),
            "floor": floor,
            **ORIGIN,
        },
    )
    if ensemble.attrs.get("boundary") == OPEN:
        # Atoms in vacuum have no box that a file should carry.
        data.attrs["boundary"] = OPEN
    elif "box" in ensemble and ensemble["box"].dims == ("frame", "vector", "xyz"):
        data["box"] = ensemble["box"].isel(frame=frames).drop_vars("time", errors="ignore")
    if "time" in ensemble.coords and ensemble["time"].dims == ("frame",):
        data = data.assign_coords(time=("frame", ensemble["time"].values[frames]))
    if has_draws:
        count = len(ensemble["draw"])
        each = positions.shape[0] // count
        data = data.assign_coords(of_ensemble_draw=("draw", np.repeat(np.arange(count), each)))
        data = data.assign_coords(ensemble_draw=ensemble["draw"].values)
        for name in ("posterior_chain", "posterior_draw"):
            if name in ensemble and ensemble[name].dims == ("draw",):
                data = data.assign_coords({name: ("ensemble_draw", ensemble[name].values)})
    if energy.temperature is not None:
        data.attrs["temperature"] = energy.temperature
    if not exact:
        data.attrs["note"] = "Draws of the guide alone: approximate, not corrected by the force field."
    _warn(data, done, labels, exact, floor)
    return data


_PER_CONFIGURATION = ("log_z", "log_z_se", "ess", "ess_run", "rhat", "acceptance", "evaluations")


def _warn(data: xr.Dataset, done: _Done, labels: np.ndarray, exact: bool, floor: float) -> None:
    if done.interrupted:
        warnings.warn(f"interrupted: {data.sizes['frame']} finished frames are kept", stacklevel=4)
    if done.failures:
        frame, words = next(iter(done.failures.items()))
        warnings.warn(
            f"{len(done.failures)} frames are left out, no atoms could be placed; frame {labels[frame]}: {words}",
            stacklevel=4,
        )
    poor = int(np.sum(~data["reliable"].values)) if exact else 0
    if poor:
        what, remedy = "an error of ln Z above 1", "use more particles or moves, or a better conditional"
        if "rhat" in data:
            what, remedy = f"an R-hat above {RHAT:g}", "use more rounds (Annealing), or a better conditional"
        warnings.warn(
            f"{poor} of {data['reliable'].size} CG configurations have fewer than {floor:g} effective samples (or "
            f"{what}): `reliable` is False there; {remedy}",
            stacklevel=4,
        )

"""`force_statistics`, and the pilot: the first fit, frozen, about which the scores of a pass are taken."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Literal

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg._runtime import double_precision
from bayescg.data.dataset import joined
from bayescg.inference.linear import marginal
from bayescg.inference.linear.priors import build_prior
from bayescg.inference.statistics.asked import Fold, Pilot, Structure, equations_of
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.inference.statistics.streaming import statistics_of
from bayescg.inference.statistics.weights import ALL_ZERO, counted, effective, first_frames, require_alike, weights_of
from bayescg.potentials import Bond, Pair, Potential, fill_ranges

_FRAMES, _BEADS = 50, 25_000
"""Frames, and beads in all of them: a pilot that is off by its own standard error changes the covariance of scores in
second order only. In a small or dilute system 50 frames hold few contacts, and the closest ones come later."""

_FOLDS = 8
"""Parts of the pilot's frames at most, each of which is scored apart: a fit to few of them would be a poor one."""

_FARTHEST = 3.0
"""How far leaving frames out may move what they see, in standard deviations of their noise."""

_MOST = 20
"""Chunks with weights are held until they are worth a pilot's frames, but at most so many times these."""


def fit_pilot(
    potential: Potential,
    cg: xr.Dataset | Iterable[xr.Dataset],
    *,
    frames: int | None = None,
    structure: Structure = False,
) -> Pilot:
    """A first fit to the first frames, to be frozen and given to every `force_statistics` of the same study.

    Products of bead scores s_i = J_i'(f_i - J_i w~) add up over chunks, files and machines only if all of them are
    taken about the same coefficients w~. These are the posterior mean at the prior medians of all hyperparameters.
    Beads count as neighbors, with correlated noise, within the largest first minimum of the pair distributions.

    Args:
        potential: what is to be fitted. Ranges that bonds leave open are filled in from all of `cg`.
        cg: a CG dataset with forces, or chunks of one, of which the first are taken. With weights of frames, a dataset
            gives frames that stand for all of it, and of chunks so many are taken that they are worth `frames`.
        frames: how many of its first frames to use at most; None: 50, or as many as hold 25,000 beads.
        structure: as in `force_statistics`. Scores of structure correlate farther, as far as terms reach; "only" fits
            the pilot to structure.

    Returns:
        The pilot.

    Raises:
        ValueError: if the data do not fit the potential, hold no forces where they are wanted, or `frames` is not
            positive.
    """
    equations = equations_of(structure)
    if frames is not None and frames < 1:
        raise ValueError(f"frames={frames}: a pilot needs at least one frame")
    if not isinstance(cg, xr.Dataset):
        cg = joined(_beginning(iter(cg), frames))
    if "frame" in cg.dims:
        cg, size = counted(cg), cg.sizes["frame"]
        if size and not cg.sizes["frame"]:
            raise ValueError(ALL_ZERO)
        potential = fill_ranges(potential, cg) if cg.sizes["frame"] else potential
        cg = first_frames(cg, _enough(cg, frames))
    return pilot_of(statistics_of(potential, cg, equations=equations, level=_coarse(cg)))


def _coarse(cg: xr.Dataset) -> int:
    """log2 of the frames in blocks of which there are just enough: with many coefficients, they take the memory."""
    numbers = cg["frame"].values if "frame" in cg.coords else np.arange(cg.sizes.get("frame", 1))
    span = int(np.ptp(numbers)) + 1
    return max(0, int(math.log2(max(span / _FOLDS, 1))))


def _enough(cg: xr.Dataset, frames: int | None) -> int:
    return max(_FRAMES, -(-_BEADS // max(cg.sizes["bead"], 1))) if frames is None else frames


def _beginning(chunks: Iterator[xr.Dataset], frames: int | None) -> list[xr.Dataset]:
    """The first chunks, as many as a pilot needs.

    Raises:
        ValueError: if there are none.
    """
    found, count, weights, empty = [], 0, [], True
    for chunk in chunks:
        empty = False
        kept = counted(chunk if "frame" in chunk.dims else chunk.expand_dims("frame"))
        if chunk.sizes.get("frame") and not kept.sizes["frame"]:
            continue
        found.append(kept)
        require_alike({"weight" in each for each in found})
        count += kept.sizes["frame"]
        own = weights_of(kept)
        weights.append(np.ones(kept.sizes["frame"]) if own is None else own)
        enough = _enough(chunk, frames)
        if effective(np.concatenate(weights)) >= enough or count >= _MOST * enough:
            break
    if not found:
        raise ValueError("there are no frames: the trajectory is empty" if empty else ALL_ZERO)
    return found


def force_statistics(
    potential: Potential,
    data: xr.Dataset | Iterable[xr.Dataset],
    *,
    pilot: Pilot | Literal["first"] | None = "first",
    system: str | None = None,
    structure: Structure = False,
) -> ForceStatistics:
    """Sums over mapped frames that determine the fit: J'J, J'f and f'f by time block, bead type and system.

    Bead forces are f = baseline + J w + noise, linear in the coefficients w; J'J w = J'f are the normal equations of
    multiscale coarse-graining (Noid et al., doi:10.1063/1.2938860). The trajectory is read once.

    Args:
        potential: what to fit. Ranges that bonds left open are filled in from the first chunk.
        data: a CG dataset with forces, or an iterable of chunks of one (`bayescg.stream`), of which only one is held.
        pilot: "first": fitted here, to the first frames of the first chunk; or from `fit_pilot`, the same for all
            data whose statistics are to be added; None: no scores, for fits with calibration="none".
        system: name of the thermodynamic system, whose beads have a force noise of their own; None: named by its
            composition, such as "W510". With a name given, terms whose bead types the system lacks are left out, so
            that pure components and mixtures can be added up. "first" then means None: no pilot of one system serves
            the others.
        structure: True: also what `structure_match` and `force_match(..., structure=True)` need, the divergences of
            the rows of J (Mullinax & Noid, doi:10.1103/PhysRevLett.103.198104); "only": these alone, for data without
            forces. Frames must be at constant volume, without constraints between beads.

    Returns:
        The sums that `force_match` needs.

    Raises:
        ValueError: if the data hold no forces or no frames, do not fit the potential or the pilot, or structure is
            asked of frames for which its equations do not hold.
    """
    equations = equations_of(structure)
    if isinstance(pilot, Pilot) or pilot is None or system is not None:
        given = pilot if isinstance(pilot, Pilot) else None
        return statistics_of(potential, data, pilot=given, system=system, equations=equations)
    if pilot != "first":
        raise ValueError(f'pilot={pilot!r}: choose "first", None or what fit_pilot returned')
    if isinstance(data, xr.Dataset):
        first_fit = fit_pilot(potential, data, structure=structure)
        return statistics_of(potential, data, pilot=first_fit, equations=equations)
    chunks = iter(data)
    first = _beginning(chunks, None)
    first_fit = fit_pilot(potential, joined(first), structure=structure)
    found = statistics_of(potential, chain(first, chunks), pilot=first_fit, equations=equations)
    _warn_of_first(first, found)
    return found


def _warn_of_first(first: list[xr.Dataset], found: ForceStatistics) -> None:
    """Say if the chunks that the pilot was fitted to weigh little beside those that came later."""
    weights = [own for own in map(weights_of, first) if own is not None]
    if not weights:
        return
    share = sum(map(np.sum, weights)) / sum(total for total, _ in found.weighed.values())
    expected = sum(map(len, weights)) / found.n_frames
    if share < 0.1 * expected:
        warnings.warn(
            f"the first chunks, which the pilot was fitted to, hold {expected:.2g} of the frames but {share:.2g} of "
            "their weight: scores about it are too large. Give pilot=fit_pilot(potential, cg) of frames from all over "
            "the run",
            stacklevel=3,
        )


def pilot_of(statistics: ForceStatistics) -> Pilot:
    """The pilot that statistics give which were made without one."""
    both = statistics
    statistics = statistics.of(statistics.equations[0])
    with double_precision():
        whole, noise = _first_fit(statistics)
        folds = []
        for source, first, last, own, others in _parts(statistics):
            moved = _bounded(_first_fit(others)[0] - whole, own, noise)
            folds.append(Fold(source, first, last, tuple((whole + 0.5 * moved).tolist())))
        return Pilot(statistics.potential, tuple(whole.tolist()), _radius(both), tuple(folds))


def _first_fit(statistics: ForceStatistics) -> tuple[Float[np.ndarray, " basis"], Float[np.ndarray, " noise_class"]]:
    """Posterior mean at the prior medians of all hyperparameters, and the noise [kJ/mol/nm]."""
    prior = build_prior(statistics, {})
    values = {name: jnp.exp(d.loc) for name, d in prior.distributions().items()}
    mean, _ = marginal.mean_at(prior, marginal.reduce(prior, statistics.total()), values)
    return prior.mean + prior.lift @ np.asarray(mean), np.asarray(prior.noise)


def _bounded(
    moved: Float[np.ndarray, " basis"], own: ForceStatistics, noise: Float[np.ndarray, " noise_class"]
) -> Float[np.ndarray, " basis"]:
    """How coefficients move without some frames, no farther than these frames' noise explains.

    A fit extrapolates to contacts that only the missing frames have, and would tell nothing about noise there.
    """
    gram = np.einsum("t,tkl->kl", noise**-2.0, own.total().gram[:, : len(moved), : len(moved)])
    size, turn = np.linalg.eigh(gram)
    felt = size > 1e-12 * size[-1]
    root, turn = np.sqrt(size[felt]), turn[:, felt]
    return turn @ (np.clip(root * (turn.T @ moved), -_FARTHEST, _FARTHEST) / root)


def _parts(statistics: ForceStatistics) -> Iterator[tuple[str, int, int, ForceStatistics, ForceStatistics]]:
    """Stretches of the frames of a trajectory, with their sums and those of all others; counts are of all frames.

    Of leverage h, residuals about the fit to all frames have variance 1 - h, about the fit to the others 1 / (1 - h),
    and about the mean of both 1 + h^2 / 4 to leading order.
    """
    keys = statistics.keys
    if len(keys) < 2 or len(statistics.frames) > 1:
        return
    (source, level), (numbers,) = *statistics.levels.items(), statistics.frames.values()
    for part in np.array_split(np.array([number for _, number in keys]), min(_FOLDS, len(keys))):
        sums = [{k: block for k, block in statistics.sums.items() if (k[1] in part) is own} for own in (True, False)]
        # Frames between two stretches, which the pilot did not see, may be scored about either.
        inside = numbers[np.isin(numbers >> level, part)]
        own, others = (replace(statistics, sums=each) for each in sums)
        yield source, int(inside.min()), int(inside.max()), own, others


def _radius(statistics: ForceStatistics) -> float:
    """Largest first-shell radius of any pair term; without pair terms, 1.2 times the longest bond."""
    terms = statistics.potential.terms
    if "structure" in statistics.equations:
        return _reach(statistics)
    shells = [_first_minimum(t.spline.knots, statistics.counts[t.name]) for t in terms if isinstance(t, Pair)]
    bonds = [1.2 * statistics.ranges[t.name][1] for t in terms if isinstance(t, Bond)]
    return float(max(shells or bonds or [0.5]))


def _reach(statistics: ForceStatistics) -> float:
    """How far apart two beads with a share in one interaction may be: both divergences have it, with equal signs."""
    reaches = [term.cutoff for term in statistics.potential.terms if term.cutoff]
    bonds = [1.2 * statistics.ranges[t.name][1] for t in statistics.potential.terms if isinstance(t, Bond)]
    return float(max(reaches or bonds or [0.5]))


def _first_minimum(knots: np.ndarray, counts: np.ndarray) -> float:
    """Where the pair distribution is smallest between its first peak and 1.7 times its distance [nm].

    Liquids of spheres have their first minimum at 1.4 to 1.5 times the peak, water at 1.2, both their second beyond.
    """
    middle = 0.5 * (knots[1:] + knots[:-1])
    density = counts / np.diff(knots**3)
    rise = int(np.argmax(density > 0.5 * density.max()))
    peak = rise + int(np.argmax(density[rise : np.searchsorted(middle, 1.3 * middle[rise]) + 1]))
    last = np.searchsorted(middle, 1.7 * middle[peak])
    return float(middle[peak + int(np.argmin(density[peak : max(last, peak + 1)]))])

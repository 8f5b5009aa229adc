"""Liquids: the molecules of a CG frame are placed together, from the guide to the exact density of all of them.

For many molecules there is no ln Z: weights over thousands of atoms would be worth nothing. Each molecule begins as a
draw of the conditional, blind to the others. The energy between molecules rises from zero along a path, first cores,
then charges, while molecules are moved one after the other; at its full strength the same moves sample p(x | X),
proportional to exp(-beta U(x)) where M x = X.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import blackjax.diagnostics
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.atomistic.force_field import ForceField
from bayescg.atomistic.openmm_target import OpenMMTarget
from bayescg.backmapping.guides.configurations import Beads, Energy, bead_values, check_beads
from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid import chains as liquid_chains
from bayescg.backmapping.liquid.chains import Chains, Trace
from bayescg.backmapping.liquid.energy import LiquidEnergy, split
from bayescg.backmapping.liquid.moves import Setup, find_marks, rotate
from bayescg.backmapping.liquid.neighbors import Extent, Neighbors, find_neighbors, whole
from bayescg.backmapping.liquid.surroundings import most_near

_TRIALS = 512
_STRANGE = 50.0
"""Own energy [kT per atom] of a draw of the guide by which it is told that atoms are in another order."""
_DRIFT = 1e-6
_MORE = 1.2
"""Room for atoms near a bead over the most that were seen."""

RHAT = 1.05
"""Split R-hat above which chains of a liquid have not met."""


@dataclass(frozen=True)
class Annealing:
    """How much work the chains of a liquid do for each CG frame; a round is two to eight sweeps over all molecules.

    Attributes:
        chains: independent ones, each with its own placement and path.
        rise: rounds in which the environment's energy rises from zero to full.
        settle: rounds at full energy that are thrown away.
        between: rounds from one draw of a chain to the next.
    """

    chains: int = 4
    rise: int = 60
    settle: int = 60
    between: int = 10

    def __post_init__(self):
        """Refuse what cannot work."""
        if self.chains < 2 or min(self.rise, self.settle, self.between) < 1:
            raise ValueError(f"{self}: two chains or more, so that they can be compared, and positive rounds")


class LiquidResult(NamedTuple):
    """Draws for one CG frame; see `sample` for what is what."""

    positions: np.ndarray
    log_weight: np.ndarray
    energy: np.ndarray
    ess: float
    ess_run: float
    rhat: float
    acceptance: float
    evaluations: int


def is_liquid(conditional: Conditional, ensemble: xr.Dataset) -> bool:
    """Whether the ensemble has several molecules of the conditional's kind."""
    beads = (
        ensemble["positions"].sizes.get("bead", 0)
        if isinstance(ensemble, xr.Dataset) and "positions" in ensemble
        else 0
    )
    each = conditional.fibre.n_beads
    return beads > each and beads % each == 0


def liquid_beads(ensemble: xr.Dataset, conditional: Conditional) -> Beads:
    """Positions of the beads, each molecule whole, if atoms can belong to them.

    Args:
        ensemble: as for `bead_positions`, with a multiple of the conditional's beads.
        conditional: of one molecule.

    Raises:
        ValueError: as `bead_positions`, for the molecules of each frame.
    """
    beads, each = ensemble.sizes["bead"], conditional.fibre.n_beads
    plain = bead_values(ensemble, beads)
    box = ensemble["box"].values.astype(float).reshape(-1, 3, 3) if "box" in ensemble else None
    values = plain.positions.copy()
    for draw, frame in np.ndindex(values.shape[:2]):
        molecules = values[draw, frame].reshape(-1, each, 3)
        # Programs wrap beads into the box one by one.
        molecules = whole(molecules, None if box is None else box[frame % len(box)])
        try:
            check_beads(molecules[None], conditional, periodic=False)
        except ValueError as error:
            raise ValueError(f"frame {frame} of the liquid (molecules are counted as frames): {error}") from error
        values[draw, frame] = molecules.reshape(beads, 3)
    return Beads(values, plain.draws)


class Liquid:
    """Samples the frames of a liquid; compiled once.

    Args:
        conditional: of one molecule.
        ensemble: of many.
        target: `ForceField` of all atoms.
        energy: the same, checked.
        draws: for each CG frame.
        method: "blocks" or "gp".
        annealing: how much work.

    Raises:
        ValueError: if target, map and ensemble do not fit together.
    """

    def __init__(
        self,
        conditional: Conditional,
        ensemble: xr.Dataset,
        target,
        energy: Energy,
        *,
        draws: int,
        method: str,
        annealing: Annealing,
    ):
        if method not in ("blocks", "gp"):
            raise ValueError(
                f"method={method!r} is for one molecule, and the ensemble has several: choose 'blocks' or 'gp'"
            )
        field = target.force_field if isinstance(target, OpenMMTarget) else target
        if not isinstance(field, ForceField) or energy.thermal is None:
            raise ValueError("a liquid needs a ForceField as its target: translate(system), with its box")
        molecules = ensemble.sizes["bead"] // conditional.fibre.n_beads
        _check_molecules(ensemble, molecules)
        self.box = field.box
        _check_box(ensemble, self.box)
        self.energy = split(field, molecules)
        self.conditional, self.thermal = conditional, energy.thermal
        self.draws, self.method, self.annealing = draws, method, annealing
        self._setup: Setup | None = None
        self._energies = eqx.filter_jit(partial(_energies, self.energy))

    def __call__(self, beads: np.ndarray, *, key) -> LiquidResult:
        """Draws for one CG frame.

        Args:
            beads: (bead, 3) [nm], those of a molecule near each other.
            key: random key.
        """
        draws = self.draws
        first, second, third = jax.random.split(key, 3)
        x = beads.reshape(self.energy.molecules, -1, 3)
        count = self.annealing.chains if self.method == "blocks" else draws
        tiled = np.tile(x, (count, 1, 1))
        placed = liquid_chains.place(self.conditional, jnp.asarray(tiled), jax.random.split(second, len(tiled)))[1]
        positions = placed.reshape(count, len(x), -1, 3)
        whole_energy, own = self._reduced(positions)
        _check_order(own, self.energy.whole.n_atoms)
        if self.method == "gp":
            weights = np.full(draws, -np.log(draws))
            atoms = np.asarray(positions).reshape(draws, -1, 3)
            return LiquidResult(atoms, weights, whole_energy, float(draws), float(draws), np.nan, np.nan, 0)
        if self._setup is None:
            self._setup = prepare(self.conditional, self.energy, tiled, self.thermal, key=first)
            crowd = most_near(self.energy.pairs, self._setup.extent, x, np.asarray(positions), self.box)
            self._setup = replace(self._setup, room=round(_MORE * crowd))
        setup = self._setup
        near = find_neighbors(x, self.box, self.energy.cutoff, setup.extent)
        return self._sampled(setup, jnp.asarray(x), near, positions, draws, third)

    def _reduced(self, positions) -> tuple[np.ndarray, np.ndarray]:
        """Energies of all atoms, and of the molecules alone, in kT, (chain,)."""
        every, own = map(np.asarray, self._energies(jnp.asarray(positions)))
        return every / self.thermal, own / self.thermal

    def _sampled(self, setup: Setup, beads, near: Neighbors, positions, draws: int, key) -> LiquidResult:
        plan, lists = self.annealing, tuple(map(jnp.asarray, near))
        each = -(-draws // plan.chains)
        # Chunks of one length, so that one program serves all: those of which draws are the ends.
        rise, half = (-(-rounds // plan.between) for rounds in (plan.rise, -(-plan.settle // 2)))
        settled = rise + 2 * half
        scales = np.minimum(np.arange(1, (settled + each) * plan.between + 1) / (rise * plan.between), 1.0)
        keys = jax.random.split(key, len(scales))
        # Not of a weak type, or the first chunk would need a program of its own.
        chains = Chains(positions, jnp.asarray(np.array(0.5)), jnp.asarray(np.array(0.001)))
        begin, start, traces, kept = positions, (np.zeros(0), np.zeros(0)), [], []
        for chunk in range(settled + each):
            if chunk == settled:
                start = self._reduced(chains.positions)
            part = slice(chunk * plan.between, (chunk + 1) * plan.between)
            adapt = jnp.asarray(chunk < rise + half)
            chains, trace = liquid_chains.run(setup, chains, beads, lists, jnp.asarray(scales[part]), adapt, keys[part])
            if bool(np.any(trace.overflow)):
                # Again from the start, with more room: a program of another shape.
                self._setup = replace(setup, room=round(_MORE * setup.room))
                return self._sampled(self._setup, beads, near, begin, draws, key)
            if chunk >= settled:
                traces.append(jax.tree.map(np.asarray, trace))
                kept.append(np.asarray(chains.positions))
        states = np.stack(kept)
        energy = np.stack([self._reduced(x)[0] for x in states])
        own, around = (np.cumsum(np.concatenate([getattr(t, n) for t in traces]), axis=0).T for n in Trace._fields[:2])
        total = start[0][:, None] + own + around
        drift = np.abs(total[:, -1] - energy[-1]).max()
        if not drift < _DRIFT * max(1.0, float(np.abs(energy).max())):
            raise ValueError(
                f"energies of molecules do not sum to the energy of all: {drift:.3g} kT are missing after the run; "
                "do all interactions end at the cutoff, and do atoms of a molecule stay near its beads?"
            )
        ess, rhat = mixing(np.stack([total, (start[0] - start[1])[:, None] + around]))
        rhat = max(rhat, pooled_rhat(np.moveaxis(np.concatenate([t.pose for t in traces]), 0, 1)))
        positions = states.reshape(-1, beads.shape[0] * self.energy.own.n_atoms, 3)[:draws]
        shares = np.concatenate([t.accepted for t in traces])
        return LiquidResult(
            positions,
            np.full(len(positions), -np.log(len(positions))),
            energy.reshape(-1)[:draws],
            min(ess, float(len(positions))),
            ess,
            rhat,
            float(np.nanmean(shares[:, 1])),
            plan.chains * len(scales) * liquid_chains.evaluations(setup),
        )


def _energies(energy: LiquidEnergy, positions):
    """Energies of all atoms, and the sum of molecules alone [kJ/mol]."""

    def one(x):
        return energy.whole.energy(x.reshape(-1, 3)), jnp.sum(jax.vmap(energy.own.energy)(x))

    return jax.lax.map(one, positions)


def prepare(conditional: Conditional, energy: LiquidEnergy, beads: np.ndarray, thermal: float, *, key) -> Setup:
    """What is the same for all frames, from draws of the guide for the molecules of one; still without room.

    Args:
        conditional: of one molecule.
        energy: of the liquid.
        beads: (molecule, bead, 3) [nm], of all chains.
        thermal: kT [kJ/mol].
        key: random key.
    """
    first, second = jax.random.split(key)
    # The program that places molecules, as often as it takes.
    parts = [
        liquid_chains.place(conditional, jnp.asarray(beads), jax.random.split(subkey, len(beads)))
        for subkey in jax.random.split(first, max(-(-_TRIALS // len(beads)), 1))
    ]
    drawn, placed, xi = (np.concatenate(values) for values in zip(*parts, strict=True))
    chosen = np.tile(beads, (len(parts), 1, 1))
    if not np.all(np.isfinite(drawn)):
        raise ValueError("draws of the guide are not finite: check the conditional's parameters")
    shape = eqx.filter_eval_shape(lambda c, b: c.guide(b), conditional, jnp.asarray(chosen[0]))
    missed = float(np.sqrt(np.mean(xi**2))) if shape.space == "atoms" else 0.0
    extent = Extent.of(placed, chosen)
    marks = find_marks(drawn, chosen)
    if marks is not None and not (shape.normalized and _invariant(conditional, drawn, chosen, second)):
        marks = None
    return Setup(conditional, energy, extent, 0, missed, marks, thermal, shape.normalized)


def _invariant(conditional: Conditional, drawn: np.ndarray, beads, key) -> bool:
    """Whether the guide's density stays when molecules are turned about the bead, or the axis of two."""

    @eqx.filter_jit
    def change(conditional, drawn, beads, keys):
        def one(argument):
            x, b, key = argument
            first, second = jax.random.split(key)
            axis = jax.random.normal(first, (3,)) if len(b) == 1 else b[1] - b[0]
            guide = conditional.guide(b)
            turned = rotate(x, b[0], axis, jax.random.uniform(second, minval=0.5, maxval=2.5))
            return guide.log_density(turned) - guide.log_density(x)

        return jax.lax.map(one, (drawn, beads, keys), batch_size=16)

    some = slice(0, 16)
    return bool(
        np.all(
            np.abs(change(conditional, jnp.asarray(drawn[some]), jnp.asarray(beads[some]), jax.random.split(key, 16)))
            < 1e-6
        )
    )


def mixing(values: np.ndarray) -> tuple[float, float]:
    """Effective samples and split R-hat of traces, the worst of them.

    Args:
        values: (trace, chain, round).
    """
    half = values.shape[-1] // 2
    if half < 2:
        return float(values.shape[1]), np.nan
    parts = np.concatenate([values[..., :half], values[..., -half:]], axis=1)
    ess = [float(blackjax.diagnostics.effective_sample_size(jnp.asarray(v))) for v in parts]
    rhat = [float(blackjax.diagnostics.potential_scale_reduction(jnp.asarray(v))) for v in parts]
    return float(np.nanmin(ess)), float(np.nanmax(rhat))


def pooled_rhat(values: np.ndarray) -> float:
    """Split R-hat of many traces as one: variances between and within chains are summed over all of them.

    Energies of chains may agree though molecules are stuck, differently in each chain. One molecule's R-hat would be
    too noisy, their largest more so.

    Args:
        values: (chain, round, ..).
    """
    half = values.shape[1] // 2
    if half < 2:
        return float("nan")
    parts = np.concatenate([values[:, :half], values[:, -half:]])
    within = parts.var(axis=1, ddof=1).mean(axis=0).sum()
    between = parts.mean(axis=1).var(axis=0, ddof=1).sum()
    return float(np.sqrt((half - 1) / half + between / within))


def _check_molecules(ensemble: xr.Dataset, molecules: int) -> None:
    if "molecule" not in ensemble.coords:
        return
    number = np.asarray(ensemble["molecule"].values)
    each = number.reshape(molecules, -1)
    if np.any(each != each[:, :1]) or len(np.unique(each[:, 0])) < molecules:
        count = len(np.unique(number))
        raise ValueError(
            f"the ensemble's {len(number)} beads are of {count} molecules, but the map of the conditional would make "
            f"{molecules} of {each.shape[1]} beads that follow each other: they do not belong together"
        )


def _check_box(ensemble: xr.Dataset, box: np.ndarray | None) -> None:
    if box is None:
        raise ValueError(
            "the target is not periodic: a liquid's System needs box vectors and nonbondedMethod=CutoffPeriodic"
        )
    if "box" not in ensemble:
        return
    given = np.asarray(ensemble["box"].values, float).reshape(-1, 3, 3)
    far = np.abs(given - box).max(axis=(1, 2))
    if far.max() > 1e-4 * np.diag(box).min():
        frame = int(far.argmax())
        raise ValueError(
            f"the box of frame {frame} is {np.diag(given[frame]).round(4).tolist()} nm and the target's is "
            f"{np.diag(box).round(4).tolist()} nm: make the target with the ensemble's box "
            "(system.setDefaultPeriodicBoxVectors), one for each box"
        )


def _check_order(own: np.ndarray, atoms: int) -> None:
    typical = float(np.mean(own)) / atoms
    if not typical < _STRANGE:
        raise ValueError(
            f"placed molecules have an energy of {typical:.3g} kT per atom: the target's atoms are in another order "
            "than the conditional's, or of another molecule; make both from the same topology"
        )

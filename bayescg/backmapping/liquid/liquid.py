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

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.atomistic.force_field import ForceField
from bayescg.atomistic.openmm_target import OpenMMTarget
from bayescg.backmapping.guides.configurations import Energy
from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid import chains as liquid_chains
from bayescg.backmapping.liquid.chains import Chains, Trace
from bayescg.backmapping.liquid.checks import check_box, check_molecules, check_order
from bayescg.backmapping.liquid.energy import LiquidEnergy, split
from bayescg.backmapping.liquid.moves import Setup
from bayescg.backmapping.liquid.neighbors import Neighbors, find_neighbors
from bayescg.backmapping.liquid.setup import prepare
from bayescg.backmapping.liquid.surroundings import most_near
from bayescg.samplers.convergence import pooled_rhat, trace_mixing

_DRIFT = 1e-6
_MORE = 1.2
"""Room for atoms near a bead over the most that were seen."""

RHAT = 1.05
"""Split R-hat above which chains of a liquid have not met."""


@dataclass(frozen=True)
class Annealing:
    """How much work the chains of a liquid do for each CG frame, in rounds of two to eight sweeps over all molecules.

    Attributes:
        chains: number of independent chains, each with its own placement and path.
        rise: rounds in which the environment's energy rises from zero to full.
        settle: rounds at full energy that are thrown away.
        between: rounds from one draw of a chain to the next.

    Raises:
        ValueError: for fewer than two chains, or a number of rounds that is not positive.
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
        check_molecules(ensemble, molecules)
        self.box = field.box
        check_box(ensemble, self.box)
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
        positions = self._placed(x, second)
        whole_energy, own = self._reduced(positions)
        check_order(own, self.energy.whole.n_atoms)
        if self.method == "gp":
            weights = np.full(draws, -np.log(draws))
            atoms = np.asarray(positions).reshape(draws, -1, 3)
            return LiquidResult(atoms, weights, whole_energy, float(draws), float(draws), np.nan, np.nan, 0)
        setup = self._setup or self._prepared(x, positions, first)
        near = find_neighbors(x, self.box, self.energy.cutoff, setup.extent)
        return self._sampled(setup, jnp.asarray(x), near, positions, draws, third)

    @property
    def room(self) -> int:
        """Most atoms near a bead that there is room for, after the frames so far; 0 before the first."""
        return 0 if self._setup is None else self._setup.room

    def resume(self, beads: np.ndarray, room: int, *, key) -> None:
        """Make ready as after earlier frames: what is the same for all of them comes from the first one.

        Args:
            beads: of the first frame, (bead, 3) [nm].
            room: after the last one.
            key: of the first one.
        """
        if self.method == "blocks":
            first, second, _ = jax.random.split(key, 3)
            x = beads.reshape(self.energy.molecules, -1, 3)
            self._setup = replace(self._setup or self._prepared(x, self._placed(x, second), first), room=room)

    def _tiled(self, x: np.ndarray) -> np.ndarray:
        """Beads of every chain, molecule by molecule."""
        return np.tile(x, (self.annealing.chains if self.method == "blocks" else self.draws, 1, 1))

    def _placed(self, x: np.ndarray, key):
        """Atoms by the guide alone, (chain, molecule, atom, 3)."""
        tiled = self._tiled(x)
        placed = liquid_chains.place(self.conditional, jnp.asarray(tiled), jax.random.split(key, len(tiled)))[1]
        return placed.reshape(len(tiled) // len(x), len(x), -1, 3)

    def _prepared(self, x: np.ndarray, positions, key) -> Setup:
        """What is the same for all frames, from the first one."""
        setup = prepare(self.conditional, self.energy, self._tiled(x), self.thermal, key=key)
        crowd = most_near(self.energy.pairs, setup.extent, x, np.asarray(positions), self.box)
        self._setup = replace(setup, room=round(_MORE * crowd))
        return self._setup

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
        ess, rhat = trace_mixing(np.stack([total, (start[0] - start[1])[:, None] + around]))
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

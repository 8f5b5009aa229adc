"""Atoms to beads and back: distributions of bonds, angles, torsions and energy of alanine dipeptide, five atoms kept.

Frames of independent walkers give CG frames, for each of which one set of atoms is drawn. What is drawn for a random
half of the walkers is compared with the dynamics of the other half. The band is that of dynamics itself: 95 % of random
halves of the walkers are as near to each other; so should 95 % of the drawn ones be. Nearness is the Jensen-Shannon
divergence of histograms and the Wasserstein distance.
"""

from __future__ import annotations

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.stats import wasserstein_distance

from bayescg._runtime import double_precision
from bayescg.atomistic import alanine_dipeptide
from bayescg.backmapping import fit_conditional, sample
from tests.studies.backmapping.alanine import KEPT, frames, mapping, universe, walkers
from tests.studies.backmapping.held_dynamics import angle, distance, torsion

TIMES = (4, 9, 14, 19, 24, 29, 34, 39)
LEARNED = 500
HALVES, BINS = 400, 20
METHYLS = ((0, 2, 3), (11, 12, 13), (19, 20, 21))
"""Hydrogens whose labels mean nothing: torsions with them are folded."""


def features(bonds: list[tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """Bonds, angles and torsions that the kept atoms do not fix."""
    beside = {k: {j for pair in bonds for j in pair if k in pair and j != k} for k in range(22)}
    chains = [*bonds]
    chains += [(a, b, c) for b in beside for a in beside[b] for c in beside[b] if a < c]
    chains += [(a, b, c, d) for b, c in bonds for a in beside[b] - {c} for d in beside[c] - {b}]
    kind = {2: "bond", 3: "angle", 4: "torsion"}
    return {f"{kind[len(c)]} {'-'.join(map(str, c))}": c for c in chains if not set(c) <= set(KEPT)}


def values(x: np.ndarray, energy: np.ndarray, chains: dict[str, tuple[int, ...]]) -> np.ndarray:
    """All features, (feature, frame)."""
    methyl = {atom for group in METHYLS for atom in group}
    found = [energy]
    for chain in chains.values():
        value = (distance, angle, torsion)[len(chain) - 2](x, *chain)
        if len(chain) == 4 and methyl & {chain[0], chain[3]}:
            value = np.angle(np.exp(3j * value)) / 3
        found.append(value)
    return np.array(found)


def wrapped(table: np.ndarray, chains: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Torsions counted from their circular mean over all frames of (feature, frame, ...)."""
    methyl = {atom for group in METHYLS for atom in group}
    table = table.copy()
    for row, chain in enumerate(chains.values(), start=1):
        if len(chain) == 4:
            fold = 3 if methyl & {chain[0], chain[3]} else 1
            turn = np.exp(1j * fold * table[row])
            table[row] = np.angle(turn / np.mean(turn)) / fold
    return table


def nearness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence and Wasserstein distance of each feature, (2, feature)."""
    found = np.zeros((2, len(a)))
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        edges = np.quantile(np.concatenate([x, y]), np.linspace(0, 1, BINS + 1))[1:-1]
        p, q = (np.bincount(np.searchsorted(edges, v), minlength=BINS) / len(v) for v in (x, y))
        m = (p + q) / 2
        found[0, k] = sum(0.5 * np.sum(r * np.log(np.where(r > 0, r / np.where(m > 0, m, 1), 1))) for r in (p, q))
        found[1, k] = wasserstein_distance(x, y)
    return found


def main() -> None:
    target = alanine_dipeptide()
    every = walkers(target)
    molecule = universe(frames(target)[:LEARNED])
    conditional = fit_conditional(molecule, mapping(molecule), key=jax.random.key(0))
    md = every[list(TIMES)].swapaxes(0, 1)
    chains = features([tuple(sorted((bond.atoms[0].index, bond.atoms[1].index))) for bond in molecule.bonds])
    with double_precision():
        energy = np.asarray(jax.jit(jax.vmap(target.force_field.energy))(jnp.asarray(md.reshape(-1, 22, 3))))
    table = values(md.reshape(-1, 22, 3), energy, chains)
    source = md.reshape(-1, 22, 3)
    beads = xr.Dataset({"positions": (("frame", "bead", "xyz"), source[:, list(KEPT)])}, attrs={"temperature": 300.0})
    print(f"{len(chains) + 1} features, {len(source)} frames of {len(md)} walkers, {HALVES} random halves")
    names = np.array(["energy", *chains])
    kinds = np.array([name.split(" ")[0] for name in names])
    for method in ("imh", "gp"):
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = sample(conditional, beads, target, draws=1, method=method, key=jax.random.key(3))
        back = values(data["positions"].values[0], data["energy"].values[0], chains)
        both = wrapped(np.concatenate([table, back], axis=1), chains)
        own, back = (part.reshape(len(both), len(md), -1) for part in np.split(both, 2, axis=1))
        rng, band, found = np.random.default_rng(1), [], []
        for _ in range(HALVES):
            first, second = np.split(rng.permutation(len(md)), 2)
            other = own[:, second].reshape(len(both), -1)
            band.append(nearness(own[:, first].reshape(len(both), -1), other))
            found.append(nearness(back[:, first].reshape(len(both), -1), other))
        inside = np.mean(np.array(found) <= np.quantile(band, 0.95, axis=0), axis=0)
        ratio = np.mean(found, axis=0) / np.mean(band, axis=0)
        print(
            f"{method}: reliable frames {int(data['reliable'].sum())}, effective samples of a frame's run, median "
            f"{float(data['ess_run'].median()):.0f}; {time.process_time() - begin:.0f} s"
        )
        for row, measure in enumerate(("Jensen-Shannon", "Wasserstein")):
            parts = ", ".join(f"{k} {inside[row, kinds == k].mean():.3f}" for k in dict.fromkeys(kinds))
            worst = np.argsort(inside[row])[:3]
            print(
                f"{method} {measure}: inside the band {inside[row].mean():.3f} ({parts}); least "
                + ", ".join(f"{names[k]} {inside[row, k]:.3f}" for k in worst)
                + f"; distance over that of dynamics, mean {ratio[row].mean():.3f}, energy {ratio[row, 0]:.3f}, most "
                f"{ratio[row].max():.3f} ({names[ratio[row].argmax()]})",
                flush=True,
            )
        shift = back[0].mean() - own[0].mean()
        error = np.std((back[0] - own[0]).mean(axis=1), ddof=1) / np.sqrt(len(md))
        print(f"{method}: mean energy off by {shift:+.2f} +- {error:.2f} kJ/mol", flush=True)


if __name__ == "__main__":
    main()

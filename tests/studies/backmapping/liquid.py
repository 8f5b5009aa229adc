"""Liquid hexane, two beads for each molecule, against molecular dynamics of the same Hamiltonian by OpenMM.

The conditional is learned from the first frames of the run. Beads of later frames are given, and atoms are placed: the
energy between molecules, that of molecules alone, and atom-pair RDFs are compared with those of the run, once with the
errors of both (blocks of frames), and once frame by frame, where the beads are the same and most of the noise cancels.
Errors from few frames are themselves uncertain: of so few the rms of z is sqrt(5 / 3) where all is well.
The same is done with placement by the conditional alone, which knows nothing of the other molecules and must fail.

`main(methanol.LIQUID)` does the same for methanol with one bead, where the chains do not come to equilibrium.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import bayescg
from bayescg import backmapping
from bayescg._runtime import double_precision, write_netcdf
from bayescg.atomistic import ForceField, translate
from bayescg.backmapping.liquid.energy import split
from bayescg.data.mapping.beads import BeadSpec
from bayescg.data.mapping.mapping import build
from tests.studies.backmapping import hexane
from tests.studies.backmapping.liquid_dynamics import TEMPERATURE, Liquid, reference

PICOSECONDS, LEARN, FRAMES, SPACING, BLOCKS = 170.0, 40, 6, 32, 10
DRAWS = 8
ANNEALING = backmapping.Annealing(chains=2, rise=60, settle=80, between=10)
EDGES = np.concatenate([[0.12, 0.16, 0.20, 0.24], np.arange(0.28, 0.91, 0.04)])
SMALLEST = 0.12
"""Nearer than this no two atoms of different molecules are in the run."""


def universe(liquid: Liquid, positions: np.ndarray):
    """An MDAnalysis Universe of frames (frame, atom, 3) [nm]."""
    import MDAnalysis
    from MDAnalysis.coordinates.memory import MemoryReader

    count, atoms = liquid.molecules, liquid.atoms
    residues = np.repeat(np.arange(count), atoms)
    made = MDAnalysis.Universe.empty(atoms * count, n_residues=count, atom_resindex=residues, trajectory=True)
    made.add_TopologyAttr("elements", list(liquid.elements) * count)
    made.add_TopologyAttr("names", [f"{e}{k}" for k, e in enumerate(liquid.elements)] * count)
    made.add_TopologyAttr("masses", list(liquid.masses) * count)
    made.add_TopologyAttr("resnames", [liquid.name] * count)
    made.add_TopologyAttr("bonds", [(atoms * k + i, atoms * k + j) for k in range(count) for i, j in liquid.bonds])
    sizes = np.tile([10 * liquid.box] * 3 + [90.0] * 3, (len(positions), 1))
    made.load_new(10 * positions, format=MemoryReader, order="fac", dimensions=sizes)
    return made


def mapping(liquid: Liquid, made):
    """Centers of mass of each molecule's beads."""
    beads = [
        BeadSpec(f"B{k}", "B", liquid.atoms * m + np.array(atoms), None)
        for m in range(liquid.molecules)
        for k, atoms in enumerate(liquid.beads)
    ]
    return build(made, beads, None, constraints="none", kind="beads")


def measured(liquid: Liquid, field: ForceField, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Energies [kJ/mol], RDFs and the smallest distance between molecules of configurations (sample, atom, 3)."""
    count, atoms = liquid.molecules, liquid.atoms
    parts = split(field, count)
    with double_precision():

        @jax.jit
        def energies(x):
            own = jnp.sum(jax.vmap(parts.own.energy)(x.reshape(count, atoms, 3)))
            return own, field.energy(x) - own

        found = np.array([energies(jnp.asarray(x, float)) for x in positions])
    data = {"own": found[:, 0], "environment": found[:, 1], "total": found.sum(axis=1)}
    volume, shells = liquid.box**3, 4 / 3 * np.pi * np.diff(EDGES**3)
    off = ~np.eye(count, dtype=bool)
    rows: dict[str, list] = {name: [] for name in (*liquid.pairs, "least")}
    for one in positions.reshape(len(positions), count, atoms, 3).astype(np.float32):
        squared = np.zeros((count, count, atoms, atoms), np.float32)
        for axis in range(3):
            apart = one[:, None, :, None, axis] - one[None, :, None, :, axis]
            squared += (apart - np.float32(liquid.box) * np.rint(apart / np.float32(liquid.box))) ** 2
        far = np.sqrt(squared)[off]
        rows["least"].append(far.min())
        for name, (first, second) in liquid.pairs.items():
            seen = np.histogram(far[:, first][:, :, second], EDGES)[0]
            rows[name].append(seen * volume / (count * (count - 1) * len(first) * len(second) * shells))
    return data | {name: np.array(values) for name, values in rows.items()}


def blocked(values: np.ndarray, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error from blocks of frames in a row."""
    means = np.array([part.mean(axis=0) for part in np.array_split(values, blocks)])
    return values.mean(axis=0), means.std(axis=0, ddof=1) / np.sqrt(blocks)


def compare(label: str, names, run: dict, same: dict, placed: dict) -> None:
    """Print z of the placed atoms against the run.

    Args:
        label: what was placed.
        names: of RDFs.
        run: all frames of the run.
        same: those frames whose beads were given.
        placed: (frame, draw, ..) quantities.
    """
    print(f"### {label}: smallest distance {placed['least'].min():.3f} nm, in the run {run['least'].min():.3f} nm")
    for name in ("own", "environment", "total"):
        mean, error = blocked(run[name], BLOCKS)
        mine, noise = blocked(placed[name].mean(axis=1), len(same[name]))
        change = placed[name].mean(axis=1) - same[name]
        paired = change.mean() / (change.std(ddof=1) / np.sqrt(len(change)))
        rank = (placed[name] < same[name][:, None]).mean(axis=1)
        print(
            f"{name}: run {mean:.1f} +- {error:.1f}, sd {run[name].std():.1f}; placed {mine:.1f} +- {noise:.1f}, sd "
            f"{placed[name].std():.1f} kJ/mol; z {(mine - mean) / np.hypot(error, noise):.2f}; frame by frame "
            f"{change.mean():.1f}, z {paired:.2f}; mean rank of the run's frame {rank.mean():.2f} "
            f"(0.5 +- {0.29 / np.sqrt(len(rank)):.2f})",
            flush=True,
        )
    every, pairs = [], []
    for name in names:
        mean, error = blocked(run[name], BLOCKS)
        mine, noise = blocked(placed[name].mean(axis=1), len(same[name]))
        change = placed[name].mean(axis=1) - same[name]
        seen = (mean > 0.02) & (error > 0)
        z = ((mine - mean) / np.hypot(error, noise))[seen]
        paired = (change.mean(axis=0) / (change.std(axis=0, ddof=1) / np.sqrt(len(change))))[seen]
        every.append(z)
        pairs.append(paired)
        far = np.abs(mine - mean)[seen]
        print(
            f"g {name}: {seen.sum()} bins, rms z {np.sqrt(np.mean(z**2)):.2f}, max |z| {np.abs(z).max():.2f}, "
            f"largest difference {far.max():.3f} (peak {mean.max():.2f}); frame by frame rms z "
            f"{np.sqrt(np.mean(paired**2)):.2f}"
        )
    z, paired = np.concatenate(every), np.concatenate(pairs)
    print(
        f"all RDFs: rms z {np.sqrt(np.mean(z**2)):.2f}, max |z| {np.abs(z).max():.2f} of {len(z)}; frame by frame rms "
        f"{np.sqrt(np.mean(paired**2)):.2f}, max {np.abs(paired).max():.2f}",
        flush=True,
    )


def main(liquid: Liquid | None = None, picoseconds: float = PICOSECONDS, frames: int = FRAMES) -> None:
    liquid = liquid or hexane.liquid()
    field = translate(liquid.system())
    found = reference(liquid, picoseconds)
    every = found["positions"]
    run = measured(liquid, field, every[LEARN:])
    print(
        f"{liquid.name}: {len(every)} frames of the run; its energies agree with the translated field's to "
        f"{np.abs(run['total'] - found['energy'][LEARN:]).max():.1e} kJ/mol",
        flush=True,
    )
    begin = time.perf_counter()
    learned = universe(liquid, every[:LEARN])
    conditional = backmapping.fit_conditional(learned, mapping(liquid, learned), key=jax.random.key(0))
    print(f"conditional from {conditional.rows} molecules in {time.perf_counter() - begin:.0f} s", flush=True)
    chosen = LEARN + SPACING * np.arange(1, frames + 1)
    same = {name: values[chosen - LEARN] for name, values in run.items()}
    for method in ("gp", "blocks"):
        placed = xr.concat([placement(liquid, field, conditional, every, k, method) for k in chosen], "frame")
        compare(method, liquid.pairs, run, same, by_frame(liquid, field, placed))
        if method == "blocks":
            print(
                f"R-hat {placed['rhat'].min().item():.3f} to {placed['rhat'].max().item():.3f}, effective samples "
                f"{placed['ess_run'].min().item():.0f} to {placed['ess_run'].max().item():.0f}, reliable "
                f"{int(placed['reliable'].sum())} of {len(chosen)}"
            )


def placement(liquid: Liquid, field: ForceField, conditional, every: np.ndarray, k: int, method: str) -> xr.Dataset:
    """Draws for the beads of one frame; kept in the system's temporary folder, since a frame takes minutes."""
    path = Path(tempfile.gettempdir()) / f"bayescg-{liquid.name}-{liquid.molecules}-placed-{method}-{k}.nc"
    if path.is_file():
        return xr.load_dataset(path)
    given = universe(liquid, every[[k]])
    cg = bayescg.coarse_grain(given, mapping(liquid, given), temperature=TEMPERATURE, forces=False)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        key = jax.random.fold_in(jax.random.key(1), k)
        placed = backmapping.sample(conditional, cg, field, method=method, tempering=ANNEALING, draws=DRAWS, key=key)
    print(f"{method}, frame {k}: {time.process_time() - begin:.0f} CPU seconds", flush=True)
    write_netcdf(placed.assign_coords(frame=[k]), path)
    return placed.assign_coords(frame=[k])


def by_frame(liquid: Liquid, field: ForceField, placed: xr.Dataset) -> dict[str, np.ndarray]:
    """What is measured of all draws, (frame, draw, ..)."""
    x = placed["positions"].transpose("frame", "draw", "atom", "xyz").values
    found = measured(liquid, field, x.reshape(-1, *x.shape[2:]))
    return {name: values.reshape(*x.shape[:2], *values.shape[1:]) for name, values in found.items()}


if __name__ == "__main__":
    main()

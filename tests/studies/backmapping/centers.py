"""Atoms of alanine dipeptide given the centers of mass of its three residues, against dynamics with springs.

Springs of two stiffnesses k hold the centers; averages are linear in 1/k and are extrapolated to the stiff limit,
(4 O(4 k) - O(k)) / 3. Replicas at several temperatures are exchanged: plain dynamics did not leave the basin that it
began in within 200 ps. Each ladder begins at a frame of free dynamics whose centers lie nearest; errors are those
between ladders.
"""

from __future__ import annotations

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg._runtime import double_precision
from bayescg.atomistic import alanine_dipeptide
from bayescg.backmapping import Tempering, fit_conditional, sample
from bayescg.data.mapping.beads import BeadSpec
from bayescg.data.mapping.mapping import build
from tests.studies.backmapping.alanine import frames, universe, walkers
from tests.studies.backmapping.frozen import averages
from tests.studies.backmapping.held_dynamics import angle, between_walkers, distance, torsion, walked
from tests.studies.wanted import wanted

RESIDUES = {"ACE": range(6), "ALA": range(6, 16), "NME": range(16, 22)}
FRAMES, LEARNED = 2, 400
STIFFNESS = (4e4, 1.6e5)
"""kJ/mol/nm^2: centers move by 8 and 4 pm."""
WALKERS, SAMPLES, BURN, EVERY = 8, 1000, 250, 100
RUNGS = tuple(300.0 * 1.17**k for k in range(7))

OBSERVABLES = {
    "cos phi": lambda x: np.cos(torsion(x, 4, 6, 8, 14)),
    "cos psi": lambda x: np.cos(torsion(x, 6, 8, 14, 16)),
    "sin omega 1": lambda x: np.sin(torsion(x, 1, 4, 6, 8)),
    "sin omega 2": lambda x: np.sin(torsion(x, 8, 14, 16, 18)),
    "distance O-H": lambda x: distance(x, 5, 17),
    "angle N-CA-C": lambda x: angle(x, 6, 8, 14),
}
NAMES = (*OBSERVABLES, "energy")


def mapping(molecule):
    """Centers of mass of the three residues."""
    beads = [BeadSpec(name, name, np.array(atoms), None) for name, atoms in RESIDUES.items()]
    return build(molecule, beads, None, constraints="none", kind="residues")


def starts(every: np.ndarray, matrix: np.ndarray, beads: np.ndarray) -> np.ndarray:
    """Of each of so many walkers the frame with the nearest shape of the centers, laid on them."""
    sites = np.einsum("ba,twax->twbx", matrix, every)
    shape = np.stack([distance(sites, i, j) for i, j in ((0, 1), (1, 2), (0, 2))], axis=-1)
    own = np.array([distance(beads, i, j) for i, j in ((0, 1), (1, 2), (0, 2))])
    miss = np.linalg.norm(shape - own, axis=-1)
    nearest = miss.argmin(axis=0)
    chosen = np.argsort(miss.min(axis=0))[:WALKERS]
    found = []
    for walker in chosen:
        x, s = every[nearest[walker], walker], sites[nearest[walker], walker]
        left, _, right = np.linalg.svd((s - s.mean(axis=0)).T @ (beads - beads.mean(axis=0)))
        turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
        found.append((x - s.mean(axis=0)) @ turn + beads.mean(axis=0))
    return np.array(found)


def referee(field, every: np.ndarray, matrix: np.ndarray, beads: np.ndarray) -> dict[str, tuple[np.ndarray, ...]]:
    """Means and errors, (frame, observable), at both stiffnesses and extrapolated."""
    start = np.concatenate([np.tile(starts(every, matrix, x), (2, 1, 1)) for x in beads])
    rungs = len(RUNGS)
    run = walked(
        field,
        np.repeat(start, rungs, axis=0),
        bias=lambda x, site, k: 0.5 * k * jnp.sum((jnp.asarray(matrix, x.dtype) @ x - site) ** 2),
        parameters=(
            np.repeat(beads, 2 * WALKERS * rungs, axis=0),
            np.tile(np.repeat(STIFFNESS, WALKERS * rungs), len(beads)),
        ),
        samples=SAMPLES,
        every=EVERY,
        burn=BURN,
        seed=5,
        rungs=RUNGS,
    )
    with double_precision():
        energy = jax.jit(lambda x: jax.lax.map(field.energy, x, batch_size=128))
        energies = np.asarray(energy(jnp.asarray(run.reshape(-1, *run.shape[2:])))).reshape(run.shape[:2])
    values = np.stack([*(f(run) for f in OBSERVABLES.values()), energies], axis=-1)
    values = values.reshape(SAMPLES, len(beads), 2, WALKERS, -1).transpose(0, 3, 1, 2, 4)
    mean, error = between_walkers(values)
    both = (4 * mean[:, 1] - mean[:, 0]) / 3
    return {
        "soft": (mean[:, 0], error[:, 0]),
        "stiff": (mean[:, 1], error[:, 1]),
        "extrapolated": (both, np.sqrt(16 * error[:, 1] ** 2 + error[:, 0] ** 2) / 3),
    }


def main() -> None:
    target = alanine_dipeptide()
    every = frames(target)
    molecule, test = universe(every[:LEARNED]), every[-FRAMES:]
    conditional = fit_conditional(molecule, mapping(molecule), key=jax.random.key(0))
    matrix = np.asarray(conditional.fibre.matrix)
    positions = np.einsum("ba,fax->fbx", matrix, test)
    beads = xr.Dataset({"positions": (("frame", "bead", "xyz"), positions)}, attrs={"temperature": 300.0})
    begin = time.process_time()
    reference = referee(target.force_field, walkers(target), matrix, positions)
    print(f"dynamics {time.process_time() - begin:.0f} s", flush=True)
    for method, options in {
        "smc": {"draws": 2048, "tempering": Tempering(particles=512)},
    }.items():
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = sample(conditional, beads, target, method=method, key=jax.random.key(1), **options)
        mean, error = averages(data, OBSERVABLES)
        missed = np.einsum("ba,dfax->dfbx", matrix, data["positions"].values) - positions
        print(
            f"{method}: centers missed by {np.abs(missed).max():.1e} nm; effective samples {data['ess'].values}, ln Z "
            f"{data['log_z'].values} +- {data['log_z_se'].values}, evaluations {data['evaluations'].values}, "
            f"{time.process_time() - begin:.0f} s",
            flush=True,
        )
        for name, (other, deviation) in reference.items():
            z = (mean - other) / np.hypot(error, deviation)
            print(f"against {name}: max |z| {np.abs(z).max():.2f}, rms z {np.sqrt(np.mean(z**2)):.2f}")
            if name == "extrapolated":
                wanted("max |z|", np.abs(z).max(), high=4)
                wanted("rms z", np.sqrt(np.mean(z**2)), 0.8, 1.25)
        for frame in range(FRAMES):
            print(f"frame {frame}")
            for k, name in enumerate(NAMES):
                print(
                    f"  {name:<13} {mean[frame, k]:9.4f} +- {error[frame, k]:.4f}; springs "
                    + ", ".join(f"{m[frame, k]:.4f} +- {e[frame, k]:.4f}" for m, e in reference.values())
                )


if __name__ == "__main__":
    main()

"""The potential of mean force of a distance, -kT ln Z - 2 kT ln r, against umbrella sampling: the ends of butane.

Two beads are the outer carbons, everything between them is placed. OPLS-AA parameters (combination rules of Lorentz and
Berthelot), vacuum, 300 K. Springs along the distance in nine windows, MBAR over them in eight independent repeats. The
distance tells trans from gauche, so that no window has a slow motion but that between mirror images.
"""

from __future__ import annotations

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayescg.atomistic.force_field import ForceField, translate
from bayescg.backmapping import Tempering, fit_conditional, potential_of_mean_force, sample
from tests.atomistic.molecules import grow
from tests.backmapping import planted
from tests.studies.backmapping.held_dynamics import KT, TEMPERATURE, distance, walked
from tests.studies.wanted import wanted

ELEMENTS = list("CCCC" + 10 * "H")
BONDS = [(0, 1), (1, 2), (2, 3), *((0, k) for k in (4, 5, 6)), *((1, k) for k in (7, 8))]
BONDS += [*((2, k) for k in (9, 10)), *((3, k) for k in (11, 12, 13))]
MIRRORED = [0, 1, 2, 3, 5, 4, 6, 8, 7, 10, 9, 12, 11, 13]
"""Labels that keep the handedness of every carbon in a mirror image."""

WINDOWS = np.arange(0.28, 0.4001, 0.015)
STIFFNESS = KT / 0.012**2
REPEATS, WALKERS, SAMPLES, BURN, EVERY = 8, 2, 1600, 100, 100
HALF_WIDTH = 0.003
"""Of the shell that the umbrella's density is taken from [nm]."""
LEARNED = 500


def butane() -> ForceField:
    """The molecule's energy."""
    import openmm as mm

    system, charges = mm.System(), [-0.18, -0.12, -0.12, -0.18, *[0.06] * 10]
    bonds, angles, torsions = mm.HarmonicBondForce(), mm.HarmonicAngleForce(), mm.PeriodicTorsionForce()
    pairs = mm.NonbondedForce()
    for element, charge in zip(ELEMENTS, charges, strict=True):
        system.addParticle({"C": 12.011, "H": 1.008}[element])
        pairs.addParticle(charge, *{"C": (0.35, 0.276144), "H": (0.25, 0.12552)}[element])
    beside = {k: sorted({j for bond in BONDS for j in bond if k in bond} - {k}) for k in range(14)}
    for i, j in BONDS:
        bonds.addBond(i, j, *((0.1529, 224262.4) if j < 4 else (0.109, 284512.0)))
    for b in range(4):
        for a, c in ((a, c) for a in beside[b] for c in beside[b] if a < c):
            hydrogens = (a > 3) + (c > 3)
            value = {0: (112.7, 488.273), 1: (110.7, 313.8), 2: (107.8, 276.144)}[hydrogens]
            angles.addAngle(a, b, c, np.radians(value[0]), value[1])
    for b, c in BONDS[:3]:
        for a, d in ((a, d) for a in beside[b] if a != c for d in beside[c] if d != b):
            terms = {1: 2.7196, 2: 0.1046, 3: 0.4184} if max(a, d) < 4 else {3: 0.6276}
            for n, k in terms.items():
                torsions.addTorsion(a, b, c, d, n, 0.0, k)
    pairs.createExceptionsFromBonds(BONDS, 0.5, 0.5)
    for force in (bonds, angles, torsions, pairs):
        system.addForce(force)
    return translate(system)


def umbrellas(field: ForceField, walkers: int, seed: int) -> np.ndarray:
    """Positions in all windows, (sample, window, walker, atom, 3); every other walker is a mirror image."""
    x = grow(ELEMENTS, BONDS, seed=1).positions
    both = np.stack([x, (x * [-1, 1, 1])[MIRRORED]])
    start = np.tile(both, (len(WINDOWS) * walkers // 2, 1, 1))
    run = walked(
        field,
        start,
        bias=lambda x, middle: 0.5 * STIFFNESS * (jnp.sqrt(jnp.sum((x[3] - x[0]) ** 2)) - middle) ** 2,
        parameters=(np.repeat(WINDOWS, walkers),),
        samples=SAMPLES,
        every=EVERY,
        burn=BURN,
        seed=seed,
    )
    return run.reshape(SAMPLES, len(WINDOWS), walkers, *x.shape)


def by_umbrella(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W(r) [kT] at the windows' middles against the middle one, and its error, from repeats."""
    with jax.enable_x64(True):
        from pymbar import MBAR

    r = distance(found, 0, 3).reshape(SAMPLES, len(WINDOWS), REPEATS, -1)
    values = []
    for repeat in range(REPEATS):
        own = r[:, :, repeat].swapaxes(0, 1).reshape(len(WINDOWS), -1)
        table = 0.5 * STIFFNESS * (own.ravel()[None] - WINDOWS[:, None]) ** 2 / KT
        with jax.enable_x64(True):
            free = np.asarray(MBAR(table, np.full(len(WINDOWS), own.shape[1])).f_k)
        weight = -logsumexp(free[:, None] - table, axis=0)
        near = np.abs(own.ravel()[None] - WINDOWS[:, None]) < HALF_WIDTH
        values.append(-logsumexp(np.where(near, weight, -np.inf), axis=1))
    values = np.array(values)
    values -= values[:, [len(WINDOWS) // 2]]
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(REPEATS)


def main() -> None:
    field = butane()
    begin = time.process_time()
    learned = umbrellas(field, 2, 11).reshape(-1, 14, 3)
    learned = learned[np.random.default_rng(0).permutation(len(learned))[:LEARNED]]
    free, error = by_umbrella(umbrellas(field, REPEATS * WALKERS, 12))
    print(f"umbrellas {time.process_time() - begin:.0f} s", flush=True)
    molecule = planted.universe(learned, BONDS, ELEMENTS)
    conditional = fit_conditional(molecule, planted.kept(molecule, "index 0 3"), key=jax.random.key(0))
    print(f"fitted {time.process_time() - begin:.0f} s", flush=True)
    positions = np.zeros((len(WINDOWS), 2, 3))
    positions[:, 1, 0] = WINDOWS
    beads = xr.Dataset({"positions": (("frame", "bead", "xyz"), positions)}, attrs={"temperature": TEMPERATURE})
    for method, options in {"imh": {"draws": 20000}, "smc": {"draws": 1024, "tempering": Tempering(256)}}.items():
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = sample(conditional, beads, field, method=method, key=jax.random.key(2), **options)
        pmf = potential_of_mean_force(data)
        found = pmf["potential"].values / KT - 2 * np.log(WINDOWS)
        own, middle, z = pmf["potential_se"].values / KT, len(WINDOWS) // 2, []
        for k in [k for k in range(len(WINDOWS)) if k != middle]:
            sampled, sd = found[k] - found[middle], np.sqrt(own[k] ** 2 + own[middle] ** 2 + error[k] ** 2)
            z.append((sampled - free[k]) / sd)
            print(
                f"{method} r {WINDOWS[k]:.3f} against {WINDOWS[middle]:.3f} nm: {sampled:.3f} +- "
                f"{np.hypot(own[k], own[middle]):.3f} kT, umbrellas {free[k]:.3f} +- {error[k]:.3f}, sd {sd:.3f}, z "
                f"{z[-1]:+.2f}"
            )
            wanted(f"{method}: z", z[-1], -3, 3)
            wanted(f"{method}: sd, kT", sd, high=0.1)
        ess = data["ess"].values
        print(
            f"{method}: max |z| {np.abs(z).max():.2f}; effective samples {ess.min():.0f}-{ess.max():.0f}, reliable "
            f"{int(data['reliable'].sum())}, {time.process_time() - begin:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""-kT ln Z(X) of alanine dipeptide along a turn of one of its five kept atoms, against dynamics with frozen atoms.

The first carbonyl carbon turns about the bond from N to CA, which changes phi and nothing else among the kept atoms.
Dynamics at each angle; MBAR over all of them, atoms beside N turned along with their bead, which leaves volumes as they
are (a free-energy perturbation whose steps are small). Both are densities over the Cartesian positions of the beads: no
Jacobian enters.
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
from bayescg.backmapping import Tempering, fit_conditional, potential_of_mean_force, sample
from tests.studies.backmapping.alanine import KEPT, frames, mapping, universe
from tests.studies.backmapping.held_dynamics import KT, averaged, torsion, walked
from tests.studies.wanted import wanted

PHI = np.radians(np.arange(-150.0, -59.0, 15.0))
LEARNED = 500
TURNED = (0, 1, 2, 3, 4, 5, 7)
"""What turns with the carbonyl carbon: the acetyl group and the hydrogen of N."""
WALKERS, SAMPLES, BURN, EVERY = 16, 200, 30, 50


def turned(x: np.ndarray, angle: np.ndarray | float) -> np.ndarray:
    """Positions (..., atom, 3) with phi larger by an angle [rad]."""
    origin = x[..., 6:7, :]
    axis = x[..., 8:9, :] - origin
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    arm = x[..., TURNED, :] - origin
    angle = -np.asarray(angle)
    along = np.sum(arm * axis, axis=-1, keepdims=True) * axis
    moved = x.copy()
    moved[..., TURNED, :] = origin + along + np.cos(angle) * (arm - along) + np.sin(angle) * np.cross(axis, arm)
    return moved


def phi(x: np.ndarray) -> np.ndarray:
    """The dihedral that the turn changes [rad]."""
    return torsion(x, 4, 6, 8, 14)


def by_dynamics(field, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Free energies [kT] relative to their mean, and their covariance."""
    with jax.enable_x64(True):
        from pymbar import MBAR

    first = np.repeat(start, WALKERS, axis=0)
    found = walked(field, first, kept=KEPT, samples=SAMPLES, every=EVERY, burn=BURN, seed=7)
    # (window, sample x walker, atom, 3)
    windows = found.reshape(SAMPLES, len(PHI), WALKERS, *first.shape[1:]).swapaxes(0, 1)
    reduced = jax.jit(lambda x: jax.lax.map(field.energy, x, batch_size=128) / KT)
    table = np.empty((len(PHI), len(PHI), SAMPLES, WALKERS))
    with double_precision():
        for n in range(len(PHI)):
            for k in range(len(PHI)):
                x = turned(windows[n], PHI[k] - PHI[n]).reshape(-1, *first.shape[1:])
                table[k, n] = np.asarray(reduced(jnp.asarray(x))).reshape(SAMPLES, WALKERS)
    # Samples of one walker are related: as many are kept as are independent.
    steps = np.diff(table, axis=0)
    each = [
        averaged(steps[min(n, len(PHI) - 2), n, :, w]).inefficiency for n in range(len(PHI)) for w in range(WALKERS)
    ]
    stride = int(np.ceil(np.mean(each)))
    print(f"samples every {EVERY} steps, inefficiency {np.mean(each):.1f}, at most {np.max(each):.1f}", flush=True)
    thinned = table[:, :, ::stride].reshape(len(PHI), len(PHI), -1)
    with jax.enable_x64(True):
        solved = MBAR(thinned.reshape(len(PHI), -1), np.full(len(PHI), thinned.shape[-1]))
        theta = np.asarray(solved.compute_free_energy_differences(compute_uncertainty=True)["dDelta_f"])
        free = np.asarray(solved.f_k)
    return free, theta


def main() -> None:
    target = alanine_dipeptide()
    every = frames(target)
    molecule = universe(every[:LEARNED])
    conditional = fit_conditional(molecule, mapping(molecule), key=jax.random.key(0))
    test = every[-100:]
    origin = test[np.argmin(np.abs(phi(test) + np.pi / 2))]
    start = np.stack([turned(origin, value - phi(origin)) for value in PHI])
    begin = time.process_time()
    free, error = by_dynamics(target.force_field, start)
    print(f"dynamics {len(PHI) * WALKERS * SAMPLES * EVERY * 1e-6:.1f} ns, {time.process_time() - begin:.0f} s")
    beads = xr.Dataset({"positions": (("frame", "bead", "xyz"), start[:, list(KEPT)])}, attrs={"temperature": 300.0})
    for method, options in {
        "imh": {"draws": 4000},
        "smc": {"draws": 512, "tempering": Tempering(particles=128)},
    }.items():
        begin = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = sample(conditional, beads, target, method=method, key=jax.random.key(2), **options)
        pmf = potential_of_mean_force(data)
        found, own = pmf["potential"].values / KT, pmf["potential_se"].values / KT
        middle = len(PHI) // 2
        z = []
        for k, angle in enumerate(np.degrees(PHI)):
            if k == middle:
                continue
            difference = (found[k] - found[middle]) - (free[k] - free[middle])
            sd = np.sqrt(own[k] ** 2 + own[middle] ** 2 + error[middle, k] ** 2)
            z.append(difference / sd)
            print(
                f"{method} phi {angle:.0f} against {np.degrees(PHI[middle]):.0f}: {found[k] - found[middle]:.3f} +- "
                f"{np.hypot(own[k], own[middle]):.3f} kT, dynamics {free[k] - free[middle]:.3f} +- "
                f"{error[middle, k]:.3f}, sd {sd:.3f}, z {z[-1]:+.2f}"
            )
            wanted(f"{method}: z", z[-1], -3, 3)
            wanted(f"{method}: sd, kT", sd, high=0.1)
        print(f"{method}: max |z| {np.abs(z).max():.2f}, {time.process_time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""Energy evaluations of plain molecular dynamics for the same error, alanine dipeptide at 300 K.

Langevin dynamics (BAOAB, 1 fs, 1/ps) of independent walkers that start in equilibrium (for nothing). The
entries into a box give the correlation time of being there, and that the error of its free energy; entries that only
touch the border count too, so that the evaluations are too few rather than too many.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic import alanine_dipeptide
from bayescg.generative import tempered_smc
from bayescg.generative.particles.smc import rejuvenate
from tests.studies.generative.alanine_reference import BOXES, PHI, PSI, box_of, dihedral

WALKERS, CHUNKS, STEPS = 128, 150, 1000
TIMESTEP, FRICTION = 0.001, 1.0


def main() -> None:
    target = alanine_dipeptide()
    first, second, third = jax.random.split(jax.random.key(0), 3)
    particles = tempered_smc(target, particles=2000, moves=1, key=first)
    _, swept = rejuvenate(target, particles, sweeps=10, key=second)
    chosen = np.random.default_rng(0).choice(len(swept[-1]), WALKERS, replace=False)
    start = jnp.asarray(swept[-1][chosen], jnp.float32)
    positions = jax.vmap(target.to_positions)(start)
    masses = jnp.asarray(target.force_field.masses, jnp.float32)[:, None]
    thermal = target.thermal_energy
    force = jax.grad(lambda x: -target.force_field.energy(x))

    @jax.jit
    def chunk(state, key):
        def walker(argument):
            x, v, key = argument

            def step(carry, key):
                x, v, f = carry
                v = v + 0.5 * TIMESTEP * f / masses
                x = x + 0.5 * TIMESTEP * v
                kept = jnp.exp(-FRICTION * TIMESTEP)
                v = kept * v + jnp.sqrt((1 - kept**2) * thermal / masses) * jax.random.normal(key, v.shape, v.dtype)
                x = x + 0.5 * TIMESTEP * v
                f = force(x)
                return (x, v + 0.5 * TIMESTEP * f / masses, f), None

            (x, v, _), _ = jax.lax.scan(step, (x, v, force(x)), jax.random.split(key, STEPS))
            return x, v

        x, v = state
        return jax.lax.map(walker, (x, v, jax.random.split(key, len(x))), batch_size=64)

    noise = jax.random.normal(third, positions.shape, positions.dtype)
    state, boxes = (positions, jnp.sqrt(thermal / masses) * noise), []
    for k in range(CHUNKS):
        state = chunk(state, jax.random.fold_in(third, k))
        boxes.append(box_of(np.asarray(dihedral(state[0], PHI)), np.asarray(dihedral(state[0], PSI))))
    boxes = np.array(boxes)
    evaluations = WALKERS * CHUNKS * STEPS
    print(f"{WALKERS} walkers of {CHUNKS * STEPS * TIMESTEP:.0f} ps, {evaluations} evaluations")
    for k, name in enumerate(BOXES):
        means = np.mean(boxes == k, axis=0)
        share, error = means.mean(), means.std(ddof=1) / np.sqrt(WALKERS)
        entries = int(np.sum((boxes[1:] == k) & (boxes[:-1] != k)))
        # Of two states the indicator's correlation time follows from the rate of entries: few of them, few samples.
        time = WALKERS * (CHUNKS - 1) * STEPS * TIMESTEP
        memory = share * (1 - share) * time / entries if entries else np.inf
        needed = 2 * memory * (1 - share) / share / 0.01**2 / TIMESTEP if share else np.inf
        print(
            f"{name}: {share:.5f} +- {error:.5f}, {entries} entries in {time:.0f} ps, its time {memory:.0f} ps: "
            f"an error of 0.01 kT takes {needed:.2g} evaluations",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""The bimodal potential of arXiv:2002.10148: five seeds, both divergences by quadrature; and a lost well, flagged."""

from __future__ import annotations

import json
import time
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg.atomistic import bimodal
from bayescg.generative import Training, check_modes, discover, sample
from tests.studies.wanted import wanted

LOG_Z, RIGHT, BARRIER = 12.06493, 0.008346, 0.16746
BUDGET, DRAWS = 3_300_000, 200_000


def divergences(model) -> tuple[float, float, float]:
    """KL(q || p), KL(p || q) and the right well's mass of q(x) = int q(z) q(x|z) dz, by quadrature."""
    z = np.linspace(-7, 7, 701)
    x1, x2 = np.linspace(-5, 5, 401), np.linspace(-5, 5, 81)
    grid = np.stack(np.meshgrid(x1, x2, indexing="ij"), axis=-1).reshape(-1, 2)

    @eqx.filter_jit
    def density(model, x):
        def one(x):
            return jax.nn.logsumexp(jax.vmap(lambda z: model.log_joint(x, z[None]))(jnp.asarray(z, jnp.float32)))

        return jax.lax.map(one, x, batch_size=64)

    log_q = np.asarray(density(model, jnp.asarray(grid, jnp.float32)), float) + np.log(z[1] - z[0])
    log_p = -(grid[:, 0] ** 4 / 4 - 3 * grid[:, 0] ** 2 + grid[:, 0] + grid[:, 1] ** 2 / 2) - LOG_Z
    cell = (x1[1] - x1[0]) * (x2[1] - x2[0])
    p, q = np.exp(log_p) * cell, np.exp(log_q) * cell
    assert abs(p.sum() - 1) < 1e-3
    assert abs(q.sum() - 1) < 1e-3
    return float(np.sum(q * (log_q - log_p))), float(np.sum(p * (log_p - log_q))), float(q[grid[:, 0] > BARRIER].sum())


def right_well(samples) -> np.ndarray:
    """Whether each sample is in the right well."""
    return (samples["coordinates"].values[:, 0] > BARRIER).astype(float)


def main(seeds=range(5)) -> None:
    target = bimodal()
    print("seed  KL(q||p)  KL(p||q)  right(q)/exact  weighted/exact  log Z error  evaluations  seconds")
    for seed in seeds:
        begin = time.perf_counter()
        model = discover(target, latent_dim=1, budget=BUDGET, key=jax.random.key(seed))
        tree = sample(model, target, draws=DRAWS, observables={"right": right_well}, key=jax.random.key(100 + seed))
        seconds = time.perf_counter() - begin
        estimates, reverse_forward = tree["estimates"], divergences(model)
        spent = json.loads(model.report)["evaluations"] + DRAWS
        weighted, log_z = float(estimates["right"]) / RIGHT, float(estimates["log_z"]) - LOG_Z
        print(
            f"{seed}  {reverse_forward[0]:.4f}  {reverse_forward[1]:.4f}  {reverse_forward[2] / RIGHT:.3f}  "
            f"{weighted:.3f}  {log_z:+.4f}  {spent}  {seconds:.0f}",
            flush=True,
        )
        wanted("KL(q||p)", reverse_forward[0], high=0.02)
        wanted("KL(p||q)", reverse_forward[1], high=0.02)
        wanted("mass of the right well over the exact one", reverse_forward[2] / RIGHT, 0.8, 1.2)
        wanted("log Z error", log_z, -0.02, 0.02)
        wanted("evaluations", spent, high=3.5e6)
    lost = discover(
        target,
        latent_dim=1,
        budget=1_000_000,
        method="reverse_kl",
        settings=Training(decoder="gaussian"),
        key=jax.random.key(0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it misses a well is the point, and printed
        found = check_modes(lost, target, particles=5000, key=jax.random.key(1))
    masses = divergences(lost)
    print(
        f"reverse divergence alone: KL(q||p) {masses[0]:.4f}, KL(p||q) {masses[1]:.3f}, right well {masses[2]:.2g} of "
        f"{RIGHT}; {len(found.weights)} particles that do not know it: {100 * found.missed:.2f} % of their weight has "
        f"log p/q > 3, flagged: {found.flagged}"
    )
    wanted("weight that the model which lost a well misses", found.missed, low=0.002)


if __name__ == "__main__":
    main()

"""Alanine dipeptide from its force field alone, beside the replica-exchange reference of `alanine_reference`."""

from __future__ import annotations

import json
import time

import jax
import numpy as np

from bayescg.atomistic import alanine_dipeptide
from bayescg.generative import discover, sample, state_information
from tests.studies.generative.alanine_reference import BOXES, RESULT, box_of
from tests.studies.wanted import wanted

BUDGET, DRAWS, BINS = 4_000_000, 1_000_000, 24
PHI, PSI = "torsion 4-6-8-14", "torsion 16-14-8-6"


def reference() -> np.ndarray:
    """Counts of each ladder, shape (ladder, 24, 24)."""
    counts = np.load(RESULT)["counts"].astype(float)
    return counts.reshape(len(counts), BINS, 3, BINS, 3).sum((2, 4))


def main(seeds=(0, 1)) -> None:
    ladders = reference()
    truth = ladders.sum(0) / ladders.sum()
    halves = [ladders[k::2].sum(0) / ladders[k::2].sum() for k in (0, 1)]
    # Half the distance of two halves is what the whole has to the truth, as errors of independent counts go.
    print(
        f"reference: {ladders.sum():.0f} samples; sampling floor of its total variation {_variation(*halves) / 2:.4f}"
    )
    target = alanine_dipeptide()
    for seed in seeds:
        begin = time.perf_counter()
        model = discover(target, latent_dim=2, budget=BUDGET, key=jax.random.key(seed))
        trained = time.perf_counter() - begin
        tree = sample(model, target, draws=DRAWS, key=jax.random.key(100 + seed))
        seconds = time.perf_counter() - begin
        samples, spent = tree["samples"], json.loads(model.report)["evaluations"] + tree.attrs["evaluations"]
        phi, psi = (np.degrees(samples["coordinates"].sel(coordinate=name).values) for name in (PHI, PSI))
        weights = np.exp(samples["log_weight"].values)
        found = np.histogram2d(phi, psi, BINS, [[-180, 180]] * 2, weights=weights)[0]
        floor = _floor(truth, tree.attrs["ess"])
        print(
            f"seed {seed}: {trained:.0f} s + {seconds - trained:.0f} s, {spent} evaluations; effective "
            f"samples {tree.attrs['ess']:.0f} ({tree.attrs['ess_share']:.3f}), "
            f"Pareto k {tree.attrs['pareto_k']:.2f}; log Z {float(tree['estimates']['log_z']):.4f} +- "
            f"{float(tree['estimates']['log_z_se']):.4f}, of particles {json.loads(model.report)['log_z_smc']:.2f} "
            f"+- {json.loads(model.report)['log_z_smc_se']:.2f}; total variation {_variation(found, truth):.4f} "
            f"(floor of these draws {floor:.4f})",
            flush=True,
        )
        wanted("evaluations", spent, high=5e6)
        wanted("effective samples", tree.attrs["ess"], low=5000)
        wanted("total variation", _variation(found, truth), high=0.15)
        _boxes(box_of(phi, psi), weights, ladders)
        _information(model, samples["coordinates"].values, phi, psi, weights)


def _variation(a: np.ndarray, b: np.ndarray) -> float:
    return float(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())


def _floor(truth: np.ndarray, effective: float) -> float:
    """Mean total variation of as many independent samples from the truth itself."""
    draws = np.random.default_rng(0).multinomial(int(effective), truth.ravel(), size=50) / int(effective)
    return float(np.mean(0.5 * np.abs(draws - truth.ravel()).sum(axis=1)))


def _boxes(box: np.ndarray, weights: np.ndarray, ladders: np.ndarray) -> None:
    centers = -180 + 360 / BINS * (np.arange(BINS) + 0.5)
    boxes = box_of(*np.meshgrid(centers, centers, indexing="ij"))
    for k, name in enumerate(BOXES):
        share = float(weights[box == k].sum())
        error = float(np.sqrt(np.sum(weights**2 * ((box == k) - share) ** 2)) / max(share, 1e-300))
        each = ladders[:, boxes == k].sum(1) / ladders.sum((1, 2))
        mean, scatter = each.mean(), each.std(ddof=1) / np.sqrt(len(each))
        print(
            f"  {name}: model {np.mean(box == k):.5f}, weighted {share:.5f}, reference {mean:.5f}; free energy differs "
            f"by {np.log(mean / max(share, 1e-300)):+.3f} kT (error {error:.3f}, reference {scatter / mean:.3f})",
            flush=True,
        )
        wanted(f"free energy of {name}, kT off", float(np.log(mean / max(share, 1e-300))), -0.5, 0.5)


def _information(model, coordinates: np.ndarray, phi: np.ndarray, psi: np.ndarray, weights: np.ndarray) -> None:
    chosen = np.random.default_rng(0).choice(len(weights), 4000, p=weights / weights.sum())
    basins = box_of(phi, psi)
    basins = np.where((basins == 1) & (phi < -115), 3, basins)[chosen]
    shares = np.bincount(basins, minlength=4) / len(basins)
    entropy = -np.sum(shares[shares > 0] * np.log(shares[shares > 0]))
    known = state_information(model, coordinates[chosen], basins, key=jax.random.key(0))
    print(
        f"  information of z about the basins alpha_R, PII, C5 (border at phi = -115), alpha_L: {known:.3f} of "
        f"{entropy:.3f} nats; of each latent about x: {np.round(json.loads(model.report)['information'], 2)}",
        flush=True,
    )
    wanted("information of z about the basins, nats", known, low=0.6)


if __name__ == "__main__":
    main()

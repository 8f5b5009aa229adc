"""A chain of 24 springs, 4 atoms a bead: wrong guides, both ways to multiply, and whether error bars are true."""

from __future__ import annotations

import time
import warnings

import jax
import numpy as np

from bayescg.backmapping import GaussianConditional, Tempering, sample
from tests.backmapping.gaussian_chain import AnyAtoms, Unnormalized, beads, chain, ensemble, exact, guide, misses

LIMITS = "wanted: ess >= 7000, mean < 0.05, covariance < 0.05, ln Z < 0.05, residual < 1e-12"


def report(name: str, model, x, data, seconds: float) -> None:
    """One line."""
    found = misses(model, x, data)
    print(
        f"{name:<34} ess {found.ess:6.0f}  mean {found.mean:.4f}  covariance {found.covariance:.4f}  ln Z "
        f"{found.log_z:+.4f} +- {float(data['log_z_se'][0]):.4f}  residual {found.residual:.1e}  evaluations "
        f"{int(data['evaluations'][0])}  {seconds:.0f} s",
        flush=True,
    )


def one_frame() -> None:
    """Guides of every kind, one frame."""
    model = chain()
    x = beads(model)
    truth = exact(model, x)
    perfect = GaussianConditional(model.fibre, truth.mean, truth.covariance)
    q = perfect.guide(x)

    def doubled(positions):
        return model.energy(positions) - q.log_density(positions)

    print(LIMITS)
    cases = {
        "off by 1 sd, 1.5 times as wide": (guide(model, x, 1.0, 1.5, 1), model.energy, "smc"),
        "off by 1 sd, half as wide": (guide(model, x, 1.0, 0.5, 2), model.energy, "smc"),
        "over all atoms, of straight lines": (AnyAtoms(model.fibre, 0.05), model.energy, "smc"),
        "not normalized": (Unnormalized(guide(model, x, 1.0, 1.5, 1), model.fibre), model.energy, "smc"),
        "NUTS from 4 x 1024 particles": (guide(model, x, 1.0, 1.5, 1), model.energy, "nuts"),
        "WRONG: q = p, times Boltzmann": (perfect, doubled, "smc"),
    }
    for name, (conditional, energy, method) in cases.items():
        begin = time.perf_counter()
        data = sample(
            conditional,
            ensemble(x),
            energy,
            draws=16384,
            method=method,
            tempering=Tempering(particles=1024 if method == "nuts" else 4096),
            key=jax.random.key(0),
        )
        report(name, model, x, data, time.perf_counter() - begin)


def error_bars(repeats: int = 200) -> None:
    """Is exp(ln Z) unbiased, and are its error and the effective samples true? Many runs of few particles."""
    model = chain(12, 4)
    x = beads(model)
    truth = exact(model, x)
    width = np.sqrt(np.diagonal(truth.covariance))
    for name, conditional in {
        "off by 1 sd, 1.5 times as wide": guide(model, x, 1.0, 1.5, 1),
        "over all atoms, of straight lines": AnyAtoms(model.fibre, 0.05),
    }.items():
        data = sample(
            conditional,
            ensemble(*[x] * repeats),
            model.energy,
            draws=400,
            tempering=Tempering(particles=100),
            key=jax.random.key(1),
        )
        error = data["log_z"].values - truth.log_z
        z = error / data["log_z_se"].values
        ratio = np.exp(error)
        free = np.einsum("ar,dfax->dfrx", model.fibre.basis, data["positions"].values).reshape(400, repeats, -1)
        mean = np.einsum("df,dfi->fi", np.exp(data["log_weight"].values), free)
        white = (mean - truth.mean) / width * np.sqrt(data["ess"].values[:, None])
        print(
            f"{name}: {repeats} runs of 4 x 100 particles, Z / exact = {ratio.mean():.3f} +- "
            f"{ratio.std() / np.sqrt(repeats):.3f}, sd of ln Z {error.std():.3f}, reported "
            f"{data['log_z_se'].values.mean():.3f}, rms z {np.sqrt(np.mean(z**2)):.2f}, largest "
            f"{np.abs(z).max():.1f}; means: rms z from `ess` {np.sqrt(np.mean(white**2)):.2f}, worst coordinate "
            f"{np.sqrt(np.mean(white**2, axis=0).max()):.2f} (ess {data['ess'].values.mean():.0f})",
            flush=True,
        )


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one_frame()
        error_bars()


if __name__ == "__main__":
    main()

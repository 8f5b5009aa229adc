"""Physics-guided regression on both published forms, with simulated discrepancy, and on a crystal pulled apart.

Each replicate draws the law's parameters from their priors, a smooth discrepancy that is *not* a draw of the model's
own prior (a Gaussian process with another kernel, amplitude and lengthscale drawn from ranges, see `discrepancy`), and
noise. It is fitted on the easy part of the inputs and judged on the rest. What is simulated was fixed before the first
run; the amplitude's prior (exponential or half-normal, and its scale) was then chosen on 60 and 40 other replicates of
the two laws, with seeds [1000 + replicate, 19].
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist

from bayescg.samplers.settings import Sampling
from bayescg.surrogates import PhysicsGuidedGP, constant, fit, nucleation_time, predict, traction_separation, zero
from bayescg.surrogates.means import nucleation_curve, traction_curve
from tests.studies.wanted import wanted

REPLICATES = 200
CURVE = Path(__file__).with_name("argon_traction.csv")
SETTINGS = Sampling(2, 300, 300)
BOLTZMANN = 8.314462618e-3


def discrepancy(x: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """A squared-exponential process (the model's is Matern-5/2) with sd 5 to 20 % of `size`, scaled inputs."""
    lengthscale = rng.uniform(0.2, 0.6)
    distance = (x[:, None] - x[None]) / np.ptp(x, axis=0)
    gram = np.exp(-0.5 * np.sum(distance**2, axis=-1) / lengthscale**2)
    root = np.linalg.cholesky(gram + 1e-9 * np.eye(len(x)))
    return rng.uniform(0.05, 0.20) * size * (root @ rng.normal(size=len(x)))


def traction(rng: np.random.Generator):
    """Separations to 0.4 nm are measured, 0.4 to 0.7 are not; tractions in GPa, noise 3 % of the strength."""
    priors = {"strength": dist.LogNormal(0.0, 0.4), "opening": dist.LogNormal(np.log(0.15), 0.3)}
    truth = {"strength": np.exp(0.4 * rng.normal()), "opening": 0.15 * np.exp(0.3 * rng.normal())}
    x = np.concatenate([np.linspace(0.01, 0.40, 40), np.linspace(0.41, 0.70, 30)])[:, None]
    law = np.asarray(traction_curve(x, truth))
    curve = law + discrepancy(x, 0.6 * truth["strength"], rng)
    return traction_separation(**priors), x, curve, 0.03 * truth["strength"], np.arange(70) < 40


def nucleation(rng: np.random.Generator):
    """Waiting times of MD, above 1.0 GPa and 500 K, say what happens at 0.5 to 1.0 GPa and 300 to 500 K."""
    priors = {
        "log_attempt_time": dist.Normal(-2.0, 1.0),
        "barrier": dist.LogNormal(np.log(100.0), 0.3),
        "athermal_stress": dist.LogNormal(np.log(3.0), 0.2),
        "exponent": dist.LogNormal(np.log(1.5), 0.2),
    }
    truth = {name: float(d.sample(jax.random.key(int(rng.integers(2**31))))) for name, d in priors.items()}
    inside = np.stack(np.meshgrid(np.linspace(1.0, 2.0, 6), np.linspace(500, 800, 7)), axis=-1).reshape(-1, 2)
    outside = np.stack(np.meshgrid(np.linspace(0.5, 0.9, 5), np.linspace(300, 480, 6)), axis=-1).reshape(-1, 2)
    x = np.concatenate([inside, outside])
    law = np.asarray(nucleation_curve(x, truth, boltzmann=BOLTZMANN))
    curve = law + discrepancy(x, float(np.std(law[: len(inside)])), rng)
    # Averages of ten waiting times each.
    return nucleation_time(**priors), x, curve, 1.28 / np.sqrt(10), np.arange(len(x)) < len(inside)


def moving_average(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Mean of the nearest points, as many as leave-one-out squared error likes best."""
    scale = np.ptp(x, axis=0)
    order = np.argsort(np.sum(((x[:, None] - x[None]) / scale) ** 2, axis=-1), axis=1)
    sizes = range(1, min(15, len(y) - 1) + 1)
    best = min(sizes, key=lambda k: np.mean((y - y[order[:, 1 : k + 1]].mean(axis=1)) ** 2))
    nearest = np.argsort(np.sum(((new[:, None] - x[None]) / scale) ** 2, axis=-1), axis=1)[:, :best]
    return y[nearest].mean(axis=1)


def models(mean, y: np.ndarray) -> dict[str, PhysicsGuidedGP]:
    """The physics, zero, and an unknown constant (what a zero mean of centered data amounts to)."""
    spread = float(np.std(y))
    center = dist.Normal(float(np.mean(y)), 2 * spread)
    # A constant is no physics: its process has the weak prior that a zero mean gets by itself.
    weak = {"amplitude": dist.LogNormal(np.log(spread), 0.7)}
    return {
        "physics mean": PhysicsGuidedGP(mean),
        "zero mean": PhysicsGuidedGP(zero()),
        "constant mean": PhysicsGuidedGP(constant(center), priors=weak),
    }


def judge(mean, x, y, curve, noise: float, known: np.ndarray, rng, key) -> dict[str, np.ndarray]:
    """For every method: RMSE inside and outside, then coverage of latent curve and of new data inside and outside."""
    new = curve + noise * rng.normal(size=len(curve))
    sides = (known, ~known)
    out = {
        "moving average": np.array(
            [np.sqrt(np.mean((moving_average(x[known], y[known], x[s]) - curve[s]) ** 2)) for s in sides]
        )
    }
    for number, (name, model) in enumerate(models(mean, y[known]).items()):
        first, second = jax.random.split(jax.random.fold_in(key, number))
        tree = fit(model, (x[known], y[known]), settings=SETTINGS, key=first)
        found = predict(tree, x, draws=300, key=second)
        error = found["mean"].sel(part="latent").values - curve
        row = [np.sqrt(np.mean(error[s] ** 2)) for s in sides]
        for part, values in (("latent", curve), ("observation", new)):
            low, high = found["band"].sel(part=part, ci_prob=0.95).transpose("bound", "point").values
            row += [np.mean((low[s] <= values[s]) & (values[s] <= high[s])) for s in sides]
        width = found["sd"].sel(part="latent").values
        row += [np.mean(width[s]) for s in sides]
        out[name] = np.array([*row, tree.attrs["rhat_max"], tree.attrs["divergences"]])
    return out


def simulated(name: str, form, replicates: int) -> None:
    """Print the table of one form."""
    rows: dict[str, list] = {}
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # short chains: R-hat is printed instead
        for replicate in range(replicates):
            rng = np.random.default_rng([replicate, len(name)])
            mean, x, curve, noise, known = form(rng)
            y = curve + noise * rng.normal(size=len(curve))
            for method, row in judge(mean, x, y, curve, noise, known, rng, jax.random.key(replicate)).items():
                rows.setdefault(method, []).append(row)
    print(f"{name}: {replicates} replicates, {time.perf_counter() - begin:.0f} s")
    print("RMSE inside, outside | covered by 95 %: latent in, out, new data in, out | sd in, out | R-hat, divergences")
    physics, outside = np.array([row[1] for row in rows["physics mean"]]), {}
    for method, found in rows.items():
        table = np.array(found)
        rmse = np.sqrt(np.mean(table[:, :2] ** 2, axis=0))
        outside[method] = rmse[1]
        line = f"{method:16s} {rmse[0]:8.3f} {rmse[1]:11.3f}"
        covered = []
        if table.shape[1] > 2:
            covered, error = table[:, 2:6].mean(axis=0), table[:, 2:6].std(axis=0, ddof=1) / np.sqrt(len(table))
            line += " | " + "  ".join(f"{c:.3f}+-{e:.3f}" for c, e in zip(covered, error, strict=True))
            line += f" | {table[:, 6].mean():.3f} {table[:, 7].mean():.3f}"
            line += f" | {np.median(table[:, 8]):.3f} {table[:, 8].max():.3f} {table[:, 9].sum():.0f}"
        if method != "physics mean":
            line += f"  (physics better outside in {np.mean(physics < table[:, 1]):.2f})"
        print(line, flush=True)
        if method == "physics mean":
            for what, share in zip(("curve", "curve beyond", "new data", "new data beyond"), covered, strict=True):
                wanted(f"95 % bands of {what} hold", share, 0.90, 0.98)
    wanted("RMSE beyond: zero mean over law", outside["zero mean"] / outside["physics mean"], low=1)
    wanted("RMSE beyond: moving average over zero mean", outside["moving average"] / outside["zero mean"], low=1)


def crystal(limit: float) -> None:
    """Argon pulled apart (examples/traction.py): fit below `limit` [nm], look beyond, against the long run."""
    table = np.loadtxt(CURVE, delimiter=",", skiprows=1)
    x, y, long = table[:, :1], table[:, 1], table[:, 2]
    known = x[:, 0] < limit
    mean = traction_separation(
        strength=dist.LogNormal(np.log(0.3), 0.5), opening=dist.LogNormal(np.log(0.15), 0.5), units=("nm", "GPa")
    )
    print(f"argon, fitted below {limit} nm: {known.sum()} points; {np.sum(~known)} beyond")
    print("method           RMSE inside  outside | covered 95 %: long run in  out")
    average = [np.sqrt(np.mean((moving_average(x[known], y[known], x[s]) - long[s]) ** 2)) for s in (known, ~known)]
    print(f"{'moving average':16s} {average[0]:8.4f} {average[1]:11.4f}")
    for name, model in models(mean, y[known]).items():
        tree = fit(model, (x[known], y[known]), key=jax.random.key(0))
        found = predict(tree, x, key=jax.random.key(1))
        error = found["mean"].sel(part="latent").values - long
        low, high = found["band"].sel(part="latent", ci_prob=0.95).transpose("bound", "point").values
        inside = (low <= long) & (long <= high)
        print(
            f"{name:16s} {np.sqrt(np.mean(error[known] ** 2)):8.4f} {np.sqrt(np.mean(error[~known] ** 2)):11.4f} | "
            f"{inside[known].mean():.3f} {inside[~known].mean():.3f}"
        )
        if name == "physics mean":
            draws = tree["posterior"]
            for parameter in draws.data_vars:
                values = draws[parameter].values.ravel()
                print(f"  {parameter} {values.mean():.4f} +- {values.std():.4f}")


def main() -> None:
    """Both forms, then the crystal."""
    simulated("traction-separation", traction, REPLICATES)
    simulated("nucleation time", nucleation, REPLICATES)
    for limit in (0.33, 0.45):
        crystal(limit)


if __name__ == "__main__":
    main()

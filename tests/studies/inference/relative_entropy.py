"""Relative entropy on water: iterations and g(r) from a Boltzmann-inversion start; coverage of its posterior."""

import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.data.neighbors import pairs
from bayescg.geometry.images import minimum_image
from bayescg.inference import Sampling
from bayescg.inference.linear.draws import draw_coefficients
from bayescg.inference.linear.fit import sample_hyperparameters
from bayescg.inference.relative_entropy import relative_entropy
from bayescg.inference.structural import refinement
from bayescg.inference.structural.newton import Model, target_of
from bayescg.inference.structural.prior import build_prior, into_free, inverted
from bayescg.inference.structural.refinement import Refinement
from bayescg.inference.structural.reweighting import Reference
from bayescg.inference.structural.settle import settle
from bayescg.inference.structural.structure import Frames, structure
from bayescg.posterior import curves
from bayescg.units import BOLTZMANN
from tests.studies.inference.water_coverage import SHARED, water

EDGES = np.array([0.25, 0.26, 0.27, 0.30, 0.35, 0.45, 0.88])
KELVIN, SIDE_Z = 300.0, 1.6448536
DYNAMICS = bcg.Langevin(timestep=0.004, equilibration=4.0, interval=0.2)
POTENTIAL = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))


def main(path: str | None = None) -> None:
    """Fit all frames (going on from a checkpoint at `path`, if any), compare g(r), refit segments."""
    if not (SHARED / "data" / "spce" / "cg_long.npz").exists():
        print("cg_long.npz is not there: skipped")
        return
    cg = water().drop_vars("forces")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(path or Path(folder) / "fit.nc")
        begin = time.time()
        fit = relative_entropy(
            POTENTIAL, cg, settings=Refinement(dynamics=DYNAMICS, checkpoint=checkpoint), key=jax.random.key(0)
        )
        print(f"fit of {cg.sizes['frame']} frames: {time.time() - begin:.0f} s", flush=True)
        identity = xr.load_dataset(checkpoint, engine="h5netcdf").attrs["identity"]
        reference = refinement.load(checkpoint, identity).reference
    report(fit)
    compare(cg, fit)
    data = structure(POTENTIAL, cg)
    shortest = closest(cg)
    for segments in (20, 40, 100):
        for calibration in ("godambe", "magnitude", "none"):
            coverage(data, shortest, reference, segments, calibration)


def report(fit) -> None:
    """What every iteration found."""
    records = fit["iterations"].to_dataset()
    print("iteration, Newton step [sd of beta U], taken, overlap, mean |z| of g, pressure [bar], simulated [ps]")
    for k in range(records.sizes["iteration"]):
        row = records.isel(iteration=k)
        numbers = [float(row[n]) for n in ("length", "step", "overlap", "structure", "pressure", "time")]
        print(k, *(f"{x:.3g}" for x in numbers))
    attrs = fit["posterior"].attrs
    names = ("converged", "structure_z", "draw_overlap", "pressure", "pressure_sd_sampling", "pressure_sd_posterior")
    print({name: attrs[name] for name in names}, flush=True)


def compare(cg, fit) -> None:
    """g(r) of a new simulation of the posterior mean against the data's, bins of 0.005 nm, both errors in z."""
    run = bcg.simulate(fit, cg.isel(frame=-1), time=400.0, dynamics=DYNAMICS, key=jax.random.key(1))
    edges = np.linspace(0.25, 0.85, 121)
    means, errors = [], []
    for ensemble, blocks in ((cg, 40), (run.isel(draw=0), 40)):
        values = bcg.observables.rdf(ensemble, "W", "W", cutoff=0.85, bins=edges, blocks=blocks).values
        means.append(values.mean(axis=0))
        errors.append(values.std(axis=0, ddof=1) / np.sqrt(blocks))
    z = (means[1] - means[0]) / np.hypot(*errors)
    print(
        f"g(r), 0.25-0.85 nm: mean |z| {np.mean(np.abs(z)):.2f}, largest |z| {np.max(np.abs(z)):.1f}, "
        f"mean |dg| {np.mean(np.abs(means[1] - means[0])):.4f}",
        flush=True,
    )


def closest(cg):
    """Smallest distance in each frame [nm]."""
    boxes = cg["box"].values
    found = []
    for positions, box in zip(cg["positions"].values.astype(float), boxes, strict=True):
        i, j = pairs(positions, box, 0.3).T
        found.append(np.linalg.norm(minimum_image(positions[i] - positions[j], box), axis=1).min())
    return np.array(found)


def fitted(data: Frames, reference: Reference, start, calibration: str):
    """Prior, model and optimum of some frames, by reweighting alone."""
    kT = BOLTZMANN * KELVIN
    begin = inverted(POTENTIAL, data, kT)
    prior = build_prior(POTENTIAL, data, begin, kT=kT, kernels={})
    model = Model(prior, target_of(data, prior), reference)
    settings = Refinement(overlap=0.1)
    return prior, model, settle(prior, model, into_free(prior, data, start), settings, calibration)


def coverage(data: Frames, shortest, reference: Reference, segments: int, calibration: str) -> None:
    """z = (f_segment - f_rest) / sd * sqrt(1 - n / N) by distance, every fit by reweighting one reference."""
    count = data.size
    length = count // segments
    x = np.linspace(EDGES[0], EDGES[-1], 316 * 2)[:-1] + 0.0005
    energy, basis = reference.energy.ravel(), reference.frames.basis.reshape(-1, POTENTIAL.n_basis)
    with double_precision():
        # The reference's own coefficients, where all fits start from.
        center = np.linalg.lstsq(basis, energy, rcond=1e-10)[0]
        prior, _, everything = fitted(data, reference, center, calibration)
        f_all = curves(POTENTIAL, "W-W", (prior.mean + prior.lift @ everything.position)[None], x)[1][0]
        print(f"all frames: optimum within trust {everything.reached}", flush=True)
        z, overlaps, reached = [], [], 0
        for k in range(segments):
            chosen = np.arange(k * length, (k + 1) * length)
            part = data.part(chosen)
            smallest = min(shortest[chosen])
            own = Frames(part.basis, part.strained, part.baseline, part.counts, {"W-W": (smallest, 0.9)})
            prior, model, settled = fitted(own, reference, center, calibration)
            reached += settled.reached
            _, _, found = sample_hyperparameters(
                prior, settled.likelihood.data, method="laplace", sampling=Sampling(1, 1, 500), key=jax.random.key(k)
            )
            draws = draw_coefficients(
                prior,
                settled.likelihood.data,
                found.values,
                root=settled.likelihood.root,
                key=jax.random.key(1000 + k),
            )[0]
            force = curves(POTENTIAL, "W-W", draws, x)[1]
            overlaps.append(model.overlap(settled.position))
            # f_seg - f_rest = (f_seg - f_all) N / (N - n) to first order.
            z.append((force.mean(axis=0) - f_all) / force.std(axis=0, ddof=1) / np.sqrt(1 - length / count))
    z = np.array(z)
    kind = f"{segments} segments of {length} frames, calibration {calibration}"
    print(f"{kind}: {reached} within trust, overlap {np.median(overlaps):.2f}")
    print("range [nm], rms z, 90 % coverage")
    for low, high in pairwise(EDGES):
        inside = z[:, (x >= low) & (x < high)]
        print(f"{low:.2f}-{high:.2f}  {np.sqrt(np.mean(inside**2)):.2f}  {np.mean(np.abs(inside) < SIDE_Z):.3f}")
    near = z[:, x < 0.30]
    print(f"all: {np.mean(np.abs(z) < SIDE_Z):.3f}; below 0.30 nm: {np.mean(np.abs(near) < SIDE_Z):.3f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

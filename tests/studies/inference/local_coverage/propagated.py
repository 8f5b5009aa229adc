"""g(r), coordination and pressure of fits to few noisy frames, against long runs of the potential that is known.

Each fit is propagated from one reference run of its posterior mean. The error of a difference has the parts
`sd_posterior` and `sd_sampling` of the fit and the sampling error of the long run. g(r) is judged by the ranges of its
pair term (`ranges`); first shells end where g(r) of all frames has its first minimum. A shell and a pressure are one
number a replicate: their bounds are two binomial errors wider.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable

import jax
import numpy as np
import xarray as xr

import bayescg as bcg
from bayescg import observables as obs
from bayescg.posterior import from_coefficients
from tests.inference import systems
from tests.seeds import shifted
from tests.studies.inference.local_coverage import planted
from tests.studies.inference.local_coverage.frames import kept
from tests.studies.inference.local_coverage.judge import COVERED, NORMAL, Pool, Row, judged
from tests.studies.inference.local_coverage.ranges import cells_of, sampled
from tests.studies.wanted import BROKEN, wanted

REPLICATES = 20
SYSTEMS = (
    (planted.lennard_jones(125), 5),
    (planted.yukawa(), 2),
    (planted.gaussian_core(), 2),
    (planted.ramp(), 2),
    (planted.stiff_bond(), 5),
    (planted.chains(), 5),
    (planted.kob_andersen(), 5),
)
DYNAMICS = bcg.Langevin(timestep=0.004, friction=2.0, equilibration=10.0, interval=0.5)
_TIME, _LONG, _RUNS = 100.0, 500.0, 4
_BIN = 0.01


def main(names: list[str] | None = None) -> None:
    """All systems, or those whose names begin as asked."""
    warnings.filterwarnings(
        "ignore", message="Pareto k|R-hat|only|.*neighboring blocks|.*frames are worth|.*fail the guard"
    )
    print("system, observable, range: share of 90 % intervals that hold the truth, rms z, mean z (+- over replicates)")
    for system, frames in SYSTEMS:
        if not names or system.name.startswith(tuple(names)):
            for row in measured(system, frames):
                error = f"(+- {row.covered_se:.3f}), rms z {row.rms:.2f} +- {row.rms_se:.2f}, mean {row.mean:+.2f}"
                slack = 0.0 if row.cell else 2 * np.sqrt(0.09 / row.replicates)
                low, high = COVERED[0] - slack, min(COVERED[1] + slack, 1.0)
                wanted(f"{row.system} {row.term} {row.cell}, covered {error}", row.covered, low, high)


def observables_of(potential: bcg.Potential, cells) -> dict[str, Callable]:
    """Name -> function of an ensemble: RDFs and first shells of all pair terms, and the pressure."""
    found: dict = {"pressure": obs.virial_pressure}
    for term in potential.terms:
        if isinstance(term, bcg.Pair):
            a, b = term.types
            found[f"g {term.name}"] = functools.partial(
                obs.rdf, a=a, b=b, cutoff=term.cutoff, bins=round(term.cutoff / _BIN)
            )
            well = next(cell for cell in cells[term.name] if cell.name == "well")
            found[f"shell {term.name}"] = functools.partial(obs.coordination_number, a=a, b=b, cutoff=well.ends[1])
    return found


def measured(system: planted.Planted, frames: int) -> list[Row]:
    """Fits to replicates of their own frames, propagated."""
    shift = f"-{shifted(0)}" if shifted(0) else ""
    data = kept(f"{system.name}-propagated-{frames * REPLICATES}{shift}", lambda: system.make(frames * REPLICATES))
    noise = float(data["forces"].std())
    potential = bcg.fill_ranges(bcg.Potential(*system.terms, exclude_bonds=system.exclude_bonds), data)
    found = sampled(potential, data)
    cells = {n: cells_of(potential.term(n), found[n], REPLICATES) for n in system.truths}  # pyright: ignore[reportArgumentType]
    functions = observables_of(potential, cells)
    long = {name: obs.summarize(function(_truth(system, data))) for name, function in functions.items()}
    pools: dict[tuple[str, str], Pool] = {}
    for number in range(REPLICATES):
        part = data.isel(frame=slice(number * frames, (number + 1) * frames))
        noisy = systems.with_noise(part, noise, number)
        posterior = bcg.force_match(potential, noisy, method="laplace", key=jax.random.key(shifted(1000 + number)))
        run = bcg.simulate(
            posterior, part.isel(frame=-1), time=_TIME, dynamics=DYNAMICS, key=jax.random.key(shifted(2000 + number))
        )
        references = obs.add_references(posterior, run, key=jax.random.key(shifted(3000 + number)))
        for name, function in functions.items():
            spread = obs.propagate(posterior, references, function, key=jax.random.key(shifted(3000 + number)))
            for cell, z in _scores(obs.summarize(spread), long[name], name, cells).items():
                inside = np.abs(z) < NORMAL
                pools.setdefault((name, cell), Pool()).add(inside, z, np.full(z.size, np.nan))
        print(f"  {system.name}: replicate {number + 1} of {REPLICATES}", flush=True)
    rows = []
    for (name, cell), pool in pools.items():
        rows.append(judged((f"{system.name}-{frames}", name, cell), (np.nan, np.nan), np.inf, pool))
    return rows


def _truth(system: planted.Planted, data: xr.Dataset) -> xr.Dataset:
    """Long runs of the known potential."""
    terms = []
    for term in system.terms:
        start = {"start": 0.2, "stop": 0.6} if isinstance(term, bcg.Bond) else {}
        terms.append(dataclasses.replace(term, baseline=system.truths[term.name], learn=False, **start))
    exact = bcg.Potential(*terms, exclude_bonds=system.exclude_bonds)
    none = from_coefficients(exact, np.zeros((_RUNS, 0)), temperature=systems.KELVIN)
    return bcg.simulate(
        none, data.isel(frame=-1), time=_LONG, draws=_RUNS, dynamics=DYNAMICS, key=jax.random.key(shifted(77))
    )


def _scores(summary: xr.Dataset, truth: xr.Dataset, name: str, cells) -> dict[str, np.ndarray]:
    """Range -> z of its bins, or of the number alone."""
    error = np.sqrt(summary["sd"] ** 2 + truth["sd_sampling"] ** 2)
    z = (summary["mean"] - truth["mean"]) / error
    if not name.startswith("g "):
        return {"": np.atleast_1d(z.values)}
    # Bins that one of both runs never met have no error that blocks could show: there is nothing to compare with.
    r, met = z["r"].values, (truth["mean"].values > 0) & (summary["mean"].values > 0)
    return {cell.name: z.values[met & cell.holds(r)] for cell in cells[name.removeprefix("g ")]}


if __name__ == "__main__":
    main(sys.argv[1:])
    if BROKEN:
        sys.exit("\n".join(["what was wanted and does not hold:", *BROKEN]))

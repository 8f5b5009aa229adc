"""`make gpu`: what the library does on a GPU, beside the CPU of the same machine, as a table for docs/benchmarks.md.

Each job runs in a process of its own, for JAX settles at its start on what it runs. The first run compiles and is
reported apart; the second one is the time. Sizes are meant for less than ten minutes in all on one card.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

import bayescg as bcg
from bayescg.inference.statistics.program.batches import Plan
from bayescg.inference.statistics.streaming import chunk_statistics

_LIMIT = 240
"""Seconds for one job."""


def _water(copies: int = 1):
    universe = bcg.datasets.water().universe()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0)
    return cg.isel(frame=np.tile(np.arange(cg.sizes["frame"]), copies)).assign_coords(
        frame=np.arange(copies * cg.sizes["frame"])
    )


def statistics() -> Callable[[], object]:
    """The pass over 400 frames of water, with scores; on a CPU the compiled loop."""
    potential, cg = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9)), _water(4)
    pilot = bcg.fit_pilot(potential, cg)
    plan = None if jax.default_backend() == "cpu" else Plan()
    return lambda: chunk_statistics(potential, cg, pilot=pilot, plan=plan)


def _fitted():
    potential, cg = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9)), _water()
    return potential, cg, bcg.force_statistics(potential, cg)


def nuts() -> Callable[[], object]:
    """NUTS on the hyperparameters of one pair term, 4 chains of 500 + 500."""
    potential, _, sums = _fitted()
    return lambda: bcg.force_match(potential, sums, key=jax.random.key(0))


def ensemble() -> Callable[[], object]:
    """32 draws of the posterior side by side, 10 ps of 510 beads each, by the JAX engine."""
    potential, cg, sums = _fitted()
    posterior = bcg.force_match(potential, sums, method="laplace", key=jax.random.key(0))
    start = cg.isel(frame=0)
    return lambda: bcg.simulate(posterior, start, time=10.0, draws=32, engine="jax", key=jax.random.key(1))


def smc() -> Callable[[], object]:
    """Tempered SMC of alanine dipeptide, 4096 particles."""
    from bayescg.generative.particles.smc import tempered_smc

    target = bcg.atomistic.alanine_dipeptide()
    return lambda: tempered_smc(target, particles=4096, budget=500_000, key=jax.random.key(0))


def discover() -> Callable[[], object]:
    """`discover` on alanine dipeptide, a million evaluations."""
    target = bcg.atomistic.alanine_dipeptide()
    return lambda: bcg.generative.discover(target, budget=1_000_000, key=jax.random.key(0))


JOBS = (statistics, nuts, ensemble, smc, discover)


def measure(name: str) -> dict[str, float | str]:
    """Seconds of the first and the second run of a job."""
    job, seconds = next(job for job in JOBS if job.__name__ == name)(), []
    for _ in range(2):
        begin = time.perf_counter()
        jax.block_until_ready(jax.tree.leaves(job()) or [0])
        seconds.append(time.perf_counter() - begin)
    return {"device": jax.devices()[0].device_kind, "first": seconds[0], "again": seconds[1]}


def main() -> int:
    """Run all jobs on all platforms that there are; fails if there is no GPU, or a job fails on it."""
    found, failed = {}, []
    for platform in ("cuda", "cpu"):
        for job in JOBS:
            environment = os.environ | {"JAX_PLATFORMS": platform, "BAYESCG_PROGRESS": "0"}
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.gpu", job.__name__]
            try:
                done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT)
                found[platform, job.__name__] = json.loads(done.stdout.splitlines()[-1])
            except subprocess.TimeoutExpired:
                failed.append(f"{job.__name__} on {platform}: more than {_LIMIT} s")
            except (json.JSONDecodeError, IndexError):
                failed.append(f"{job.__name__} on {platform}: {done.stderr.strip().splitlines()[-1:]}")
            print(platform, job.__name__, found.get((platform, job.__name__), "failed"), file=sys.stderr, flush=True)
    print("| job | GPU, s | first | CPU, s | first | CPU over GPU |\n|---|---|---|---|---|---|")
    for job in JOBS:
        gpu, cpu = (found.get((platform, job.__name__)) for platform in ("cuda", "cpu"))
        cells = [f"{each['again']:.2f} | {each['first']:.1f}" if each else "failed | " for each in (gpu, cpu)]
        ratio = f"{cpu['again'] / gpu['again']:.1f}" if gpu and cpu else ""
        print(f"| {(job.__doc__ or '').strip().rstrip('.')} | {cells[0]} | {cells[1]} | {ratio} |")
    devices = sorted({str(each["device"]) for each in found.values()})
    print(f"\nOn {' and '.join(devices)}.")
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        sys.exit(main())

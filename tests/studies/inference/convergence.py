"""Relative entropy of small data sets, on other instruction sets, threads and seeds: does every fit converge?

A chaotic simulation follows the rounding of the instruction set, so that each condition takes another path.
"""

import json
import os
import subprocess
import sys
import warnings

import jax
import numpy as np

import bayescg as bcg
from bayescg.inference import Sampling
from bayescg.inference.relative_entropy import relative_entropy
from bayescg.inference.structural.refinement import Refinement
from tests.inference import dimers, systems
from tests.studies.wanted import wanted

CONDITIONS: dict[str, tuple[str, int, int]] = {
    "SSE4_2": ("--xla_cpu_max_isa=SSE4_2", 0, 0),
    "AVX2": ("--xla_cpu_max_isa=AVX2", 0, 0),
    "the machine's own": ("", 0, 0),
    "one thread": ("", 1, 0),
    "other seed": ("", 0, 1),
}
"""Flags of XLA, threads (0: all), and what is added to the seed of the simulations."""


def double_well(x):
    """Two states of a bond, 2 kT between them [kJ/mol]."""
    return 2 * dimers.kT * (((x - dimers.CENTER) / 0.03) ** 2 - 1) ** 2


def data_sets():
    """Name, potential, data and lengths of simulation of six small problems."""
    dynamics = bcg.Langevin(timestep=0.004, friction=5.0, interval=0.1, equilibration=2.0)
    quick = {"time": 5.0, "longest": 200.0, "dynamics": dynamics}
    for frames in (12, 40, 200):
        yield f"{frames} frames of dimers", dimers.potential(), dimers.dataset(_bonds(dimers.energy, frames)), quick
    yield "40 frames of a double well", dimers.potential(), dimers.dataset(_bonds(double_well, 40)), quick
    slow = quick | {"dynamics": bcg.Langevin(timestep=0.004, friction=5.0, interval=0.2, equilibration=4.0)}
    pair = bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.02)
    liquid = systems.lennard_jones(30)
    yield "30 frames of a liquid", bcg.Potential(pair), liquid, slow | {"time": 10.0, "longest": 60.0}
    chains = systems.chains(20, molecules=32)
    terms = (bcg.Pair("A", "A", systems.CUTOFF, knot_spacing=0.03), bcg.Bond("A", "A"), bcg.Angle("A", "A", "A"))
    potential = bcg.fill_ranges(bcg.Potential(*terms, exclude_bonds=2), chains)
    yield "20 frames of chains", potential, chains, slow | {"time": 10.0, "longest": 60.0}


def _bonds(energy, frames):
    return dimers.sample(energy, frames, 40, 7)


def converged(added: int) -> list[dict]:
    """All six fits in this process: name, whether it converged, iterations, what was warned of."""
    results = []
    for number, (name, potential, data, lengths) in enumerate(data_sets()):
        settings = Refinement(**lengths, engine="jax", sampling=Sampling(chains=1, warmup=1, draws=200))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = relative_entropy(potential, data, settings=settings, key=jax.random.key(number + 100 * added))
        attrs = fit["posterior"].attrs
        said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
        numbers = {key: float(attrs[key]) for key in ("iterations", "structure_z", "draw_overlap")}
        results.append({"name": name, "converged": bool(attrs["converged"]), **numbers, "warnings": said})
    return results


def main() -> None:
    """Thirty fits; all are wanted to converge."""
    everything = []
    for condition, (flags, threads, added) in CONDITIONS.items():
        environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}", "BAYESCG_PROGRESS": "0"}
        command = [sys.executable, "-m", __name__, str(added)]
        if threads:
            command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]
        run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        for result in json.loads(run.stdout.splitlines()[-1]):
            everything.append(result["converged"])
            said = "; ".join(result["warnings"])
            print(
                f"{condition}, {result['name']}: {'converged' if result['converged'] else 'NOT CONVERGED'} in "
                f"{result['iterations']:.0f} iterations, mean |z| of structure {result['structure_z']:.2f}, overlap of "
                f"draws {result['draw_overlap']:.2f}{f' ({said})' if said else ''}",
                flush=True,
            )
    wanted(f"fits of {len(everything)} that converge", int(np.sum(everything)), low=len(everything))


if __name__ == "__main__":
    print(json.dumps(converged(int(sys.argv[1]))))

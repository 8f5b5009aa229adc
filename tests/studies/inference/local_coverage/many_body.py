"""mW water: pair and three-body forces judged together, as neither alone is determined, on beads of frames not fitted.

Ranges are those of the exact force's magnitude on a bead: thirds, and the largest tenth apart from the largest third.
"""

from __future__ import annotations

import numpy as np

import bayescg as bcg
from tests.inference import systems
from tests.inference.known_truth import fit
from tests.studies.inference.local_coverage.frames import kept
from tests.studies.inference.local_coverage.judge import Pool, Row, judged
from tests.studies.inference.local_coverage.planted import PLAN, banded
from tests.studies.many_body import stillinger_weber

_HELD, _DRAWS = 2, 400
_EDGES = {
    "smallest third": (0.0, 1 / 3),
    "middle third": (1 / 3, 2 / 3),
    "large": (2 / 3, 0.9),
    "largest tenth": (0.9, 1.0),
}


def measure(system: str, frames: int, replicates: int, most: int) -> list[Row]:
    """Fits to replicates of their own frames, as `Planted.measure`."""
    # Every 2 ps: frames of a network change slowly.
    data = kept(f"mw-{most}", lambda: stillinger_weber.trajectory(most + _HELD, spacing=400))
    data, held = data.isel(frame=slice(0, most)), data.isel(frame=slice(most, None))
    noise = float(data["forces"].std())
    exact = held["forces"].values.astype(float)
    size = np.linalg.norm(exact, axis=-1)
    potential = bcg.Potential(stillinger_weber.PAIR, bcg.ThreeBody("W", "W", "W", **stillinger_weber.THREE))
    ends = {name: tuple(np.quantile(size, shares)) for name, shares in _EDGES.items()}
    pools = {name: Pool() for name in ends}
    for replicate in range(replicates):
        part = data.isel(frame=slice(replicate * frames, (replicate + 1) * frames))
        _, posterior = fit(potential, systems.with_noise(part, noise, replicate), 1000 + replicate, plan=PLAN)
        inside, z, width = banded(stillinger_weber.predicted(posterior, held, _DRAWS)[1:], exact)
        for name, (low, high) in ends.items():
            here = (size >= low) & (size <= high)
            pools[name].add(inside[here], z[here], width[here])
        print(f"  {system}: replicate {replicate + 1} of {replicates}", flush=True)
    beads = frames * data.sizes["bead"]
    return [
        judged((system, "pair + three", name), ends[name], beads * (high - low), pools[name])
        for name, (low, high) in _EDGES.items()
    ]

"""What relative entropy needs of each frame: basis energies, their response to a strain, histograms of descriptors.

Positions and box suffice: forces are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float

from bayescg._runtime import double_precision, progress
from bayescg.potentials import Configuration, Interactions, LocalDensity, Potential, SplineTerm, ThreeBody

_FITTED = (SplineTerm, ThreeBody, LocalDensity)
"""Terms whose energies are sums over interactions that a histogram shows."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Structure of the frames of one ensemble, in one or several independent runs of equal length.

    Attributes:
        basis: (run, frame, basis) A = dU/dw.
        strained: (run, frame, basis) dA/ds under a homogeneous strain, positions and box times 1 + s.
        baseline: (run, frame, 2) energy of the baselines and its derivative under the strain [kJ/mol].
        counts: for each term, (run, frame, interval) interactions by knot interval of its spline; of three-body terms
            triplets by cell, of local densities beads.
        ranges: for each term, smallest and largest descriptor met.
    """

    basis: Float[np.ndarray, "run frame basis"]
    strained: Float[np.ndarray, "run frame basis"]
    baseline: Float[np.ndarray, "run frame 2"]
    counts: Mapping[str, Float[np.ndarray, "run frame interval"]]
    ranges: Mapping[str, tuple[float, float]]

    @property
    def runs(self) -> int:
        """Independent runs."""
        return self.basis.shape[0]

    @property
    def size(self) -> int:
        """Frames of all runs together."""
        return self.basis.shape[0] * self.basis.shape[1]

    def histogram(self, name: str) -> Float[np.ndarray, " interval"]:
        """Interactions of a term by knot interval, all frames together."""
        return self.counts[name].sum(axis=(0, 1))

    def part(self, frames: slice | np.ndarray) -> Frames:
        """Some frames of each run (ranges are kept: they belong to the grid, not to the part)."""
        return Frames(
            self.basis[:, frames],
            self.strained[:, frames],
            self.baseline[:, frames],
            {name: counts[:, frames] for name, counts in self.counts.items()},
            self.ranges,
        )


def structure(potential: Potential, data: xr.Dataset, description: str = "Structure") -> Frames:
    """Measure every frame of a trajectory (frame, bead, xyz) or an ensemble (draw, frame, bead, xyz).

    Args:
        potential: with all ranges filled in.
        data: positions [nm] and box; the draws of an ensemble are its runs.
        description: text of the progress bar.

    Returns:
        The structure of each frame.

    Raises:
        ValueError: if a position is not finite, or a term meets no interaction.
    """
    for term in potential.terms:
        if not isinstance(term, _FITTED):
            raise ValueError(
                f"{term.name}: only pairs, bonded terms, ThreeBody and LocalDensity are fitted to structure, others to "
                "forces (`force_match`)"
            )
    positions = data["positions"].transpose(..., "frame", "bead", "xyz").values
    if positions.ndim == 3:
        positions = positions[None]
    runs, frames = positions.shape[:2]
    if not np.all(np.isfinite(positions)):
        run, frame = np.argwhere(~np.isfinite(positions))[0][:2]
        raise ValueError(f"positions of frame {frame} (run {run}) are not finite: leave out what blew up")
    boxes = np.broadcast_to(np.asarray(data["box"].transpose(..., "vector", "xyz").values, float), (frames, 3, 3))
    interactions = Interactions.of(potential, data)
    basis = np.zeros((2, runs, frames, potential.n_basis))
    baseline = np.zeros((runs, frames, 2))
    counts = {term.name: np.zeros((runs, frames, term.bins)) for term in potential.terms}
    low, high = dict.fromkeys(counts, np.inf), dict.fromkeys(counts, -np.inf)
    sizes: dict[str, int] = {}
    with double_precision(), progress(description, runs * frames) as advance:
        for run in range(runs):
            for frame in range(frames):
                configuration = interactions.configuration(
                    positions[run, frame].astype(float), boxes[frame], 0.0, sizes
                )
                energies, responses, found = _measure(potential, configuration)
                basis[0, run, frame], baseline[run, frame, 0] = energies[0], energies[1]
                basis[1, run, frame], baseline[run, frame, 1] = responses[0], responses[1]
                for name, (histogram, lowest, highest) in found.items():
                    counts[name][run, frame] = histogram
                    low[name], high[name] = min(low[name], float(lowest)), max(high[name], float(highest))
                advance(1)
    for name in counts:
        if not np.isfinite(low[name]):
            raise ValueError(f"{name}: no interaction within its range in {frames} frames; check bead types and cutoff")
    return Frames(basis[0], basis[1], baseline, counts, {name: (low[name], high[name]) for name in counts})


@partial(jax.jit, static_argnums=0)
def _measure(potential: Potential, configuration: Configuration):
    def energies(scale):
        scaled = configuration._replace(positions=configuration.positions * scale, box=configuration.box * scale)
        return potential.basis_energies(scaled), potential.energy(scaled, jnp.zeros(potential.n_basis))

    values, responses = jax.jvp(energies, (jnp.ones(()),), (jnp.ones(()),))
    return values, responses, {term.name: term.visits(configuration) for term in potential.terms}

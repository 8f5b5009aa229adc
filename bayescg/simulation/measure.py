"""What is stored of every frame: basis energies, energy, virial, and where the potential was visited.

Everything is evaluated in float64 from the positions alone, so that both engines are measured by the same rule.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.potentials import Configuration, Interactions, Potential
from bayescg.units import BOLTZMANN


class Measurement(NamedTuple):
    """Properties of one frame, or of all frames of a draw when stacked.

    Attributes:
        basis: (basis,) dU/dw.
        energy: potential energy [kJ/mol].
        virial: (3, 3) -dU/d(strain) [kJ/mol].
        squared_force: |grad U|^2 [(kJ/mol/nm)^2].
        laplacian: sum over beads of the Laplacian of U [kJ/mol/nm^2].
        outside: (term, 2) number of interactions below and above the sampled range.
        interactions: (term,) their number.
    """

    basis: Float[AnyArray, " basis"]
    energy: Float[AnyArray, ""]
    virial: Float[AnyArray, "3 3"]
    squared_force: Float[AnyArray, ""]
    laplacian: Float[AnyArray, ""]
    outside: Float[AnyArray, "term 2"]
    interactions: Float[AnyArray, " term"]


class Meter:
    """Measures frames of one system.

    Pair lists are padded to sizes that only grow, from frame to frame: each new size would compile anew. Sizes are of
    few kinds, so that meters of like systems share programs.

    Args:
        interactions: who interacts.
        box: (3, 3) [nm].
        ranges: sampled range of each term, in their order.
    """

    def __init__(
        self, interactions: Interactions, box: Float[np.ndarray, "3 3"], ranges: tuple[tuple[float, float], ...]
    ) -> None:
        self.interactions, self.box, self.ranges = interactions, np.asarray(box, float), ranges
        self._sizes: dict[str, int] = {}

    def measure(
        self, coefficients: Float[np.ndarray, " basis"], positions: Float[np.ndarray, "frame bead 3"]
    ) -> Measurement:
        """Measure frames; frames that are not finite give NaN and count nothing. Use inside a float64 scope.

        Args:
            coefficients: (basis,) [kJ/mol].
            positions: (frame, bead, 3) [nm].

        Returns:
            Stacked over frames.
        """
        w, bounds = jnp.asarray(coefficients), jnp.asarray(self.ranges)
        potential = self.interactions.potential
        rows = [
            jax.tree.map(np.asarray, _one(potential, self._configuration(frame), w, bounds))
            if np.all(np.isfinite(frame))
            else _blank(potential)
            for frame in np.asarray(positions, float)
        ]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)

    def _configuration(self, positions: Float[np.ndarray, "bead 3"]) -> Configuration:
        tuples = dict(self.interactions.bonded)
        for name, found in self.interactions.pairs(positions, self.box).items():
            size = self._sizes.get(name, 64)
            if len(found) > size:
                while size < 1.05 * len(found):
                    size += size // 4
                self._sizes[name] = size
            tuples[name] = np.zeros((size, found.shape[1]), np.int32)
            tuples[name][: len(found)] = found
        return Configuration(positions, self.box, tuples)


def configurational_temperature(measurement: Measurement) -> float:
    """<|grad U|^2> / <laplacian U> over all frames [K] (Butler, Ayton, Jepps & Evans, doi:10.1063/1.477301).

    It comes from positions only: a wrong force, timestep or neighbor list shows in it, not in the kinetic temperature.
    NaN without any force.
    """
    above, below = np.nansum(measurement.squared_force), np.nansum(measurement.laplacian)
    return float(above / (BOLTZMANN * below)) if below != 0 else float("nan")


def _blank(potential: Potential) -> Measurement:
    terms = len(potential.terms)
    nan = np.array(np.nan)
    return Measurement(
        np.full(potential.n_basis, np.nan),
        nan,
        np.full((3, 3), np.nan),
        nan,
        nan,
        np.zeros((terms, 2)),
        np.zeros(terms),
    )


@partial(jax.jit, static_argnums=0)
def _one(potential: Potential, configuration: Configuration, w: Float[Array, " basis"], bounds) -> Measurement:
    energy = laplacian = jnp.zeros(())
    virial, forces = jnp.zeros((3, 3)), jnp.zeros_like(configuration.positions)
    outside, count = [], []
    for term, (low, high) in zip(potential.terms, bounds, strict=True):
        own = w[potential.slices[term.name]]
        energy = energy + term.energy(configuration, own)
        forces = forces + term.forces(configuration, own)
        virial = virial + term.virial(configuration, own)
        laplacian = laplacian + term.laplacian(configuration, own)
        strays, number = term.count_strays(configuration, low, high)
        outside.append(strays)
        count.append(number)
    basis = potential.basis_energies(configuration)
    squared = jnp.sum(forces**2)
    return Measurement(basis, energy, virial, squared, laplacian, jnp.stack(outside), jnp.stack(count))

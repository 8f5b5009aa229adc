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

from bayescg.data.units import BOLTZMANN
from bayescg.potentials import Configuration, Interactions, Potential
from bayescg.potentials.geometry import minimum_image


class Measurement(NamedTuple):
    """Properties of one frame, or of all frames of a draw when stacked.

    Attributes:
        basis: (basis,) dU/dw.
        energy: potential energy [kJ/mol].
        virial: (3, 3) -dU/d(strain) [kJ/mol].
        squared_force: |grad U|^2 [(kJ/mol/nm)^2].
        laplacian: sum over beads of the Laplacian of U [kJ/mol/nm^2].
        outside: (term, 2) number of interactions below and above the sampled range.
        count: (term,) number of interactions.
    """

    basis: Float[np.ndarray, " basis"]
    energy: Float[np.ndarray, ""]
    virial: Float[np.ndarray, "3 3"]
    squared_force: Float[np.ndarray, ""]
    laplacian: Float[np.ndarray, ""]
    outside: Float[np.ndarray, "term 2"]
    count: Float[np.ndarray, " term"]


class Meter:
    """Measures frames of one system.

    Pair lists are padded to sizes that only grow, shared by all frames and draws: each new size would compile anew.

    Args:
        interactions: who interacts.
        box: (3, 3) [nm].
        ranges: sampled range of each term, in their order.
    """

    def __init__(
        self, interactions: Interactions, box: Float[np.ndarray, "3 3"], ranges: tuple[tuple[float, float], ...]
    ):
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
                size = self._sizes[name] = 64 + int(1.15 * len(found))
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
    virial = jnp.zeros((3, 3))
    forces = jnp.zeros_like(configuration.positions)
    outside, count = [], []
    for term, (low, high) in zip(potential.terms, bounds, strict=True):
        tuples = configuration.tuples[term.name]
        real = tuples[:, 0] != tuples[:, 1]
        if term.many_body:
            part = _many_body(term, configuration, w[potential.slices[term.name]], low, high)
            energy, laplacian, virial = energy + part[0], laplacian + part[1], virial + part[2]
            forces = forces + part[3]
            outside.append(part[4])
            count.append(jnp.sum(real))
            continue
        x, gradient = term.descriptor(configuration)
        if term.kind == "pair":
            real = real & (x < term.cutoff)
        part = w[potential.slices[term.name]]
        value, slope = term.curve(part, x)
        _, curvature = jax.jvp(lambda y, term=term, part=part: term.curve(part, y)[1], (x,), (jnp.ones_like(x),))
        slope, curvature = jnp.where(real, slope, 0.0), jnp.where(real, curvature, 0.0)
        energy = energy + jnp.sum(jnp.where(real, value, 0.0))
        forces = forces.at[tuples].add(-slope[:, None, None] * gradient)
        # A chain of nearest images from the first bead on: the gradients of a tuple sum to zero, so any origin does.
        links = jnp.diff(configuration.positions[tuples], axis=1)
        apart = jnp.cumsum(minimum_image(links, configuration.box), axis=1)
        virial = virial - jnp.einsum("t,tbx,tby->xy", slope, apart, gradient[:, 1:])
        chain = jnp.concatenate([jnp.zeros_like(apart[:, :1]), apart], axis=1)
        own = _laplacian(term, chain, configuration.box, x)
        laplacian = laplacian + jnp.sum(curvature * jnp.sum(gradient**2, (1, 2)) + slope * own)
        outside.append(jnp.stack([jnp.sum(real & (x < low)), jnp.sum(real & (x > high))]))
        count.append(jnp.sum(real))
    basis = potential.basis_energies(configuration)
    squared = jnp.sum(forces**2)
    return Measurement(basis, energy, virial, squared, laplacian, jnp.stack(outside), jnp.stack(count))


def _many_body(term, configuration: Configuration, w, low, high):
    """Energy, Laplacian, virial, forces, and how many frames' extremes are out of the sampled range."""

    def strained(strain):
        stretch = jnp.eye(3) + strain
        moved = configuration._replace(positions=configuration.positions @ stretch, box=configuration.box @ stretch)
        return term.energy(moved, w)

    energy, gradient = jax.value_and_grad(strained)(jnp.zeros((3, 3)))
    _, lowest, highest = term.visits(configuration)
    outside = jnp.stack([lowest < low, highest > high]).astype(int)
    return energy, term.laplacian(configuration, w), -gradient, term.forces(configuration, w), outside


def _laplacian(term, chain: Float[Array, "tuple body 3"], box, x: Float[Array, " tuple"]) -> Float[Array, " tuple"]:
    """Laplacian of a descriptor with respect to all of its beads: the divergence of its analytic gradient."""
    if term.body == 2:
        return 4 / x
    tuples = jnp.arange(chain.shape[0] * term.body).reshape(-1, term.body)

    def gradient(beads):
        return term.descriptor(Configuration(beads.reshape(-1, 3), box, {term.name: tuples}))[1]

    def second(direction):
        tangent = jnp.broadcast_to(direction.reshape(term.body, 3), chain.shape)
        return jnp.sum(jax.jvp(gradient, (chain,), (tangent,))[1] * tangent, axis=(1, 2))

    return jnp.sum(jax.vmap(second)(jnp.eye(3 * term.body)), axis=0)

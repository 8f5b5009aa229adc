"""`OpenMMTarget`: the Boltzmann density of one molecule of an OpenMM system, over internal coordinates."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from bayescg._runtime import double_precision
from bayescg.atomistic.force_field import ForceField, translate
from bayescg.atomistic.internal_coordinates import InternalCoordinates, internal_coordinates
from bayescg.atomistic.target import Target

GAS_CONSTANT = 8.31446261815324e-3
"""[kJ/mol/K]"""


class OpenMMTarget(Target):
    """The Boltzmann density of one molecule over its internal coordinates; it turns and moves freely.

    log p = -U(x(y)) / kT + ln |det dx/dy|, y the internal coordinates, x the positions.

    Attributes:
        force_field: energies in JAX, equal to OpenMM's.
        coordinates: the internal coordinates.
        temperature: [K].
        location: (dimension,) a local energy minimum [nm], [rad].
        scale: (dimension,) widths of the stiff coordinates at that minimum, in the harmonic approximation; pi for
            torsions.
        periodic: (dimension,) which coordinates are torsions.
    """

    force_field: ForceField
    coordinates: InternalCoordinates
    temperature: float = eqx.field(static=True)
    location: np.ndarray
    scale: np.ndarray
    periodic: np.ndarray

    def __init__(self, system, topology, positions, temperature):
        """Translate an OpenMM system.

        Args:
            system: an `openmm.System` of one molecule, without constraints.
            topology: its `openmm.app.Topology`, with all bonds.
            positions: (atom, 3) a configuration with the right handedness, OpenMM quantity or array [nm].
            temperature: OpenMM quantity or number [K].

        Raises:
            ValueError: if the system has forces that cannot be translated (named), constraints, virtual sites or a box;
                if the bonds make no single molecule or close a ring; if the temperature is not positive, or positions
                or their energy are not finite.
            ImportError: if OpenMM is missing.
        """
        temperature = _number(temperature, "kelvin")
        if not 0 < temperature < np.inf:
            raise ValueError(f"temperature is {temperature} K; it must be positive")
        x = np.array(_number(positions, "nanometer"), float)
        elements = [atom.element.symbol if atom.element is not None else "X" for atom in topology.atoms()]
        bonds = [(bond[0].index, bond[1].index) for bond in topology.bonds()]
        self.force_field = translate(system)
        if self.force_field.box is not None:
            raise ValueError("the system is periodic: internal coordinates describe one molecule in open space")
        if len(elements) != self.force_field.n_atoms:
            raise ValueError(f"the topology has {len(elements)} atoms and the system {self.force_field.n_atoms}")
        if x.shape != (len(elements), 3):
            raise ValueError(f"positions have shape {x.shape}; the topology has {len(elements)} atoms")
        if not np.all(np.isfinite(x)):
            raise ValueError("the positions are not all finite: they hold NaN or infinity")
        self.temperature = float(temperature)
        with double_precision():
            energy = float(jax.jit(self.force_field.energy)(jnp.asarray(x)))
            if not np.isfinite(energy):
                raise ValueError(
                    f"the energy of the positions is {energy} kJ/mol: check them and the force field's parameters"
                )
            trial = internal_coordinates(elements, bonds, x)
            slope = _slope(self.force_field, trial)
            relaxed = _relaxed(trial, slope, x)
            # Rotors whose atoms differ for the force field are told from equal ones by the energy of a relabeling.
            equal = _rotors_are_equal(self.force_field, trial, relaxed)
            self.coordinates = internal_coordinates(elements, bonds, relaxed, fold=equal)
            self.location = np.array(_to_internal(self.coordinates, relaxed))
            self.scale = _harmonic_widths(trial, slope, relaxed, GAS_CONSTANT * self.temperature)
        self.periodic = self.coordinates.periodic

    @property
    def names(self) -> tuple[str, ...]:
        """Kind and atoms of each coordinate."""
        return self.coordinates.names

    @property
    def symmetry(self) -> np.ndarray:
        """Three for folded rotors, else one."""
        return np.array([3 if name.startswith("rotor") else 1 for name in self.names])

    @property
    def thermal_energy(self) -> float:
        """Thermal energy kT [kJ/mol]."""
        return GAS_CONSTANT * self.temperature

    def log_density(self, coordinates, beta=1.0):
        within = self.coordinates.within(coordinates)
        # Outside, the location takes their place: neither the value nor the gradient may become NaN.
        safe = jnp.where(within, coordinates, jnp.asarray(self.location, coordinates.dtype))
        energy = self.force_field.energy(self.coordinates.to_cartesian(safe))
        value = self.coordinates.log_jacobian(safe) - beta * energy / self.thermal_energy
        # Not a number stays one: it is a fault of the force field, not a density of zero.
        return jnp.where(within, value, -jnp.inf)

    def canonical(self, coordinates):
        # A rotor that went on by a third of a turn has other labels: its stiff coordinates change places.
        return self.coordinates.to_internal(self.coordinates.to_cartesian(coordinates))

    def energy(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, ""]:
        """Potential energy at internal coordinates.

        Args:
            coordinates: (dimension,) [nm], [rad].

        Returns:
            A number [kJ/mol].
        """
        return self.force_field.energy(self.coordinates.to_cartesian(coordinates))

    def to_positions(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, "atom 3"]:
        """Positions of one vector of internal coordinates.

        Args:
            coordinates: (dimension,) [nm], [rad].

        Returns:
            (atom, 3) [nm].
        """
        return self.coordinates.to_cartesian(coordinates)

    def to_coordinates(self, positions: Float[Array, "atom 3"]) -> Float[Array, " coordinate"]:
        """Internal coordinates of positions.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            (dimension,) [nm], [rad].
        """
        return self.coordinates.to_internal(positions)


def _number(quantity, name: str):
    """The value of an OpenMM quantity in a unit; anything else is in that unit already."""
    if not hasattr(quantity, "value_in_unit"):
        return quantity
    from openmm import unit

    return quantity.value_in_unit(getattr(unit, name))


def _slope(force_field: ForceField, coordinates: InternalCoordinates):
    """Energy and its gradient in internal coordinates, compiled once for all that follows."""
    return jax.jit(jax.value_and_grad(lambda y: force_field.energy(coordinates.to_cartesian(y))))


@partial(jax.jit, static_argnums=0)
def _to_internal(coordinates: InternalCoordinates, x: Float[Array, "atom 3"]) -> Float[Array, " coordinate"]:
    return coordinates.to_internal(x)


@partial(jax.jit, static_argnums=0)
def _placed(coordinates: InternalCoordinates, y: Float[Array, " coordinate"]):
    """Positions, and whether the coordinates are possible."""
    return coordinates.to_cartesian(y), coordinates.within(y)


def _relaxed(coordinates: InternalCoordinates, slope, x: np.ndarray) -> np.ndarray:
    """Positions at the nearest minimum, found in internal coordinates, where steps keep the handedness."""
    start = np.asarray(_to_internal(coordinates, x))
    bonds = coordinates.n_atoms - 1
    width = np.concatenate([np.full(bonds, 0.003), np.full(len(start) - bonds, 0.05)])

    def value_and_slope(u):
        value, gradient = slope(jnp.asarray(start + u * width))
        return (float(value), np.asarray(gradient) * width) if np.isfinite(value) else (1e10, np.zeros_like(u))

    found = minimize(value_and_slope, np.zeros_like(start), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    placed, within = _placed(coordinates, start + found.x * width)
    return np.asarray(placed) if bool(within) else x


def _rotors_are_equal(force_field: ForceField, coordinates: InternalCoordinates, x: np.ndarray) -> bool:
    shaken = x + 0.002 * np.random.default_rng(0).normal(size=x.shape)
    order = np.asarray(coordinates.zmatrix.order)
    energy = jax.jit(force_field.energy)
    before = float(energy(jnp.asarray(shaken)))
    for group in coordinates.zmatrix.rotors:
        atoms = order[list(group)]
        moved = shaken.copy()
        moved[atoms] = shaken[np.roll(atoms, 1)]
        if abs(float(energy(jnp.asarray(moved))) - before) > 1e-6 * max(1.0, abs(before)):
            return False
    return True


def _harmonic_widths(coordinates: InternalCoordinates, slope, x: np.ndarray, thermal_energy: float) -> np.ndarray:
    """Standard deviations of the stiff coordinates from the energy's curvature; pi for torsions."""
    y = np.array(_to_internal(coordinates, x))
    bonds = coordinates.n_atoms - 1
    widest = np.concatenate([np.full(bonds, 0.01), np.full(len(y) - bonds, 0.3)])
    steps = np.diag(0.01 * widest)
    up, down = (np.stack([np.asarray(slope(jnp.asarray(y + sign * step))[1]) for step in steps]) for sign in (1, -1))
    curvature = np.diagonal(up - down) / (2 * np.diagonal(steps)) / thermal_energy
    widths = np.minimum(1 / np.sqrt(np.maximum(curvature, 1e-12)), widest)
    return np.where(coordinates.periodic, np.pi, widths)

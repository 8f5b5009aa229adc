"""The dynamics that samples the canonical ensemble, and the system that it is applied to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bayescg.potentials import Interactions
from bayescg.units import BOLTZMANN


@dataclass(frozen=True)
class Langevin:
    """Langevin dynamics at constant volume and temperature, m dv = F dt - friction m v dt + sqrt(2 friction m kT) dW.

    The JAX engine integrates by BAOAB (Leimkuhler & Matthews, doi:10.1093/amrx/abs010), LAMMPS by `fix gjf`
    (Gronbech-Jensen & Farago, doi:10.1080/00268976.2012.760055).

    Attributes:
        timestep: [ps].
        friction: rate at which momenta are forgotten [1/ps].
        equilibration: time simulated before the first frame and thrown away [ps].
        interval: time between two frames [ps], a multiple of the timestep.

    Raises:
        ValueError: if timestep, friction or interval is not positive, the equilibration is negative, or the interval is
            no multiple of the timestep.
    """

    timestep: float = 0.002
    friction: float = 1.0
    equilibration: float = 5.0
    interval: float = 0.2

    def __post_init__(self):
        for name, unit in (("timestep", "ps"), ("friction", "1/ps"), ("interval", "ps")):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value} {unit}: it must be positive and finite")
        if not (math.isfinite(self.equilibration) and self.equilibration >= 0):
            raise ValueError(f"equilibration={self.equilibration} ps: it must be zero or positive, and finite")
        if abs(self.interval / self.timestep - self.stride) > 1e-6 * self.stride:
            raise ValueError(
                f"interval={self.interval} ps is not a multiple of the timestep {self.timestep} ps: "
                f"take {max(1, round(self.interval / self.timestep)) * self.timestep:g}"
            )

    @property
    def stride(self) -> int:
        """Steps between two frames."""
        return max(1, round(self.interval / self.timestep))

    @property
    def equilibration_steps(self) -> int:
        """Steps before sampling begins."""
        return math.ceil(self.equilibration / self.timestep - 1e-9)

    def frames(self, time: float) -> int:
        """Number of frames of a run.

        Args:
            time: sampled time [ps].

        Returns:
            The number.

        Raises:
            ValueError: if the time is not positive, or shorter than one interval.
        """
        if not (math.isfinite(time) and time > 0):
            raise ValueError(f"time={time} ps: it must be positive and finite")
        count = math.floor(time / self.interval + 1e-9)
        if count < 1:
            raise ValueError(
                f"time={time} ps is shorter than the interval between frames, {self.interval} ps: "
                "simulate longer, or give dynamics=Langevin(interval=...)"
            )
        return count


@dataclass(frozen=True, eq=False)
class System:
    """What an engine needs besides the coefficients of a draw.

    Attributes:
        interactions: who interacts, and by which potential.
        positions: (bead, 3) start, molecules whole [nm].
        box: (3, 3) lattice vectors as rows [nm].
        mass: (bead,) [Da].
        temperature: [K].
        dynamics: the integrator's settings.
        frames: how many frames to keep.
    """

    interactions: Interactions
    positions: Float[np.ndarray, "bead 3"]
    box: Float[np.ndarray, "3 3"]
    mass: Float[np.ndarray, " bead"]
    temperature: float
    dynamics: Langevin
    frames: int

    @property
    def degrees_of_freedom(self) -> int:
        """3 a bead: friction and noise act on the center of mass too, so its momentum is thermal, not conserved."""
        return 3 * len(self.mass)

    @property
    def hottest(self) -> float:
        """Kinetic temperature above which a simulation has blown up [K].

        Ten times the target, and for the few degrees of freedom of toy systems what chance does not reach
        (below 1e-13 a look for any number of them).
        """
        return self.temperature * (10 + 40 / self.degrees_of_freedom)

    def kinetic_temperature(self, velocities: Float[np.ndarray, "*frame bead 3"]) -> Float[np.ndarray, "*frame"]:
        """Temperature of velocities [nm/ps], in K."""
        twice = np.sum(self.mass[:, None] * np.asarray(velocities, float) ** 2, axis=(-2, -1))
        return twice / (self.degrees_of_freedom * BOLTZMANN)


class Trajectory(NamedTuple):
    """What an engine returns for one draw.

    Attributes:
        positions: (frame, bead, 3) unwrapped [nm]; NaN from the frame on at which the simulation failed.
        temperature: (frame,) kinetic [K].
        failure: what went wrong; None if nothing did.
        rebuilds: how often neighbor lists were built.
        overflows: how often a neighbor list outgrew its padding (it was enlarged: no neighbor is ever dropped).
    """

    positions: Float[np.ndarray, "frame bead 3"]
    temperature: Float[np.ndarray, " frame"]
    failure: str | None
    rebuilds: int
    overflows: int

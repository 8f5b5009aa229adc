"""How the scripts of an export run."""

from __future__ import annotations

import math
from typing import NamedTuple


class Conditions(NamedTuple):
    """Of the Langevin dynamics in a script.

    Attributes:
        temperature: of the thermostat [K].
        timestep: of the integrator [ps].
        friction: rate at which momenta are forgotten [1/ps].
    """

    temperature: float
    timestep: float
    friction: float

    def require(self) -> None:
        """Refuse what no simulation can run with.

        Raises:
            ValueError: naming the value.
        """
        for name, value in self._asdict().items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value}: the script of an export needs a positive number")

"""Physics means: parametric laws with a prior for every parameter.

`Mean(function, priors)` makes one of any JAX function. The two laws here are those to which physics-guided Gaussian
processes were first applied (Fang, Zhao, Sills and Ezzat, APL Mach. Learn. 2 (2024), doi:10.1063/5.0190357), in the
textbook forms whose sources stand with them; that paper's own parametrizations may differ.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from bayescg.units import BOLTZMANN

Law = Callable[..., Float[Array, " point"]]
"""A law of inputs (point, d) and a mapping of named scalars, with constants as keywords."""

RESERVED = ("amplitude", "lengthscale", "noise")


@dataclass(frozen=True, eq=False)
class Mean:
    """A parametric mean m(x; parameters).

    Attributes:
        function: of inputs (point, d) and a mapping of named scalars, to (point,); made of JAX operations.
        priors: a NumPyro distribution of a scalar for every parameter, in the units of the data.
        domain: (low, high) that a parameter must not leave, for those that have one; open intervals.
        inputs: names of the input columns; None: any number.
        units: of parameters, inputs and the output ("y"), for labels only.
        constants: known numbers that the function takes as keywords.

    Raises:
        ValueError: if the function cannot be called, a prior is no distribution of one real number or leaves its
            domain, or a domain names no parameter.
    """

    function: Law
    priors: Mapping[str, Distribution]
    domain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    inputs: tuple[str, ...] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("priors", "domain", "units", "constants"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if not callable(self.function):
            raise ValueError(f"the mean's function must be callable; got {self.function!r}")
        for name, prior in self.priors.items():
            _check_prior(name, prior, self.domain.get(name))
        unknown = set(self.domain) - set(self.priors)
        if unknown:
            raise ValueError(f"domain names {sorted(unknown)}, which have no prior; parameters: {sorted(self.priors)}")

    def __call__(self, x: Float[Array, "point d"], parameters: Mapping[str, Array]) -> Float[Array, " point"]:
        """Values at `x`."""
        return self.function(x, parameters, **self.constants)


def _check_prior(name: str, prior: object, domain: tuple[float, float] | None) -> None:
    if name.startswith(RESERVED) or not name.isidentifier():
        raise ValueError(f"{name!r} cannot name a parameter of a mean: use an identifier that starts otherwise")
    if not isinstance(prior, Distribution):
        raise ValueError(f"the prior of {name} must be a NumPyro distribution such as LogNormal(0, 1); got {prior!r}")
    support = prior.support
    if support is None or prior.batch_shape or prior.event_shape or support.is_discrete:
        raise ValueError(f"the prior of {name} must be that of one real number; got shape {prior.shape()}, {prior}")
    if domain is None:
        return
    low, high = domain
    # An open interval of the domain may have a closed support: its border has no probability.
    outside = [low - 1e-6 * max(1.0, abs(low)), high + 1e-6 * max(1.0, abs(high))]
    if any(jnp.isfinite(v) and bool(support(jnp.asarray(v))) for v in outside):
        raise ValueError(
            f"the prior of {name} reaches outside ({low:g}, {high:g}), where the mean has no meaning: use LogNormal, "
            "HalfNormal, Uniform or TruncatedNormal"
        )


def zero() -> Mean:
    """No physics: the curve is a Gaussian process about zero, for comparison.

    Returns:
        The mean, without parameters.
    """
    return Mean(zero_curve, {})


def constant(value: Distribution) -> Mean:
    """An unknown constant, m(x) = value.

    Args:
        value: its prior, in the units of the data.

    Returns:
        The mean, with the parameter `value`.

    Raises:
        ValueError: if the prior is not that of one real number.
    """
    return Mean(constant_curve, {"value": value})


def traction_separation(strength: Distribution, opening: Distribution, *, units: tuple[str, str] = ("", "")) -> Mean:
    """Exponential cohesive law, the normal part of Xu and Needleman's potential.

    T(x) = strength (x / opening) exp(1 - x / opening): the traction rises to `strength` at the separation `opening`,
    and the work of separation is e strength opening. Xu & Needleman, Modelling Simul. Mater. Sci. Eng. 1 (1993) 111,
    doi:10.1088/0965-0393/1/2/003; the same curve as the universal binding relation of Rose, Ferrante & Smith,
    doi:10.1103/PhysRevLett.47.675.

    Args:
        strength: prior of the largest traction; positive.
        opening: prior of the separation at which it is reached; positive.
        units: of separation and traction, for labels.

    Returns:
        The mean, with the parameters `strength` and `opening`.

    Raises:
        ValueError: if a prior is not that of one positive number.
    """
    positive = (0.0, float("inf"))
    x, y = units
    return Mean(
        traction_curve,
        {"strength": strength, "opening": opening},
        domain={"strength": positive, "opening": positive},
        inputs=("separation",),
        units={"separation": x, "opening": x, "strength": y, "y": y},
    )


def nucleation_time(
    log_attempt_time: Distribution,
    barrier: Distribution,
    athermal_stress: Distribution,
    exponent: Distribution,
    *,
    boltzmann: float = BOLTZMANN,
    units: tuple[str, str] = ("", "kJ/mol"),
) -> Mean:
    """Logarithm of the mean waiting time of a thermally activated nucleation, of stress and temperature.

    ln t = log_attempt_time + Q(stress) / (boltzmann temperature), Q = barrier (1 - stress / athermal_stress)^exponent,
    and Q = 0 beyond the athermal stress. This is Arrhenius's law with the stress-dependent barrier of Kocks, Argon and
    Ashby (1975), as used for dislocations by Zhu, Li, Samanta, Leach & Gall, doi:10.1103/PhysRevLett.100.025502.

    Inputs are the columns stress and temperature [K], the output is the natural logarithm of a time. A single waiting
    time of a Poisson process scatters by pi / sqrt(6) = 1.28 in its logarithm and lies 0.577 below ln t on average:
    use averages of several runs, or let `log_attempt_time` absorb the shift.

    Args:
        log_attempt_time: prior of ln of the inverse attempt frequency.
        barrier: prior of the barrier at zero stress [units of boltzmann times K]; positive.
        athermal_stress: prior of the stress at which the barrier is gone [units of stress]; positive.
        exponent: prior of the exponent; positive, 3/2 near a spinodal.
        boltzmann: Boltzmann's constant; in kJ/mol/K unless given (8.617e-5 for eV/K).
        units: of stress and barrier, for labels.

    Returns:
        The mean, with the four parameters.

    Raises:
        ValueError: if a prior is not that of one real number, or allows a value outside its domain.
    """
    positive = (0.0, float("inf"))
    return Mean(
        nucleation_curve,
        {
            "log_attempt_time": log_attempt_time,
            "barrier": barrier,
            "athermal_stress": athermal_stress,
            "exponent": exponent,
        },
        domain={"barrier": positive, "athermal_stress": positive, "exponent": positive},
        inputs=("stress", "temperature"),
        units={"stress": units[0], "athermal_stress": units[0], "barrier": units[1], "temperature": "K"},
        constants={"boltzmann": float(boltzmann)},
    )


def zero_curve(x, parameters):
    """m(x) = 0."""
    return jnp.zeros(x.shape[0])


def constant_curve(x, parameters):
    """m(x) = value."""
    return jnp.full(x.shape[0], parameters["value"])


def traction_curve(x, parameters):
    """See `traction_separation`."""
    ratio = x[:, 0] / parameters["opening"]
    return parameters["strength"] * ratio * jnp.exp(1 - ratio)


def nucleation_curve(x, parameters, *, boltzmann):
    """See `nucleation_time`."""
    left = 1 - x[:, 0] / parameters["athermal_stress"]
    # Both branches are differentiated: the power must see a positive number in either.
    power = jnp.where(left > 0, left, 1.0) ** parameters["exponent"]
    barrier = parameters["barrier"] * jnp.where(left > 0, power, 0.0)
    return parameters["log_attempt_time"] + barrier / (boltzmann * x[:, 1])


def law_name(function: Law) -> str | None:
    """Name by which a file can refer to a law of this module; None for the user's own."""
    name = getattr(function, "__name__", "")
    return name if globals().get(name) is function and name.endswith("_curve") else None


def law_by_name(name: str) -> Law | None:
    """The law of this module that a file refers to; None if there is none (never anything else of the module)."""
    law = globals().get(name) if name.endswith("_curve") else None
    return law if inspect.isfunction(law) else None

"""The model: y = m(x; physics parameters) + discrepancy(x) + noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from gpjax.kernels import AbstractKernel
from numpyro.distributions import Distribution

from bayescg.kernels import default_kernel
from bayescg.kernels.covariance import given_values, parameter_shapes
from bayescg.surrogates.data import Data
from bayescg.surrogates.means import Mean

FORMAT = 2
"""Of the posterior's names and attributes."""


@dataclass(frozen=True, eq=False)
class PhysicsGuidedGP:
    """A physics mean, a Gaussian-process discrepancy and noise.

    **Which of the two explains the data?** Where the law is flexible, physics and discrepancy can each take the place
    of the other, and no amount of data decides between them (Kennedy & O'Hagan, doi:10.1111/1467-9868.00294;
    Brynjarsdottir & O'Hagan, doi:10.1088/0266-5611/30/11/114007). Here the prior decides. The discrepancy's amplitude
    has the exponential prior of penalized complexity (Simpson et al., doi:10.1214/16-STS576): the law alone is the base
    model, and departures from it are penalized. The mean of that prior is a quarter of the data's spread. A law that
    needs a correction of more than three quarters of the spread (5 % of the prior) explains next to nothing. In
    simulations a mean of 0.15 was too little: extrapolated 95 % bands of the traction law covered 0.89. A half-normal
    prior of scale 0.5 was too much: bands of the nucleation law covered 1.00, because it keeps a discrepancy that the
    data do not show.

    The alternative is a discrepancy orthogonal to the law's derivatives (Plumlee, doi:10.1080/01621459.2016.1211016).
    It makes the parameters unique by defining them as the best fit over the *sampled* range. Extrapolation needs
    another definition: their posterior would be narrow about a value that shifts with the range. Here the uncertainty
    of parameters, and of extrapolated curves, includes this ambiguity.

    A law without parameters gets the weak prior of a plain Gaussian process (log-normal about the data's spread).

    Attributes:
        mean: the physics.
        kernel: GPJax kernel of the discrepancy; its amplitude and lengthscales are learned, not read from the object.
            Matern-5/2 unless given.
        priors: NumPyro distributions in place of the default hyperpriors: of "amplitude", "lengthscale" (one for each
            input column), "noise", or a parameter of the kernel by its name.

    Raises:
        ValueError: if `mean` is no `Mean`, or a prior is of an unknown name, no distribution, or allows negative
            values.
    """

    mean: Mean
    kernel: AbstractKernel = field(default_factory=default_kernel)
    priors: Mapping[str, Distribution] = field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.mean, Mean):
            raise ValueError(f"mean must be a bayescg.surrogates.Mean, such as zero(); got {self.mean!r}")
        object.__setattr__(self, "priors", MappingProxyType(dict(self.priors)))
        known = {*given_values(self.kernel), "noise"}
        if set(self.priors) - known:
            raise ValueError(f"priors name {sorted(set(self.priors) - known)}; this model has {sorted(known)}")
        for name, prior in self.priors.items():
            if not isinstance(prior, Distribution):
                raise ValueError(f"the prior of {name} must be a NumPyro distribution; got {prior!r}")
            if prior.support is None or bool(jnp.any(prior.support(jnp.full(prior.shape(), -1e-6)))):
                raise ValueError(f"the prior of {name} allows negative values: use LogNormal or HalfNormal")


def hyperpriors(model: PhysicsGuidedGP, data: Data) -> dict[str, Distribution]:
    """Priors of the kernel's parameters and of the noise, for these data.

    Lengthscales are log-normal about 0.3 of each column's span (sd of the logarithm 0.7): much shorter ones would be
    noise, much longer ones physics. Noise is log-normal about a tenth of the spread (sd 1.5); where measurement errors
    are known there is no further noise unless a prior of it is given.

    Raises:
        ValueError: if a prior's shape does not fit, or a kernel of several parts has one lengthscale for many columns.
    """
    spread = data.spread
    sites: dict[str, Distribution] = {}
    columns = data.x.shape[1]
    given = given_values(model.kernel)
    for label, shape in parameter_shapes(model.kernel, columns).items():
        ones = np.ones(shape)
        if label in model.priors:
            prior = model.priors[label]
            if prior.shape() not in ((), shape):
                raise ValueError(f"the prior of {label} has shape {prior.shape()}; the kernel's has {shape}")
            sites[label] = prior if prior.shape() == shape else prior.expand(shape)
        elif label.startswith("lengthscale"):
            if shape not in ((columns,), ()) or (shape == () and columns > 1):
                raise ValueError(
                    f"{label} of the kernel has shape {shape} for {columns} input columns: make it with "
                    f"lengthscale=jnp.ones({columns}), or give priors={{{label!r}: ...}}"
                )
            sites[label] = dist.LogNormal(np.log(0.3 * data.span).reshape(shape), 0.7 * ones)
        elif label.startswith("amplitude") and model.mean.priors:
            sites[label] = dist.Exponential(ones / (0.25 * spread))
        elif label.startswith("amplitude"):
            size = float(np.sqrt(np.mean(data.y**2)))
            sites[label] = dist.LogNormal(np.log(size) * ones, 0.7 * ones)
        else:
            sites[label] = dist.LogNormal(np.log(np.asarray(given[label])), 0.5 * ones)
    if "noise" in model.priors:
        sites["noise"] = model.priors["noise"]
    elif not data.has_error:
        sites["noise"] = dist.LogNormal(np.log(0.1 * spread), 1.5)
    return sites

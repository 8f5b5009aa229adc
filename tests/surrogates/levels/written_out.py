"""Kennedy & O'Hagan's model written out once more, in NumPy, level by level: what the tests compare with."""

import numpy as np
import numpyro.distributions as dist

from bayescg._runtime import double_precision
from bayescg.kernels import default_kernel
from bayescg.surrogates.levels import density
from bayescg.surrogates.levels.data import read_levels
from bayescg.surrogates.levels.model import priors_of


def matern(a, b, amplitude, lengths):
    r = np.sqrt(5 * np.sum(((a[:, None] - b) / lengths) ** 2, axis=-1))
    return amplitude**2 * (1 + r + r**2 / 3) * np.exp(-r)


def process(values, level, a, b, box):
    """cov(z_level(a), z_level(b)): constant, slope, Matern-5/2."""
    left, right = ((x - box.mean(axis=0)) / (0.5 * np.ptp(box, axis=0)) for x in (a, b))
    lines = values["constant"][level] ** 2 + values["slope"][level] ** 2 * left @ right.T
    return lines + matern(a, b, values["amplitude"][level], values["lengthscale"][level])


def values_of(rng, levels, columns, varying=False):
    """Unknowns of a model, any."""
    out = {
        "amplitude": rng.uniform(0.5, 2, levels),
        "constant": rng.uniform(0.2, 1, levels),
        "slope": rng.uniform(0.2, 1, levels),
        "lengthscale": rng.uniform(0.3, 1, (levels, columns)),
        "rho": rng.normal(1, 0.5, levels - 1),
    }
    if varying:
        out["rho_slope"] = rng.normal(0, 0.3, (levels - 1, columns))
    return out


def problem_of(data, *, bins=None, link="constant", **priors):
    """Levels, and the density's constants for means of zero."""
    levels = read_levels(data, bins)
    sites = priors_of(levels, link, priors)
    with double_precision():
        return levels, density.build(levels, np.zeros(len(levels.levels)), sites, default_kernel())


def near(value):
    """A prior so narrow that it is a constant."""
    return dist.LogNormal(np.log(value), 1e-6)

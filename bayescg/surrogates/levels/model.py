"""The autoregressive model of levels: its covariance between inputs of any level, and the priors of what it is made of.

Level 0 is f_0 = m_0 + z_0, and level t

    f_t(x) = m_t + g_t(x),   g_t(x) = rho_t(x) g_{t-1}(x) + z_t(x)   (Kennedy & O'Hagan, doi:10.1093/biomet/87.1.1),

with independent Gaussian processes z_t: a constant and a slope of unknown sizes (their h(x)' beta, integrated out), and
a process with amplitude and lengthscales of its own. The m_t are the means of each level's values, numbers that are
subtracted first. Over the bins of curves all processes have the same correlation (intrinsic coregionalization).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from gpjax.kernels import AbstractKernel
from jaxtyping import Array, Float, Int
from numpyro.distributions import Distribution

from bayescg._arrays import AnyArray
from bayescg.kernels.covariance import covariance, given_values
from bayescg.surrogates.levels.data import Levels

Link = Literal["constant", "varying", "nonlinear"]
"""What a level is of the one below: a number times it, a number that varies linearly with the input, any function."""

LINKS = get_args(Link)


def process(
    kernel: AbstractKernel, amplitude: Array, lengthscale: Array, left: Float[AnyArray, "m d"], right: AnyArray
) -> Float[Array, "m n"]:
    """amplitude^2 k(left, right), k a correlation with these lengthscales."""
    values = {**given_values(kernel), "amplitude": amplitude, "lengthscale": lengthscale}
    return covariance(kernel, values, left, right)


def scales(
    values: Mapping[str, Array], x: Float[AnyArray, "point d"], box: Float[AnyArray, "2 d"]
) -> Float[Array, "link point"]:
    """rho_t(x) of every link, (link, point): constant, or linear in the input.

    Args:
        values: of all unknowns; `rho` (link), and `rho_slope` (link, d), the change of rho between the middle of the
            inputs and their end, if it varies.
        x: inputs.
        box: lowest and highest input of the data, by column.
    """
    rho = values["rho"][:, None] * jnp.ones(len(x))
    if "rho_slope" in values:
        rho = rho + values["rho_slope"] @ centered(x, box).T
    return rho


def centered(x: Float[AnyArray, "point d"], box: Float[AnyArray, "2 d"]) -> Float[Array, "point d"]:
    """Inputs from -1 to 1 within the box."""
    return jnp.asarray(x - 0.5 * (box[0] + box[1])) / (0.5 * (box[1] - box[0]))


def loadings(
    values: Mapping[str, Array], x: Float[AnyArray, "point d"], level: Int[AnyArray, " point"], box: AnyArray
) -> Float[Array, "level point"]:
    """By how much process z_v enters the value at each point: the product of rho_j(x) for v < j <= its level."""
    count = len(values["amplitude"])
    out = [jnp.where(level == count - 1, 1.0, 0.0)]
    if count == 1:
        return jnp.ones((1, len(x)))
    rho = scales(values, x, box)
    # Downwards: z_v enters level v as it is, and higher levels by rho_{v+1} times what z_{v+1} does.
    for below in range(count - 2, -1, -1):
        out.append(jnp.where(level == below, 1.0, 0.0) + rho[below] * out[-1])
    return jnp.stack(out[::-1])


def joint(
    kernel: AbstractKernel,
    values: Mapping[str, Array],
    left: tuple[AnyArray, AnyArray],
    right: tuple[AnyArray, AnyArray],
    box: Float[AnyArray, "2 d"],
) -> Float[Array, "m n"]:
    """Covariance of g at inputs of any level.

    cov(g_t(x), g_u(x')) = sum over v <= min(t, u) of P_vt(x) P_vu(x') cov(z_v(x), z_v(x')), with P_vt the product of
    rho_j for v < j <= t: Kennedy & O'Hagan, section 2.2, for any number of levels.

    Args:
        kernel: of the processes.
        values: `amplitude`, `constant`, `slope` (level), `lengthscale` (level, d), `rho` (link), maybe `rho_slope`
            (link, d). The slope is by how much the level changes between the middle of the box and its end.
        left: inputs (m, d), and their levels (m,).
        right: inputs (n, d), and their levels (n,).
        box: lowest and highest input of the data.
    """
    first, second = loadings(values, *left, box), loadings(values, *right, box)
    out = jnp.zeros((len(left[0]), len(right[0])))
    for number in range(len(values["amplitude"])):
        part = added(kernel, values, number, left[0], right[0], box)
        out = out + first[number][:, None] * second[number] * part
    return out


def added(
    kernel: AbstractKernel, values: Mapping[str, Array], number: int, left: AnyArray, right: AnyArray, box: AnyArray
) -> Float[Array, "m n"]:
    """Covariance of z of one level between inputs (m, d) and (n, d)."""
    part = process(kernel, values["amplitude"][number], values["lengthscale"][number], left, right)
    lines = centered(left, box) @ centered(right, box).T
    return part + values["constant"][number] ** 2 + values["slope"][number] ** 2 * lines


def between_bins(kernel: AbstractKernel, values: Mapping[str, Array], bins: AnyArray | None) -> Float[Array, "b b"]:
    """Correlation over bins; one number for points."""
    if bins is None:
        return jnp.ones((1, 1))
    at = jnp.asarray(bins)[:, None]
    return process(kernel, jnp.ones(()), values["bin_lengthscale"][None], at, at)


def default_priors(levels: Levels, link: Link) -> dict[str, Distribution]:
    """Priors of all unknowns, for these data.

    The amplitude of level 0 is log-normal about its change between points (sd of the logarithm 0.7), its slope about
    half of that, its constant about half its spread. What a level adds to the one below has an amplitude with an
    exponential prior (penalized complexity, Simpson et al., doi:10.1214/16-STS576: nothing is added unless data say
    so), of mean half that level's change. Its slope and constant are vague, as the trends of Kennedy & O'Hagan are:
    half-Cauchy of scale half that change and half that spread. Lengthscales are log-normal about 0.3 of each column's
    span, noise about a tenth of the spread. rho is normal about half the ratio of both levels' changes, with 0.75 of
    that ratio as sd: from a level that is of no use (0) to one that is the same but for its units (1).
    """
    count, columns = len(levels.levels), levels.x.shape[1]
    change = np.array([level.change for level in levels.levels])
    spread = np.array([level.spread for level in levels.levels])
    span = levels.span
    lengths = 0.3 * np.ones((count, 1)) * span
    sites: dict[str, Distribution] = {
        "amplitude_0": dist.LogNormal(np.log(change[0]), 0.7),
        "constant_0": dist.LogNormal(np.log(0.5 * spread[0]), 0.7),
        "slope_0": dist.LogNormal(np.log(0.5 * change[0]), 0.7),
        "lengthscale": dist.LogNormal(np.log(lengths), 0.7 * np.ones((count, columns))),
    }
    if count > 1:
        ratio = change[1:] / change[:-1]
        sites["amplitude_added"] = dist.Exponential(1 / (0.5 * change[1:]))
        sites["slope_added"] = dist.HalfCauchy(0.5 * change[1:])
        sites["constant_added"] = dist.HalfCauchy(0.5 * spread[1:])
        sites["rho"] = dist.Normal(0.5 * ratio, 0.75 * ratio)
        if link == "varying":
            sites["rho_slope"] = dist.Normal(0.0, 0.3 * ratio[:, None] * np.ones(columns))
    if levels.noisy:
        sites["noise"] = dist.LogNormal(np.log(0.1 * spread[list(levels.noisy)]), 1.5)
    if levels.bins is not None:
        sites["bin_lengthscale"] = dist.LogNormal(np.log(0.1 * np.ptp(levels.bins)), 0.7)
    return sites


def priors_of(levels: Levels, link: Link, given: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """Default priors, some of them replaced.

    Raises:
        ValueError: for an unknown name, a shape that does not fit, or a prior that allows negative sizes.
    """
    sites = default_priors(levels, link)
    if set(given) - set(sites):
        raise ValueError(f"priors name {sorted(set(given) - set(sites))}; this model has {sorted(sites)}")
    for name, prior in given.items():
        if not isinstance(prior, Distribution):
            raise ValueError(f"the prior of {name} must be a NumPyro distribution; got {prior!r}")
        shape = sites[name].shape()
        if prior.shape() not in ((), shape):
            raise ValueError(f"the prior of {name} has shape {prior.shape()}; it must be () or {shape}")
        if name.startswith("rho") and (
            prior.support is not dist.constraints.real or not np.all(np.isfinite(prior.variance))
        ):
            raise ValueError(f"the prior of {name} must allow all numbers and have a variance, as dist.Normal(1, 0.1)")
        negative = prior.support is None or bool(jnp.any(prior.support(jnp.full(prior.shape(), -1e-6))))
        if negative and not name.startswith("rho"):
            raise ValueError(f"the prior of {name} allows negative values: use LogNormal or HalfNormal")
        sites[name] = prior if prior.shape() == shape else prior.expand(shape)
    return sites


def assembled(values: Mapping[str, Array]) -> dict[str, Array]:
    """Sites as values of the model: `amplitude`, `constant` and `slope` (level) of all levels."""
    out = dict(values)
    out.pop("link", None)
    for name in ("amplitude", "constant", "slope"):
        first = jnp.atleast_1d(out.pop(f"{name}_0"))
        added = out.pop(f"{name}_added", jnp.zeros(0))
        out[name] = jnp.concatenate([first, added])
    return out


def noise_variance(values: Mapping[str, Array], level: Int[AnyArray, " point"], noisy: tuple[int, ...], count: int):
    """Variance of the noise that was learned, (point,); zero at levels whose errors are known."""
    variance = jnp.zeros(count)
    if noisy:
        variance = variance.at[jnp.asarray(noisy)].set(values["noise"] ** 2)
    return variance[level]

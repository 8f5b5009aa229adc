"""GPJax kernels: hyperpriors of their parameters, and the prior's factor at given values of them."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from gpjax.parameters import AbstractUnwrappable
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from bayescg.kernels.grids import GridPrior
from bayescg.kernels.overlaps import InducingPrior
from bayescg.kernels.shapes import TermPrior

_JITTER = 1e-9
"""Relative to the kernel's variance: a smooth kernel on a fine grid is singular in float64."""


def default_kernel() -> gpjax.kernels.AbstractKernel:
    """Matern-5/2: twice differentiable energies, continuous forces, no more smoothness than physics promises."""
    return gpjax.kernels.Matern52()


def by_name(name: str) -> gpjax.kernels.AbstractKernel:
    """A GPJax kernel by the name of its class, such as "RBF".

    Raises:
        ValueError: for a class that GPJax does not have, with the nearest that it has.
    """
    room = vars(gpjax.kernels)
    base = gpjax.kernels.AbstractKernel
    kinds = {key: value for key, value in room.items() if isinstance(value, type) and issubclass(value, base)}
    known = {}
    for key, kind in kinds.items():
        with contextlib.suppress(TypeError):  # abstract classes, and kernels of kernels
            known[key] = kind()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
        raise ValueError(f"GPJax has no kernel {name!r}; {hint}")
    return known[name]


def hyperpriors(
    kernel: gpjax.kernels.AbstractKernel, prior: TermPrior | GridPrior | InducingPrior
) -> dict[str, Distribution]:
    """Weakly informative priors of a kernel's parameters, one entry a NumPyro site.

    Lengthscales and amplitudes (square roots of variances) are log-normal about the term's own scales: what the
    kernel object holds for them is ignored, so that `Matern52()` is the whole specification. Other parameters
    (the `alpha` of RationalQuadratic, a period) are log-normal about the value they were given. A term with inducing
    points has a kernel of its own, of which the amplitude alone is learnt.
    """
    if isinstance(prior, InducingPrior):
        return {f"amplitude_{prior.name}": dist.LogNormal(jnp.log(prior.amplitude), 1.5)}
    sites: dict[str, Distribution] = {}
    for label, _, value in _parameters(kernel):
        if jnp.ndim(value) and isinstance(prior, GridPrior):
            raise ValueError(f"{prior.name}: a kernel of each side is multiplied; {label} must be one number")
        ones = jnp.ones(jnp.shape(value))
        site = f"{label}_{prior.name}"
        if label.startswith("lengthscale"):
            sites[site] = dist.LogNormal(jnp.log(prior.lengthscale) * ones, 0.7)
        elif label.startswith("amplitude"):
            sites[site] = dist.LogNormal(jnp.log(prior.amplitude) * ones, 0.7)
        else:
            sites[site] = dist.LogNormal(jnp.log(value) * ones, 0.5)
    if isinstance(prior, TermPrior) and prior.warp is not None:
        sites[f"warp_{prior.name}"] = dist.LogNormal(jnp.log(5.0), 0.7)
    return sites


def factor(
    kernel: gpjax.kernels.AbstractKernel, prior: TermPrior | GridPrior | InducingPrior, values: Mapping[str, Array]
) -> Float[Array, "free free"]:
    """Cholesky factor of the free coefficients' prior covariance, edge conditions imposed (traced values work)."""
    if isinstance(prior, InducingPrior):
        return values[f"amplitude_{prior.name}"] * jnp.eye(prior.lift.shape[1])
    if isinstance(prior, GridPrior):
        return _grid_factor(kernel, prior, values)
    for label, where, _ in _parameters(kernel):
        value = values[f"{label}_{prior.name}"]
        kernel = eqx.tree_at(where, kernel, value**2 if label.startswith("amplitude") else value)
    inputs = jnp.asarray(prior.inputs)
    if prior.warp is not None:
        inputs = inputs + values[f"warp_{prior.name}"] * jnp.asarray(prior.warp)
    gram = kernel.cross_covariance(inputs, inputs)
    gram = gram + _JITTER * jnp.trace(gram) / len(inputs) * jnp.eye(len(inputs))
    transform = jnp.asarray(prior.transform)
    joint = jnp.linalg.cholesky(transform @ gram @ transform.T)
    free = prior.lift.shape[1]
    return joint[-free:, -free:]


def _grid_factor(kernel, prior: GridPrior, values: Mapping[str, Array]) -> Float[Array, "free free"]:
    """The same for a tensor grid, from the covariance along each axis."""
    axes, scale = [], 1.0
    for number, axis in enumerate((prior.side, prior.opposite)):
        own, scale = kernel, 1.0
        for label, where, _ in _parameters(kernel):
            value = values[f"{label}_{prior.name}"]
            if label.startswith("lengthscale"):
                value = value[number]
            own = eqx.tree_at(where, own, value**2 if label.startswith("amplitude") else value)
        transform, sites = jnp.asarray(axis[:, :-1]), jnp.asarray(axis[:, -1:])
        gram = jnp.asarray(own.cross_covariance(sites, sites))
        # One variance for the product of all: along each axis it is one.
        scale = gram[0, 0]
        gram = gram / scale + _JITTER * jnp.eye(len(sites))
        joint = jnp.linalg.cholesky(transform @ gram @ transform.T)[prior.conditions[number] :]
        joint = joint[:, prior.conditions[number] :]
        axes.append(joint @ joint.T)
    a, b, c = prior.columns
    side, opposite = axes
    gram = side[a[:, None], a] * side[b[:, None], b]
    if prior.symmetric:
        gram = 0.5 * (gram + side[a[:, None], b] * side[b[:, None], a])
    gram = scale * gram * opposite[c[:, None], c]
    return jnp.linalg.cholesky(gram + _JITTER * jnp.trace(gram) / len(a) * jnp.eye(len(a)))


def _parameters(kernel) -> list[tuple[str, object, Array]]:
    """(label, selector, value) of every parameter; labels are numbered if a kernel has several parts."""
    if not isinstance(kernel, gpjax.kernels.AbstractKernel):
        raise ValueError(f"a kernel must be a GPJax kernel such as gpjax.kernels.Matern52(); got {kernel!r}")
    leaves = jax.tree_util.tree_flatten_with_path(kernel, is_leaf=lambda x: isinstance(x, AbstractUnwrappable))[0]
    names = [_field(path) for path, _ in leaves]
    found = []
    for number, (path, leaf) in enumerate(leaves):
        name = "amplitude" if names[number] == "variance" else names[number]
        if names.count(names[number]) > 1:
            name += str(names[:number].count(names[number]) + 1)
        value = leaf.unwrap() if isinstance(leaf, AbstractUnwrappable) else leaf
        found.append((name, _selector(path), jnp.asarray(value)))
    if not found:
        raise ValueError(f"kernel {type(kernel).__name__} has no parameters to learn")
    return found


def _field(path) -> str:
    return [str(entry.name) for entry in path if isinstance(entry, jax.tree_util.GetAttrKey)][-1]


def _selector(path):
    def select(tree):
        for entry in path:
            tree = getattr(tree, entry.name) if isinstance(entry, jax.tree_util.GetAttrKey) else tree[entry.idx]
        return tree

    return select

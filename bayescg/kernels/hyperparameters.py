"""GPJax kernels by name, their parameters by label, and hyperpriors of these."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Mapping

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from gpjax.parameters import AbstractUnwrappable
from jaxtyping import Array, Float, PyTree

from bayescg._arrays import AnyArray

JITTER = 1e-9
"""Relative to the kernel's variance: a smooth kernel on a fine grid is singular in float64."""


def default_kernel() -> gpjax.kernels.AbstractKernel:
    """Matern-5/2: energies have two derivatives and forces are continuous; no more smoothness is assumed.

    Returns:
        The kernel.
    """
    return gpjax.kernels.Matern52()


def by_name(name: str) -> gpjax.kernels.AbstractKernel:
    """A GPJax kernel by the name of its class.

    Args:
        name: such as "RBF".

    Returns:
        The kernel.

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


def parameters(kernel: gpjax.kernels.AbstractKernel) -> dict[str, Array]:
    """Every parameter by its label; labels are numbered if a kernel has several parts.

    Variances are called amplitudes, which are their square roots: `with_parameters` squares them, the values here are
    the variances.
    """
    return {label: value for label, _, value in _leaves(kernel)}


def with_parameters(kernel: gpjax.kernels.AbstractKernel, values: Mapping[str, Array]) -> gpjax.kernels.AbstractKernel:
    """The kernel at given values of its parameters (label -> value; traced values work), amplitudes squared."""
    for label, where, _ in _leaves(kernel):
        kernel = eqx.tree_at(where, kernel, values[label] ** 2 if label.startswith("amplitude") else values[label])
    return kernel


def lognormal_hyperpriors(
    kernel: gpjax.kernels.AbstractKernel, name: str, lengthscale: float | Float[AnyArray, "*axis"], amplitude: float
) -> dict[str, dist.LogNormal]:
    """Weakly informative priors of a kernel's parameters, by NumPyro site `LABEL_NAME`.

    Lengthscales and amplitudes are log-normal about the given medians: what the kernel object holds for them is
    ignored, so that `Matern52()` is the whole specification. Other parameters (the `alpha` of RationalQuadratic, a
    period) are log-normal about the value they were given.

    Args:
        kernel: the kernel.
        name: of the term.
        lengthscale: prior median of lengthscales.
        amplitude: prior median of amplitudes.
    """
    sites: dict[str, dist.LogNormal] = {}
    for label, value in parameters(kernel).items():
        ones = jnp.ones(jnp.shape(value))
        if label.startswith("lengthscale"):
            sites[f"{label}_{name}"] = dist.LogNormal(jnp.log(lengthscale) * ones, 0.7)
        elif label.startswith("amplitude"):
            sites[f"{label}_{name}"] = dist.LogNormal(jnp.log(amplitude) * ones, 0.7)
        else:
            sites[f"{label}_{name}"] = dist.LogNormal(jnp.log(value) * ones, 0.5)
    return sites


def _leaves(kernel) -> list[tuple[str, Callable[[PyTree], Array], Array]]:
    """(label, selector, value) of every parameter."""
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


def _selector(path) -> Callable[[PyTree], Array]:
    def select(tree):
        for entry in path:
            tree = getattr(tree, entry.name) if isinstance(entry, jax.tree_util.GetAttrKey) else tree[entry.idx]
        return tree

    return select

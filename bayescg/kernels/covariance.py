"""GPJax kernels as covariance functions of inputs, at traced values of their parameters: for regression."""

from __future__ import annotations

from collections.abc import Mapping

import gpjax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.kernels.hyperparameters import by_name, parameters, with_parameters


def parameter_shapes(kernel: gpjax.kernels.AbstractKernel, dimension: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a kernel's parameters by label; amplitudes are square roots of variances.

    A kernel of one part has a lengthscale for each input column, whatever its object holds.

    Args:
        kernel: the kernel.
        dimension: number of input columns.
    """
    shapes = {label: jnp.shape(value) for label, value in parameters(kernel).items()}
    if dimension > 1 and shapes.get("lengthscale") == () and kernel.active_dims == slice(None):
        shapes["lengthscale"] = (dimension,)
    return shapes


def given_values(kernel: gpjax.kernels.AbstractKernel) -> dict[str, Array]:
    """What the kernel's object holds for its parameters, by label; of amplitudes the square roots of variances."""
    return {
        label: jnp.sqrt(value) if label.startswith("amplitude") else value
        for label, value in parameters(kernel).items()
    }


def covariance(
    kernel: gpjax.kernels.AbstractKernel,
    values: Mapping[str, Array],
    left: Float[AnyArray, "m d"],
    right: Float[AnyArray, "n d"],
) -> Float[Array, "m n"]:
    """k(left, right) with the parameters of `values` (label -> value; traced values work)."""
    found = with_parameters(kernel, values).cross_covariance(jnp.asarray(left), jnp.asarray(right))
    return jnp.asarray(found)


def kernel_name(kernel: gpjax.kernels.AbstractKernel) -> str | None:
    """Name by which `by_name` makes an equal kernel again; None if it has parts or settings of its own."""
    name = type(kernel).__name__
    try:
        plain = by_name(name)
    except ValueError:
        return None
    same = type(plain) is type(kernel) and plain.active_dims == kernel.active_dims
    return name if same else None

"""Coefficients of all systems given hyperparameters: evidence, draws, and what other systems say about one.

Data of system s are k numbers of unit noise, y_s = X_s v_s + e, with X_s X_s' the precision of its calibrated sums
(`bayescg.transfer.sums`), and

    v_s = sum_j e_sj c_j z_j + D_s x_s,   z_j, x_s ~ N(0, I),

e_sj column j of the kernel over states, c_j the sizes of its parts for each coefficient (those of one term are equal),
D_s the size of a system's own part, and X_s in coordinates where the curve's own covariance is the identity. The own
part is integrated out system by system,

    W_s = I + X_s D_s^2 X_s',   Gamma_s = X_s' W_s^-1 X_s,   Lambda = I + sum_s (e_s e_s') kron Gamma_s  (times c c'),

    log Z = sum_s log N(y_s; 0, W_s) - 1/2 log|Lambda| + 1/2 r' Lambda^-1 r,   r_j = c_j sum_s e_sj X_s' W_s^-1 y_s,

at the cost of S k^3 + (q m)^3 in place of (S k)^3.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from bayescg.inference.linear.marginal import gaussian_integral


class Design(NamedTuple):
    """The linear model at given hyperparameters.

    Attributes:
        x: (system, datum, free) X_s; zero where a system has fewer data, or lacks a term.
        y: (system, datum) y_s.
        columns: (system, feature) e.
        sizes: (feature, free) c.
        own: (system, free) D.
    """

    x: Float[Array, "system datum free"]
    y: Float[Array, "system datum"]
    columns: Float[Array, "system feature"]
    sizes: Float[Array, "feature free"]
    own: Float[Array, "system free"]


class Eliminated(NamedTuple):
    """What is left of the systems where their own parts are integrated out.

    Attributes:
        inverse: (system, datum, datum) W_s^-1.
        log_det: (system,) log |W_s|.
        gamma: (system, free, free) Gamma_s.
        eta: (system, free) X_s' W_s^-1 y_s.
    """

    inverse: Float[Array, "system datum datum"]
    log_det: Float[Array, " system"]
    gamma: Float[Array, "system free free"]
    eta: Float[Array, "system free"]


@jax.custom_vjp
def _inverse(w: Float[Array, "system n n"]) -> tuple[Float[Array, "system n n"], Float[Array, " system"]]:
    """W^-1 and log |W| of positive matrices; their gradient needs no second factorization."""

    def one(matrix):
        # One matrix at a time: batches of factors in two threads at once wait for each other without end (jaxlib 0.10).
        root = jnp.linalg.cholesky(matrix)
        half = solve_triangular(root, jnp.eye(len(matrix)), lower=True)
        return half.T @ half, 2 * jnp.sum(jnp.log(jnp.diagonal(root)))

    return jax.lax.map(one, w)


def _inverse_forward(w):
    found = _inverse(w)
    return found, found[0]


def _inverse_backward(inverse, cotangents):
    of_inverse, of_log = cotangents
    of_inverse = 0.5 * (of_inverse + jnp.swapaxes(of_inverse, 1, 2))
    return (of_log[:, None, None] * inverse - inverse @ of_inverse @ inverse,)


_inverse.defvjp(_inverse_forward, _inverse_backward)


def eliminate(design: Design) -> Eliminated:
    """Integrate own parts out."""
    own = design.x * design.own[:, None, :]
    inverse, log_det = _inverse(jnp.eye(design.x.shape[1]) + own @ jnp.swapaxes(own, 1, 2))
    weighed = inverse @ design.x
    gamma = jnp.swapaxes(design.x, 1, 2) @ weighed
    return Eliminated(inverse, log_det, gamma, jnp.einsum("sk,skf->sf", design.y, weighed))


def shared_system(
    design: Design, left: Eliminated, without: Array | int | None = None
) -> tuple[Float[Array, "shared shared"], Float[Array, " shared"]]:
    """Lambda and r of the shared parts z.

    Args:
        design: the model.
        left: of `eliminate`.
        without: number of a system to leave out.
    """
    count, (features, free) = len(design.columns), design.sizes.shape
    kept = design.columns if without is None else design.columns.at[without].set(0.0)
    products = (kept[:, :, None] * kept[:, None, :]).reshape(count, -1)
    gamma = (products.T @ left.gamma.reshape(count, -1)).reshape(features, features, free, free)
    scaled = design.sizes[:, None, :, None] * gamma * design.sizes[None, :, None, :]
    size = features * free
    right = design.sizes * (kept.T @ left.eta)
    return jnp.eye(size) + scaled.transpose(0, 2, 1, 3).reshape(size, size), right.reshape(size)


def log_evidence(design: Design) -> Float[Array, ""]:
    """Log density of all y."""
    left = eliminate(design)
    square = jnp.einsum("sk,skl,sl->", design.y, left.inverse, design.y)
    alone = -0.5 * (square + jnp.sum(left.log_det) + design.y.size * math.log(2 * math.pi))
    return alone + gaussian_integral(*shared_system(design, left))


class Noise(NamedTuple):
    """Random numbers of one draw; zeros for the mean.

    Attributes:
        y: (system, datum) of the data, with the covariance of their scores.
        own: (system, free) standard normal.
        shared: (shared,) standard normal.
    """

    y: Float[Array, "system datum"]
    own: Float[Array, "system free"]
    shared: Float[Array, " shared"]


class Solved(NamedTuple):
    """Coefficients in coordinates where the curve's own covariance is the identity.

    Attributes:
        shared: (feature, free) z times c: what a column of the kernel over states is multiplied with.
        systems: (system, free) v_s.
    """

    shared: Float[Array, "feature free"]
    systems: Float[Array, "system free"]


def solve(design: Design, noise: Noise) -> Solved:
    """One draw of all coefficients, or their mean.

    All unknowns (z, x) have the precision B = I + M' M, M the design of all. A draw is B^-1 (M'(y + N e) + n), n
    standard normal, whose covariance is B^-1 (I + M' N N' M) B^-1: that of calibrated fits
    (`bayescg.inference.linear.calibration`), and B^-1 where N N' = I.

    Args:
        design: the model.
        noise: random numbers.
    """
    left = eliminate(design)
    y = design.y + noise.y
    own = jnp.einsum("skf,sk->sf", design.x, y)
    right_own = design.own * own + noise.own
    # What own parts explain is taken off before the shared ones are solved for.
    taken = jnp.einsum("skf,sk->sf", design.x, _weighed(design, left, design.own * right_own))
    lamda, _ = shared_system(design, left)
    right = (design.sizes * (design.columns.T @ (own - taken))).reshape(-1) + noise.shared
    z = cho_solve((jnp.linalg.cholesky(lamda), True), right).reshape(design.sizes.shape)
    shared = design.sizes * z
    common = design.columns @ shared
    seen = jnp.einsum("skf,sf->sk", design.x, common)
    rest = right_own - design.own * jnp.einsum("skf,sk->sf", design.x, seen)
    back = jnp.einsum("skf,sk->sf", design.x, _weighed(design, left, design.own * rest))
    return Solved(shared, common + design.own * (rest - design.own * back))


def _weighed(design: Design, left: Eliminated, v: Float[Array, "system free"]) -> Float[Array, "system datum"]:
    """W^-1 X v."""
    return jnp.einsum("skl,sl->sk", left.inverse, jnp.einsum("skf,sf->sk", design.x, v))


class Cavity(NamedTuple):
    """What all other systems say about one: its free coordinates are N(mean, spread spread').

    Attributes:
        mean: (free,).
        spread: (free, number).
    """

    mean: Float[Array, " free"]
    spread: Float[Array, "free number"]


def cavity(design: Design, left: Eliminated, system: Array | int) -> Cavity:
    """The prediction for one system from all others, in closed form, by taking its share off Lambda and r."""
    lamda, right = shared_system(design, left, without=system)
    root = jnp.linalg.cholesky(lamda)
    onto = (design.columns[system][:, None] * design.sizes)[:, :, None] * jnp.eye(design.sizes.shape[1])
    onto = onto.reshape(lamda.shape[0], -1).T
    half = solve_triangular(root, onto.T, lower=True).T
    mean = half @ solve_triangular(root, right, lower=True)
    return Cavity(mean, jnp.concatenate([half, jnp.diag(design.own[system])], axis=1))

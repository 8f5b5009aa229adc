"""The prior of a permittivity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._arrays import AnyArray
from bayescg.kernels.priors import TermPrior, prior_of
from bayescg.potentials import Coulomb

_SPREAD = 0.5


@partial(jax.tree_util.register_dataclass, data_fields=("lift", "mean", "spread"), meta_fields=("name",))
@dataclass(frozen=True, eq=False)
class KnownPrior(TermPrior):
    """Coefficients whose scale is known beforehand: independent normal distributions, nothing to learn about them.

    Attributes:
        name: the term.
        lift: (basis, free) maps free coefficients to the term's.
        mean: (basis,) prior mean [kJ/mol].
        spread: (free,) prior standard deviations [kJ/mol].
    """

    name: str
    lift: Float[AnyArray, "basis free"]
    mean: Float[AnyArray, " basis"]
    spread: Float[AnyArray, " free"]

    def hyperpriors(self, kernel):
        del kernel
        return {}

    def factor(self, kernel, values):
        del kernel, values
        return jnp.diag(jnp.asarray(self.spread, float))


@prior_of.register
def _(term: Coulomb, counts, sampled, *, kT, first=None):
    """1 / permittivity lies between 0 and 1: normal about the guess, with a spread of half of that.

    An amplitude to be learned from a single coefficient would have a tail that no Gaussian describes.
    """
    del counts, sampled, kT, first
    size = term.n_basis
    return KnownPrior(term.name, np.eye(size), np.full(size, 1 / term.dielectric), np.full(size, _SPREAD))

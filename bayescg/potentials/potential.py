"""A coarse-grained potential: a sum of terms, linear in all coefficients together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from bayescg.potentials import baselines
from bayescg.potentials.local_density import LocalDensity
from bayescg.potentials.smooth_overlap import SmoothOverlap
from bayescg.potentials.spline_term import Configuration, SplineTerm
from bayescg.potentials.terms import Angle, Bond, Dihedral, Pair, Term
from bayescg.potentials.three_body import ThreeBody

_FORMAT = 1
_CLASSES = {
    cls.__name__: cls
    for cls in (
        Pair,
        Bond,
        Angle,
        Dihedral,
        LocalDensity,
        ThreeBody,
        SmoothOverlap,
        baselines.WCA,
        baselines.LennardJones,
        baselines.Harmonic,
        baselines.Spline,
        baselines.Sum,
    )
}


@dataclass(frozen=True, init=False)
class Potential:
    """Sum of terms. Holds scalars and tuples only: hashable, comparable, and a JSON text says it all.

    U(R) = U_baseline(R) + A(R) . w, with w the coefficients of all terms one after another.

    Args:
        *terms: `Pair`, `Bond`, `Angle`, `Dihedral`, `ThreeBody`, `LocalDensity`, `SmoothOverlap`.
        exclude_bonds: beads at most this many bonds apart (0 to 3) have no pair interaction; the same in the fit, in
            simulations, in g(r) and in exports.

    Raises:
        ValueError: if there is no term, two terms describe the same interaction, or `exclude_bonds` is not 0..3.
    """

    terms: tuple[Term, ...]
    exclude_bonds: int = 0

    def __init__(self, *terms: Term, exclude_bonds: int = 0):
        if not terms:
            raise ValueError("a potential needs at least one term, such as Pair('W', 'W', cutoff=0.9)")
        for term in terms:
            if not isinstance(term, SplineTerm):
                raise ValueError(f"a potential takes terms such as Pair('W', 'W', cutoff=0.9); got {term!r}")
        if exclude_bonds not in (0, 1, 2, 3):
            raise ValueError(f"exclude_bonds counts bonds between beads: 0, 1, 2 or 3; got {exclude_bonds!r}")
        seen = {}
        for term in terms:
            types = term.types if term.many_body else min(term.types, term.types[::-1])
            key = (term.kind, types, getattr(term, "group", None))
            if key in seen:
                raise ValueError(
                    f"two terms describe the same interaction: {seen[key]} and {term.name}; bonded terms of equal "
                    "bead types are told apart by group="
                )
            seen[key] = term.name
        for kind, types, group in seen:
            if group is not None and (kind, types, None) in seen:
                raise ValueError(
                    f"{seen[kind, types, group]} would count twice: {seen[kind, types, None]} has no group and takes "
                    "every group of these bead types"
                )
        names = [term.name for term in terms]
        if len(set(names)) < len(names):
            raise ValueError(f"terms need different names; got {names}")
        _check_reach(terms)
        object.__setattr__(self, "terms", tuple(terms))
        object.__setattr__(self, "exclude_bonds", int(exclude_bonds))

    @property
    def n_basis(self) -> int:
        """Number of coefficients of all terms."""
        return sum(term.n_basis for term in self.terms)

    @property
    def cutoff(self) -> float:
        """Largest range of any term [nm]; 0 if only bonded terms."""
        return max(term.cutoff for term in self.terms)

    @property
    def slices(self) -> dict[str, slice]:
        """Where each term's coefficients stand in w."""
        ends = np.cumsum([term.n_basis for term in self.terms]).tolist()
        return {term.name: slice(end - term.n_basis, end) for term, end in zip(self.terms, ends, strict=True)}

    @property
    def bead_types(self) -> tuple[str, ...]:
        """Bead types named by any term, sorted."""
        return tuple(sorted({bead for term in self.terms for bead in term.types}))

    def term(self, name: str) -> Term:
        """The term of that name."""
        for term in self.terms:
            if term.name == name:
                return term
        raise ValueError(f"no term named {name!r}; this potential has {[t.name for t in self.terms]}")

    def with_ranges(self, cg: xr.Dataset) -> Potential:
        """Fill in what terms leave open, from what `cg` has: grids of bonds and local densities, inducing points.

        Statistics of several trajectories can only be added if they used the same grids: call this once, then use
        the result for all of them.
        """
        from bayescg.potentials.interactions import bonded_tuples, highest_density, neighborhoods, sampled_range

        terms = []
        for term in self.terms:
            if isinstance(term, Bond) and (term.start is None or term.stop is None):
                terms.append(term.with_range(*sampled_range(term, bonded_tuples(term, cg), cg)))
            elif isinstance(term, LocalDensity) and term.stop is None:
                terms.append(term.with_range(highest_density(term, self, cg)))
            elif isinstance(term, SmoothOverlap) and isinstance(term.inducing, int):
                terms.append(term.with_inducing(neighborhoods(term, self, cg)))
            else:
                terms.append(term)
        return Potential(*terms, exclude_bonds=self.exclude_bonds)

    def filled_by(self, other: Potential) -> bool:
        """Whether the other potential is this one with the ranges filled in that its terms leave open."""
        if len(self.terms) != len(other.terms):
            return False
        filled = [_filled(a, b) for a, b in zip(self.terms, other.terms, strict=True)]
        return Potential(*filled, exclude_bonds=self.exclude_bonds) == other

    def energy(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, ""]:
        """Potential energy [kJ/mol] of one configuration."""
        parts = self._parts(coefficients)
        return jnp.sum(jnp.stack([term.energy(configuration, w) for term, w in parts]))

    def forces(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, "bead 3"]:
        """Bead forces [kJ/mol/nm], minus the gradient of `energy`."""
        return sum(
            (term.forces(configuration, w) for term, w in self._parts(coefficients)),
            start=jnp.zeros_like(configuration.positions),
        )

    def virial(self, configuration: Configuration, coefficients: Float[Array, " basis"]) -> Float[Array, "3 3"]:
        """Virial tensor -dU/d(strain) [kJ/mol]; pressure = (N k T + trace / 3) / V.

        Taken by differentiating the energy with respect to a homogeneous strain of positions and box, which is
        exact for terms of any number of bodies under periodic boundaries.
        """

        def strained(strain):
            stretch = jnp.eye(3, dtype=strain.dtype) + strain
            moved = configuration._replace(positions=configuration.positions @ stretch, box=configuration.box @ stretch)
            return self.energy(moved, coefficients)

        return -jax.grad(strained)(jnp.zeros((3, 3), configuration.positions.dtype))

    def basis_energies(self, configuration: Configuration) -> Float[Array, " basis"]:
        """dU/dw of one configuration: what reweighting between coefficient vectors needs."""
        return jnp.concatenate([term.basis_energies(configuration) for term in self.terms])

    def design_rows(self, configuration: Configuration) -> Float[Array, "bead basis 3"]:
        """dF/dw of every bead; forces = baseline forces + design_rows . w."""
        return jnp.concatenate([term.design_rows(configuration) for term in self.terms], axis=1)

    def baseline_forces(self, configuration: Configuration) -> Float[Array, "bead baseline 3"]:
        """Forces of each term's baseline, one column for every term that has one."""
        columns = []
        for term in self.terms:
            if term.baseline is None:
                continue
            x, gradient = term.descriptor(configuration)
            tuples = configuration.tuples[term.name]
            slope = jnp.where(tuples[:, 0] != tuples[:, 1], term.baseline_curve(x)[1], 0.0)
            force = jnp.zeros_like(configuration.positions).at[tuples].add(-slope[:, None, None] * gradient)
            columns.append(force)
        if not columns:
            return jnp.zeros((configuration.positions.shape[0], 0, 3), configuration.positions.dtype)
        return jnp.stack(columns, axis=1)

    def to_json(self) -> str:
        """The whole potential as JSON text."""
        return json.dumps(
            {
                "format": _FORMAT,
                "exclude_bonds": self.exclude_bonds,
                "terms": [_encode(term) for term in self.terms],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Potential:
        """Rebuild a potential from `to_json`.

        Raises:
            ValueError: if the text is not a potential that this version wrote.
        """
        try:
            record = json.loads(text)
            if record["format"] != _FORMAT:
                raise ValueError(f"format {record['format']}; this version reads format {_FORMAT}")
            return cls(*(_decode(term) for term in record["terms"]), exclude_bonds=record["exclude_bonds"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the JSON of a bayescg potential: {error}") from error

    def _parts(self, coefficients) -> list[tuple[Term, Array]]:
        if coefficients.shape[-1] != self.n_basis:
            raise ValueError(f"this potential has {self.n_basis} coefficients; got {coefficients.shape[-1]}")
        return [(term, coefficients[self.slices[term.name]]) for term in self.terms]

    def __repr__(self) -> str:
        inner = ", ".join(term.name for term in self.terms)
        return f"Potential({inner}; {self.n_basis} coefficients, exclude_bonds={self.exclude_bonds})"


def fixed(potential: Potential, coefficients: Sequence[float] | np.ndarray) -> tuple[Term, ...]:
    """Terms of a fitted potential as known curves, to put under others (Δ-learning).

    `Potential(*fixed(pair, mean), Angle(...))` learns the angle on top of the pair potential's mean. The uncertainty
    of that mean is not carried along: to have it, learn both terms together. A term's own baseline stays below its
    spline. `bayescg.posterior.as_baseline` takes a posterior.

    Raises:
        ValueError: if a term is no curve of one distance or angle.
    """
    terms = []
    w = np.asarray(coefficients, float)
    for term in potential.terms:
        if term.many_body:
            raise ValueError(f"{term.name} is no curve of one distance or angle: only such terms can be fixed")
        if term.n_basis:
            spline = term.spline
            raw = np.zeros(spline.size)
            raw[: term.n_basis] = w[potential.slices[term.name]]
            curve = baselines.Spline(spline.start, spline.stop, tuple(raw.tolist()), spline.periodic)
            known = curve if term.baseline is None else baselines.Sum(term.baseline, curve)
            term = dataclasses.replace(term, baseline=known, learn=False)
        terms.append(term)
    return tuple(terms)


def _check_reach(terms: Sequence[Term]) -> None:
    """Neighbors are searched as far as pair terms reach; beyond, beads with pair terms would still repel no one."""
    pairs = [term for term in terms if isinstance(term, Pair)]
    reach = max((term.cutoff for term in pairs), default=np.inf)
    for term in terms:
        if term.many_body and term.cutoff > reach * (1 + 1e-9):
            raise ValueError(
                f"{term.name} reaches to {term.cutoff:g} nm, but the pair terms, as far as which neighbors are listed, "
                f"only to {reach:g} nm: lower its cutoff, or give a pair term a longer one"
            )


def _filled(term: Term, other: Term) -> Term:
    """A term with what it leaves open taken from another."""
    if isinstance(term, Bond) and isinstance(other, Bond):
        start = other.start if term.start is None else term.start
        return dataclasses.replace(term, start=start, stop=other.stop if term.stop is None else term.stop)
    if isinstance(term, LocalDensity) and isinstance(other, LocalDensity):
        return dataclasses.replace(term, stop=other.stop if term.stop is None else term.stop)
    if isinstance(term, SmoothOverlap) and isinstance(other, SmoothOverlap) and isinstance(term.inducing, int):
        return dataclasses.replace(term, inducing=other.inducing)
    return term


def _encode(item):
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return {
        "type": type(item).__name__,
        **{k: _encode(v) if dataclasses.is_dataclass(v) else v for k, v in fields.items()},
    }


def _decode(record):
    fields = dict(record)
    name = fields.pop("type")
    if name not in _CLASSES:
        raise ValueError(f"unknown type {name!r}; known: {sorted(_CLASSES)}")
    for key, value in fields.items():
        if isinstance(value, dict):
            fields[key] = _decode(value)
        elif isinstance(value, list):
            fields[key] = tuple(value)
    return _CLASSES[name](**fields)

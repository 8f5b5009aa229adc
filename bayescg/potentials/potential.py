"""A coarse-grained potential: a sum of terms, linear in all coefficients together."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._arrays import AnyArray
from bayescg.potentials import baselines
from bayescg.potentials.configuration import Configuration
from bayescg.potentials.electrostatics.coulomb import Coulomb
from bayescg.potentials.many_body.many_body_term import ManyBodyTerm
from bayescg.potentials.pair import Pair
from bayescg.potentials.spline_term import SplineTerm
from bayescg.potentials.term import Term

_FORMAT = 1


@dataclass(frozen=True, init=False)
class Potential:
    """A sum of terms, U(R) = U_baseline(R) + A(R) . w, with w the coefficients of all terms one after another.

    It holds scalars and tuples only. It is hashable and comparable, and JSON can keep it whole. Methods take one frame
    (a `Configuration`) and w, (basis,) [kJ/mol]; they raise a ValueError if w has another length.

    Args:
        *terms: `Pair`, `Bond`, `Angle`, `Dihedral`, `ThreeBody`, `LocalDensity`, `SmoothOverlap`, `Coulomb`, or `Term`
            of another kind.
        exclude_bonds: beads at most this many bonds apart (0 to 3) have no pair interaction in the fit, in simulations,
            in g(r) and in exports.

    Raises:
        ValueError: if there is no term, two terms describe the same interaction or have one name, `exclude_bonds` is
            not 0, 1, 2 or 3, or a many-body term reaches farther than all pair terms.
    """

    terms: tuple[Term, ...]
    exclude_bonds: int = 0

    def __init__(self, *terms: Term, exclude_bonds: int = 0):
        if not terms:
            raise ValueError("a potential needs at least one term, such as Pair('W', 'W', cutoff=0.9)")
        for term in terms:
            if not isinstance(term, Term):
                raise ValueError(f"a potential takes terms such as Pair('W', 'W', cutoff=0.9); got {term!r}")
        if exclude_bonds not in (0, 1, 2, 3):
            raise ValueError(f"exclude_bonds counts bonds between beads: 0, 1, 2 or 3; got {exclude_bonds!r}")
        for one, other in combinations(terms, 2):
            if one.overlaps(other) or other.overlaps(one):
                raise ValueError(
                    f"two terms describe the same interaction, which would count twice: {one.name} and {other.name}; "
                    "bonded terms of equal bead types are told apart by group=, and one without takes every group"
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
    def n_baselines(self) -> int:
        """Number of columns of `baseline_forces`."""
        return sum(term.n_baselines for term in self.terms)

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
        """The term of that name.

        Args:
            name: of the term.

        Returns:
            The term.

        Raises:
            ValueError: if there is none.
        """
        for term in self.terms:
            if term.name == name:
                return term
        raise ValueError(f"no term named {name!r}; this potential has {[t.name for t in self.terms]}")

    def filled_by(self, other: Potential) -> bool:
        """Whether another potential is this one with its open ranges filled in (`fill_ranges`)."""
        if len(self.terms) != len(other.terms):
            return False
        filled = [_fill_from(a, b) for a, b in zip(self.terms, other.terms, strict=True)]
        return Potential(*filled, exclude_bonds=self.exclude_bonds) == other

    def energy(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, ""]:
        """Potential energy of one configuration [kJ/mol]."""
        parts = self._parts(coefficients)
        return jnp.sum(jnp.stack([term.energy(configuration, w) for term, w in parts]))

    def forces(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, "bead 3"]:
        """Bead forces (bead, 3) [kJ/mol/nm], minus the gradient of `energy`."""
        return sum(
            (term.forces(configuration, w) for term, w in self._parts(coefficients)),
            start=jnp.zeros_like(configuration.positions),
        )

    def virial(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, "3 3"]:
        """Virial tensor -dU/d(strain), (3, 3) [kJ/mol]; the pressure is (N k T + trace / 3) / V."""
        parts = self._parts(coefficients)
        return jnp.sum(jnp.stack([term.virial(configuration, w) for term, w in parts]), axis=0)

    def basis_energies(self, configuration: Configuration) -> Float[Array, " basis"]:
        """dU/dw, (basis,) without a unit, which reweighting between coefficient vectors needs."""
        return jnp.concatenate([term.basis_energies(configuration) for term in self.terms])

    def design_rows(self, configuration: Configuration) -> Float[Array, "bead basis 3"]:
        """dF/dw of every bead, (bead, basis, 3) [1/nm]: forces are baseline forces + design_rows . w."""
        return jnp.concatenate([term.design_rows(configuration) for term in self.terms], axis=1)

    def baseline_forces(self, configuration: Configuration) -> Float[Array, "bead baseline 3"]:
        """Forces of the baselines (bead, n_baselines, 3) [kJ/mol/nm], one column for every term that has one."""
        return jnp.concatenate([term.baseline_forces(configuration) for term in self.terms], axis=1)

    def divergence_rows(self, configuration: Configuration) -> Float[Array, "bead basis"]:
        """Divergence of `design_rows` by the bead's own position, (bead, basis) [1/nm^2], for structure equations."""
        return jnp.concatenate([term.divergence_rows(configuration) for term in self.terms], axis=1)

    def baseline_divergence(self, configuration: Configuration) -> Float[Array, "bead baseline"]:
        """Divergence of `baseline_forces` by the bead's own position, (bead, n_baselines) [kJ/mol/nm^2]."""
        return jnp.concatenate([term.baseline_divergence(configuration) for term in self.terms], axis=1)

    def to_json(self) -> str:
        """The whole potential as JSON.

        Returns:
            The text, which `from_json` reads back.
        """
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

        Args:
            text: the JSON.

        Returns:
            The potential.

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


def freeze(potential: Potential, coefficients: Sequence[float] | np.ndarray) -> tuple[Term, ...]:
    """Terms of a fitted potential as known curves, to put under others (Δ-learning).

    `Potential(*freeze(pair, mean), Angle(...))` learns the angle on top of the pair potential's mean. The uncertainty
    of that mean is not carried along; to have it, learn both terms together. `bayescg.posterior.as_baseline` does the
    same from a posterior.

    Args:
        potential: of terms that are curves; charges beside them keep their permittivity.
        coefficients: (basis,) of all its terms [kJ/mol].

    Returns:
        The terms, each with `learn=False`, and its own baseline plus its curve as baseline.

    Raises:
        ValueError: if a term is no curve of one distance or angle.
    """
    terms = []
    w = np.asarray(coefficients, float)
    for term in potential.terms:
        if isinstance(term, Coulomb):
            terms.append(_freeze_charges(term, w[potential.slices[term.name]]))
            continue
        if not isinstance(term, SplineTerm):
            raise ValueError(f"{term.name} is no curve of one distance or angle: only such terms can be frozen")
        if term.n_basis:
            spline = term.spline
            raw = np.zeros(spline.size)
            raw[: term.n_basis] = w[potential.slices[term.name]]
            curve = baselines.Spline(spline.start, spline.stop, tuple(raw.tolist()), spline.periodic)
            known = curve if term.baseline is None else baselines.Sum(term.baseline, curve)
            terms.append(dataclasses.replace(term, baseline=known, learn=False))
        else:
            terms.append(term)
    return tuple(terms)


def _freeze_charges(term: Coulomb, coefficients: np.ndarray) -> Coulomb:
    """Charges with the permittivity that was learned."""
    if not term.learn:
        return term
    if not coefficients[0] > 0:
        raise ValueError(
            f"coulomb: an inverse permittivity of {coefficients[0]:.3g} turns attraction into repulsion: the data do "
            "not say how large it is; give it, by Coulomb(dielectric=..., learn=False)"
        )
    return dataclasses.replace(term, dielectric=1 / float(coefficients[0]), learn=False)


def _check_reach(terms: Sequence[Term]) -> None:
    """Neighbors are searched as far as pair terms reach; beyond, beads with pair terms would still repel no one."""
    pairs = [term for term in terms if isinstance(term, Pair)]
    reach = max((term.cutoff for term in pairs), default=np.inf)
    for term in terms:
        if isinstance(term, ManyBodyTerm) and term.cutoff > reach * (1 + 1e-9):
            raise ValueError(
                f"{term.name} reaches to {term.cutoff:g} nm, but the pair terms, as far as which neighbors are listed, "
                f"only to {reach:g} nm: lower its cutoff, or give a pair term a longer one"
            )


def _fill_from(term: Term, other: Term) -> Term:
    """A term with what it leaves open taken from another of its kind."""
    if not term.open_fields or type(term) is not type(other):
        return term
    return dataclasses.replace(term, **{field: getattr(other, field) for field in term.open_fields})


def _encode(item):
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return {
        "type": type(item).__name__,
        **{k: _encode(v) if dataclasses.is_dataclass(v) else v for k, v in fields.items()},
    }


def _decode(record):
    fields = dict(record)
    name = fields.pop("type")
    known = [cls for cls in _final_classes() if cls.__name__ == name]
    if not known:
        names = sorted({cls.__name__ for cls in _final_classes()})
        raise ValueError(f"unknown type {name!r}; known: {names}; import the module that defines it first")
    if len(known) > 1:
        where = " and ".join(sorted(cls.__module__ for cls in known))
        raise ValueError(f"two types are called {name!r}, in {where}: rename one")
    for key, value in fields.items():
        if isinstance(value, dict):
            fields[key] = _decode(value)
        elif isinstance(value, list):
            fields[key] = tuple(value)
    return known[0](**fields)


def _final_classes() -> Iterator[type]:
    """All terms and baselines that can be made, defined here or elsewhere."""
    waiting: list[type] = [Term, baselines.Baseline]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if not inspect.isabstract(cls):
            yield cls

"""Terms of the potential in a configuration: what may be set are the fields of their classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from bayescg import potentials
from bayescg._settings import Number, Section, Text
from bayescg.kernels import by_name
from bayescg.potentials import Potential, Term
from bayescg.potentials.baselines import Baseline
from bayescg.workflow.schema.items import Four, Item, Three, Two, choose, described, listed


def _kernel(name: str) -> str:
    by_name(name)
    return name


KernelName = Annotated[Text, AfterValidator(_kernel)]
"""A kernel class of GPJax."""


def kernels_of(names: Mapping[str, str]) -> dict[str, object]:
    """GPJax kernels by the names of their classes.

    Raises:
        ValueError: for a class that GPJax does not have.
    """
    found = {}
    for term, name in names.items():
        try:
            found[term] = by_name(name)
        except ValueError as error:
            raise ValueError(f"kernel of {term}: {error}") from None
    return found


class BaselineArguments(Section):
    """A baseline by its arguments."""

    made: ClassVar[type]

    def build(self) -> Baseline:
        """The baseline.

        Raises:
            ValueError: if it refuses a value.
        """
        return self.made(**{name: getattr(self, name) for name in self.model_fields_set})

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self


class BaselineChoice(Section):
    """One baseline, named by its key."""

    def build(self) -> Baseline:
        """The baseline."""
        return getattr(self, next(iter(self.model_fields_set))).build()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"one of {', '.join(type(self).model_fields)} was expected")
        return self


class TermItem(Item):
    """A term, and the kernel of its prior."""

    made: ClassVar[type[Term]]

    kernel: KernelName | None = None
    """Any kernel class of GPJax, such as RBF, Matern32 or RationalQuadratic."""

    def build(self) -> Term:
        """The term.

        Raises:
            ValueError: if it refuses a value.
        """
        given = {name: value for name, value in self.options.items() if name != "kernel"}
        if "baseline" in given:
            given["baseline"] = given["baseline"].build()
        return self.made(*self.beads, **given)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self


class CoulombItem(TermItem):
    """Charges of beads; the key that names it holds the method, `ewald` or `reaction_field`."""

    kind: ClassVar[str] = "coulomb"
    width: ClassVar[int] = 0
    made: ClassVar[type[Term]] = potentials.Coulomb

    coulomb: Literal["ewald", "reaction_field"]
    """Ewald's sum, or a reaction field."""
    cutoff: Number
    """Of the sum over distances [nm]."""
    charges: dict[Text, Number] | None = None
    """Charge of each bead type [e]; those of the topology if left out."""
    dielectric: Number | None = None
    """Relative permittivity; if learned, the guess of the prior."""
    learn: bool | None = None
    """Learn the permittivity."""
    tolerance: Number | None = None
    """Relative error of Ewald's sum, roughly."""

    @property
    def beads(self):
        return ()

    def build(self):
        given = {name: value for name, value in self.options.items() if name != "kernel" and value is not None}
        return potentials.Coulomb(method=self.coulomb, **given)


def _fields(cls: type, skip: int = 0) -> dict[str, Any]:
    """Fields of a model that are those of a dataclass, but for the first few."""
    hints, words = get_type_hints(cls), described(cls)
    fields = {}
    for field in dataclasses.fields(cls)[skip:]:
        if field.name == "learn":
            continue
        read = _type_of(hints[field.name])
        needed = field.default is dataclasses.MISSING
        fields[field.name] = (
            read if needed else read | None,
            Field(... if needed else None, description=words.get(field.name)),
        )
    return fields


def _type_of(hint: Any) -> Any:
    """What reads a field of a term or a baseline."""
    if hint == Baseline | None:
        return Baselines
    return {float: Number, float | None: Number, str | None: Text}[hint]


def _baseline(cls: type) -> type[BaselineArguments]:
    model = create_model(cls.__name__, __base__=BaselineArguments, __doc__=cls.__doc__, **_fields(cls))
    model.made = cls
    return model


def _term(kind: str, cls: type[Term], width: int) -> type[TermItem]:
    own: dict[str, Any] = {kind: ({2: Two, 3: Three, 4: Four}[width], Field(description=f"{width} bead types"))}
    model = create_model(cls.__name__, __base__=TermItem, __doc__=cls.__doc__, **own, **_fields(cls, width))
    model.kind, model.width, model.made = kind, width, cls
    return model


_BASELINES = {"wca": potentials.WCA, "lennard_jones": potentials.LennardJones, "harmonic": potentials.Harmonic}
_CHOICES: dict[str, Any] = {
    name: (_baseline(cls) | None, Field(None, description=cls.__doc__)) for name, cls in _BASELINES.items()
}
Baselines = create_model("Baselines", __base__=BaselineChoice, **_CHOICES)
TERMS = {
    kind: _term(kind, cls, width)
    for kind, cls, width in (
        ("pair", potentials.Pair, 2),
        ("bond", potentials.Bond, 2),
        ("angle", potentials.Angle, 3),
        ("dihedral", potentials.Dihedral, 4),
        ("three_body", potentials.ThreeBody, 3),
        ("local_density", potentials.LocalDensity, 2),
    )
} | {"coulomb": CoulombItem}
"""Models by the key that names an item."""


class PotentialChoice(Section):
    """The terms to learn."""

    terms: Annotated[
        tuple[Annotated[TermItem, BeforeValidator(partial(choose, TERMS))], ...],
        BeforeValidator(partial(listed, TERMS)),
    ] = Field(examples=["[{pair: [W, W], cutoff: 0.9}]"])
    """One item for each."""
    exclude_bonds: int = 0
    """Beads at most this many bonds apart have no pair interaction."""

    def build(self) -> Potential:
        """The potential.

        Raises:
            ValueError: for terms that do not go together.
        """
        return Potential(*(item.build() for item in self.terms), exclude_bonds=self.exclude_bonds)

    @property
    def kernels(self) -> dict[str, str]:
        """Names of the kernels given beside the terms, by term."""
        return {item.build().name: item.kernel for item in self.terms if item.kernel is not None}

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

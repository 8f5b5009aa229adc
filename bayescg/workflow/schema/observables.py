"""Observables in a configuration: models whose fields are the arguments of functions of `bayescg.observables`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

import xarray as xr
from pydantic import AfterValidator, BeforeValidator

from bayescg import observables as room
from bayescg._settings import Count, Positive, Text
from bayescg.potentials import LocalDensity, Pair, SplineTerm, Term, ThreeBody
from bayescg.workflow.schema.items import Four, Item, Three, Two, choose, listed


class Observable(Item):
    """One observable of the ensemble and of the atomistic data."""

    blocks: Count | None = None
    """Of frames, from whose scatter sampling errors come."""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the function beside bead types and blocks."""
        return {name: value for name, value in self.options.items() if name != "blocks"}

    @property
    def label(self) -> str:
        """What tells it from others of its kind."""
        words = [f"{value:g}" if isinstance(value, float) else str(value) for value in self.arguments.values()]
        return " ".join(["-".join(self.beads), *words])

    def measure(self, dataset: xr.Dataset, blocks: int | None = None) -> xr.DataArray:
        """Compute it from a trajectory or an ensemble.

        Args:
            dataset: trajectory or ensemble.
            blocks: instead of its own number.
        """
        chosen = self.blocks if blocks is None else blocks
        if chosen is not None:
            chosen = min(chosen, dataset.sizes["frame"])
        return getattr(room, self.kind)(dataset, *self.beads, blocks=chosen, **self.arguments)


class Rdf(Observable):
    """The radial distribution function g(r)."""

    kind: ClassVar[str] = "rdf"
    width: ClassVar[int] = 2

    rdf: Two
    """Two bead types."""
    cutoff: Positive
    """Largest distance [nm]."""
    bins: Count | None = None
    """Of the distance."""


class CoordinationNumber(Observable):
    """The number of neighbors within the cutoff."""

    kind: ClassVar[str] = "coordination_number"
    width: ClassVar[int] = 2

    coordination_number: Two
    """Bead types of the center and of its neighbors."""
    cutoff: Positive
    """Largest distance of a neighbor [nm]."""


class AngleDistribution(Observable):
    """Angles between neighbors within the cutoff."""

    kind: ClassVar[str] = "angle_distribution"
    width: ClassVar[int] = 3

    angle_distribution: Three
    """Bead types; the center stands in the middle."""
    cutoff: Positive
    """Largest distance of a neighbor [nm]."""
    bins: Count | None = None
    """Of the angle."""


class BondDistribution(Observable):
    """Lengths of bonds."""

    kind: ClassVar[str] = "bond_distribution"
    width: ClassVar[int] = 2

    bond_distribution: Two
    """Two bead types."""
    group: Text | None = None
    """Only bonds of this group."""


class BondedAngleDistribution(Observable):
    """Angles of bonded beads."""

    kind: ClassVar[str] = "bonded_angle_distribution"
    width: ClassVar[int] = 3

    bonded_angle_distribution: Three
    """Bead types; the middle of the angle stands in the middle."""
    group: Text | None = None
    """Only angles of this group."""
    bins: Count | None = None
    """Of the angle."""


class DihedralDistribution(Observable):
    """Dihedral angles of bonded beads."""

    kind: ClassVar[str] = "dihedral_distribution"
    width: ClassVar[int] = 4

    dihedral_distribution: Four
    """Four bead types."""
    group: Text | None = None
    """Only dihedrals of this group."""
    bins: Count | None = None
    """Of the angle."""


OBSERVABLES: dict[str, type[Observable]] = {
    model.kind: model
    for model in (
        *(Rdf, CoordinationNumber, AngleDistribution),
        *(BondDistribution, BondedAngleDistribution, DihedralDistribution),
    )
}
"""Models by the key that names an item."""


def _once(found: tuple[Observable, ...]) -> tuple[Observable, ...]:
    keys = [(each.kind, each.label) for each in found]
    for number, (kind, label) in enumerate(keys):
        if (kind, label) in keys[:number]:
            raise ValueError(f"{kind} of {label} stands there twice")
    return found


Observables = Annotated[
    tuple[Annotated[Observable, BeforeValidator(partial(choose, OBSERVABLES))], ...],
    BeforeValidator(partial(listed, OBSERVABLES)),
    AfterValidator(_once),
]
"""A list of different observables."""


def default_observable(term: Term, *, open_boundary: bool = False) -> Observable:
    """What shows best how well a term was learned.

    Args:
        term: the term.
        open_boundary: the beads are in vacuum: no mean density, so no g(r), but neighbors can be counted.
    """
    match term:
        case Pair() if open_boundary:
            return CoordinationNumber(coordination_number=term.types, cutoff=float(term.cutoff))
        case Pair():
            return Rdf(rdf=term.types, cutoff=float(term.cutoff))
        case ThreeBody():
            return AngleDistribution(angle_distribution=(term.a, term.center, term.b), cutoff=float(term.cutoff))
        case LocalDensity():
            return CoordinationNumber(coordination_number=term.types, cutoff=float(term.outer))
    model = {"bond": BondDistribution, "angle": BondedAngleDistribution, "dihedral": DihedralDistribution}[term.kind]
    assert isinstance(term, SplineTerm)
    return model(**{model.kind: term.types}, group=term.group)

"""Observables in a configuration: models whose fields are the arguments of functions of `bayescg.observables`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

import xarray as xr
from jaxtyping import Array
from pydantic import AfterValidator, BeforeValidator

from bayescg import observables as room
from bayescg._settings import Count, Positive, Text
from bayescg.potentials import Coulomb, LocalDensity, Pair, SplineTerm, Term, ThreeBody
from bayescg.workflow.schema.items import Four, Item, Three, Two, choose, listed


class Observable(Item):
    """One observable of the ensemble and of the atomistic data."""

    blocks: Count | None = None
    """Of frames, from whose scatter sampling errors come."""

    atomistic: ClassVar[bool] = True
    """Whether mapped atomistic data have it, too."""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the function beside bead types and blocks."""
        return {name: value for name, value in self.options.items() if name != "blocks"}

    @property
    def label(self) -> str:
        """What tells it from others of its kind."""
        words = [f"{value:g}" if isinstance(value, float) else str(value) for value in self.arguments.values()]
        return " ".join(["-".join(self.beads) or "all", *words])

    def measure(self, dataset: xr.Dataset, blocks: int | None = None) -> xr.DataArray:
        """Compute it from a trajectory or an ensemble.

        Args:
            dataset: trajectory or ensemble.
            blocks: instead of its own number.
        """
        chosen = self.blocks if blocks is None else blocks
        if chosen is not None:
            chosen = min(chosen, dataset.sizes["frame"])
        return self._compute(dataset, blocks=chosen)

    def propagate(self, posterior: xr.DataTree, references: xr.Dataset, draws: int, key: Array) -> xr.DataArray:
        """Compute it at draws of a posterior, from references that cover them.

        Args:
            posterior: where draws come from.
            references: from `add_references` with the same draws and key.
            draws: how many.
            key: JAX random key.

        Returns:
            Dims (draw, block, ...), of the draws that can be relied on.

        Raises:
            ValueError: if more than half of the draws cannot.
        """
        nothing_more = room.Guard(references=0, simulations=0)
        try:
            found = room.propagate(posterior, references, self._compute, draws=draws, guard=nothing_more, key=key)
        except ValueError as error:
            raise ValueError(f"{error}. In a configuration: a longer simulation.time, or `propagate: false`") from None
        return found.isel(draw=found["source"].values != "unreliable")

    def _compute(self, dataset: xr.Dataset, **options: Any) -> xr.DataArray:
        return getattr(room, self.kind)(dataset, *self.beads, **self.arguments, **options)


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


def _no_beads(value: Any) -> tuple[str, ...]:
    if value not in ([], ()):
        raise ValueError(f"the pressure is that of all beads: no bead types were expected, not {value!r}")
    return ()


class VirialPressure(Observable):
    """The pressure of the ensemble."""

    kind: ClassVar[str] = "virial_pressure"
    width: ClassVar[int] = 0
    atomistic: ClassVar[bool] = False

    virial_pressure: Annotated[tuple[str, ...], BeforeValidator(_no_beads)] = ()
    """Of no bead type in particular."""


OBSERVABLES: dict[str, type[Observable]] = {
    model.kind: model
    for model in (
        *(Rdf, CoordinationNumber, AngleDistribution),
        *(BondDistribution, BondedAngleDistribution, DihedralDistribution),
        VirialPressure,
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


def default_observable(term: Term, *, open_boundary: bool = False) -> Observable | None:
    """What shows best how well a term was learned.

    Args:
        term: the term.
        open_boundary: the beads are in vacuum: no mean density, so no g(r), but neighbors can be counted.

    Returns:
        The observable; None if there is none of its own.
    """
    match term:
        case Coulomb():
            return None  # g(r) of its beads is that of their pair terms
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

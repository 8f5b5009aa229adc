"""Lists in a configuration: the terms of the potential, and the observables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bayescg import potentials
from bayescg.potentials import Potential, Term
from bayescg.workflow.tables import Table, integer, number, text, texts
from bayescg.workflow.tables import table as as_table


@dataclass(frozen=True)
class _TermKind:
    """What a configuration says of a kind of term: its class, how many bead types, and its settings (the fields)."""

    cls: type[Term]
    width: int

    @property
    def options(self) -> tuple[str, ...]:
        """Settings, numbers but for `group`."""
        return tuple(field.name for field in self._fields if field.name not in ("baseline", "learn"))

    @property
    def required(self) -> tuple[str, ...]:
        """Settings without a default."""
        return tuple(field.name for field in self._fields if field.default is dataclasses.MISSING)

    @property
    def baseline(self) -> bool:
        """Whether a baseline may lie below the term."""
        return any(field.name == "baseline" for field in self._fields)

    @property
    def _fields(self):
        return dataclasses.fields(self.cls)[self.width :]  # pyright: ignore[reportArgumentType]


_TERMS = {
    "pair": _TermKind(potentials.Pair, 2),
    "bond": _TermKind(potentials.Bond, 2),
    "angle": _TermKind(potentials.Angle, 3),
    "dihedral": _TermKind(potentials.Dihedral, 4),
    "three_body": _TermKind(potentials.ThreeBody, 3),
    "local_density": _TermKind(potentials.LocalDensity, 2),
}
OBSERVABLES = {
    "rdf": (2, {"cutoff": number, "bins": integer}),
    "coordination_number": (2, {"cutoff": number}),
    "angle_distribution": (3, {"cutoff": number, "bins": integer}),
    "bond_distribution": (2, {"group": text}),
    "bonded_angle_distribution": (3, {"group": text, "bins": integer}),
    "dihedral_distribution": (4, {"group": text, "bins": integer}),
}
_NEED_CUTOFF = ("rdf", "coordination_number", "angle_distribution")
_BASELINES = {
    "wca": (potentials.WCA, ("sigma", "epsilon")),
    "lennard_jones": (potentials.LennardJones, ("sigma", "epsilon", "cutoff")),
    "harmonic": (potentials.Harmonic, ("stiffness", "center")),
}


@dataclass(frozen=True)
class Observable:
    """One observable of the ensemble and of the atomistic data.

    Attributes:
        kind: name of a function of `bayescg.observables`.
        beads: bead types.
        options: its other arguments.
        blocks: of frames, from whose scatter sampling errors come.
    """

    kind: str
    beads: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    blocks: int | None = None

    @property
    def label(self) -> str:
        """What tells it from others of its kind."""
        words = [f"{value:g}" if isinstance(value, float) else str(value) for _, value in self.options]
        return " ".join(["-".join(self.beads), *words])


def read_observables(top: Table, potential: Potential) -> tuple[Observable, ...]:
    """The observables of a configuration; left out, one for each term.

    Raises:
        ValueError: naming the line of what is wrong.
    """
    if "observables" not in top:
        return tuple(_default_observable(term) for term in potential.terms)
    found, settings = [], [*(name for _, options in OBSERVABLES.values() for name in options), "blocks"]
    for item in _items(top, "observables"):
        kind, (width, options) = _kind(item, OBSERVABLES, settings)
        item.check((kind, *options, "blocks"))
        beads = item.take(kind, lambda value, width=width: _beads(value, width))
        if kind in _NEED_CUTOFF:
            item.take("cutoff", number)
        given = tuple((name, item.take(name, read)) for name, read in options.items() if name in item)
        found.append(Observable(kind, beads, given, item.take("blocks", integer, None)))
    keys = [(each.kind, each.label) for each in found]
    for number_, key in enumerate(keys):
        if key in keys[:number_]:
            raise ValueError(f"{top.place('observables')}: {key[0]} of {key[1]} stands there twice")
    return tuple(found)


def _default_observable(term) -> Observable:
    if term.kind == "pair":
        return Observable("rdf", term.types, (("cutoff", float(term.cutoff)),))
    if term.kind == "three-body":
        return Observable("angle_distribution", (term.a, term.center, term.b), (("cutoff", float(term.cutoff)),))
    if term.kind == "local density":
        return Observable("coordination_number", term.types, (("cutoff", float(term.outer)),))
    kind = {"bond": "bond_distribution", "angle": "bonded_angle_distribution", "dihedral": "dihedral_distribution"}
    group = (("group", term.group),) if term.group is not None else ()
    return Observable(kind[term.kind], term.types, group)


def _items(table: Table, key: str) -> list[Table]:
    items = table[key]
    if not isinstance(items, list) or not all(isinstance(item, Table) for item in items):
        raise ValueError(f"{table.place(key)}: a list was expected, each item as in `- pair: [W, W]`")
    return items


def _beads(value: Any, width: int) -> tuple[str, ...]:
    beads = texts(value.split("-") if isinstance(value, str) else value)
    if len(beads) != width:
        raise ValueError(f"{width} bead types were expected, as in [{', '.join('ABBA'[:width])}], not {value!r}")
    return beads


def read_terms(table: Table) -> tuple[Potential, dict[str, str]]:
    """The potential, and the kernels named beside its terms."""
    table.check(("terms", "exclude_bonds"))
    if "terms" not in table:
        raise ValueError(f"{table.place()}: `terms` is missing, as in `terms: [{{pair: [W, W], cutoff: 0.9}}]`")
    terms, kernels = [], {}
    settings = [*(name for kind in _TERMS.values() for name in kind.options), "kernel", "baseline"]
    for item in _items(table, "terms"):
        key, kind = _kind(item, _TERMS, settings)
        item.check((key, *kind.options, "kernel", *(("baseline",) if kind.baseline else ())))
        beads = item.take(key, lambda value, width=kind.width: _beads(value, width))
        for name in kind.required:
            item.take(name, number)
        given = {name: item.take(name, text if name == "group" else number) for name in kind.options if name in item}
        if "baseline" in item:
            given["baseline"] = item.take("baseline", _baseline)
        try:
            term = kind.cls(*beads, **given)
        except ValueError as error:
            raise ValueError(f"{item.place()}: {error}") from None
        terms.append(term)
        if "kernel" in item:
            kernels[term.name] = item.take("kernel", text)
    try:
        return Potential(*terms, exclude_bonds=table.take("exclude_bonds", integer, 0)), kernels
    except ValueError as error:
        raise ValueError(f"{table.place()}: {error}") from None


def _kind(item: Table, known: Mapping[str, Any], settings: Iterable[str]) -> tuple[str, Any]:
    """Which kind of thing an item of a list is, by the key that names it."""
    found = [name for name in known if name in item]
    if not found and item:
        item.check([*known, *dict.fromkeys(settings)])
    if len(found) != 1:
        example = next(iter(known))
        raise ValueError(f"{item.place()}: one of {', '.join(known)} must name the item, as in `- {example}: ...`")
    return found[0], known[found[0]]


def _baseline(value: Any):
    table = as_table(value)
    table.check(_BASELINES)
    if len(table) != 1:
        raise ValueError(f"one of {', '.join(_BASELINES)} was expected")
    name = next(iter(table))
    cls, fields = _BASELINES[name]
    inner = table.take(name, as_table)
    inner.check(fields)
    return cls(**{field: inner.take(field, number) for field in fields})

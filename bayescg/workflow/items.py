"""Lists in a configuration: the terms of the potential, and the observables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bayescg import potentials
from bayescg.potentials import Potential
from bayescg.workflow.tables import Table, integer, number, text, texts
from bayescg.workflow.tables import table as as_table

_TERMS = {"pair": 2, "bond": 2, "angle": 3, "dihedral": 4}
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
    found = []
    for item in _items(top, "observables"):
        kind, (width, options) = _kind(item, OBSERVABLES)
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
    for item in _items(table, "terms"):
        kind, width = _kind(item, _TERMS)
        options = {"group": text, "start": number, "stop": number, "knot_spacing": number}
        allowed = {
            "pair": ("cutoff", "start", "knot_spacing"),
            "bond": ("group", "start", "stop", "knot_spacing"),
            "angle": ("group", "knot_spacing"),
            "dihedral": ("group", "knot_spacing"),
        }[kind]
        item.check((kind, *allowed, "kernel", "baseline"))
        beads = item.take(kind, lambda value, width=width: _beads(value, width))
        given = {name: item.take(name, {"cutoff": number, **options}[name]) for name in allowed if name in item}
        if kind == "pair":
            item.take("cutoff", number)
        if "baseline" in item:
            given["baseline"] = item.take("baseline", _baseline)
        try:
            term = getattr(potentials, kind.capitalize())(*beads, **given)
        except ValueError as error:
            raise ValueError(f"{item.place()}: {error}") from None
        terms.append(term)
        if "kernel" in item:
            kernels[term.name] = item.take("kernel", text)
    try:
        return Potential(*terms, exclude_bonds=table.take("exclude_bonds", integer, 0)), kernels
    except ValueError as error:
        raise ValueError(f"{table.place()}: {error}") from None


def _kind(item: Table, known: Any) -> tuple[str, Any]:
    """Which kind of thing an item of a list is, by the key that names it."""
    found = [name for name in known if name in item]
    if not found and item:
        item.check([*known, "group", "start", "stop", "knot_spacing", "kernel", "baseline", "cutoff", "bins", "blocks"])
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

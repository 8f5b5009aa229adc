"""Bonds, angles and dihedrals: potentials of beads that the topology lists."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import xarray as xr
from jaxtyping import Int

from bayescg.geometry import descriptors as geometry
from bayescg.geometry.images import minimum_image
from bayescg.potentials.baselines import Baseline
from bayescg.potentials.spline_term import SplineTerm, check_fields, count_intervals
from bayescg.potentials.splines import UniformSpline
from bayescg.potentials.term import Term


@dataclass(frozen=True)
class Bond(SplineTerm):
    """Potential of the distance of bonded beads.

    Attributes:
        a: bead type.
        b: bead type.
        group: tells bonds of equal bead types apart; None takes all of them.
        start: first knot [nm]; None: from the data (`fill_ranges`).
        stop: last knot [nm]; None: from the data.
        knot_spacing: knot spacing [nm].
        baseline: fixed curve below the learned one.
        learn: False for a term that is its baseline only.

    Raises:
        ValueError: if a length is not positive, `start` is outside [0, stop), a bead type is no name, or `learn=False`
            comes without a baseline.
    """

    a: str
    b: str
    group: str | None = None
    start: float | None = None
    stop: float | None = None
    knot_spacing: float = 0.0025
    baseline: Baseline | None = None
    learn: bool = True

    kind: ClassVar[str] = "bond"
    unit: ClassVar[str] = "nm"
    body: ClassVar[int] = 2
    symbol: ClassVar[str] = "r"
    quantity: ClassVar[str] = "bond length"
    cutoff = 0.0  # its beads are listed, not searched

    def __post_init__(self):
        check_fields(self, stop=self.stop, knot_spacing=self.knot_spacing)
        if self.start is not None and not 0 <= self.start < (self.stop or math.inf):
            raise ValueError(f"{self.name}: start must lie in [0, stop); got {self.start} with stop {self.stop}")

    @property
    def types(self):
        return (self.a, self.b)

    @property
    def name(self):
        return _label(self)

    @property
    def spline(self):
        if self.start is None or self.stop is None:
            raise ValueError(
                f"{self.name} has no range yet: give start= and stop= [nm], or call bayescg.fill_ranges(potential, cg)"
            )
        return UniformSpline(self.start, self.stop, count_intervals(self.start, self.stop, self.knot_spacing))

    @property
    def open_fields(self):
        return tuple(field for field in ("start", "stop") if getattr(self, field) is None)

    def fill(self, sample):
        """The same term on a grid around the sampled bond lengths, with half their span as margin."""
        if not self.open_fields:
            return self
        lengths = []
        for frame in sample.frames:
            ends = np.asarray(frame.positions)[frame.tuples[self.name]]
            lengths.append(np.linalg.norm(minimum_image(ends[:, 1] - ends[:, 0], np.asarray(frame.box)), axis=-1))
        lowest, highest, h = float(np.min(lengths)), float(np.max(lengths)), self.knot_spacing
        margin = max(0.5 * (highest - lowest), 4 * h)
        start = self.start if self.start is not None else max(0.0, math.floor((lowest - margin) / h) * h)
        stop = self.stop if self.stop is not None else math.ceil((highest + margin) / h) * h
        return dataclasses.replace(self, start=round(start, 10), stop=round(stop, 10))

    def list_tuples(self, cg):
        return {self.name: bonded_tuples(self, cg, "bonds")}

    def descriptor(self, configuration):
        return geometry.distance(configuration.positions[configuration.tuples[self.name]], configuration.box)

    def volumes(self, edges):
        return np.diff(edges**3)


@dataclass(frozen=True)
class Angle(SplineTerm):
    """Potential of the angle a-b-c of bonded beads; u' = 0 at 0 and pi.

    Attributes:
        a: bead type of one end.
        b: bead type of the middle.
        c: bead type of the other end.
        group: tells angles of equal bead types apart; None takes all of them.
        knot_spacing: knot spacing [rad].
        baseline: fixed curve below the learned one.
        learn: False for a term that is its baseline only.

    Raises:
        ValueError: as `Bond`.
    """

    a: str
    b: str
    c: str
    group: str | None = None
    knot_spacing: float = math.pi / 90
    baseline: Baseline | None = None
    learn: bool = True

    kind: ClassVar[str] = "angle"
    unit: ClassVar[str] = "rad"
    body: ClassVar[int] = 3
    symbol: ClassVar[str] = "θ"
    quantity: ClassVar[str] = "angle"
    cutoff = 0.0  # its beads are listed, not searched

    def __post_init__(self):
        check_fields(self, knot_spacing=self.knot_spacing)

    @property
    def types(self):
        return (self.a, self.b, self.c)

    @property
    def name(self):
        return _label(self)

    @property
    def spline(self):
        return UniformSpline(0.0, math.pi, count_intervals(0.0, math.pi, self.knot_spacing))

    def list_tuples(self, cg):
        return {self.name: bonded_tuples(self, cg, "angles")}

    def descriptor(self, configuration):
        return geometry.angle(configuration.positions[configuration.tuples[self.name]], configuration.box)

    def volumes(self, edges):
        return -np.diff(np.cos(edges))


@dataclass(frozen=True)
class Dihedral(SplineTerm):
    """Periodic potential of the dihedral angle a-b-c-d of bonded beads.

    Attributes:
        a: bead type of one end.
        b: second bead type.
        c: third bead type.
        d: bead type of the other end.
        group: tells dihedrals of equal bead types apart; None takes all of them.
        knot_spacing: knot spacing [rad].
        baseline: fixed curve below the learned one.
        learn: False for a term that is its baseline only.

    Raises:
        ValueError: as `Bond`.
    """

    a: str
    b: str
    c: str
    d: str
    group: str | None = None
    knot_spacing: float = math.pi / 30
    baseline: Baseline | None = None
    learn: bool = True

    kind: ClassVar[str] = "dihedral"
    unit: ClassVar[str] = "rad"
    body: ClassVar[int] = 4
    symbol: ClassVar[str] = "φ"
    quantity: ClassVar[str] = "dihedral angle"
    cutoff = 0.0  # its beads are listed, not searched

    def __post_init__(self):
        check_fields(self, knot_spacing=self.knot_spacing)

    @property
    def types(self):
        return (self.a, self.b, self.c, self.d)

    @property
    def name(self):
        return _label(self)

    @property
    def spline(self):
        return UniformSpline(-math.pi, math.pi, count_intervals(-math.pi, math.pi, self.knot_spacing), periodic=True)

    def list_tuples(self, cg):
        return {self.name: bonded_tuples(self, cg, "dihedrals")}

    def descriptor(self, configuration):
        return geometry.dihedral(configuration.positions[configuration.tuples[self.name]], configuration.box)

    def volumes(self, edges):
        return np.diff(edges)


def bonded_tuples(term: Term, cg: xr.Dataset, table: str) -> Int[np.ndarray, "interaction body"]:
    """The rows of a table of `cg` that have a term's bead types, read in either direction.

    Args:
        term: its bead types, its group if it has one.
        cg: the system.
        table: `bonds`, `angles` or `dihedrals`.

    Raises:
        ValueError: if there is none.
    """
    kind, body = table.removesuffix("s"), len(term.types)
    listed = np.asarray(cg[table].values) if table in cg else np.zeros((0, body), int)
    types = np.asarray(cg["bead_type"].values)[listed].reshape(-1, body)
    wanted = np.asarray(term.types)
    match = np.all(types == wanted, axis=1) | np.all(types == wanted[::-1], axis=1)
    group = getattr(term, "group", None)
    if group is not None:
        match &= np.asarray(cg[f"{kind}_group"].values) == group
    found = listed[match]
    if not len(found):
        where = f" in group {group!r}" if group else ""
        raise ValueError(
            f"{term.name}: the data have no {kind} between {'-'.join(term.types)}{where}; "
            f"bonded interactions come from the mapping's bonds"
        )
    return found.astype(np.int32)


def _label(term: SplineTerm) -> str:
    return f"{term.kind}_{term.group or '-'.join(term.types)}"

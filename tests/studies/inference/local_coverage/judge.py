"""Bands against the truth by range: what is counted, its errors, and the bounds.

Over replicates of one truth, z scatters as the square root of the share s of the variance that is scatter of the data
(`bayescg.inference.linear.draws.data_share`); the rest of the variance is doubt that the prior leaves, the same in
every replicate. Where s is small, rms z is below one and a truth is inside always or never, however right the bars are
over truths as the prior has them. Ranges with a share below a half are therefore judged from below alone, and counted
apart. The share comes from the fits and knows nothing of their success.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

FEW = 100
"""Contacts of a replicate, below which a range has the wider bound."""
COVERED, COVERED_OF_FEW = (0.85, 0.95), (0.80, 0.97)
RMS = (0.85, 1.20)
"""Of z, where contacts are not few."""
DECIDING = 0.5
"""Share of the variance that is scatter of the data, below which the prior decides."""
NORMAL = 1.6448536
"""Half of a 90 % interval, in standard deviations."""


@dataclass
class Pool:
    """Sums over the grid points of each replicate: points, points covered, z, z^2, widths of bands, data shares."""

    sums: list[np.ndarray] = field(default_factory=list)

    def add(self, inside: np.ndarray, z: np.ndarray, width: np.ndarray, share: np.ndarray | float = np.nan) -> None:
        """A replicate; one without points is left out."""
        if z.size:
            rows = (np.ones(z.size), inside.astype(float), z, z**2, width, np.broadcast_to(share, z.shape))
            self.sums.append(np.array([np.sum(row) for row in rows]))


@dataclass(frozen=True)
class Row:
    """A range of a term of a system; `_se` are standard errors by jackknife over replicates.

    Attributes:
        system: name.
        term: name.
        cell: name of the range.
        low: its lower end [nm, rad, or kJ/mol/nm for ranges of force].
        high: its upper end.
        contacts: interactions in it, the mean over replicates.
        replicates: that have sampled it.
        covered: share of 90 % bands that hold the truth.
        rms: of z = (mean - truth) / standard deviation.
        mean: of z.
        width: of the band [kJ/mol/nm or kJ/mol/rad].
        holds: whether it is within the bounds.
        allowed: whether it is within two standard errors of them.
        share: of the variance that is scatter of the data; nan: not known, and taken to be large.
    """

    system: str
    term: str
    cell: str
    low: float
    high: float
    contacts: float
    replicates: int
    covered: float
    covered_se: float
    rms: float
    rms_se: float
    mean: float
    mean_se: float
    width: float
    width_se: float
    holds: bool
    allowed: bool
    share: float = float("nan")

    @property
    def bounds(self) -> list[tuple[str, float, float]]:
        """What is bounded, from where, to where."""
        return bounds_of(self.contacts, self.share)

    @property
    def place(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.system, self.term, self.cell

    def line(self, before: Row | None = None) -> str:
        """One line of the table."""
        verdict = "holds" if self.holds else "within 2 s.e." if self.allowed else "FALLS SHORT"
        beside = ""
        if before is not None:
            ratio = self.width / before.width
            beside = f" | before {before.covered:.3f}, {before.rms:.2f}, {before.mean:+.2f}, width x {ratio:.2f}"
        return (
            f"{self.system:<26} {self.term:<14} {self.cell:<13} {self.low:7.3f} {self.high:7.3f} "
            f"{self.contacts:9.0f} {self.replicates:3d}  {self.covered:.3f} +- {self.covered_se:.3f}  "
            f"{self.rms:.2f} +- {self.rms_se:.2f}  {self.mean:+.2f} +- {self.mean_se:.2f}  "
            f"{self.width:8.3g}  {self.share:5.2f}  {verdict}{beside}"
        )


HEAD = (
    f"{'system':<26} {'term':<14} {'range':<13} {'from':>7} {'to':>7} {'contacts':>9} {'n':>3}  "
    f"{'covered':<14}  {'rms z':<12}  {'mean z':<14} {'width':>8}  share  verdict"
)


def bounds_of(contacts: float, share: float) -> list[tuple[str, float, float]]:
    """Bounds of a range: wide ones for few contacts, lower ones alone for coverage where the prior decides."""
    covered = COVERED_OF_FEW if contacts < FEW else COVERED
    if share < DECIDING:
        return [("covered", covered[0], 1.0), ("rms", 0.0, RMS[1])]
    return [("covered", *covered)] + ([] if contacts < FEW else [("rms", *RMS)])


def judged(place: tuple[str, str, str], ends: tuple[float, float], contacts: float, pool: Pool) -> Row:
    """The row of a range.

    Args:
        place: system, term and range.
        ends: of the range.
        contacts: in it, the mean over replicates.
        pool: bands of all replicates.
    """
    sums = np.array(pool.sums)
    statistics: dict[str, Callable[[np.ndarray], float]] = {
        "covered": lambda s: s[1] / s[0],
        "rms": lambda s: np.sqrt(s[3] / s[0]),
        "mean": lambda s: s[2] / s[0],
        "width": lambda s: s[4] / s[0],
    }
    values = {}
    for name, statistic in statistics.items():
        count, total = len(sums), sums.sum(axis=0)
        without = np.array([statistic(total - one) for one in sums]) if count > 1 else np.full(1, np.nan)
        values[name] = float(statistic(total))
        values[f"{name}_se"] = float(np.sqrt((count - 1) * np.mean((without - without.mean()) ** 2)))
    share = float(sums[:, 5].sum() / sums[:, 0].sum())
    bounds = bounds_of(contacts, share)

    def within(slack: float) -> bool:
        return all(
            low - slack * values[f"{name}_se"] <= values[name] <= high + slack * values[f"{name}_se"]
            for name, low, high in bounds
        )

    return Row(*place, *ends, contacts, len(sums), **values, holds=within(0), allowed=within(2), share=share)


def as_text(row: Row) -> dict[str, str]:
    """The row for a CSV file."""
    found = dataclasses.asdict(row)
    return {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in found.items()}


def from_text(fields: dict[str, str]) -> Row:
    """The row that `as_text` has written."""
    kinds = {each.name: each.type for each in dataclasses.fields(Row)}
    read = {"str": str, "float": float, "int": int, "bool": lambda text: text == "True"}
    return Row(**{name: read[str(kinds[name])](text) for name, text in fields.items()})

"""The systems of the study, and the table: `python -m tests.studies.inference.local_coverage --help`."""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bayescg._runtime import atomic_path
from tests.studies.inference.local_coverage import atomistic, many_body, planted
from tests.studies.inference.local_coverage.judge import DECIDING, HEAD, Row, as_text, from_text
from tests.studies.inference.water_coverage import SHARED
from tests.studies.wanted import wanted

Measure = Callable[[], list[Row]]
BEFORE = Path(__file__).with_name("before.csv")
"""The table before error bars knew the curve that they belong to."""
_WIDER = 1.1
"""How much wider than before intervals may be, on average."""


def all_systems(times: int = 1) -> dict[str, Measure]:
    """Name -> what fits all its replicates and gives the rows of the table.

    Args:
        times: as many replicates of planted systems.
    """
    found: dict[str, Measure] = {}

    def plant(system: planted.Planted, lengths: tuple[int, ...], replicates: int) -> None:
        replicates *= times
        for frames in lengths:
            name = f"{system.name}-{frames}"
            found[name] = partial(system.measure, name, frames, replicates, max(lengths) * replicates)

    for beads in (125, 343):
        plant(planted.lennard_jones(beads), (2, 5), 40)
    plant(planted.chains(), (2, 5), 20)
    plant(planted.gaussian_core(), (2, 5), 100)
    for frames in (2, 10):
        found[f"mw-{frames}"] = partial(many_body.measure, f"mw-{frames}", frames, 20 * times, 200 * times)
    for system in (planted.yukawa(), planted.ramp()):
        plant(system, (2, 5), 40)
    for system in (planted.stiff_bond(), planted.dihedral_chains(), planted.kob_andersen()):
        plant(system, (5,), 20)
    liquids = {"methanol": (atomistic.methanol(), (10, 20)), "trimethylpentane": (atomistic.trimethylpentane(), (10,))}
    liquids["trimethylpentane-of-three"] = atomistic.trimethylpentane_of_three(), (10,)
    if (SHARED / "data" / "spce" / "cg_long.npz").exists():
        liquids["spce"] = atomistic.spce(), (20, 50, 100)
    for name, (liquid, lengths) in liquids.items():
        for frames in lengths:
            found[f"{name}-{frames}"] = partial(liquid.measure, f"{name}-{frames}", frames)
    return found


def main(arguments: list[str] | None = None) -> None:
    """All systems, or those whose names begin as asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies.inference.local_coverage", description=__doc__)
    parser.add_argument("systems", nargs="*", help="names, or how they begin; none: all")
    parser.add_argument("--csv", type=Path, help="file for the table; rows of other systems in it stay")
    parser.add_argument("--beside", type=Path, default=BEFORE, help="a table to be printed beside, widths compared")
    parser.add_argument("--times", type=int, default=1, help="as many replicates of systems of known potential")
    parser.add_argument("--list", action="store_true", help="only print the names")
    # Called from `tests.studies`, the arguments are not ours.
    asked = parser.parse_args([] if arguments is None else arguments)
    systems = all_systems(asked.times)
    names = [name for name in systems if not asked.systems or name.startswith(tuple(asked.systems))]
    if asked.list or not names:
        parser.exit(0 if names else 2, "\n".join(systems) + "\n")
    before = {row.place: row for row in read(asked.beside)}
    rows = []
    print(HEAD, flush=True)
    for name in names:
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Pareto k|R-hat|only")
            new = systems[name]()
        rows += new
        for row in new:
            print(row.line(before.get(row.place)), flush=True)
        print(f"  {name}: {time.perf_counter() - begin:.0f} s", flush=True)
        if asked.csv:
            write(asked.csv, new)
    conclude(rows, before)


def conclude(rows: list[Row], before: dict[tuple[str, str, str], Row]) -> None:
    """Bounds of every range, and of widths beside those of an earlier table."""
    for row in rows:
        for name, low, high in row.bounds:
            error = getattr(row, f"{name}_se")
            wanted(f"{' '.join(row.place)}, {name} (+- {error:.3f})", getattr(row, name), low, high)
    prior = [row.share < DECIDING for row in rows]
    for kind, chosen in (("data decide", [not p for p in prior]), ("the prior decides", prior)):
        some = [row for row, each in zip(rows, chosen, strict=True) if each]
        held, allowed = (sum(getattr(row, name) for row in some) for name in ("holds", "allowed"))
        print(f"where {kind}: {held} of {len(some)} ranges hold, {allowed} within two standard errors", flush=True)
    both = [(row, before[row.place]) for row in rows if row.place in before]
    if both:
        ratio = np.array([new.width / old.width for new, old in both])
        tails = np.array([new.cell == "tail" for new, _ in both])
        wanted("width over the earlier one, mean over ranges", float(ratio.mean()), high=_WIDER)
        if tails.any():
            wanted("the same in tails", float(ratio[tails].mean()), high=1.0)


def read(path: Path) -> list[Row]:
    """A table from its file; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [from_text(fields) for fields in csv.DictReader(file)]


def write(path: Path, rows: list[Row]) -> None:
    """Put rows into a table's file, in place of those of the same systems."""
    new = {row.system for row in rows}
    together = [as_text(row) for row in [*(row for row in read(path) if row.system not in new), *rows]]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(together[0]))
        writer.writeheader()
        writer.writerows(together)

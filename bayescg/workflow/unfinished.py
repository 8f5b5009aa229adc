"""A pass over a long trajectory that has not ended: sums and observables of the frames so far, in a file.

They are those of the first so many chunks of frames, whose borders are frame numbers: a pass that goes on from them
gives the same numbers as one that was never interrupted, whenever that was.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from bayescg._runtime import write_netcdf
from bayescg._version import ORIGIN
from bayescg.inference import ForceStatistics
from bayescg.inference.statistics.files import from_dataset, to_dataset
from bayescg.storage import load

_SECONDS = 60.0
"""At most so much work is lost; what takes less is done again."""
_SHARE = 20
"""Writing takes at most one such part of the time: the sums of many coefficients are large."""


@dataclass(frozen=True)
class Passed:
    """What of a pass is done.

    Attributes:
        frames: that have passed.
        sums: of forces; None: they are not asked for.
        observed: observables so far, a group for each.
        said: warnings so far.
    """

    frames: int
    sums: ForceStatistics | None
    observed: dict[str, xr.Dataset]
    said: list[str]


def read_pass(path: Path, stamps: dict[str, str]) -> Passed | None:
    """Read what an earlier run has done.

    Args:
        path: of the file.
        stamps: fingerprints of what is to be made, by the names of its files.

    Returns:
        What is done, or None: there is no file, it is damaged, or something else was to be made.
    """
    try:
        tree = load(path)
        if not isinstance(tree, xr.DataTree):
            return None
        of = json.loads(tree.attrs["stamps"])
        if tree.attrs["bayescg_version"] != ORIGIN["bayescg_version"] or not stamps.items() <= of.items():
            return None
        groups = tree.children
        sums = from_dataset(groups["sums"].to_dataset(), str(path)) if "sums" in groups else None
        return Passed(int(tree.attrs["frames"]), sums, _flat(groups["observed"]), json.loads(tree.attrs["said"]))
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _flat(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """The groups of the lowest level by their paths."""
    return {node.relative_to(tree): node.to_dataset() for node in tree.leaves if node is not tree}


@dataclass
class Keeper:
    """Writes what is done of a pass, now and then.

    Attributes:
        path: of the file.
        stamps: fingerprints of what is made, by the names of its files.
        wait: from one writing to the next [s].
        last: when it was last written, by the clock that only goes on.
    """

    path: Path
    stamps: dict[str, str]
    wait: float = field(default_factory=lambda: _SECONDS)
    last: float = field(default_factory=time.monotonic)

    @property
    def is_due(self) -> bool:
        """Whether enough work has been done since."""
        return time.monotonic() - self.last >= self.wait

    def write(self, passed: Passed) -> None:
        """Write what is done, atomically, in place of what was there."""
        begin = time.monotonic()
        attrs = {"frames": passed.frames, "stamps": json.dumps(self.stamps), "said": json.dumps(passed.said), **ORIGIN}
        groups = {"/": xr.Dataset(attrs=attrs), "/observed": xr.Dataset()}
        groups |= {f"/observed/{name}": group for name, group in passed.observed.items()}
        if passed.sums is not None:
            groups["/sums"] = to_dataset(passed.sums)
        write_netcdf(xr.DataTree.from_dict(groups), self.path)
        self.last = time.monotonic()
        self.wait = max(self.wait, _SHARE * (self.last - begin)) if self.wait else 0.0

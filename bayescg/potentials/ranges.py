"""What terms leave open, filled in from data: grids of bonds and local densities, inducing points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np
import xarray as xr

from bayescg._runtime import double_precision
from bayescg.potentials.configuration import Configuration
from bayescg.potentials.interactions import Interactions, shapes_of
from bayescg.potentials.potential import Potential
from bayescg.potentials.term import Sample, Term


def fill_ranges(potential: Potential, cg: xr.Dataset) -> Potential:
    """Fill in what the terms of a potential leave open, from what a system has sampled.

    Bonds without a range get knots around the bond lengths of `cg`, local densities up to the highest density,
    `SmoothOverlap` chooses its inducing points, and `Coulomb` takes the charges of the beads. Statistics of several
    trajectories can only be added if they used the same grids: call this once, then use the result for all of them.

    Args:
        potential: the potential.
        cg: a CG dataset, all frames of which are looked at.

    Returns:
        The potential with all ranges; the same one if nothing was open.

    Raises:
        ValueError: if the data do not fit an open term or do not sample it.
    """
    with double_precision():
        filled = [term.fill(_sample(term, potential, cg)) if term.open_fields else term for term in potential.terms]
    return Potential(*filled, exclude_bonds=potential.exclude_bonds)


def _sample(term: Term, potential: Potential, cg: xr.Dataset) -> Sample:
    """A system as one term alone sees it."""
    charges = cg["charge"].values if "charge" in cg.coords else None
    # That a term alone does not hold the charges of its beads says nothing of the potential.
    frames = _Frames(Potential(term, exclude_bonds=potential.exclude_bonds), cg.drop_vars("charge", errors="ignore"))
    return Sample(cg["bead_type"].values.astype(str), frames, charges)


class _Frames(Sequence[Configuration]):
    """Configurations of all frames, each made when it is asked for."""

    def __init__(self, potential: Potential, cg: xr.Dataset):
        self._potential, self._cg, self._shapes = potential, cg, shapes_of(potential, cg)
        self._positions = cg["positions"].values.reshape(-1, cg.sizes["bead"], 3)
        self._boxes = np.broadcast_to(cg["box"].values, (len(self._positions), 3, 3))
        self._sizes: dict[str, int] = {}

    @cached_property
    def _interactions(self) -> Interactions:
        """Not before a frame is asked for: a term that asks for none may have nothing to list yet."""
        return Interactions.of(self._potential, self._cg)

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, k: int) -> Configuration: ...

    @overload
    def __getitem__(self, k: slice) -> list[Configuration]: ...

    def __getitem__(self, k: int | slice) -> Configuration | list[Configuration]:
        if isinstance(k, slice):
            return [self[number] for number in range(*k.indices(len(self)))]
        positions, box = self._positions[k].astype(float), self._boxes[k].astype(float)
        found = self._interactions.configuration(positions, box, sizes=self._sizes)
        return found if self._shapes is None else found._replace(shapes=self._shapes[k])

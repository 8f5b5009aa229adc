"""Whether conditional, ensemble and target of a liquid belong together."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayescg.backmapping.guides.configurations import Beads, bead_values, check_beads
from bayescg.backmapping.guides.guide import Conditional
from bayescg.backmapping.liquid.neighbors import whole

_STRANGE = 50.0
"""Own energy [kT per atom] of a draw of the guide by which it is told that atoms are in another order."""


def is_liquid(conditional: Conditional, ensemble: xr.Dataset) -> bool:
    """Whether the ensemble has several molecules of the conditional's kind."""
    beads = (
        ensemble["positions"].sizes.get("bead", 0)
        if isinstance(ensemble, xr.Dataset) and "positions" in ensemble
        else 0
    )
    each = conditional.fibre.n_beads
    return beads > each and beads % each == 0


def liquid_beads(ensemble: xr.Dataset, conditional: Conditional) -> Beads:
    """Positions of the beads, each molecule whole, if atoms can belong to them.

    Args:
        ensemble: as for `bead_positions`, with a multiple of the conditional's beads.
        conditional: of one molecule.

    Raises:
        ValueError: as `bead_positions`, for the molecules of each frame.
    """
    beads, each = ensemble.sizes["bead"], conditional.fibre.n_beads
    plain = bead_values(ensemble, beads)
    box = ensemble["box"].values.astype(float).reshape(-1, 3, 3) if "box" in ensemble else None
    values = plain.positions.copy()
    for draw, frame in np.ndindex(values.shape[:2]):
        molecules = values[draw, frame].reshape(-1, each, 3)
        # Programs wrap beads into the box one by one.
        molecules = whole(molecules, None if box is None else box[frame % len(box)])
        try:
            check_beads(molecules[None], conditional, periodic=False)
        except ValueError as error:
            raise ValueError(f"frame {frame} of the liquid (molecules are counted as frames): {error}") from error
        values[draw, frame] = molecules.reshape(beads, 3)
    return Beads(values, plain.draws)


def check_molecules(ensemble: xr.Dataset, molecules: int) -> None:
    """Refuse beads whose molecules are not those that the conditional's map would make."""
    if "molecule" not in ensemble.coords:
        return
    number = np.asarray(ensemble["molecule"].values)
    each = number.reshape(molecules, -1)
    if np.any(each != each[:, :1]) or len(np.unique(each[:, 0])) < molecules:
        count = len(np.unique(number))
        raise ValueError(
            f"the ensemble's {len(number)} beads are of {count} molecules, but the map of the conditional would make "
            f"{molecules} of {each.shape[1]} beads that follow each other: they do not belong together"
        )


def check_box(ensemble: xr.Dataset, box: np.ndarray | None) -> None:
    """Refuse an ensemble in another box than the target's [nm]."""
    if box is None:
        raise ValueError(
            "the target is not periodic: a liquid's System needs box vectors and nonbondedMethod=CutoffPeriodic"
        )
    if "box" not in ensemble:
        return
    given = np.asarray(ensemble["box"].values, float).reshape(-1, 3, 3)
    far = np.abs(given - box).max(axis=(1, 2))
    if far.max() > 1e-4 * np.diag(box).min():
        frame = int(far.argmax())
        raise ValueError(
            f"the box of frame {frame} is {np.diag(given[frame]).round(4).tolist()} nm and the target's is "
            f"{np.diag(box).round(4).tolist()} nm: make the target with the ensemble's box "
            "(system.setDefaultPeriodicBoxVectors), one for each box"
        )


def check_order(own: np.ndarray, atoms: int) -> None:
    """Refuse draws of the guide whose own energies [kT] tell that atoms are in another order."""
    typical = float(np.mean(own)) / atoms
    if not typical < _STRANGE:
        raise ValueError(
            f"placed molecules have an energy of {typical:.3g} kT per atom: the target's atoms are in another order "
            "than the conditional's, or of another molecule; make both from the same topology"
        )

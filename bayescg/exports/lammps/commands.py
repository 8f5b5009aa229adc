"""LAMMPS: the commands that use the files of a potential."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bayescg.exports.lammps.names import keyword, symbols_of
from bayescg.exports.lammps.style import KINDS
from bayescg.exports.lammps.tables import Tables, stays
from bayescg.exports.tables.curves import terms_of
from bayescg.potentials import Potential


def interaction_commands(
    potential: Potential, tables: Tables, bead_types: Sequence[str], *, other_bonds: bool = False, relative: bool = True
) -> list[str]:
    """The LAMMPS commands that switch the potential on, after the box is defined.

    Args:
        potential: the potential.
        tables: from `write_tables`.
        bead_types: names of the atom types 1, 2, ...; those that no term names do not interact.
        other_bonds: whether the system has bonds that no term describes (the last bond type; see `write_data_file`).
        relative: name table files without their folder, for a script that runs beside them.

    Returns:
        The commands, one line each.
    """

    def file(kind: str) -> str:
        path = tables.paths[kind]
        text = path.name if relative else str(path.resolve())
        return f'"{text}"' if re.search(r"[^\w./\\:+-]", text) else text

    excluded = " ".join("0.0" if separation <= potential.exclude_bonds else "1.0" for separation in (1, 2, 3))
    commands = [f"special_bonds lj/coul {excluded}", *_pair_commands(potential, tables, bead_types, file)]
    for kind in KINDS[1:]:
        listed = terms_of(potential, kind)
        none = kind == "bond" and other_bonds
        # A dihedral table leaves out its last entry, which is the first again.
        count = tables.points.get(kind, 0) - (kind == "dihedral")
        style = f"table linear {count}"
        if listed:
            commands.append(f"{kind}_style hybrid {style} zero" if none else f"{kind}_style {style}")
        elif none:
            commands.append(f"{kind}_style zero")
        for number, term in enumerate(listed, 1):
            named = "table " if none else ""
            commands.append(f"{kind}_coeff {number} {named}{file(kind)} {keyword(term.name)}")
        if none:
            commands.append(f"{kind}_coeff {len(listed) + 1}{' zero' if listed else ''}")
    return commands


def _pair_commands(potential, tables, bead_types, file) -> list[str]:
    kept = [term for term in terms_of(potential, "pair") if stays(term, tables.splines)]
    listed = {tuple(sorted(term.types)): term for term in kept}
    elements = " ".join(symbols_of(bead_types))
    # Styles for all atom types at once, on top of the tables.
    over = [(style.pair_style, style.pair_coeff(file(style.file), elements)) for style in tables.overlays]
    after = [line for style in tables.overlays for line in style.settings(file(style.file))]
    if not listed and not over:
        # LAMMPS needs some pair style, and its cutoff is how far ghost beads of bonds are kept.
        return ["pair_style zero 10.0", "pair_coeff * *"]
    couples = [(i, j) for i in range(len(bead_types)) for j in range(i, len(bead_types))]
    complete = all(tuple(sorted((bead_types[i], bead_types[j]))) in listed for i, j in couples)
    styles = [f"table linear {tables.points['pair']}"] if listed else []
    styles += [style for style, _ in over]
    several = len(styles) > 1
    alone = not several and (complete or not listed) and all(use is not None for _, use in over)
    commands = [f"pair_style {'' if alone else 'hybrid/overlay ' if over else 'hybrid '}{' '.join(styles)}"]
    for i, j in couples:
        term = listed.get(tuple(sorted((bead_types[i], bead_types[j]))))
        if term is not None:
            named = "" if alone else "table "
            commands.append(f"pair_coeff {i + 1} {j + 1} {named}{file('pair')} {keyword(term.name)}")
        elif not over:
            commands.append(f"pair_coeff {i + 1} {j + 1} none")
    for _, use in over:
        if use is not None:
            commands.append(f"pair_coeff * * {use.split(' ', 1)[1] if alone else use}")
    return commands + after

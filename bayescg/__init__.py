"""bayescg: coarse-grained molecular models as Bayesian posteriors.

    import MDAnalysis as mda, jax, bayescg as bcg

    universe = mda.Universe("topol.tpr", "traj.trr")
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=300.0)
    potential = bcg.Potential(bcg.Pair("W", "W", cutoff=0.9))
    posterior = bcg.force_match(potential, cg, key=jax.random.key(0))
    ensemble = bcg.simulate(posterior, cg.isel(frame=-1), draws=16, time=20.0, key=jax.random.key(1))
    rdf = bcg.observables.rdf(ensemble, "W", "W", cutoff=0.9)
    bcg.observables.summarize(rdf)

Names are imported when first used, so that `import bayescg` and `bayescg --help` are quick.
"""

import importlib
from typing import TYPE_CHECKING

from bayescg._version import __version__ as __version__

if TYPE_CHECKING:
    from bayescg import atomistic as atomistic
    from bayescg import backmapping as backmapping
    from bayescg import data as data
    from bayescg import generative as generative
    from bayescg import observables as observables
    from bayescg import plots as plots
    from bayescg import posterior as posterior
    from bayescg import surrogates as surrogates
    from bayescg import transfer as transfer
    from bayescg.data import Mapping as Mapping
    from bayescg.data import coarse_grain as coarse_grain
    from bayescg.data import datasets as datasets
    from bayescg.data import from_arrays as from_arrays
    from bayescg.data import stream as stream
    from bayescg.exports import export as export
    from bayescg.inference import ForceStatistics as ForceStatistics
    from bayescg.inference import Pilot as Pilot
    from bayescg.inference import Refinement as Refinement
    from bayescg.inference import Sampling as Sampling
    from bayescg.inference import boltzmann_inversion as boltzmann_inversion
    from bayescg.inference import compare as compare
    from bayescg.inference import coverage as coverage
    from bayescg.inference import distributed_statistics as distributed_statistics
    from bayescg.inference import fit_pilot as fit_pilot
    from bayescg.inference import force_match as force_match
    from bayescg.inference import force_statistics as force_statistics
    from bayescg.inference import noise_ceiling as noise_ceiling
    from bayescg.inference import relative_entropy as relative_entropy
    from bayescg.inference import structure_match as structure_match
    from bayescg.observables import propagate as propagate
    from bayescg.potentials import WCA as WCA
    from bayescg.potentials import Angle as Angle
    from bayescg.potentials import Bond as Bond
    from bayescg.potentials import Coulomb as Coulomb
    from bayescg.potentials import Dihedral as Dihedral
    from bayescg.potentials import Harmonic as Harmonic
    from bayescg.potentials import LennardJones as LennardJones
    from bayescg.potentials import LocalDensity as LocalDensity
    from bayescg.potentials import Pair as Pair
    from bayescg.potentials import Potential as Potential
    from bayescg.potentials import SmoothOverlap as SmoothOverlap
    from bayescg.potentials import ThreeBody as ThreeBody
    from bayescg.potentials import fill_ranges as fill_ranges
    from bayescg.potentials import freeze as freeze
    from bayescg.potentials import table as table
    from bayescg.simulation import Langevin as Langevin
    from bayescg.simulation import simulate as simulate
    from bayescg.storage import load as load
    from bayescg.storage import save as save

_HOME = {
    "data": ("Mapping", "coarse_grain", "datasets", "from_arrays", "stream"),
    "potentials": (
        *("WCA", "Angle", "Bond", "Coulomb", "Dihedral", "Harmonic", "LennardJones", "LocalDensity", "Pair"),
        *("Potential", "SmoothOverlap", "ThreeBody", "fill_ranges", "freeze", "table"),
    ),
    "inference": (
        *("ForceStatistics", "Pilot", "Refinement", "Sampling", "boltzmann_inversion", "compare", "coverage"),
        *("distributed_statistics", "fit_pilot", "force_match", "force_statistics", "noise_ceiling"),
        *("relative_entropy", "structure_match"),
    ),
    "observables": ("propagate",),
    "simulation": ("Langevin", "simulate"),
    "exports": ("export",),
    "storage": ("load", "save"),
}
_ROOMS = (
    *("atomistic", "backmapping", "data", "exports", "generative", "inference", "kernels", "observables", "plots"),
    *("posterior", "potentials", "report", "samplers", "simulation", "storage", "surrogates", "transfer", "workflow"),
)

__all__ = [
    "WCA",
    "Angle",
    "Bond",
    "Coulomb",
    "Dihedral",
    "ForceStatistics",
    "Harmonic",
    "Langevin",
    "LennardJones",
    "LocalDensity",
    "Mapping",
    "Pair",
    "Pilot",
    "Potential",
    "Refinement",
    "Sampling",
    "SmoothOverlap",
    "ThreeBody",
    "__version__",
    "atomistic",
    "backmapping",
    "boltzmann_inversion",
    "coarse_grain",
    "compare",
    "coverage",
    "data",
    "datasets",
    "distributed_statistics",
    "export",
    "fill_ranges",
    "fit_pilot",
    "force_match",
    "force_statistics",
    "freeze",
    "from_arrays",
    "generative",
    "load",
    "noise_ceiling",
    "observables",
    "plots",
    "posterior",
    "propagate",
    "relative_entropy",
    "save",
    "simulate",
    "stream",
    "structure_match",
    "surrogates",
    "table",
    "transfer",
]


def __getattr__(name: str):
    if name in _ROOMS:
        return importlib.import_module(f"bayescg.{name}")
    for room, names in _HOME.items():
        if name in names:
            value = getattr(importlib.import_module(f"bayescg.{room}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'bayescg' has no attribute {name!r}")


def __dir__():
    return __all__

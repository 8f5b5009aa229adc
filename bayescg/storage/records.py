"""Results that are no xarray objects, as records."""

from __future__ import annotations

import os
from pathlib import Path

from bayescg._records import read_record, record_kind, write_record
from bayescg.backmapping import files as backmapping_files
from bayescg.backmapping.guides.guide import Conditional
from bayescg.generative.model import files as model_files
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.particles import files as particle_files
from bayescg.generative.particles.smc import Particles
from bayescg.inference.statistics.asked import Pilot
from bayescg.potentials import Potential

_PILOT, _POTENTIAL = "pilot", "potential"
_FORMAT = 1


def write(result: object, path: str | os.PathLike[str]) -> Path:
    """Write a result, atomically.

    Raises:
        ValueError: if it is no result of bayescg.
    """
    match result:
        case LatentModel():
            return model_files.write_model(result, path)
        case Particles():
            return particle_files.write_particles(result, path)
        case Conditional():
            return backmapping_files.write_conditional(result, path)
        case Pilot():
            content = {name: getattr(result, name) for name in ("coefficients", "radius", "folds")}
            return write_record(path, _PILOT, _FORMAT, {**content, "potential": result.potential.to_json()})
        case Potential():
            return write_record(path, _POTENTIAL, _FORMAT, result.to_json())
    raise ValueError(f"a {type(result).__name__} is no result of bayescg: tables and arrays have writers of their own")


def read(path: str | os.PathLike[str]):
    """Read a result.

    Raises:
        ValueError: if the file is damaged, of a kind that this version does not know, or of another layout.
    """
    kind = record_kind(path)
    match kind:
        case model_files.KIND:
            return model_files.read_model(path)
        case particle_files.KIND:
            return particle_files.read_particles(path)
        case backmapping_files.KIND:
            return backmapping_files.read_conditional(path)
        case "pilot":
            content = read_record(path, _PILOT, _FORMAT)
            return Pilot(**{**content, "potential": Potential.from_json(content["potential"])})
        case "potential":
            return Potential.from_json(read_record(path, _POTENTIAL, _FORMAT))
    raise ValueError(f"{path} holds a {kind!r}, which this version of bayescg does not know")

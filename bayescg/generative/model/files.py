"""Latent models in files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from bayescg._records import read_record, write_record
from bayescg.generative.model.latent_model import LatentModel, build_model
from bayescg.generative.model.whitening import Whitening

KIND = "latent model"
_FORMAT = 4


def write_model(model: LatentModel, path: str | os.PathLike[str]) -> Path:
    """Write a model, atomically: its weights, and what its networks are rebuilt from."""
    content = {
        "settings": model.settings,
        "report": model.report,
        "periodic": model.whitening.periodic,
        "symmetry": model.whitening.symmetry,
        "weights": jax.tree.leaves(eqx.filter(model, eqx.is_array)),
    }
    return write_record(path, KIND, _FORMAT, content)


def read_model(path: str | os.PathLike[str]) -> LatentModel:
    """Read a model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is none, damaged, or of another version.
    """
    content = read_record(path, KIND, _FORMAT)
    n = len(content["periodic"])
    whitening = Whitening.of(np.zeros(n), np.eye(n), content["periodic"], content["symmetry"])
    model = build_model(whitening, **json.loads(content["settings"]), key=jax.random.key(0))
    arrays, rest = eqx.partition(model, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    if [leaf.shape for leaf in leaves] != [weight.shape for weight in content["weights"]]:
        raise ValueError(f"{path} is damaged: its weights do not fit its networks")
    weights = jax.tree.unflatten(structure, [jnp.asarray(weight) for weight in content["weights"]])
    return eqx.combine(weights, rest).with_report(json.loads(content["report"]))

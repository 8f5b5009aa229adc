"""Finished stages of `discover` in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from bayescg._records import read_record, write_record
from bayescg._runtime import atomic_path
from bayescg.generative.model.files import read_model, write_model
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.particles.smc import Particles

_PARTICLES, _FORMAT = "explored", 1


class Checkpoint:
    """A folder that keeps finished stages; without a folder nothing is kept."""

    def __init__(self, folder: str | os.PathLike[str] | None, arguments: dict):
        """Open or make the folder.

        Args:
            folder: where; None for nowhere.
            arguments: of the call, which must be the same when it goes on.

        Raises:
            ValueError: if the folder belongs to a call with other arguments.
        """
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        head = self.folder / "arguments.json"
        text = json.dumps(arguments, indent=1)
        if head.exists() and head.read_text() != text:
            raise ValueError(
                f"{self.folder} holds a run with other arguments ({head.read_text()}); give another folder"
            )
        with atomic_path(head) as temporary:
            temporary.write_text(text)

    def model(self, name: str) -> LatentModel | None:
        """A kept model, or None."""
        path = self._path(f"{name}.npz")
        return None if path is None or not path.exists() else read_model(path)

    def keep(self, name: str, model: LatentModel) -> LatentModel:
        """Keep a model; returns it."""
        path = self._path(f"{name}.npz")
        if path is not None:
            write_model(model, path)
        return model

    def particles(self) -> tuple[Particles, np.ndarray] | None:
        """Kept particles and samples, or None."""
        path = self._path("particles.npz")
        if path is None or not path.exists():
            return None
        return read_record(path, _PARTICLES, _FORMAT, classes=(Particles,))

    def keep_particles(self, particles: Particles, samples: np.ndarray) -> None:
        """Keep particles and the samples that they led to."""
        path = self._path("particles.npz")
        if path is not None:
            write_record(path, _PARTICLES, _FORMAT, (particles, samples))

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / name

"""What every step of `run` says of itself."""

from __future__ import annotations

import contextlib
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
from jaxtyping import Array

from bayescg.workflow import folder
from bayescg.workflow.schema.choices import StepName
from bayescg.workflow.schema.config import Config
from bayescg.workflow.stamps import Product, Record


@dataclass(frozen=True)
class Step(ABC):
    """One step: it reads products of steps before it and writes its own.

    Attributes:
        config: the settings.
    """

    config: Config

    name: ClassVar[StepName]

    @property
    @abstractmethod
    def reads(self) -> tuple[Product, ...]:
        """Products of other steps."""

    @property
    @abstractmethod
    def writes(self) -> tuple[Product, ...]:
        """Its own products; it is done when all are current."""

    @abstractmethod
    def act(self, wanted: tuple[Product, ...], record: Record) -> None:
        """Make products.

        Args:
            wanted: which of its own.
            record: what is kept of warnings and time beside the results.
        """

    @property
    def unfinished(self) -> Path:
        """Folder for what is done of it, which a run goes on from that comes after an interrupt or a crash."""
        return self.config.output / folder.UNFINISHED / self.name

    def forget(self) -> None:
        """Drop that folder."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.unfinished.parent.rmdir()

    def product(self, name: str, stamp: str) -> Product:
        """A file of the output folder."""
        return Product(self.config.output / name, stamp)

    def key(self, number: int) -> Array:
        """A random key of the configuration's seed."""
        return jax.random.fold_in(jax.random.key(self.config.settings.seed), number)

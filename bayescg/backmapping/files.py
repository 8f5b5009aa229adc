"""Conditionals in files."""

from __future__ import annotations

import os
from pathlib import Path

import gpjax
import jax

from bayescg._records import Codec, read_record, write_record
from bayescg.atomistic.internal_coordinates import InternalCoordinates
from bayescg.atomistic.zmatrix import ZMatrix
from bayescg.backmapping.conditional.classes import Classifier
from bayescg.backmapping.conditional.coordinates import AnchoredCoordinates, Column
from bayescg.backmapping.conditional.descriptors import Descriptors
from bayescg.backmapping.conditional.features import Features
from bayescg.backmapping.conditional.gaussian_process import GaussianProcessConditional, unit_kernel
from bayescg.backmapping.conditional.model import CoordinateModel, Mixture, Single
from bayescg.backmapping.conditional.placement import PlacedCoordinates
from bayescg.backmapping.conditional.regression import Regression
from bayescg.backmapping.conditional.zmatrix import AnchoredZMatrix
from bayescg.backmapping.guides.fibre import Fibre
from bayescg.backmapping.guides.guide import Conditional, GaussianConditional

KIND = "conditional"
_FORMAT = 1
_CLASSES = (
    *(GaussianProcessConditional, GaussianConditional, Fibre, Descriptors, CoordinateModel, Mixture, Single),
    *(AnchoredCoordinates, AnchoredZMatrix, PlacedCoordinates, InternalCoordinates, ZMatrix, Column),
    *(Features, Regression, Classifier),
)


def write_conditional(conditional: Conditional, path: str | os.PathLike[str]) -> Path:
    """Write a conditional of this room, atomically.

    Raises:
        ValueError: if it is of a class of your own.
    """
    if not isinstance(conditional, GaussianProcessConditional | GaussianConditional):
        raise ValueError(f"a {type(conditional).__name__} cannot be kept: only conditionals of bayescg.backmapping can")
    return write_record(path, KIND, _FORMAT, conditional, codec=_KERNELS)


def read_conditional(path: str | os.PathLike[str]) -> Conditional:
    """Read a conditional.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is none, damaged, or of another version.
    """
    return read_record(path, KIND, _FORMAT, classes=_CLASSES, codec=_KERNELS)


def _encode_kernel(kernel: gpjax.kernels.AbstractKernel) -> tuple[str, list]:
    return type(kernel).__name__, jax.tree.leaves(kernel)


def _decode_kernel(content: tuple[str, list]) -> gpjax.kernels.AbstractKernel:
    name, leaves = content
    return jax.tree.unflatten(jax.tree.structure(unit_kernel(name)), leaves)


_KERNELS = Codec(gpjax.kernels.AbstractKernel, _encode_kernel, _decode_kernel)

"""Results of a kind that the reader expects, for files that a user names."""

from __future__ import annotations

import os

import xarray as xr

from bayescg import posterior as posteriors
from bayescg.data import validate
from bayescg.inference.statistics.force_statistics import ForceStatistics
from bayescg.storage import load


def load_posterior(path: str | os.PathLike[str]) -> xr.DataTree:
    """The posterior of a potential.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else, or is damaged.
    """
    found = load(path)
    posteriors.check(found, str(path))
    assert isinstance(found, xr.DataTree)
    return found


def load_trajectory(path: str | os.PathLike[str]) -> xr.Dataset:
    """A coarse-grained trajectory, or an ensemble.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else, or is damaged.
    """
    found = load(path)
    if not isinstance(found, xr.Dataset):
        raise ValueError(f"{path} holds a {type(found).__name__}, no coarse-grained dataset")
    try:
        validate(found)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def load_statistics(path: str | os.PathLike[str]) -> ForceStatistics:
    """Sums of forces.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else, or is damaged.
    """
    found = load(path)
    if not isinstance(found, ForceStatistics):
        raise ValueError(f"{path} holds no force statistics, but a {type(found).__name__}")
    return found

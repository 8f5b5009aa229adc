"""Frames are made once and kept in `$XDG_CACHE_HOME/bayescg-studies`; they may be deleted at any time."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

import bayescg as bcg
from bayescg._programs import cache_folder


def kept(name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
    """Frames from a file, or made and written to it.

    Args:
        name: of the file, without its ending: it must tell apart all that `make` depends on.
        make: makes the frames.
    """
    path = cache_folder("bayescg-studies") / f"{name}.nc"
    if not path.exists():
        print(f"making {name}", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        bcg.save(make(), path)
    found = bcg.load(path)
    assert isinstance(found, xr.Dataset)
    return found

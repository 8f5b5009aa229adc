"""What a report is about: the results of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from bayescg.observables import zscore


@dataclass(frozen=True, eq=False)
class Compared:
    """One observable of the ensemble beside that of the atomistic data.

    Attributes:
        kind: name of the observable.
        label: what tells it from others of its kind: beads, cutoff.
        predicted: summary of the ensemble.
        atomistic: summary of the mapped atomistic data, if there are any.
    """

    kind: str
    label: str
    predicted: xr.Dataset
    atomistic: xr.Dataset | None

    @property
    def title(self) -> str:
        """In words."""
        return str(self.predicted["mean"].attrs.get("long_name", f"{self.kind} {self.label}"))

    @property
    def mean_abs_z(self) -> float:
        """Mean of |z| over bins, z the difference in combined standard deviations; nan without a reference."""
        if self.atomistic is None:
            return float("nan")
        scores = np.abs(zscore(self.predicted, self.atomistic).values)
        return float(np.nanmean(scores)) if np.any(np.isfinite(scores)) else float("nan")

    @property
    def unit(self) -> str:
        """Of `difference`: that of the observable times that of its axis; empty for pure numbers."""
        mean = self.predicted["mean"]
        units = [mean.attrs.get("units"), *(mean[name].attrs.get("units") for name in mean.dims)]
        named = [str(unit) for unit in units if unit not in (None, "", "1")]
        # A density per unit of its axis integrates to a pure number.
        return "" if len(named) == 2 and named[0] == f"1/{named[1]}" else " ".join(named)

    @property
    def difference(self) -> float:
        """Integral of |predicted - atomistic| over the axis, in its units; the absolute difference of a number."""
        if self.atomistic is None:
            return float("nan")
        first, second = xr.align(self.predicted["mean"], self.atomistic["mean"], join="inner")
        apart = abs(first - second)
        return float(apart) if not apart.dims else float(apart.fillna(0).integrate(str(apart.dims[0])))


@dataclass(frozen=True, eq=False)
class Results:
    """What a run has produced so far; parts that are missing are None or empty.

    Attributes:
        posterior: of the coefficients.
        ensemble: diagnostics of the simulations, without positions.
        observables: beside the atomistic data.
        exports: files by format.
        config: the YAML.
        warnings: by step, what was said on the way.
        seconds: by step, the time that it took.
        beads: number of beads of each type.
        each: of a run with several potentials the results of each, by name; all else but `config` is empty then.
    """

    posterior: xr.DataTree | None = None
    ensemble: xr.Dataset | None = None
    observables: tuple[Compared, ...] = ()
    exports: dict[str, list[str]] = field(default_factory=dict)
    config: str = ""
    warnings: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    beads: dict[str, int] = field(default_factory=dict)
    each: dict[str, Results] = field(default_factory=dict)

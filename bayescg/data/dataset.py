"""The coarse-grained trajectory: an `xarray.Dataset` with one layout, whatever it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from bayescg._version import ORIGIN
from bayescg.data.mapping.topology import Topology
from bayescg.data.plausibility import check_force_magnitude
from bayescg.geometry.images import shortest_height

UNITS = "nm ps kJ/mol Da K e"
_VECTOR = ("frame", "bead", "xyz")


def from_arrays(
    positions: ArrayLike,
    box: ArrayLike,
    bead_type: ArrayLike,
    *,
    temperature: float,
    forces: ArrayLike | None = None,
    mass: ArrayLike | None = None,
    topology: Topology | None = None,
    time: ArrayLike | None = None,
) -> xr.Dataset:
    """A coarse-grained dataset straight from arrays.

    Args:
        positions: (frame, bead, 3) or (bead, 3) [nm].
        box: edge lengths (3,) or (frame, 3), or lattice vectors in rows (3, 3) or (frame, 3, 3), lower triangular
            [nm]. With three frames, (3, 3) is read as lattice vectors of one constant box.
        bead_type: (bead,) names of the types, or one name for all beads.
        temperature: of the simulation [K].
        forces: like `positions` [kJ/mol/nm]; None for a trajectory without forces.
        mass: (bead,) [Da]; 1 Da for every bead if None.
        topology: molecules and bonded interactions; every bead is a molecule of its own if None.
        time: (frame,) [ps]; the frame number if None.

    Returns:
        The dataset: `positions`, `forces` (frame, bead, xyz), `box` (frame, vector, xyz), `bonds`, `angles`,
        `dihedrals` and the coordinates `bead_type`, `molecule`, `mass`, `charge`, `time`.

    Raises:
        ValueError: for shapes that do not match, values that are not finite, an empty trajectory, a box without
            volume, a temperature that is missing or not positive, or force magnitudes in which another unit is
            recognized. Forces that are meant to be unusual can be given by `with_forces(dataset, forces, check=False)`.
    """
    points = _frames(positions, "positions")
    n_frames, n_beads = points.shape[:2]
    types = np.full(n_beads, bead_type) if isinstance(bead_type, str) else np.asarray(bead_type, dtype=str)
    if types.shape != (n_beads,):
        raise ValueError(f"bead_type has shape {types.shape}: give one name for each of the {n_beads} beads")
    masses = np.ones(n_beads) if mass is None else np.asarray(mass, dtype=np.float64)
    times = np.arange(n_frames, dtype=np.float64) if time is None else np.asarray(time, dtype=np.float64)
    for name, array, length in (("mass", masses, n_beads), ("time", times, n_frames)):
        if array.shape != (length,):
            raise ValueError(f"{name} has shape {array.shape}: give {length} values")
    if topology is not None and len(topology.molecule) != n_beads:
        raise ValueError(f"the topology is of {len(topology.molecule)} beads, but positions hold {n_beads}")
    dataset = assemble(
        {"positions": points, "box": _lattices(box, n_frames)},
        bead_type=types,
        mass=masses,
        charge=np.zeros(n_beads),
        topology=topology or Topology.from_bonds(n_beads, ()),
        time=times,
        attrs={"temperature": temperature, "source": "arrays-" + fingerprint(points[0], points[-1])},
    )
    validate(dataset)
    return dataset if forces is None else with_forces(dataset, forces)


def with_forces(dataset: xr.Dataset, forces: ArrayLike, *, check: bool = True) -> xr.Dataset:
    """The dataset with these forces.

    Args:
        dataset: a coarse-grained dataset.
        forces: (frame, bead, 3) [kJ/mol/nm].
        check: refuse magnitudes in which another unit is recognized; switch it off for toy systems.

    Returns:
        A new dataset; the old one is unchanged.

    Raises:
        ValueError: for another shape, values that are not finite, or implausible magnitudes.
    """
    values = _frames(forces, "forces")
    if values.shape != dataset["positions"].shape:
        raise ValueError(f"forces have shape {values.shape} but positions {dataset['positions'].shape}")
    _require_finite("forces", values)
    result = dataset.assign(forces=(_VECTOR, values, {"units": "kJ/mol/nm"}))
    if check:
        check_force_magnitude(result)
    return result


def assemble(
    arrays: Mapping[str, NDArray],
    *,
    bead_type: NDArray,
    mass: NDArray,
    charge: NDArray,
    topology: Topology,
    time: NDArray,
    attrs: Mapping[str, object],
    frame: NDArray | None = None,
) -> xr.Dataset:
    """Put arrays into the layout of a coarse-grained dataset, unchecked (see `validate`).

    Args:
        arrays: `positions`, `box` and optionally `forces`, `velocities`, in the shapes of the layout.
        bead_type: (bead,) names of the types.
        mass: (bead,) [Da].
        charge: (bead,) [e].
        topology: molecules and bonded interactions.
        time: (frame,) [ps].
        attrs: `temperature`, `source` and what else is known of the origin.
        frame: (frame,) absolute frame numbers in the source; counted from 0 if None.

    Returns:
        The dataset.
    """
    units = {"positions": "nm", "forces": "kJ/mol/nm", "velocities": "nm/ps"}
    data: dict[str, object] = {
        name: (_VECTOR, arrays[name], {"units": unit}) for name, unit in units.items() if name in arrays
    }
    data["box"] = (("frame", "vector", "xyz"), arrays["box"], {"units": "nm"})
    coords: dict[str, object] = {
        "frame": np.arange(len(time), dtype=np.int64) if frame is None else np.asarray(frame, dtype=np.int64),
        "xyz": ["x", "y", "z"],
        "bead_type": ("bead", np.asarray(bead_type, dtype=str)),
        "molecule": ("bead", topology.molecule),
        "mass": ("bead", mass, {"units": "Da"}),
        "charge": ("bead", charge, {"units": "e"}),
        "time": ("frame", time, {"units": "ps"}),
    }
    for name in ("bond", "angle", "dihedral"):
        data[f"{name}s"] = ((name, f"{name}_bead"), getattr(topology, f"{name}s"))
        coords[f"{name}_group"] = (name, getattr(topology, f"{name}_groups"))
    return xr.Dataset(data, coords, {"units": UNITS, **ORIGIN, **attrs})


def joined(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Chunks that follow each other in time, as one dataset.

    Args:
        parts: at least one, with `frame`.
    """
    if len(parts) == 1:
        return parts[0]
    return xr.concat(parts, "frame", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")


def topology_of(dataset: xr.Dataset) -> Topology:
    """The molecules and bonded interactions that a dataset holds.

    Args:
        dataset: a coarse-grained dataset.

    Returns:
        The topology.

    Raises:
        ValueError: as `Topology`.
    """
    parts = {f"{name}s": dataset[f"{name}s"].values for name in ("bond", "angle", "dihedral")}
    groups = {f"{name}_groups": dataset[f"{name}_group"].values for name in ("bond", "angle", "dihedral")}
    return Topology(molecule=dataset["molecule"].values, **parts, **groups)


def validate(dataset: xr.Dataset) -> None:
    """Check the layout and the values of a coarse-grained dataset (not its force magnitudes).

    Args:
        dataset: any dataset.

    Raises:
        ValueError: naming what is missing, what does not match, or what is not finite, and the remedy.
    """
    missing = [n for n in ("positions", "box", "bonds", "bead_type", "mass", "time") if n not in dataset.variables]
    if missing:
        raise ValueError(
            f"not a coarse-grained dataset: {', '.join(missing)} missing; make one with coarse_grain or from_arrays"
        )
    check_temperature(dataset.attrs.get("temperature"))
    if dataset["positions"].dims[-3:] != _VECTOR:
        raise ValueError(f"positions have dims {dataset['positions'].dims}: expected (frame, bead, xyz)")
    if 0 in dataset["positions"].shape:
        raise ValueError(f"an empty trajectory: positions have shape {dataset['positions'].shape}")
    for name in ("positions", "forces", "velocities", "box", "time", "charge"):
        if name in dataset.variables:
            _require_finite(name, dataset[name].values)
    mass = dataset["mass"].values
    if not np.all(np.isfinite(mass)) or np.any(mass <= 0):
        raise ValueError(f"bead masses must be positive, but one is {mass.min():g} Da: give mass for every bead")
    check_box(dataset["box"].values)


def check_temperature(temperature: object) -> float:
    """The temperature [K] as a float.

    Raises:
        ValueError: if it is missing or not a positive number.
    """
    if temperature is None:
        raise ValueError("temperature is missing: trajectories do not say it; give temperature= in K, e.g. 300.0")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float | np.number):
        raise ValueError(f"temperature={temperature!r}: give a number in K, e.g. 300.0")
    if not np.isfinite(temperature) or temperature <= 0:
        raise ValueError(
            f"temperature={float(temperature):g} K: it must be positive; give the simulation's, e.g. 300.0"
        )
    return float(temperature)


def check_box(box: NDArray) -> None:
    """Check lattice vectors (..., 3, 3) [nm].

    Raises:
        ValueError: if a box has no volume or is not lower triangular.
    """
    edges = np.diagonal(box, axis1=-2, axis2=-1)
    if np.any(edges <= 0):
        raise ValueError(
            f"a box has no volume: its diagonal is {np.round(edges.reshape(-1, 3).min(axis=0), 4).tolist()} nm; "
            "periodic boundaries are needed, so give the trajectory a box"
        )
    upper = np.abs(np.asarray(box)[..., [0, 0, 1], [1, 2, 2]]).max()
    if upper > 1e-5 * edges.max():
        raise ValueError(
            f"the box matrix has {upper:g} nm above its diagonal: rows must be lattice vectors with the first along x "
            "and the second in the xy plane (lower triangular); transpose it or rotate the system"
        )
    shortest_height(box)


def fingerprint(*arrays: NDArray) -> str:
    """Ten hexadecimal digits that tell arrays apart."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:10]


def _frames(values: ArrayLike, name: str) -> NDArray:
    """(frame, bead, 3) floats; one configuration becomes one frame."""
    array = np.asarray(values)
    array = array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(f"{name} have shape {np.shape(values)}: give (frame, bead, 3)")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"an empty trajectory: {name} have shape {array.shape}")
    return array


def _lattices(box: ArrayLike, n_frames: int) -> NDArray[np.float64]:
    """Lattice vectors (frame, 3, 3) from any of the accepted shapes."""
    array = np.asarray(box, dtype=np.float64)
    constant = array.shape in ((3,), (3, 3))
    if not constant and array.shape not in ((n_frames, 3), (n_frames, 3, 3)):
        raise ValueError(f"box has shape {array.shape}: give (3,), (3, 3), (frame, 3) or (frame, 3, 3) in nm")
    edges = array.shape == (3,) or (array.ndim == 2 and not constant)
    lattice = array[..., None] * np.eye(3) if edges else array
    return np.broadcast_to(lattice, (n_frames, 3, 3)).copy()


def _require_finite(name: str, values: NDArray) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"{name}{list(index)} is {values[index]}: the simulation blew up or the input holds NaN")

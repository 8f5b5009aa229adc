"""The Gaussian-process conditional of atoms given beads, learned from atomistic frames."""

from __future__ import annotations

from collections import abc
from typing import Literal

import equinox as eqx
import gpjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._runtime import double_precision
from bayescg.backmapping.conditional.coordinates import AnchoredCoordinates, anchored_coordinates
from bayescg.backmapping.conditional.descriptors import Descriptors, choose_descriptors
from bayescg.backmapping.conditional.fit import fit_model
from bayescg.backmapping.conditional.model import CoordinateModel
from bayescg.backmapping.conditional.molecules import Molecule, find_molecule, read_positions
from bayescg.backmapping.conditional.placement import PlacedCoordinates, placed_coordinates
from bayescg.backmapping.conditional.settings import Learning
from bayescg.backmapping.conditional.zmatrix import anchored_zmatrix
from bayescg.backmapping.guides.fibre import Fibre
from bayescg.backmapping.guides.guide import Conditional, Guide
from bayescg.data.mapping.mapping import Mapping
from bayescg.kernels import by_name

Kernels = gpjax.kernels.AbstractKernel | str | abc.Mapping[str, gpjax.kernels.AbstractKernel | str] | None
_KINDS = ("bond", "angle", "torsion")
FEWEST = 50
"""Frames (or molecules in frames) below which nothing is learned."""

_DEFAULT = Learning()
_MOST = 2000
_OUTSIDE = 0.5
"""How far beyond the range of the training data [nm] a distance between beads may be before it is refused."""


class InternalGuide(Guide):
    """The learned density for one CG configuration.

    Attributes:
        coordinates: internal coordinates on the beads.
        model: their density given descriptors.
        values: the descriptors.
        beads: (bead, 3) [nm].
    """

    coordinates: AnchoredCoordinates | PlacedCoordinates
    model: CoordinateModel
    values: Float[Array, " descriptor"]
    beads: Float[Array, "bead 3"]

    @property
    def normalized(self) -> bool:
        """It is."""
        return True

    @property
    def space(self) -> Literal["fibre", "atoms"]:
        """Kept atoms lie at their beads; where beads are centers of several atoms, the draws' centers lie near them."""
        return "fibre" if self.coordinates.on_atoms else "atoms"

    def log_density(self, positions):
        y = self.coordinates.to_internal(positions, self.beads)
        value = self.model.log_density(y, self.values) - self.coordinates.log_jacobian(y)
        value += self.coordinates.log_pose(positions, self.beads)
        return jnp.where(self.coordinates.within(y), value, -jnp.inf)

    def sample(self, *, key):
        first, second = jax.random.split(key)
        y = self.model.sample(self.values, key=first)
        return self.coordinates.placed(y, self.beads, key=second)


class GaussianProcessConditional(Conditional):
    """Atoms of one molecule given its beads: approximate, calibrated, normalized; made by `fit_conditional`.

    Attributes:
        fibre: the linear map.
        coordinates: internal coordinates of the placed atoms on the beads.
        descriptors: invariants of the beads.
        model: the density of the coordinates given the descriptors.
        shortest: of the distances between beads in the training data, (bead, bead) [nm].
        longest: of the same [nm].
        names: of the atoms.
        rows: how many molecules in frames it was learned from.
    """

    fibre: Fibre
    coordinates: AnchoredCoordinates | PlacedCoordinates
    descriptors: Descriptors
    model: CoordinateModel
    shortest: Float[np.ndarray, "bead bead"]
    longest: Float[np.ndarray, "bead bead"]
    names: tuple[str, ...] = eqx.field(static=True)
    rows: int = eqx.field(static=True)

    def guide(self, beads):
        beads = jnp.asarray(beads)
        return InternalGuide(self.coordinates, self.model, self.descriptors(beads), beads)

    def allowed(self, positions):
        beads = self.fibre.beads(positions)
        return self.coordinates.within(self.coordinates.to_internal(positions, beads))

    def complaint(self, beads):
        beads = np.asarray(beads, float)
        if beads.shape != (self.fibre.n_beads, 3):
            return f"beads have shape {beads.shape}, but the conditional is of {self.fibre.n_beads} beads"
        if not np.all(np.isfinite(beads)):
            return "positions of beads are not finite"
        distance = np.linalg.norm(beads[:, None] - beads, axis=-1)
        room = _OUTSIDE * (self.longest - self.shortest) + 0.1 * self.longest
        wrong = np.maximum(self.shortest - room - distance, distance - self.longest - room)
        if not np.any(wrong > 0):
            return None
        i, j = np.unravel_index(int(wrong.argmax()), wrong.shape)
        hint = ""
        ratio = np.median(distance[self.longest > 0] / self.longest[self.longest > 0])
        if ratio > 4:
            hint = "; are these Angstrom? positions are in nm"
        elif len(beads) > 1 and distance[i, j] > 2 * self.longest[i, j]:
            hint = "; make the molecule whole if it crosses a periodic boundary"
        return (
            f"beads {i} and {j} are {distance[i, j]:.3g} nm apart, and {self.shortest[i, j]:.3g} to "
            f"{self.longest[i, j]:.3g} nm in the training data{hint}"
        )


def fit_conditional(
    universe,
    mapping: Mapping,
    *,
    kernels: Kernels = None,
    method: Literal["laplace", "nuts"] = "laplace",
    settings: Learning = _DEFAULT,
    key,
) -> GaussianProcessConditional:
    """Learn from atomistic frames where atoms are, given their beads.

    Atoms are described by bonds, angles and torsions y of a Z-matrix, which is chosen automatically and grows from the
    beads. Each y_p is the output of a Gaussian process. Its inputs are distances and dihedrals of the beads, and the
    coordinates placed before: log q(y | X) = sum_p log q(y_p | X, y_before). The wells of torsions come from the data,
    and Gaussian-process classifiers give their probabilities. Symmetric rotors are folded. The density is normalized
    and can be drawn from.

    If all beads are single atoms, these keep their places, and draws have their beads exactly at X. If beads are
    centers of several atoms, the density is one over all atoms, and draws have their centers near the beads.

    Args:
        universe: MDAnalysis Universe with bonds, as simulated: one molecule, or many of one kind. A few hundred frames
            (or molecules in frames) are enough.
        mapping: its beads.
        kernels: GPJax stationary kernel of the smooth parts, an object or the name of its class, or one for each of
            "bond", "angle" and "torsion" (RBF where absent). Lengthscales and variances are learned.
        method: how the kernels' hyperparameters are sampled: "laplace", a Gaussian at the mode, or "nuts", which takes
            about twenty times as long.
        settings: which frames to learn from, and what to do with atoms in no bead.
        key: JAX random key.

    Returns:
        The conditional.

    Raises:
        ValueError: if mapping and universe disagree; for too few frames, several kinds of molecules, atoms that no
            bonds connect to a bead, a molecule whose centers change their handedness, or lengths in a wrong unit.
    """
    if method not in ("laplace", "nuts"):
        raise ValueError(f"method={method!r}: choose 'laplace' or 'nuts'")
    smooth = _by_kind(kernels)
    molecule = find_molecule(universe, mapping)
    positions = read_positions(universe, molecule, settings.frames, _MOST)
    if len(positions) < FEWEST:
        raise ValueError(
            f"{len(positions)} frames are too few: the conditional is learned from at least {FEWEST}, and a few "
            "hundred are what it takes to be close"
        )
    with double_precision():
        slices = bool(np.all(np.count_nonzero(molecule.weights, axis=1) == 1))
        unmapped = settings.unmapped or ("free" if slices else "error")
        fibre = Fibre(molecule.weights, bonds=molecule.bonds, unmapped=unmapped)
        sites = np.einsum("ba,nax->nbx", molecule.weights, positions)
        coordinates = _coordinates(molecule, positions, sites)
        x, s = jnp.asarray(positions), jnp.asarray(sites)
        internal = np.asarray(jax.jit(jax.vmap(coordinates.to_internal))(x, s))
        _check_handedness(coordinates, internal, molecule)
        descriptors = choose_descriptors(molecule.topology)
        values = np.asarray(jax.jit(jax.vmap(descriptors))(s))
        data = (coordinates.columns, internal, descriptors, values)
        model = fit_model(*data, kernels=smooth, method=method, key=key)
        # Plain arrays: the conditional outlives the scope of double precision.
        model = jax.tree.map(np.asarray, model)
    distance = np.linalg.norm(sites[:, :, None] - sites[:, None], axis=-1)
    ends = (distance.min(axis=0), distance.max(axis=0))
    return GaussianProcessConditional(fibre, coordinates, descriptors, model, *ends, molecule.names, len(positions))


def _coordinates(molecule: Molecule, positions, sites) -> AnchoredCoordinates | PlacedCoordinates:
    """Internal coordinates on kept atoms or on beads."""
    single = np.count_nonzero(molecule.weights, axis=1) == 1
    if not single.all() and single.any():
        bead = int(np.flatnonzero(single)[0])
        raise ValueError(
            f"bead {bead} is a single atom and others are centers of several: make every bead a single atom, which "
            "keeps its place, or a center"
        )
    if not single.all():
        return placed_coordinates(molecule.elements, molecule.bonds, molecule.weights, positions, sites)
    kept = [int(np.flatnonzero(row)[0]) for row in molecule.weights]
    zmatrix = anchored_zmatrix(molecule.elements, molecule.bonds, kept, positions)
    return anchored_coordinates(zmatrix, positions, sites)


def _check_handedness(coordinates: AnchoredCoordinates | PlacedCoordinates, internal, molecule: Molecule) -> None:
    inside = np.asarray(jax.jit(jax.vmap(coordinates.within))(jnp.asarray(internal)))
    if inside.all():
        return
    for k, column in enumerate(coordinates.columns):
        outside = ~((internal[:, k] > column.lower) & (internal[:, k] < column.upper))
        if not column.periodic and outside.any():
            raise ValueError(
                f"the center at atom {coordinates.center(column.atom)} changes its handedness: atom {column.atom} "
                f"({molecule.names[column.atom]}) is on the other side in {outside.sum()} of {len(internal)} frames; a "
                "conditional is of one enantiomer: check that all frames and molecules are of the same one, with atoms "
                "in the same order"
            )


def _by_kind(kernels: Kernels) -> dict[str, gpjax.kernels.AbstractKernel]:
    """A kernel of unit lengthscale and variance for each kind of internal coordinate."""
    given = kernels if isinstance(kernels, abc.Mapping) else dict.fromkeys(_KINDS, kernels)
    if unknown := sorted(set(given) - set(_KINDS)):
        raise ValueError(f"kernels name unknown kinds of coordinates {unknown}; there are {', '.join(_KINDS)}")
    found = {kind: unit_kernel(given.get(kind)) for kind in _KINDS}
    # Branch angles and turns of rotors are torsions, too.
    return found | {"branch": found["torsion"], "rotor": found["torsion"]}


def unit_kernel(kernel: gpjax.kernels.AbstractKernel | str | None) -> gpjax.kernels.AbstractKernel:
    """The kernel of this kind (None: RBF) that has unit lengthscale and variance.

    Raises:
        ValueError: if the kernel is not stationary.
    """
    chosen = by_name(kernel) if isinstance(kernel, str) else gpjax.kernels.RBF() if kernel is None else kernel
    if not isinstance(chosen, gpjax.kernels.stationary.StationaryKernel):
        raise ValueError(
            f"kernel is {chosen!r}: give a stationary GPJax kernel such as gpjax.kernels.Matern52(); its lengthscales "
            "and variance are learned"
        )
    return _made(type(chosen))


def _made(kind: type[gpjax.kernels.stationary.StationaryKernel]) -> gpjax.kernels.AbstractKernel:
    return kind(lengthscale=1.0, variance=1.0)

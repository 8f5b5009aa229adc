"""`CollectiveVariables`: latent variables of a molecule's positions and their gradients, for other programs."""

from __future__ import annotations

import json
import tempfile
from functools import lru_cache
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg._runtime import atomic_path
from bayescg.atomistic.internal_coordinates import InternalCoordinates
from bayescg.atomistic.target import MoleculeTarget, Target
from bayescg.atomistic.zmatrix import ZMatrix
from bayescg.generative.model.files import read_model, write_model
from bayescg.generative.model.latent_model import LatentModel
from bayescg.geometry.placement import wrapped

MODEL, COORDINATES = "model.npz", "coordinates.json"
_BLEND = np.pi / 3
"""How far from its fold a rotor's coordinate is blended [rad]: the last 20 of the 60 degrees that the rotor turns."""


class CollectiveVariables:
    """The latent variables z of a molecule's positions, with gradients, compiled on first use in double precision.

    They are the values of `encode`, made continuous. Rotors (methyl groups) are folded into a third of a turn. Where a
    rotor leaves that third, its three atoms exchange names, and their lengths and angles, which are equal only on
    average, jump. Within 20 degrees of that point (40 to 60 degrees from the minimum) the values under both namings are
    blended. This gives z two continuous derivatives, and a bias on z conserves energy.

    Objects can be pickled: the model is part of the pickle (a few hundred kB), and bayescg must be installed where it
    is read. All copies in one process share one compiled function.

    Attributes:
        model: the model.
        coordinates: the molecule's internal coordinates.
    """

    def __init__(self, model: LatentModel, coordinates: InternalCoordinates):
        """Bind a model to a molecule.

        Args:
            model: from `discover`.
            coordinates: of the target that the model was made for.

        Raises:
            ValueError: if they do not belong together.
        """
        if model.whitening.dimension != coordinates.dimension:
            raise ValueError(
                f"the model has {model.whitening.dimension} coordinates and the target {coordinates.dimension}: they "
                "do not belong together"
            )
        self.model, self.coordinates = model, coordinates
        self._compiled = jax.jit(_differentiated(model, coordinates))
        self._last: tuple | None = None

    @classmethod
    def of(cls, model: LatentModel, target: Target) -> CollectiveVariables:
        """Collective variables of a model and the target that it was made for.

        Args:
            model: from `discover`.
            target: the target of a molecule.

        Returns:
            The collective variables.

        Raises:
            ValueError: if the target is no molecule, or the model belongs to another one.
        """
        if not isinstance(target, MoleculeTarget):
            raise ValueError(
                f"{type(target).__name__} has no positions: collective variables of positions need the target of a "
                "molecule, such as OpenMMTarget"
            )
        return cls(model, target.coordinates)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables: z1, z2, ..."""
        return tuple(f"z{k + 1}" for k in range(self.model.latents))

    def __call__(
        self, positions: Float[np.ndarray, "atom 3"]
    ) -> tuple[Float[np.ndarray, " latent"], Float[np.ndarray, "latent atom 3"]]:
        """Values and gradients.

        Args:
            positions: (atom, 3) of the molecule's atoms, in the order of its topology, whole (not wrapped into a box)
                [nm].

        Returns:
            Values (latent,), and their gradients with respect to the positions (latent, atom, 3) [1/nm].

        Raises:
            ValueError: if there are not as many positions as the molecule has atoms.
        """
        x = np.asarray(positions, float)
        if x.shape != (self.coordinates.n_atoms, 3):
            raise ValueError(f"positions have shape {x.shape}; the molecule has {self.coordinates.n_atoms} atoms")
        last = self._last
        # Several latents, several calls for the same step: one evaluation.
        if last is None or not np.array_equal(last[0], x):
            # The precision flag belongs to the thread, and the calling program chooses the thread.
            with jax.enable_x64(True):
                values, gradients = (np.asarray(part) for part in self._compiled(x))
            last = self._last = (x.copy(), values, gradients)
        return last[1].copy(), last[2].copy()

    def write(self, folder) -> Path:
        """Write the model and the Z-matrix to a folder, from which `read` restores them without the target.

        Args:
            folder: where to; made if missing.

        Returns:
            The folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / COORDINATES) as temporary:
            temporary.write_text(json.dumps(_described(self.coordinates), indent=1), encoding="utf-8")
        write_model(self.model, folder / MODEL)
        return folder

    @classmethod
    def read(cls, folder) -> CollectiveVariables:
        """Read what `write` wrote.

        Args:
            folder: where it was written.

        Returns:
            The collective variables.

        Raises:
            ValueError: if one of its files is missing, or of another version.
        """
        folder = Path(folder)
        missing = [name for name in (MODEL, COORDINATES) if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{folder} has no {' and no '.join(missing)}: export the collective variables again")
        described = json.loads((folder / COORDINATES).read_text(encoding="utf-8"))
        return cls(read_model(folder / MODEL), _rebuilt(described))

    def __reduce__(self):
        with tempfile.TemporaryDirectory() as folder:
            model = write_model(self.model, Path(folder) / MODEL).read_bytes()
        return _restored, (json.dumps(_described(self.coordinates)), model)


@lru_cache(maxsize=8)
def _restored(described: str, model: bytes) -> CollectiveVariables:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        path.write_bytes(model)
        return CollectiveVariables(read_model(path), _rebuilt(json.loads(described)))


def continuous(coordinates: InternalCoordinates, y: Float[Array, " coordinate"]) -> Float[Array, " coordinate"]:
    """Coordinates that are continuous where a rotor is folded, the same elsewhere.

    Near the fold, lengths and angles of the rotor's atoms are blended with those under their neighboring names, half
    and half at the fold itself; the weight has two continuous derivatives there.

    Args:
        coordinates: the internal coordinates.
        y: what `to_internal` returned.
    """
    zmatrix, reference = coordinates.zmatrix, np.asarray(coordinates.reference)
    if not (coordinates.fold and zmatrix.rotors):
        return y
    n, places = coordinates.n_atoms, np.asarray(zmatrix.rotors)
    bonds, angles, torsions = places - 1, n - 3 + places, 2 * n - 6 + places
    turn = y[torsions[:, 0]]
    # As `to_internal` renames: beyond the upper end each place takes the atom before it, for a right-handed rotor.
    before = ((turn > 0) == (reference[places[:, 1] - 3] > 0))[:, None]

    def renamed(values):
        return jnp.where(before, values[:, np.array([2, 0, 1])], values[:, np.array([1, 2, 0])])

    dihedrals = renamed(jnp.concatenate([jnp.zeros_like(turn)[:, None], y[torsions[:, 1:]]], axis=1))
    center = reference[places[:, 1:] - 3]
    branches = wrapped(dihedrals[:, 1:] - dihedrals[:, :1] - center) + center
    t = jnp.clip((jnp.abs(turn) - np.pi + _BLEND) / (2 * _BLEND), 0.0, 1.0)
    weight = (t**3 * (10 - 15 * t + 6 * t**2))[:, None]
    for index, other in ((bonds, renamed(y[bonds])), (angles, renamed(y[angles])), (torsions[:, 1:], branches)):
        y = y.at[index].set((1 - weight) * y[index] + weight * other)
    return y


def _differentiated(model: LatentModel, coordinates: InternalCoordinates):
    # NumPy arrays: double precision that needs no scope to exist.
    precise = jax.tree.map(lambda leaf: np.asarray(leaf, float) if eqx.is_inexact_array(leaf) else leaf, model)

    def latents(x):
        return precise.latent_mean(continuous(coordinates, coordinates.to_internal(x)))

    def function(x):
        values, pull = jax.vjp(latents, x)
        return values, jax.vmap(lambda one: pull(one)[0])(jnp.eye(model.latents, dtype=values.dtype))

    return function


def _described(coordinates: InternalCoordinates) -> dict:
    zmatrix = coordinates.zmatrix
    names = ("order", "references", "leader", "handed", "rotors")
    described = {name: getattr(zmatrix, name) for name in names}
    return {"format": 1, **described, "reference": coordinates.reference, "fold": coordinates.fold}


def _rebuilt(described: dict) -> InternalCoordinates:
    if described.get("format") != 1:
        raise ValueError("the Z-matrix has another version's format: export the collective variables again")
    zmatrix = ZMatrix(
        tuple(described["order"]),
        tuple((a, b, c) for a, b, c in described["references"]),
        tuple(described["leader"]),
        tuple(described["handed"]),
        tuple((a, b, c) for a, b, c in described["rotors"]),
    )
    return InternalCoordinates(zmatrix, tuple(described["reference"]), described["fold"])

"""`encode`: collective variables of coordinates, positions and trajectories."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bayescg._compiled import batched
from bayescg._runtime import double_precision
from bayescg.atomistic.target import MoleculeTarget, Target
from bayescg.generative.model.latent_model import LatentModel


def encode(model: LatentModel, data, target: Target | None = None) -> Float[np.ndarray, "frame latent"]:
    """Collective variables of configurations: the encoder's mean.

    Args:
        model: from `discover`.
        data: coordinates (frame, coordinate); or, with a molecule's target, positions (frame, atom, 3) [nm], an
            MDAnalysis universe or atom group (every frame of its trajectory, units converted).
        target: needed for positions.

    Returns:
        (frame, latent).

    Raises:
        ValueError: if shapes do not fit, positions come without a target or are those of a mirror image, or values are
            not finite.
    """
    if hasattr(data, "universe"):
        atoms = data.atoms
        data = np.stack([atoms.positions / 10.0 for _ in data.universe.trajectory])
    values = np.asarray(data, float)
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1) if values.size else np.zeros(1, bool)
    if not finite.all():
        raise ValueError(f"frame {int(np.argmin(finite))} is empty or not finite: leave such frames out")
    with double_precision():
        if values.ndim == 3:
            if not isinstance(target, MoleculeTarget):
                raise ValueError("positions need the molecule's target: encode(model, positions, target)")
            if values.shape[1:] != (target.coordinates.n_atoms, 3):
                raise ValueError(
                    f"positions have shape {values.shape}; the target has {target.coordinates.n_atoms} atoms"
                )
            values = np.asarray(batched(target.to_coordinates, jnp.asarray(values)))
            within = np.asarray(batched(target.coordinates.within, jnp.asarray(values)))
            if not within.all():
                raise ValueError(
                    f"frame {int(np.argmin(within))} has another handedness than the target: a mirror image, or atoms "
                    "(such as the hydrogens of a CH2 or CH3 group) in another order"
                )
        if values.ndim != 2 or values.shape[1] != model.whitening.dimension:
            raise ValueError(
                f"coordinates have shape {values.shape}; the model takes (frame, {model.whitening.dimension})"
            )
        values = values.astype(np.float32)
    return np.asarray(batched(model.latent_mean, jnp.asarray(values)), float)

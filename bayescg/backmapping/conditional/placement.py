"""Whole molecules on centers of several atoms: internal coordinates of all atoms, and a pose that fits the centers.

A molecule's beads B = M x are laid on the given ones, X, as well as its shape allows: their mean, the direction from
one bead to another, and the side of a third. Small known noise about this pose makes a normalized density over the
positions of all atoms, dx = J(y) dy dt du dw with the internal coordinates y, the translation t, the direction u of an
axis of the molecule and its turn w about that axis. With one bead every direction is as likely, with two every turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg.atomistic.internal_coordinates import InternalCoordinates, internal_coordinates
from bayescg.backmapping.conditional.coordinates import Column
from bayescg.geometry.placement import norm, unit

_NOISE = 0.004
"""Standard deviation with which beads are laid on their places [nm]."""

_OFF_AXIS = 0.03
"""A bead this far from the axis of two others [nm], or nearer, in half of the frames, does not tell how the molecule is
turned about it."""

_LOG_2PI = float(np.log(2 * np.pi))


class PlacedCoordinates(eqx.Module):
    """Internal coordinates of a molecule whose beads are centers of several atoms.

    Attributes:
        internal: the molecule's own coordinates.
        matrix: weights, (bead, atom).
        axis: the two beads farthest from each other; None for a single bead.
        side: the bead that is farthest from that axis in most frames; None if all lie on it.
    """

    internal: InternalCoordinates
    matrix: Float[np.ndarray, "bead atom"]
    axis: tuple[int, int] | None = eqx.field(static=True)
    side: int | None = eqx.field(static=True)

    @property
    def on_atoms(self) -> bool:
        """Whether sites are kept atoms: they are not."""
        return False

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each coordinate is and where it may lie."""
        z, n = self.internal.zmatrix, self.internal.n_atoms
        found = []
        for k, name in enumerate(self.internal.names):
            kind, atoms = name.split(" ")
            atom = int(atoms.split("-")[0])
            turn = k - (2 * n - 3)
            if turn < 0:
                found.append(Column(kind, atom, "learned", 0.0, np.inf if kind == "bond" else np.pi, periodic=False))
                continue
            middle = self.internal.reference[turn] if kind == "branch" else 0.0
            if z.handed[turn]:
                ends = (0.0, np.pi) if middle > 0 else (-np.pi, 0.0)
                found.append(Column(kind, atom, "learned", *ends, periodic=False))
            else:
                found.append(Column(kind, atom, "learned", middle - np.pi, middle + np.pi, periodic=True))
        return tuple(found)

    def to_internal(
        self, positions: Float[Array, "atom 3"], sites: Float[Array, "site 3"]
    ) -> Float[Array, " coordinate"]:
        """Coordinates of positions [nm], wherever they are."""
        del sites
        return self.internal.to_internal(positions)

    def log_jacobian(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, ""]:
        """Log J(y)."""
        return self.internal.log_jacobian(coordinates)

    def within(self, coordinates: Float[Array, " coordinate"]) -> Bool[Array, ""]:
        """Whether the coordinates are possible and have the handedness of the reference."""
        return self.internal.within(coordinates)

    def center(self, atom: int) -> int:
        """The atom that an atom's handed branch angle is about."""
        z = self.internal.zmatrix
        return z.order[z.references[z.order.index(atom) - 3][0]]

    def log_pose(self, positions: Float[Array, "atom 3"], sites: Float[Array, "site 3"]) -> Float[Array, ""]:
        """Log density of translation, direction and turn."""
        beads = jnp.asarray(self.matrix) @ positions
        missed = (beads.mean(axis=0) - sites.mean(axis=0)) / _NOISE
        value = -0.5 * jnp.sum(missed**2) - 3 * np.log(_NOISE) - 1.5 * _LOG_2PI
        if self.axis is None:
            return value - np.log(8 * np.pi**2)
        i, j = self.axis
        u, v = unit(beads[j] - beads[i]), unit(sites[j] - sites[i])
        kappa = self._kappa(sites)
        # von Mises-Fisher on the sphere.
        value += jnp.log(kappa) - _LOG_2PI - kappa * 0.5 * jnp.sum((u - v) ** 2) - jnp.log1p(-jnp.exp(-2 * kappa))
        if self.side is None:
            return value - _LOG_2PI
        first, second = (_across(x[self.side] - x[i], u) for x in (sites, beads))
        turn = jnp.arctan2(jnp.sum(u * jnp.cross(first, second)), jnp.sum(first * second))
        sd = self._turn(sites)
        images = (turn + 2 * np.pi * jnp.arange(-3, 4)) / sd
        return value + jax.nn.logsumexp(-0.5 * images**2) - jnp.log(sd) - 0.5 * _LOG_2PI

    def placed(
        self, coordinates: Float[Array, " coordinate"], sites: Float[Array, "site 3"], *, key
    ) -> Float[Array, "atom 3"]:
        """Positions of all atoms [nm], in a pose drawn at random."""
        local = self.internal.to_cartesian(coordinates)
        beads = jnp.asarray(self.matrix) @ local
        keys = jax.random.split(key, 5)
        around = 2 * np.pi * jax.random.uniform(keys[0])
        height = jax.random.uniform(keys[1], minval=1e-12)
        if self.axis is None:
            start, v, cosine = jnp.eye(3)[0], jnp.eye(3)[2], 2 * height - 1
        else:
            i, j = self.axis
            kappa = self._kappa(sites)
            start, v = unit(beads[j] - beads[i]), unit(sites[j] - sites[i])
            cosine = 1 + jnp.log(height + (1 - height) * jnp.exp(-2 * kappa)) / kappa
        across = _any_across(v)
        sine = jnp.sqrt(jnp.maximum(1 - cosine**2, 0.0))
        tilted = jnp.cos(around) * across + jnp.sin(around) * jnp.cross(v, across)
        u = unit(cosine * v + sine * tilted)
        if self.axis is None or self.side is None:
            turn, one, two = 2 * np.pi * jax.random.uniform(keys[2]), _any_across(start), _any_across(u)
        else:
            turn = self._turn(sites) * jax.random.normal(keys[2])
            one = _across(beads[self.side] - beads[self.axis[0]], start)
            two = _across(sites[self.side] - sites[self.axis[0]], u)
        two = jnp.cos(turn) * two + jnp.sin(turn) * jnp.cross(u, two)
        before = jnp.stack([start, one, jnp.cross(start, one)], axis=1)
        after = jnp.stack([u, two, jnp.cross(u, two)], axis=1)
        x = local @ (after @ before.T).T
        middle = (jnp.asarray(self.matrix) @ x).mean(axis=0)
        x = x + sites.mean(axis=0) - middle + _NOISE * jax.random.normal(keys[3], (3,))
        return self._relabeled(x, key=keys[4])

    def _relabeled(self, positions, *, key):
        """Labels of each rotor's atoms turned by none, one or two thirds, all as likely."""
        z = self.internal.zmatrix
        for number, group in enumerate(z.rotors if self.internal.fold else ()):
            atoms = np.asarray(z.order)[np.asarray(group)]
            turn = jax.random.randint(jax.random.fold_in(key, number), (), 0, 3)
            positions = positions.at[atoms].set(jnp.roll(positions[atoms], turn, axis=0))
        return positions

    def _kappa(self, sites):
        """Concentration of the direction that moves the ends of the axis by the noise."""
        i, j = self.axis or (0, 0)
        return jnp.maximum(0.5 * jnp.sum((sites[j] - sites[i]) ** 2) / _NOISE**2, 1.0)

    def _turn(self, sites):
        """Standard deviation of the turn that moves the third bead by the noise."""
        i, j = self.axis or (0, 0)
        off = sites[self.side] - sites[i]
        u = unit(sites[j] - sites[i])
        return jnp.minimum(np.sqrt(2) * _NOISE / norm(off - jnp.sum(off * u) * u), 1.0)


def placed_coordinates(
    elements: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    matrix: Float[np.ndarray, "bead atom"],
    positions: Float[np.ndarray, "frame atom 3"],
    sites: Float[np.ndarray, "frame site 3"],
) -> PlacedCoordinates:
    """Choose coordinates of a molecule on its centers.

    Raises:
        ValueError: if the molecule has a ring or fewer than three atoms, or three of its bonded atoms lie on a line.
    """
    internal = internal_coordinates(elements, bonds, positions[0])
    # Rotors are counted from their wells' middle, so that few of them are where labels change.
    free = InternalCoordinates(internal.zmatrix, internal.reference, internal.fold)
    y = np.asarray(jax.jit(jax.vmap(free.to_internal))(jnp.asarray(positions)))[:, 2 * internal.n_atoms - 3 :]
    reference = list(internal.reference)
    for group in internal.zmatrix.rotors:
        reference[group[0] - 3] += float(np.angle(np.mean(np.exp(1j * y[:, group[0] - 3])))) / 3
    internal = InternalCoordinates(internal.zmatrix, tuple(reference), internal.fold)
    if sites.shape[1] == 1:
        return PlacedCoordinates(internal, matrix, None, None)
    distance = np.linalg.norm(sites[:, :, None] - sites[:, None], axis=-1).min(axis=0)
    i, j = (int(k) for k in np.unravel_index(int(distance.argmax()), distance.shape))
    axis = sites[:, j] - sites[:, i]
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    # Where a bead comes near the axis the turn is drawn from wide enough a density; most frames decide.
    off = np.median(np.linalg.norm(np.cross(sites - sites[:, [i]], axis[:, None]), axis=-1), axis=0)
    side = int(off.argmax()) if off.max() > _OFF_AXIS else None
    return PlacedCoordinates(internal, matrix, (i, j), side)


def _across(vector, axis):
    return unit(vector - jnp.sum(vector * axis) * axis)


def _any_across(axis):
    """A unit vector at a right angle."""
    return _across(jnp.eye(3)[jnp.argmin(jnp.abs(axis))], axis)

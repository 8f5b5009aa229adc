"""Positions of placed atoms as internal coordinates on given sites, with the exact Jacobian.

With sites s fixed, the atoms x are placed one after the other by a length r, an angle theta and a dihedral, and
dx = prod (r^2 sin theta) d(coordinates): a density over the coordinates is one over the positions, normalized alike.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg.backmapping.conditional.zmatrix import AnchoredZMatrix
from bayescg.geometry.placement import dihedral, norm, place, unit, wrapped

_THIRD = 2 * np.pi / 3


class Column(NamedTuple):
    """One internal coordinate.

    Attributes:
        kind: "bond", "angle", "torsion", "branch" or "rotor".
        atom: number of the placed atom.
        spread: "learned"; "sine" or "uniform" for directions that helper points of the laboratory define: every one
            is as likely as any other.
        lower: where its range begins.
        upper: where it ends.
        periodic: whether the ends are one.
    """

    kind: str
    atom: int
    spread: str
    lower: float
    upper: float
    periodic: bool


class AnchoredCoordinates(eqx.Module):
    """The map between positions of placed atoms, given the sites, and internal coordinates.

    A vector of coordinates holds, for m placed atoms, m lengths [nm], m angles [rad] and m dihedrals [rad], counted
    from those of `reference` where they are stiff. A rotor's leader has three times the turn of its three equal
    atoms, on average, from the reference, so that its period is 2 pi like that of any torsion.

    Attributes:
        zmatrix: which points define which coordinate.
        reference: dihedrals that branch angles and rotors are counted from, (m,) [rad].
    """

    zmatrix: AnchoredZMatrix = eqx.field(static=True)
    reference: tuple[float, ...] = eqx.field(static=True)

    @property
    def on_atoms(self) -> bool:
        """Whether sites are kept atoms: they are."""
        return True

    @property
    def size(self) -> int:
        """Number of placed atoms."""
        return len(self.zmatrix.placed)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each coordinate is and where it may lie."""
        z, count = self.zmatrix, len(self.zmatrix.kept)
        leaders = {group[0] for group in z.rotors}
        bonds, angles, turns = [], [], []
        for k, (atom, (a, b, c)) in enumerate(zip(z.placed, z.references, strict=True)):
            bonds.append(Column("bond", atom, "learned", 0.0, np.inf, periodic=False))
            free = any(count <= p < z.first for p in (b,))
            angles.append(Column("angle", atom, "sine" if free else "learned", 0.0, np.pi, periodic=False))
            loose = any(count <= p < z.first for p in (a, b, c))
            kind = "branch" if z.branch[k] else "rotor" if k in leaders else "torsion"
            middle = self.reference[k] if z.branch[k] else 0.0
            ends, periodic = (middle - np.pi, middle + np.pi), True
            if z.handed[k]:
                ends, periodic = ((0.0, np.pi) if middle > 0 else (-np.pi, 0.0)), False
            turns.append(Column(kind, atom, "uniform" if loose else "learned", *ends, periodic))
        return (*bonds, *angles, *turns)

    def points(self, sites: Float[Array, "site 3"]) -> Float[Array, "point 3"]:
        """The sites and the helper points [nm]; two sites get one off their axis, whose direction does not matter."""
        if not self.zmatrix.helpers:
            return sites
        axes = jnp.eye(3, dtype=sites.dtype)
        if self.zmatrix.helpers == 1:
            axes = axes[jnp.argmin(jnp.abs(sites[1] - sites[0]))][None]
        return jnp.concatenate([sites, sites[:1] + axes[: self.zmatrix.helpers]])

    def to_internal(
        self, positions: Float[Array, "atom 3"], sites: Float[Array, "site 3"]
    ) -> Float[Array, " coordinate"]:
        """Coordinates of positions [nm] on sites [nm]; rotors are relabeled into their first third of a turn."""
        z = self.zmatrix
        x = jnp.concatenate([self.points(sites), positions[np.asarray(z.placed)]])
        for group in z.rotors:
            x = self._into_first_third(x, group)
        a, b, c = (x[np.asarray(z.references)[:, k]] for k in range(3))
        x = x[z.first :]
        u, v = unit(x - a), unit(b - a)
        theta = jnp.arctan2(norm(jnp.cross(u, v)), jnp.sum(u * v, axis=-1))
        return jnp.concatenate([norm(x - a), theta, self._angles(dihedral(x, a, b, c))])

    def to_positions(
        self, coordinates: Float[Array, " coordinate"], sites: Float[Array, "site 3"]
    ) -> Float[Array, "atom 3"]:
        """Positions of all atoms [nm]; kept atoms are at their sites."""
        z = self.zmatrix
        r, theta, angles = jnp.split(coordinates, 3)
        phi = self._dihedrals(angles)
        x, references, begin = self.points(sites), np.asarray(z.references), 0
        while begin < self.size:
            # All atoms whose references are placed already go in one step: short programs, wide operations.
            end = begin
            while end < self.size and np.all(references[end] < begin + z.first):
                end += 1
            rows = slice(begin, end)
            a, b, c = (x[references[rows, k]] for k in range(3))
            x = jnp.concatenate([x, place(a, b, c, r[rows], theta[rows], phi[rows])])
            begin = end
        return jnp.concatenate([sites, x[z.first :]])[np.argsort((*z.kept, *z.placed))]

    def log_jacobian(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, ""]:
        """Log |d(positions)/d(coordinates)|; a rotor's factor 1/3 and its three images cancel."""
        r, theta, _ = jnp.split(coordinates, 3)
        length = jnp.where(r > 0, r, 1.0)
        sine = jnp.where((theta > 0) & (theta < np.pi), jnp.sin(theta), 1.0)
        return 2 * jnp.sum(jnp.log(length)) + jnp.sum(jnp.log(sine))

    def within(self, coordinates: Float[Array, " coordinate"]) -> Bool[Array, ""]:
        """Whether the coordinates are possible and have the handedness of the reference."""
        columns = self.columns
        bounded = ~np.array([column.periodic for column in columns])
        lower = np.array([column.lower for column in columns])
        upper = np.array([column.upper for column in columns])
        return jnp.all(~bounded | ((coordinates > lower) & (coordinates < upper)))

    def center(self, atom: int) -> int:
        """The atom that an atom's handed branch angle is about."""
        z = self.zmatrix
        points = (*z.kept, *[-1] * z.helpers, *z.placed)
        return points[z.references[z.placed.index(atom)][0]]

    def log_pose(self, positions: Float[Array, "atom 3"], sites: Float[Array, "site 3"]) -> Float[Array, ""]:
        """Zero: kept atoms leave nothing open but the coordinates."""
        del sites
        return jnp.zeros((), positions.dtype)

    def placed(
        self, coordinates: Float[Array, " coordinate"], sites: Float[Array, "site 3"], *, key
    ) -> Float[Array, "atom 3"]:
        """Positions of all atoms [nm], each rotor's labels turned by none, one or two thirds, all as likely."""
        positions = self.to_positions(coordinates, sites)
        for number, group in enumerate(self.zmatrix.rotors):
            atoms = np.asarray(self.zmatrix.placed)[np.asarray(group)]
            turn = jax.random.randint(jax.random.fold_in(key, number), (), 0, 3)
            positions = positions.at[atoms].set(jnp.roll(positions[atoms], turn, axis=0))
        return positions

    def _dihedrals(self, angles):
        """Dihedrals of all atoms from the last m coordinates."""
        for group in self.zmatrix.rotors:
            mean = angles[group[0]] / 3 + self.reference[group[0]]
            angles = angles.at[group[0]].set(mean - self._asymmetry(angles, group))
        return angles

    def _angles(self, dihedrals):
        """The last m coordinates from the dihedrals of all atoms."""
        reference = np.asarray(self.reference)
        center = np.where(self.zmatrix.branch, reference, 0.0)
        angles = wrapped(dihedrals - center) + center
        for group in self.zmatrix.rotors:
            mean = angles[group[0]] + self._asymmetry(angles, group)
            angles = angles.at[group[0]].set(wrapped(3 * (mean - reference[group[0]])))
        return angles

    def _asymmetry(self, angles, group):
        """Mean torsion of a rotor's three atoms less that of its leader."""
        return (angles[group[1]] + angles[group[2]]) / 3

    def _into_first_third(self, x, group):
        """Turn a rotor's labels until the mean torsion is within a sixth of a turn of the reference's."""
        z = self.zmatrix
        places = np.asarray(group) + z.first
        a, b, c = (x[z.references[group[0]][k]] for k in range(3))
        phi = dihedral(x[places], a[None], b[None], c[None])
        reference = np.asarray(self.reference)
        branch = [wrapped(phi[k] - phi[0] - reference[group[k]]) for k in (1, 2)]
        asymmetry = (branch[0] + branch[1] + reference[group[1]] + reference[group[2]]) / 3
        mean = wrapped(phi[0] + asymmetry - reference[group[0]])
        turns = jnp.round(mean / _THIRD).astype(int) * int(np.sign(reference[group[1]]))
        shifted = jnp.asarray(places)[(jnp.arange(3) - turns) % 3]
        return x.at[places].set(x[shifted])


def anchored_coordinates(
    zmatrix: AnchoredZMatrix,
    positions: Float[np.ndarray, "frame atom 3"],
    sites: Float[np.ndarray, "frame site 3"],
) -> AnchoredCoordinates:
    """Coordinates whose references are circular means over frames, rotors' wells in the middle of their range."""
    unfolded = AnchoredCoordinates(_without_rotors(zmatrix), (0.0,) * len(zmatrix.placed))
    internal = jax.jit(jax.vmap(unfolded.to_internal))(jnp.asarray(positions), jnp.asarray(sites))
    phi = np.asarray(internal)[:, -unfolded.size :]
    reference = np.angle(np.mean(np.exp(1j * phi), axis=0))
    # Labels of a rotor's atoms may change from frame to frame: its branch angles are those of the first one.
    for group in zmatrix.rotors:
        reference[list(group)] = phi[0, list(group)]
        asymmetry = reference[list(group[1:])].sum() / 3
        reference[group[0]] = np.angle(np.mean(np.exp(3j * (phi[:, group[0]] + asymmetry)))) / 3
    free = ~np.asarray(zmatrix.branch)
    free[[group[0] for group in zmatrix.rotors]] = False
    reference[free] = 0.0
    return AnchoredCoordinates(zmatrix, tuple(reference.tolist()))


def _without_rotors(z: AnchoredZMatrix) -> AnchoredZMatrix:
    return AnchoredZMatrix(z.kept, z.helpers, z.placed, z.references, z.branch, z.handed, ())

"""Bond lengths, angles and dihedrals instead of Cartesian coordinates, with the exact Jacobian.

The density of a molecule under free translation and rotation is, in these coordinates, exp(-beta U) |det J| with
log |det J| = sum (2 ln r + ln sin theta) over the atoms after the root triple + 2 ln r_1 + 2 ln r_2 + ln sin theta_0
(Go and Scheraga, Macromolecules 9, 535 (1976), doi:10.1021/ma60052a001).
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bayescg.atomistic.zmatrix import ZMatrix, choose_zmatrix
from bayescg.geometry.placement import dihedral, norm, place, unit, wrapped

THIRD = 2 * np.pi / 3
_STRAIGHT = 0.02
"""Sine of an angle that counts as straight, one degree: energy minimization comes that close to a linear group."""


class InternalCoordinates(eqx.Module):
    """The map between Cartesian and internal coordinates of one molecule.

    The vector of coordinates of n atoms holds n - 1 bond lengths [nm], n - 2 angles [rad] and n - 3 dihedrals [rad].
    There are three kinds of dihedrals. Torsions are in [-pi, pi). A branch angle is the dihedral of an atom less that
    of another atom on the same bond, within pi of its value in the reference. A rotor has three equal atoms (a methyl
    group's hydrogens). Its coordinate is three times their mean turn from the reference, so that its period is 2 pi
    like that of a torsion.

    Attributes:
        zmatrix: which atoms define which coordinate.
        reference: (n - 3,) branch angles of the reference positions, mean torsions of rotors, zero for other torsions
            [rad].
        fold: whether rotors are folded: turns of three equal terminal atoms by a third count as one state.
    """

    zmatrix: ZMatrix = eqx.field(static=True)
    reference: tuple[float, ...] = eqx.field(static=True)
    fold: bool = eqx.field(static=True)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.zmatrix.n_atoms

    @property
    def dimension(self) -> int:
        """Number of coordinates, 3 n - 6."""
        return 3 * self.n_atoms - 6

    @property
    def periodic(self) -> np.ndarray:
        """Which coordinates have the period 2 pi, shape (dimension,): the torsions."""
        stiff = np.zeros(2 * self.n_atoms - 3, bool)
        return np.concatenate([stiff, np.asarray(self.zmatrix.leader, int) < 0])

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each coordinate, from the atom numbers that define it."""
        order, references = self.zmatrix.order, self.zmatrix.references
        chains = [tuple(order[p] for p in (k + 3, *abc)) for k, abc in enumerate(references)]
        turning = {k - 3 for group in self._rotors for k in group[:1]}
        kinds = [
            "rotor" if j in turning else "torsion" if lead < 0 else "branch" for j, lead in enumerate(self._leader)
        ]
        first, root, second = order[:3]
        bonds = [(first, root), (second, root), *(chain[:2] for chain in chains)]
        angles = [(first, root, second), *(chain[:3] for chain in chains)]
        named = [("bond", bond) for bond in bonds] + [("angle", angle) for angle in angles]
        named += list(zip(kinds, chains, strict=True))
        return tuple(f"{kind} {'-'.join(map(str, atoms))}" for kind, atoms in named)

    def to_cartesian(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, "atom 3"]:
        """Positions with the root atom at the origin and the root triple in the xy plane.

        Args:
            coordinates: (dimension,) [nm], [rad].

        Returns:
            (atom, 3) [nm], in the order of the molecule's atoms.
        """
        n = self.n_atoms
        r, theta, angles = jnp.split(coordinates, [n - 1, 2 * n - 3])
        phi = self._dihedrals(angles)
        zero = jnp.zeros_like(r[0])
        placed = jnp.stack(
            [
                jnp.stack([r[0], zero, zero]),
                jnp.zeros_like(r[:1], shape=(3,)),
                jnp.stack([r[1] * jnp.cos(theta[0]), r[1] * jnp.sin(theta[0]), zero]),
            ]
        )
        references = np.asarray(self.zmatrix.references, int).reshape(-1, 3)
        begin = 0
        while begin < len(references):
            # All atoms whose references are already placed go in one step: short programs, wide operations.
            end = begin
            while end < len(references) and np.all(references[end] < begin + 3):
                end += 1
            a, b, c = (placed[references[begin:end, k]] for k in range(3))
            new = place(a, b, c, r[begin + 2 : end + 2], theta[begin + 1 : end + 1], phi[begin:end])
            placed = jnp.concatenate([placed, new])
            begin = end
        return placed[np.argsort(np.asarray(self.zmatrix.order))]

    def to_internal(self, positions: Float[Array, "atom 3"]) -> Float[Array, " coordinate"]:
        """Internal coordinates of positions; folded rotors are relabeled into their first third of a turn.

        Args:
            positions: (atom, 3) [nm].

        Returns:
            (dimension,) [nm], [rad].
        """
        x = positions[np.asarray(self.zmatrix.order)]
        for group in self._rotors:
            x = self._into_first_third(x, group)
        a, b, c = (x[np.asarray(self.zmatrix.references, int).reshape(-1, 3)[:, k]] for k in range(3))
        r = jnp.concatenate([norm(x[0] - x[1])[None], norm(x[2] - x[1])[None], norm(x[3:] - a)])
        theta = jnp.concatenate([_angle(x[0], x[1], x[2])[None], _angle(x[3:], a, b)])
        return jnp.concatenate([r, theta, self._angles(dihedral(x[3:], a, b, c))])

    def log_jacobian(self, coordinates: Float[Array, " coordinate"]) -> Float[Array, ""]:
        """Log |det d(positions)/d(coordinates)| without the 8 pi^2 V of rotation and translation.

        A folded rotor has a third of its coordinate's range and three images: both factors cancel.

        Args:
            coordinates: (dimension,) [nm], [rad].

        Returns:
            A number: the sum of 2 ln r over bond lengths and of ln sin(theta) over angles.
        """
        n = self.n_atoms
        r, theta = coordinates[: n - 1], coordinates[n - 1 : 2 * n - 3]
        # Outside (0, pi) and for negative lengths the density is zero (`within`); gradients stay finite there.
        length = jnp.where(r > 0, r, 1.0)
        sine = jnp.where((theta > 0) & (theta < np.pi), jnp.sin(theta), 1.0)
        return 2 * jnp.sum(jnp.log(length)) + jnp.sum(jnp.log(sine))

    def within(self, coordinates: Float[Array, " coordinate"]) -> Bool[Array, ""]:
        """Whether the coordinates are possible and have the handedness of the reference.

        Args:
            coordinates: (dimension,) [nm], [rad].

        Returns:
            True or False; where False, the density is zero.
        """
        n = self.n_atoms
        r, theta, angles = jnp.split(coordinates, [n - 1, 2 * n - 3])
        leader, reference = np.asarray(self._leader, int), np.asarray(self.reference)
        handed = np.asarray(self.zmatrix.handed, bool)
        free = (leader < 0) | (jnp.abs(angles - reference) < np.pi)
        same = ~handed | ((angles * np.sign(reference) > 0) & (jnp.abs(angles) < np.pi))
        return jnp.all(r > 0) & jnp.all((theta > 0) & (theta < np.pi)) & jnp.all(free) & jnp.all(same)

    @property
    def _leader(self) -> tuple[int, ...]:
        return self.zmatrix.leader

    @property
    def _rotors(self) -> tuple[tuple[int, int, int], ...]:
        return self.zmatrix.rotors if self.fold else ()

    def _leading(self, torsions):
        """The dihedral that each branch angle is counted from; the second root atom's is zero."""
        padded = jnp.concatenate([jnp.zeros_like(torsions[:1]), torsions])
        leader = np.asarray(self._leader, int)
        return jnp.where(leader < 0, 0.0, padded[np.where(leader < 3, 0, leader - 2)])

    def _dihedrals(self, angles):
        """Dihedrals of all atoms from the last n - 3 coordinates."""
        for group in self._rotors:
            mean = angles[group[0] - 3] / 3 + self.reference[group[0] - 3]
            angles = angles.at[group[0] - 3].set(mean - self._asymmetry(angles, group))
        return angles + self._leading(angles)

    def _angles(self, dihedrals):
        """The last n - 3 coordinates from the dihedrals of all atoms."""
        reference = np.asarray(self.reference)
        relative = dihedrals - self._leading(dihedrals)
        angles = wrapped(relative - reference) + reference
        for group in self._rotors:
            mean = angles[group[0] - 3] + self._asymmetry(angles, group)
            angles = angles.at[group[0] - 3].set(wrapped(3 * (mean - reference[group[0] - 3])))
        return angles

    def _asymmetry(self, angles, group):
        """Mean torsion of a rotor's three atoms less that of its leader."""
        return (angles[group[1] - 3] + angles[group[2] - 3]) / 3

    def _into_first_third(self, x, group):
        """Turn a rotor's labels until the mean torsion is within a sixth of a turn of the reference's."""
        a, b, c = (x[self.zmatrix.references[group[0] - 3][k]] for k in range(3))
        phi = dihedral(x[np.asarray(group)], a[None], b[None], c[None])
        reference = np.asarray(self.reference)
        branch = [wrapped(phi[k] - phi[0] - reference[group[k] - 3]) for k in (1, 2)]
        asymmetry = (branch[0] + branch[1] + reference[group[1] - 3] + reference[group[2] - 3]) / 3
        mean = wrapped(phi[0] + asymmetry - reference[group[0] - 3])
        turns = jnp.round(mean / THIRD).astype(int) * int(np.sign(reference[group[1] - 3]))
        shifted = jnp.asarray(group)[(jnp.arange(3) - turns) % 3]
        return x.at[np.asarray(group)].set(x[shifted])


def internal_coordinates(
    elements: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    positions: Float[np.ndarray, "atom 3"],
    *,
    fold: bool = True,
) -> InternalCoordinates:
    """Choose internal coordinates for a molecule.

    Args:
        elements: (atom,) chemical symbols.
        bonds: pairs of atom numbers.
        positions: (atom, 3) [nm]; the handedness of their centers is the one that is kept.
        fold: whether turns of three equal terminal atoms (a methyl group's) by a third count as one state.

    Returns:
        The map between Cartesian and internal coordinates.

    Raises:
        ValueError: if the bonds do not make one molecule or close a ring, if three bonded atoms lie on a line, or if
            the positions do not fit.
    """
    zmatrix = choose_zmatrix(elements, bonds)
    x = np.asarray(positions, float)
    if x.shape != (zmatrix.n_atoms, 3):
        raise ValueError(f"positions have shape {x.shape}; the topology has {zmatrix.n_atoms} atoms")
    if not np.all(np.isfinite(x)):
        raise ValueError("the positions are not all finite")
    placed = x[list(zmatrix.order)]
    references = np.asarray(zmatrix.references, int).reshape(-1, 3)
    for triple in [(0, 1, 2), *((k + 3, *chain[:2]) for k, chain in enumerate(references)), *references]:
        first, middle, last = placed[list(triple)]
        left, right = first - middle, last - middle
        if not np.linalg.norm(np.cross(left, right)) > _STRAIGHT * np.linalg.norm(left) * np.linalg.norm(right):
            atoms = "-".join(str(zmatrix.order[k]) for k in triple)
            raise ValueError(
                f"atoms {atoms} lie on a straight line or coincide: dihedrals are undefined there; internal "
                "coordinates of linear groups are not supported"
            )
    a, b, c = (placed[references[:, k]] for k in range(3))
    phi = np.asarray(jax.jit(dihedral)(placed[3:], a, b, c), float)
    leader = np.asarray(zmatrix.leader, int)
    lead = np.where(leader < 3, 0.0, phi[np.maximum(leader - 3, 0)])
    reference = np.where(leader < 0, 0.0, (phi - lead + np.pi) % (2 * np.pi) - np.pi)
    for first, *others in zmatrix.rotors if fold else ():
        reference[first - 3] = phi[first - 3] + sum(reference[k - 3] for k in others) / 3
    return InternalCoordinates(zmatrix, tuple(reference.tolist()), fold)


def _angle(x, a, b):
    """Angle x-a-b, differentiable up to a straight line."""
    u, v = unit(x - a), unit(b - a)
    return jnp.arctan2(norm(jnp.cross(u, v)), jnp.sum(u * v, axis=-1))

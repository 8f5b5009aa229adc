"""Invariants of the beads' positions: what the atoms' internal coordinates may depend on.

Distances, cosines of angles, and cosines and sines of dihedrals do not change when all beads turn or move; the sines
change their sign in a mirror, so that a molecule is told from its image.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bayescg.data.mapping.topology import Topology
from bayescg.geometry.placement import dihedral, norm, unit

_FEW = 8
"""Up to so many beads all distances are descriptors; beyond, those of beads at most four bonds apart."""

_REACH = 4
HARMONICS = 3


class Descriptors(eqx.Module):
    """Which distances, angles and dihedrals of beads.

    Attributes:
        pairs: bead numbers of the distances [nm].
        angles: of the angles, the vertex in the middle.
        dihedrals: of the dihedrals.
    """

    pairs: tuple[tuple[int, int], ...] = eqx.field(static=True)
    angles: tuple[tuple[int, int, int], ...] = eqx.field(static=True)
    dihedrals: tuple[tuple[int, int, int, int], ...] = eqx.field(static=True)

    @property
    def names(self) -> tuple[str, ...]:
        """One for each number, from the beads that define it."""
        turns = [(f"{kind}{k}", d) for d in self.dihedrals for k in range(1, HARMONICS + 1) for kind in ("cos", "sin")]
        every = [("distance", p) for p in self.pairs] + [("cos", a) for a in self.angles] + turns
        return tuple(f"{kind} {'-'.join(map(str, beads))}" for kind, beads in every)

    @property
    def bases(self) -> tuple[tuple[int, ...], ...]:
        """For each number, those that it is a smooth function of: a harmonic of the first cosine and sine."""
        plain = len(self.pairs) + len(self.angles)
        first = [plain + 2 * HARMONICS * k for k in range(len(self.dihedrals))]
        turns = [(at, at + 1) for at in first for _ in range(2 * HARMONICS)]
        return (*((k,) for k in range(plain)), *turns)

    def __call__(self, beads: Float[Array, "bead 3"]) -> Float[Array, " descriptor"]:
        """The numbers for one configuration [nm]."""
        parts = []
        if self.pairs:
            i, j = np.array(self.pairs).T
            parts.append(norm(beads[i] - beads[j]))
        if self.angles:
            i, j, k = np.array(self.angles).T
            parts.append(jnp.sum(unit(beads[i] - beads[j]) * unit(beads[k] - beads[j]), axis=-1))
        if self.dihedrals:
            a, b, c, d = (beads[column] for column in np.array(self.dihedrals).T)
            phi = jnp.outer(dihedral(d, c, b, a), jnp.arange(1, HARMONICS + 1))
            parts.append(jnp.stack([jnp.cos(phi), jnp.sin(phi)], axis=-1).reshape(-1))
        return jnp.concatenate(parts) if parts else jnp.zeros(0, beads.dtype)


def choose_descriptors(topology: Topology) -> Descriptors:
    """Descriptors of one molecule's beads.

    Args:
        topology: of its beads; beads without bonds count as a chain in the order of their numbers.

    Returns:
        The descriptors.
    """
    count = len(topology.molecule)
    if count > 1 and len(np.unique(np.concatenate([topology.bonds.ravel(), [0]]))) < count:
        topology = Topology.from_bonds(count, [(k, k + 1) for k in range(count - 1)])
    steps = np.full((count, count), count)
    np.fill_diagonal(steps, 0)
    for i, j in topology.bonds:
        steps[i, j] = steps[j, i] = 1
    for k in range(count):
        steps = np.minimum(steps, steps[:, [k]] + steps[[k]])
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count) if count <= _FEW or steps[i, j] <= _REACH]
    # The angles of few beads follow from their distances.
    angles = topology.angles.tolist() if count > _FEW else []
    return Descriptors(tuple(pairs), tuple(map(tuple, angles)), tuple(map(tuple, topology.dihedrals.tolist())))

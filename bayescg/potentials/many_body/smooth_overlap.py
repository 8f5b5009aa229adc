"""Many-body potentials of the overlap of neighborhoods, with a few of them as inducing points."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from bayescg._arrays import AnyArray
from bayescg.geometry.descriptors import minimum_image
from bayescg.potentials.configuration import Configuration, real_tuples
from bayescg.potentials.many_body.density_expansion import DensityBasis, power_spectrum
from bayescg.potentials.many_body.many_body_term import ManyBodyTerm
from bayescg.potentials.splines import UniformSpline

_OWN = 1.5
"""Weight of a center's own density beside that of a neighbor at contact."""

_STEP = 1.36
"""Ratio of the widths of neighboring radial exponentials: closer ones are the same but for rounding."""

_LOOKED_AT = 2000
"""Neighborhoods among which inducing points are chosen, at most; every one costs as much as a step of the fit."""

_RESOLVED = 1e-9
"""A neighborhood whose kernel the inducing points so far explain to this share is no inducing point."""


@dataclass(frozen=True)
class SmoothOverlap(ManyBodyTerm):
    """U = sum_i sum_m w_m [k(rho_i, rho_m) - k(rho_i0, rho_m)] over beads i of type `center` (SOAP-type kernel).

    rho_i is the density of Gaussians around bead i, with one channel for each type of neighbor and one for the bead
    itself; rho_i0 is that of the bead alone, which has no energy. k is a power of the normalized dot product of power
    spectra (Bartok, Kondor & Csanyi, doi:10.1103/PhysRevB.87.184115). The prior is w ~ N(0, a^2 K^-1), with K the
    kernel of the inducing neighborhoods rho_m. This makes U a Gaussian process of kernel a^2 k, projected on them
    (subset of regressors; Rasmussen & Williams 2006, section 8.3). Neighbors fade out as 1 - 10 x^3 + 15 x^4 - 6 x^5, x
    = r / cutoff: energy, forces and their slopes vanish at the cutoff. A fit learns a and w; the fields below are
    fixed.

    Attributes:
        center: type of the beads that have a neighborhood.
        neighbors: types of the beads in it; put in alphabetical order.
        cutoff: of a neighborhood [nm].
        width: standard deviation of a round bead [nm]. An ellipsoidal one has its second moments, plus width^2.
        degree: highest l of the spherical harmonics, 0 to 10.
        power: of the dot product, 1 to 64.
        ellipsoids: beads are ellipsoids (`bayescg.data.with_orientation`), not round. Forces on the beads are those at
            fixed orientations; `torques` gives the rest.
        inducing: how many inducing points are chosen from the data (`fill_ranges`); or their spectra.

    Raises:
        ValueError: if there are no neighbors or inducing points, not 0 < 3 width < cutoff, or degree or power is
            outside its range.
    """

    center: str
    neighbors: tuple[str, ...]
    cutoff: float
    width: float = 0.08
    degree: int = 6
    power: int = 4
    ellipsoids: bool = False
    inducing: int | tuple[tuple[float, ...], ...] = 100

    kind: ClassVar[str] = "smooth overlap"
    unit: ClassVar[str] = "nm"
    body: ClassVar[int] = 2

    def __post_init__(self):
        names = (self.neighbors,) if isinstance(self.neighbors, str) else tuple(self.neighbors)
        if not names:
            raise ValueError("SmoothOverlap: name at least one type of neighbors")
        object.__setattr__(self, "neighbors", names)
        self.check_types()
        object.__setattr__(self, "neighbors", tuple(sorted(set(names))))
        if not (math.isfinite(self.cutoff) and 0 < 3 * self.width < self.cutoff):
            raise ValueError(f"{self.name}: give 0 < 3 width < cutoff [nm]; got {self.width} and {self.cutoff}")
        for field, lowest, highest in (("degree", 0, 10), ("power", 1, 64)):
            value = getattr(self, field)
            if not (isinstance(value, int) and lowest <= value <= highest):
                raise ValueError(f"{self.name}: {field} is a whole number from {lowest} to {highest}; got {value!r}")
        if isinstance(self.inducing, int):
            if self.inducing < 1:
                raise ValueError(f"{self.name}: give at least one inducing point; got {self.inducing}")
        else:
            rows = tuple(tuple(map(float, row)) for row in self.inducing)
            object.__setattr__(self, "inducing", rows)

    @property
    def types(self):
        return (self.center, *(bead for bead in self.neighbors if bead != self.center))

    @property
    def name(self):
        return f"overlap_{self.center}-{'-'.join(self.neighbors)}"

    @property
    def spline(self):
        """A spline space of distances, only for the histogram of neighbors."""
        return UniformSpline(0.0, self.cutoff, 12)

    @property
    def basis(self) -> DensityBasis:
        """Functions in which densities are expanded."""
        widest = self.cutoff / 3
        count = 1 + math.ceil(math.log(widest / self.width) / math.log(_STEP) - 1e-9)
        return DensityBasis(self.width, widest, max(count, 2), self.degree)

    @property
    def n_basis(self):
        return self.inducing if isinstance(self.inducing, int) else len(self.inducing)

    @property
    def points(self) -> Float[np.ndarray, "basis feature"]:
        """Normalized power spectra of the inducing points, (basis, feature).

        Raises:
            ValueError: if they have not been chosen yet.
        """
        if isinstance(self.inducing, int):
            raise ValueError(f"{self.name} has no inducing points yet: call bayescg.fill_ranges(potential, cg)")
        return np.asarray(self.inducing)

    @property
    def gram(self) -> Float[np.ndarray, "basis basis"]:
        """Kernel of the inducing points, (basis, basis)."""
        return (self.points @ self.points.T) ** self.power

    def with_inducing(self, spectra: Float[np.ndarray, "environment feature"]) -> SmoothOverlap:
        """The term with inducing points chosen from neighborhoods; the term itself where it has them already.

        The next point is always the neighborhood that the points so far explain least (pivoted Cholesky factorization
        of the kernel: Fine & Scheinberg, J. Mach. Learn. Res. 2, 243 (2001)), until there are enough or nothing is
        left.

        Args:
            spectra: (neighborhood, feature), from `spectra`.

        Returns:
            The term.

        Raises:
            ValueError: if there are no neighborhoods.
        """
        if not isinstance(self.inducing, int):
            return self
        x = np.asarray(spectra)
        left, factor, chosen = np.ones(len(x)), np.zeros((len(x), self.inducing)), []
        while len(chosen) < self.inducing and left.max(initial=0.0) > _RESOLVED:
            pivot, k = int(np.argmax(left)), len(chosen)
            column = (x @ x[pivot]) ** self.power - factor[:, :k] @ factor[pivot, :k]
            factor[:, k] = column / np.sqrt(left[pivot])
            left = np.maximum(left - factor[:, k] ** 2, 0.0)
            left[pivot] = 0.0
            chosen.append(pivot)
        if not chosen:
            raise ValueError(f"{self.name}: there are no neighborhoods to choose inducing points from")
        return dataclasses.replace(self, inducing=tuple(map(tuple, x[chosen].tolist())))

    @property
    def needs_shapes(self):
        return self.ellipsoids

    @property
    def open_fields(self):
        return ("inducing",) if isinstance(self.inducing, int) else ()

    def fill(self, sample):
        """The same term with inducing points chosen from neighborhoods spread evenly over the frames."""
        if not self.open_fields:
            return self
        centers, frames = np.flatnonzero(sample.bead_types == self.center), len(sample.frames)
        wanted = min(frames, max(4, math.ceil(_LOOKED_AT / len(centers))))
        kept = max(1, math.ceil(len(centers) * wanted / _LOOKED_AT))
        measure, found = jax.jit(self.spectra), []
        for k, number in enumerate(np.linspace(0, frames - 1, wanted).astype(int).tolist()):
            found.append(np.asarray(measure(sample.frames[number]))[centers[k % kept :: kept]])
        return self.with_inducing(np.concatenate(found))

    def find_tuples(self, neighbors):
        neighbors = neighbors.within(self.cutoff)
        found = [neighbors.around(self.center, bead) for bead in self.neighbors]
        rows = [np.column_stack([part, np.full(len(part), k)]) for k, part in enumerate(found)]
        return {self.name: np.concatenate(rows).astype(np.int32)}

    def spectra(self, configuration: Configuration) -> Float[Array, "bead feature"]:
        """Normalized power spectra (bead, feature) of the neighborhoods of all beads; of other types, of the bead
        alone.
        """
        return _normalized(self._projections(configuration))

    def basis_energies(self, configuration):
        return jnp.sum(self._kernels(self._projections(configuration)), axis=0)

    def torques(self, configuration: Configuration, coefficients: Float[AnyArray, " basis"]) -> Float[Array, "bead 3"]:
        """Torques on ellipsoidal beads about their positions, (bead, 3) [kJ/mol]; zero for round ones."""
        if not self.ellipsoids:
            return jnp.zeros_like(configuration.positions)
        before = self._shapes(configuration)

        def turned(angles):
            # To first order the tensor turns by its commutator with the cross product.
            change = jnp.cross(angles[:, :, None], before, axis=1)
            shapes = before + change + jnp.swapaxes(change, 1, 2)
            return self.energy(configuration._replace(shapes=shapes), coefficients)

        return -jax.grad(turned)(jnp.zeros_like(configuration.positions))

    def design_rows(self, configuration):
        tuples = configuration.tuples[self.name]
        vectors, _ = self._vectors(configuration)
        projections = self._projections(configuration)
        radial, harmonics = self.basis.size
        channels = len(self.neighbors)

        def pull(projection):
            """How each basis energy of a center depends on the density of its neighbors."""
            found = jax.jacrev(lambda x: self._kernels(x[None])[0])(projection)[:, radial:]
            return found.reshape(-1, channels, radial * harmonics)

        pulls = jax.lax.map(pull, projections, batch_size=16)

        def push(item):
            (center, neighbor, channel), vector = item
            covariance = self._covariance(configuration, neighbor)
            share = jax.jacfwd(lambda x: self._share(x, covariance).ravel())(vector)
            return pulls[center, :, channel] @ share

        slopes = jax.lax.map(push, (tuples, vectors), batch_size=64)
        slopes = jnp.where(real_tuples(tuples)[:, None, None], slopes, 0.0)
        rows = jnp.zeros((configuration.positions.shape[0], self.n_basis, 3), slopes.dtype)
        return rows.at[tuples[:, 0]].add(slopes).at[tuples[:, 1]].add(-slopes)

    def visits(self, configuration):
        _, r = self._vectors(configuration)
        return self.spline.histogram(r, real_tuples(configuration.tuples[self.name]) & (r < self.cutoff))

    def _covariance(
        self, configuration: Configuration, beads: Int[AnyArray, "*bead"] | slice = slice(None)
    ) -> Float[AnyArray, "*bead 3 3"] | float:
        if not self.ellipsoids:
            return float(self.width) ** 2
        return self.width**2 * jnp.eye(3) + self._shapes(configuration)[beads]

    def _shapes(self, configuration: Configuration):
        if configuration.shapes is None:
            raise ValueError(
                f"{self.name} needs the orientation of its beads: call bayescg.data.with_orientation(cg, universe, "
                "mapping), or choose ellipsoids=False"
            )
        return configuration.shapes

    def _vectors(self, configuration: Configuration):
        """Nearest images of the vectors from centers to neighbors, and their lengths; padding is far."""
        tuples, positions = configuration.tuples[self.name], configuration.positions
        vector = minimum_image(positions[tuples[:, 1]] - positions[tuples[:, 0]], configuration.box)
        far = jnp.array([2 * self.cutoff, 0.0, 0.0], vector.dtype)
        vector = jnp.where(real_tuples(tuples)[:, None], vector, far)
        return vector, jnp.sqrt(jnp.sum(vector**2, -1))

    def _share(self, vectors, covariance):
        """What neighbors add to the density around their center."""
        x = jnp.minimum(jnp.sqrt(jnp.sum(vectors**2, -1)) / self.cutoff, 1.0)
        fade = 1 - x**3 * (10 - 15 * x + 6 * x**2)
        return fade[..., None, None] * self.basis.project(vectors, covariance)

    def _projections(self, configuration: Configuration) -> Float[Array, "bead function lm"]:
        """Densities around all beads: of the bead itself, and of each type of neighbor."""
        tuples = configuration.tuples[self.name]
        beads = configuration.positions.shape[0]
        vectors, _ = self._vectors(configuration)
        shares = self._share(vectors, self._covariance(configuration, tuples[:, 1]))
        empty = jnp.zeros((beads, len(self.neighbors), *self.basis.size), shares.dtype)
        around = empty.at[tuples[:, 0], tuples[:, 2]].add(shares)
        own = self.basis.project(jnp.zeros_like(configuration.positions), self._covariance(configuration))
        return jnp.concatenate([_OWN * own[:, None], around], axis=1).reshape(beads, -1, self.basis.size[1])

    def _kernels(self, projections: Float[Array, "bead function lm"]) -> Float[Array, "bead basis"]:
        """Kernel of each neighborhood with the inducing points, less that of its center alone."""
        alone = projections.at[:, self.basis.size[0] :].set(0.0)
        return (_normalized(projections) @ self.points.T) ** self.power - (
            _normalized(alone) @ self.points.T
        ) ** self.power


def _normalized(projections: Float[Array, "bead function lm"]) -> Float[Array, "bead feature"]:
    found = power_spectrum(projections)
    return found / jnp.sqrt(jnp.sum(found**2, -1, keepdims=True))

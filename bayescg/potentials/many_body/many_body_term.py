"""What terms of more beads than a list can hold have in common: they are made of the neighbors of a center."""

from __future__ import annotations

import abc

from bayescg.potentials.splines import UniformSpline
from bayescg.potentials.term import Term


class ManyBodyTerm(Term):
    """A term of the neighbors of a center, learned as a whole, without a baseline.

    Final: ThreeBody, LocalDensity, SmoothOverlap. Neighbors are searched as far as the pair terms beside it reach.
    """

    @property
    @abc.abstractmethod
    def spline(self) -> UniformSpline:
        """Knots of the variable that `visits` looks at."""

    @property
    def span(self):
        return self.spline.start, self.spline.stop

    @property
    def bins(self):
        return self.spline.intervals

    def check_types(self) -> None:
        """Refuse bead types that are no names."""
        for bead in self.types:
            if not isinstance(bead, str) or not bead:
                raise ValueError(f"{type(self).__name__}: bead types are names such as 'W'; got {bead!r}")

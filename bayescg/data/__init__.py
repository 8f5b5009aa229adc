"""Trajectories in, one dataset layout out; the one room where units change."""

from bayescg.data import datasets
from bayescg.data.dataset import from_arrays, topology_of, validate, with_forces
from bayescg.data.dumps import LennardJonesUnits
from bayescg.data.mapping.mapping import Mapping
from bayescg.data.mapping.topology import Topology, exclusions
from bayescg.data.neighbors import pairs
from bayescg.data.orientation import shape_tensors, with_orientation, with_shapes
from bayescg.data.trajectories.bead_trajectory import read_beads
from bayescg.data.trajectories.reading import coarse_grain, stream
from bayescg.data.trajectories.universe import open_universe
from bayescg.geometry.images import minimum_image, shortest_height

__all__ = [
    "LennardJonesUnits",
    "Mapping",
    "Topology",
    "coarse_grain",
    "datasets",
    "exclusions",
    "from_arrays",
    "minimum_image",
    "open_universe",
    "pairs",
    "read_beads",
    "shape_tensors",
    "shortest_height",
    "stream",
    "topology_of",
    "validate",
    "with_forces",
    "with_orientation",
    "with_shapes",
]

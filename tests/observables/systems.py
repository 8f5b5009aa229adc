"""Small systems with known answers."""

import numpy as np

from bayescg.data.dataset import from_arrays
from bayescg.data.mapping.topology import Topology, exclusions

CUBIC = np.diag([2.5, 2.0, 2.25])
TRICLINIC = np.array([[2.5, 0.0, 0.0], [0.75, 2.25, 0.0], [-0.5, 0.625, 2.0]])


def gas(box, types, frames=40, seed=0):
    """Independent uniform positions, on a fine grid that floats represent exactly, inside and outside of the box."""
    rng = np.random.default_rng(seed)
    fractions = rng.uniform(-1, 2, (frames, len(types), 3))
    positions = np.round(fractions @ box * 64) / 64
    return from_arrays(positions, box, types, temperature=300.0)


def smooth_gas(box, types, frames=40, seed=0):
    """Independent uniform positions."""
    rng = np.random.default_rng(seed)
    return from_arrays(rng.uniform(-1, 2, (frames, len(types), 3)) @ box, box, types, temperature=300.0)


def ensemble(*datasets):
    """Datasets of equal shape as the draws of an ensemble that shares one box."""
    positions = np.stack([d["positions"].values for d in datasets])
    whole = datasets[0].drop_vars("positions")
    return whole.assign(positions=(("draw", "frame", "bead", "xyz"), positions)).assign_coords(
        draw=np.arange(len(datasets)), posterior_draw=("draw", np.arange(len(datasets)) * 7)
    )


def chains(types="ABA", molecules=60, frames=6, box=CUBIC, seed=1):
    """Random chains of beads on a grid, with the topology of their bonds; molecules are broken across boundaries."""
    rng = np.random.default_rng(seed)
    n = len(types)
    start = rng.uniform(0, 1, (frames, molecules, 1, 3)) @ box
    steps = np.concatenate([np.zeros((frames, molecules, 1, 3)), rng.normal(0, 0.15, (frames, molecules, n - 1, 3))], 2)
    positions = np.round((start + np.cumsum(steps, 2)).reshape(frames, -1, 3) * 64) / 64
    fractions = positions @ np.linalg.inv(box)
    positions = positions - np.floor(fractions) @ box
    first = np.arange(molecules)[:, None] * n + np.arange(n - 1)
    bonds = np.stack([first.ravel(), first.ravel() + 1], 1)
    topology = Topology.from_bonds(molecules * n, bonds)
    return from_arrays(positions, box, list(types) * molecules, temperature=300.0, topology=topology)


def images(vectors, box):
    """Shortest of the 125 nearest images, by trying them all."""
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    vectors = vectors - np.round(vectors @ np.linalg.inv(box)) @ box
    best = vectors.copy()
    for shift in shifts:
        closer = ((vectors + shift) ** 2).sum(-1) < (best**2).sum(-1)
        best[closer] = (vectors + shift)[closer]
    return best


def count_pairs(dataset, a, b, edges, exclude_bonds=0):
    """Histogram of a-b distances per frame by the plain double loop."""
    types = dataset["bead_type"].values
    i, j = np.triu_indices(len(types), 1)
    wanted = ((types[i] == a) & (types[j] == b)) | ((types[i] == b) & (types[j] == a))
    excluded = {tuple(p) for p in exclusions(dataset["bonds"].values, len(types), exclude_bonds).tolist()}
    wanted &= np.array([p not in excluded for p in zip(i.tolist(), j.tolist(), strict=True)])
    i, j = i[wanted], j[wanted]
    counts = []
    for x, box in zip(dataset["positions"].values, dataset["box"].values, strict=True):
        distances = np.linalg.norm(images(x[j] - x[i], box), axis=-1)
        counts.append(np.histogram(distances, edges)[0])
    return np.array(counts)

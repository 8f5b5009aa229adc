"""Small atomistic systems with known answers."""

import warnings

import MDAnalysis as mda
import numpy as np

KT = 0.00831446261815324 * 300.0
CUBE = (20.0, 20.0, 20.0, 90.0, 90.0, 90.0)  # Angstrom
TRICLINIC = (22.0, 21.0, 20.0, 75.0, 80.0, 65.0)


def universe_of(positions, forces, *, names, resnames, masses, bonds=(), residues=None, box=CUBE):
    """A universe in memory from (frame, atom, 3) arrays in Angstrom and kJ/mol/Angstrom."""
    n_frames, n_atoms = positions.shape[:2]
    residues = np.zeros(n_atoms, int) if residues is None else np.asarray(residues)
    universe = mda.Universe.empty(
        n_atoms, n_residues=residues.max() + 1, atom_resindex=residues, trajectory=True, forces=forces is not None
    )
    universe.add_TopologyAttr("names", names)
    universe.add_TopologyAttr("resnames", resnames)
    universe.add_TopologyAttr("resids", np.arange(1, residues.max() + 2))
    universe.add_TopologyAttr("masses", masses)
    if len(bonds):
        universe.add_TopologyAttr("bonds", [tuple(map(int, pair)) for pair in bonds])
    dimensions = None if box is None else np.tile(np.array(box, np.float32), (n_frames, 1))
    forces = None if forces is None else forces.astype(np.float32)
    universe.load_new(positions.astype(np.float32), forces=forces, dimensions=dimensions, dt=2.0)
    return universe


def waters(n_molecules=20, n_frames=3, box=CUBE, seed=0, forces=True, bonds=True):
    """Rigid-looking waters at random, in whole molecules."""
    rng = np.random.default_rng(seed)
    lattice = mda.lib.mdamath.triclinic_vectors(np.array(box or CUBE, np.float32))
    centers = rng.uniform(0, 1, (n_frames, n_molecules, 1, 3)) @ lattice
    positions = (centers + rng.normal(0, 0.5, (n_frames, n_molecules, 3, 3))).reshape(n_frames, -1, 3)
    residues = np.repeat(np.arange(n_molecules), 3)
    pairs = [(3 * i, 3 * i + k) for i in range(n_molecules) for k in (1, 2)] if bonds else ()
    return universe_of(
        positions,
        rng.normal(0, 25.0, positions.shape) if forces else None,
        names=["OW", "HW1", "HW2"] * n_molecules,
        resnames=["SOL"] * n_molecules,
        masses=[16.0, 1.0, 1.0] * n_molecules,
        bonds=pairs,
        residues=residues,
        box=box,
    )


def chain(n_atoms=12, spacing=1.5, names=None, masses=None, box=CUBE):
    """One bonded chain along x, one residue, unit forces along x."""
    positions = np.zeros((1, n_atoms, 3)) + np.arange(n_atoms)[None, :, None] * np.array([spacing, 0.1, 0.0])
    forces = np.ones((1, n_atoms, 3)) * np.arange(1, n_atoms + 1)[None, :, None]
    return universe_of(
        positions,
        forces,
        names=names or [f"C{i + 1}" for i in range(n_atoms)],
        resnames=["POL"],
        masses=masses or [12.0] * n_atoms,
        bonds=[(i, i + 1) for i in range(n_atoms - 1)],
        box=box,
    )


def scatter_over_images(universe, seed=0, pack=False):
    """Every atom moved by random lattice vectors (or into the cell), frame by frame: the same periodic system."""
    rng = np.random.default_rng(seed)
    trajectory = universe.trajectory
    positions, forces, boxes = [], [], []
    for step in trajectory:
        shifts = rng.integers(-1, 2, step.positions.shape)
        if pack:
            shifts = -np.floor(step.positions @ np.linalg.inv(step.triclinic_dimensions))
        positions.append(step.positions + shifts @ step.triclinic_dimensions)
        forces.append(step.forces.copy())
        boxes.append(step.dimensions.copy())
    copy = universe.copy()
    copy.load_new(np.array(positions, np.float32), forces=np.array(forces), dimensions=np.array(boxes), dt=2.0)
    return copy


def write(universe, path, **options):
    """Write all frames with forces; the path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mda.Writer(str(path), n_atoms=len(universe.atoms), **options) as writer:
            for _ in universe.trajectory:
                writer.write(universe.atoms)
    return path


def reopen(universe, path, **options):
    """The same topology with the trajectory from a file."""
    copy = universe.copy()
    copy.load_new(str(path), **options)
    return copy


def minimum_over_images(vectors, box):
    """Lengths of the shortest images by trying 125 of them."""
    n = np.arange(-2, 3)
    shifts = np.array(np.meshgrid(n, n, n)).reshape(3, -1).T @ box
    return np.sqrt(((vectors[..., None, :] + shifts) ** 2).sum(-1)).min(-1)

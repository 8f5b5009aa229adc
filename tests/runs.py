"""A tiny run of the whole workflow, shared by the tests of workflow, report and command line."""

import jax
import numpy as np

import bayescg as bcg
from bayescg.potentials import Interactions
from bayescg.storage import save

CONFIG = """\
input:
  dataset: cg.nc
potential:
  terms:
    - pair: [A, A]
      cutoff: 0.7
      knot_spacing: 0.05
inference:
  method: laplace
  draws: 20
simulation:
  draws: 2
  time: 0.4
  engine: jax
  timestep: 0.004
  equilibration: 0.2
  interval: 0.04
observables:
  - rdf: [A, A]
    cutoff: 0.7
    bins: 20
    blocks: 5
  - coordination_number: [A, A]
    cutoff: 0.5
    blocks: 5
exports:
  formats: [lammps]
seed: 3
output: results
"""


def write_inputs(folder):
    """A Lennard-Jones fluid on a jittered lattice with exact forces plus noise, and a configuration."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4) * 0.4] * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = grid + 0.03 * rng.normal(size=(12, 64, 3))
    box = np.full(3, 1.6)
    truth = bcg.Potential(
        bcg.Pair("A", "A", cutoff=0.7, baseline=bcg.LennardJones(0.34, 1.0, 0.7), learn=False, knot_spacing=0.05)
    )
    cg = bcg.from_arrays(positions, box, "A", temperature=120.0, mass=np.full(64, 40.0))
    with jax.enable_x64(True):
        system = Interactions.of(truth, cg)
        forces = [
            np.asarray(truth.forces(system.configuration(x, np.diag(box)), np.zeros(0)))
            for x in np.asarray(cg["positions"].values, float)
        ]
    noisy = np.array(forces) + 5.0 * rng.normal(size=positions.shape)
    save(cg.assign(forces=(("frame", "bead", "xyz"), noisy, {"units": "kJ/mol/nm"})), folder / "cg.nc")
    (folder / "config.yaml").write_text(CONFIG)
    return folder / "config.yaml"

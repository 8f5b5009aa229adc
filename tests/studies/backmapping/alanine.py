"""How close the conditional learned from few frames comes to the exact one: alanine dipeptide, five heavy atoms kept.

Training and test frames come from Langevin walkers (BAOAB, 1 fs) at 300 K that were heated before. For CG frames that
were not trained on, draws of the guide are weighted by exp(-beta U) / q: their effective share, and the acceptance of
the guide as an independence proposal at equilibrium. Coverage is that of 90 % intervals for the internal coordinates of
atoms of the test frames, by draws of the guide alone.
"""

from __future__ import annotations

import importlib.resources
import tempfile
import time
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import bayescg
from bayescg._runtime import double_precision
from bayescg.atomistic import OpenMMTarget, alanine_dipeptide
from bayescg.backmapping.conditional.gaussian_process import GaussianProcessConditional, fit_conditional

KEPT = (4, 6, 8, 14, 16)
"""C, N, CA, C, N: the atoms of phi and psi."""

SIZES = (250, 500, 1000, 2000)
TEST_FRAMES, DRAWS = 40, 500
WALKERS, TIMESTEP, FRICTION = 64, 0.001, 5.0
HOT, COLD, SAMPLED, STEPS = 20, 10, 40, 500
CACHE = Path(tempfile.gettempdir()) / "bayescg-alanine-walkers.npy"
_KB = 8.31446261815324e-3


def walkers(target: OpenMMTarget) -> np.ndarray:
    """Positions of independent walkers every half picosecond, (time, walker, atom, 3) [nm]; kept for other studies."""
    if CACHE.exists():
        return np.load(CACHE).astype(float)
    masses = jnp.asarray(target.force_field.masses, jnp.float32)[:, None]
    force = jax.vmap(jax.grad(lambda x: -target.force_field.energy(x)))
    kept = np.exp(-FRICTION * TIMESTEP)

    @jax.jit
    def run(x, v, thermal, key):
        def step(carry, key):
            x, v, f = carry
            v = v + 0.5 * TIMESTEP * f / masses
            x = x + 0.5 * TIMESTEP * v
            v = kept * v + jnp.sqrt((1 - kept**2) * thermal / masses) * jax.random.normal(key, v.shape, v.dtype)
            x = x + 0.5 * TIMESTEP * v
            f = force(x)
            return (x, v + 0.5 * TIMESTEP * f / masses, f), None

        return jax.lax.scan(step, (x, v, force(x)), jax.random.split(key, STEPS))[0][:2]

    start = np.asarray(target.to_positions(jnp.asarray(target.location)))
    x = jnp.asarray(np.repeat(start[None], WALKERS, axis=0), jnp.float32)
    v, found = jnp.zeros_like(x), []
    for k in range(HOT + COLD + SAMPLED):
        thermal = _KB * (800.0 if k < HOT else target.temperature)
        x, v = run(x, v, thermal, jax.random.fold_in(jax.random.key(0), k))
        found.append(np.asarray(x, float))
    every = np.array(found[HOT + COLD :])
    np.save(CACHE, every.astype(np.float32))
    return every


def frames(target: OpenMMTarget) -> np.ndarray:
    """Positions of all walkers in random order, (frame, atom, 3) [nm]."""
    every = walkers(target).reshape(-1, target.force_field.n_atoms, 3)
    return every[np.random.default_rng(0).permutation(len(every))]


def universe(positions: np.ndarray):
    """An MDAnalysis Universe of alanine dipeptide with these frames [nm]."""
    import MDAnalysis
    from MDAnalysis.coordinates.memory import MemoryReader
    from openmm import app

    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        topology = app.PDBFile(str(path)).topology
    atoms = list(topology.atoms())
    made = MDAnalysis.Universe.empty(len(atoms), n_residues=1, atom_resindex=[0] * len(atoms), trajectory=True)
    made.add_TopologyAttr("elements", [atom.element.symbol for atom in atoms])
    made.add_TopologyAttr("names", [atom.name for atom in atoms])
    made.add_TopologyAttr("masses", [atom.element.mass._value for atom in atoms])
    made.add_TopologyAttr("resnames", ["ALA"])
    made.add_TopologyAttr("bonds", [(bond[0].index, bond[1].index) for bond in topology.bonds()])
    made.load_new(10 * positions, format=MemoryReader, order="fac")
    return made


def mapping(molecule):
    """The five kept atoms, each a bead."""
    select = "index " + " ".join(map(str, KEPT))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*in no bead.*")
        return bayescg.Mapping.center_of_mass(molecule, by="atoms", select=select, constraints="none")


@eqx.filter_jit
def draw(conditional: GaussianProcessConditional, target: OpenMMTarget, beads, key):
    """Draws for one CG frame: internal coordinates, log weights."""
    guide = conditional.guide(beads)

    def one(key):
        x = guide.sample(key=key)
        log_weight = -target.force_field.energy(x) / target.thermal_energy - guide.log_density(x)
        return conditional.coordinates.to_internal(x, beads), log_weight

    return jax.lax.map(one, jax.random.split(key, DRAWS), batch_size=100)


def judged(conditional, target, test: np.ndarray) -> dict[str, np.ndarray]:
    """Effective share and acceptance for each test frame, and coverage for each coordinate."""
    columns = conditional.coordinates.columns
    periodic = np.array([column.periodic for column in columns])
    internal = eqx.filter_jit(conditional.coordinates.to_internal)
    share, acceptance, spread, inside = [], [], [], []
    with double_precision():
        for k, x in enumerate(jnp.asarray(test)):
            beads = x[np.array(KEPT)]
            y, log_weight = map(np.asarray, draw(conditional, target, beads, jax.random.key(k)))
            weight = np.exp(log_weight - log_weight.max())
            weight /= weight.sum()
            share.append(1 / np.sum(weight**2) / DRAWS)
            accepted = np.minimum(1.0, np.exp(log_weight[None, :] - log_weight[:, None]))
            acceptance.append(weight @ accepted.mean(axis=1))
            spread.append(log_weight.var())
            true = np.asarray(internal(x, beads))
            center = np.where(periodic, np.angle(np.mean(np.exp(1j * y), axis=0)), 0.0)
            near = [np.where(periodic, (v - center + np.pi) % (2 * np.pi) - np.pi, v) for v in (y, true)]
            rank = np.mean(near[0] < near[1], axis=0)
            inside.append((rank > 0.05) & (rank < 0.95))
    covered = np.mean(inside, axis=0)
    return {
        "share": np.array(share),
        "acceptance": np.array(acceptance),
        "spread": np.array(spread),
        "covered": covered,
    }


def main() -> None:
    target = alanine_dipeptide()
    begin = time.perf_counter()
    every = frames(target)
    print(f"{len(every)} frames in {time.perf_counter() - begin:.0f} s", flush=True)
    test = every[-TEST_FRAMES:]
    for size in SIZES:
        molecule = universe(every[:size])
        begin = time.perf_counter()
        conditional = fit_conditional(molecule, mapping(molecule), key=jax.random.key(0))
        took = time.perf_counter() - begin
        found = judged(conditional, target, test)
        share, acceptance, covered = found["share"], found["acceptance"], found["covered"]
        error = share.std() / np.sqrt(len(share))
        print(
            f"{size} frames, fit {took:.0f} s: effective share {share.mean():.3f} +- {error:.3f} "
            f"(range {share.min():.2f}-{share.max():.2f}), acceptance {acceptance.mean():.3f} "
            f"(range {acceptance.min():.2f}-{acceptance.max():.2f}), variance of log weights, median "
            f"{np.median(found['spread']):.2f}; 90 % intervals cover {covered.mean():.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

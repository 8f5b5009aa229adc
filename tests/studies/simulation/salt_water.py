"""Salt water: NaCl in SPC/E water by OpenMM, mapped to one bead for each molecule and ion, fitted, simulated, exported.

484 waters and 16 ion pairs (1.8 mol/l), 300 K; ions of Joung & Cheatham (doi:10.1021/jp8001614) for SPC/E. A bead of
water has no dipole: what water does to the force between ions at a distance is in the permittivity of the model, about
70 for SPC/E.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import MDAnalysis as mda
import numpy as np
import xarray as xr
from MDAnalysis.coordinates.memory import MemoryReader

import bayescg as bcg
from bayescg._runtime import double_precision
from bayescg.potentials import Interactions
from tests.studies.wanted import wanted

WATERS, PAIRS, EDGE, KELVIN, FRAMES = 484, 16, 2.53, 300.0, 400
GIVEN = 71.0
CUTOFF = 0.9
_WATER = ((0.3166, 0.650, -0.8476, 15.999), (0.1, 0.0, 0.4238, 1.008), (0.1, 0.0, 0.4238, 1.008))
_IONS = {"NA": (0.21595, 1.47545, 1.0, 22.990), "CL": (0.48305, 0.05349, -1.0, 35.453)}


def atomistic(frames: int = FRAMES) -> mda.Universe:
    """Frames 0.5 ps apart, with forces; simulated once and kept in the folder for temporary files."""
    path = Path(tempfile.gettempdir()) / f"bayescg-salt-water-{frames}.npz"
    if not path.exists():
        positions, forces = _simulate(frames)
        np.savez(path, positions=positions, forces=forces)
    found = np.load(path)
    residues = WATERS + 2 * PAIRS
    owner = np.concatenate([np.repeat(np.arange(WATERS), 3), np.arange(WATERS, residues)])
    universe = mda.Universe.empty(
        len(owner), residues, atom_resindex=owner, residue_segindex=[0] * residues, trajectory=True
    )
    atoms = [*_WATER] * WATERS + [_IONS["NA"], _IONS["CL"]] * PAIRS
    universe.add_TopologyAttr("resnames", ["SOL"] * WATERS + ["NA", "CL"] * PAIRS)
    universe.add_TopologyAttr("names", ["OW", "HW1", "HW2"] * WATERS + ["NA", "CL"] * PAIRS)
    universe.add_TopologyAttr("masses", [atom[3] for atom in atoms])
    universe.add_TopologyAttr("charges", [atom[2] for atom in atoms])
    universe.add_TopologyAttr("bonds", [(3 * k, 3 * k + h) for k in range(WATERS) for h in (1, 2)])
    universe.load_new(
        10 * found["positions"],
        format=MemoryReader,
        forces=found["forces"] / 10,
        dimensions=np.array([10 * EDGE] * 3 + [90.0] * 3, np.float32),
        dt=0.5,
    )
    return universe


def _simulate(frames: int) -> tuple[np.ndarray, np.ndarray]:
    import openmm as mm

    rng = np.random.default_rng(0)
    side = 8
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) * EDGE / side
    sites = rng.permutation(sites)[:WATERS]
    system, force = mm.System(), mm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * EDGE))
    between = np.deg2rad(109.47)
    shape = 0.1 * np.array([[0, 0, 0], [1, 0, 0], [np.cos(between), np.sin(between), 0]])
    positions = []
    for k in range(WATERS):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions += list(sites[k] + shape @ turn)
        for sigma, epsilon, charge, mass in _WATER:
            system.addParticle(mass)
            force.addParticle(charge, sigma, epsilon)
        for i, j, length in ((0, 1, 0.1), (0, 2, 0.1), (1, 2, 0.2 * np.sin(between / 2))):
            system.addConstraint(3 * k + i, 3 * k + j, length)
            force.addException(3 * k + i, 3 * k + j, 0.0, 1.0, 0.0)
    # Ions between lattice sites: the energy minimization makes room.
    middle = rng.permutation(side**3)[: 2 * PAIRS]
    for number, place in enumerate(middle):
        sigma, epsilon, charge, mass = list(_IONS.values())[number % 2]
        system.addParticle(mass)
        force.addParticle(charge, sigma, epsilon)
        positions.append((np.array(np.unravel_index(place, (side,) * 3)) + 0.5) * EDGE / side)
    force.setNonbondedMethod(mm.NonbondedForce.PME)
    force.setCutoffDistance(0.9)
    system.addForce(force)
    integrator = mm.LangevinMiddleIntegrator(KELVIN, 1.0, 0.002)
    integrator.setRandomNumberSeed(1)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("CPU"))
    context.setPositions(np.array(positions))
    mm.LocalEnergyMinimizer.minimize(context, 10.0, 500)
    context.setVelocitiesToTemperature(KELVIN, 2)
    integrator.step(25_000)
    kept = []
    for _ in range(frames):
        integrator.step(250)
        state = context.getState(getPositions=True, getForces=True)
        kept.append([state.getPositions(asNumpy=True)._value, state.getForces(asNumpy=True)._value])
    both = np.array(kept, np.float32)
    return both[:, 0], both[:, 1]


def model(**charges: object) -> bcg.Potential:
    """Six pair terms and charges, which the topology knows."""
    names = ("W-W", "NA-W", "CL-W", "NA-NA", "CL-NA", "CL-CL")
    pairs = [bcg.Pair(*name.split("-"), CUTOFF, knot_spacing=0.015) for name in names]
    return bcg.Potential(*pairs, bcg.Coulomb(1.0, **charges))  # pyright: ignore[reportArgumentType]


def main() -> None:
    """Fit, simulate, export."""
    warnings.filterwarnings("ignore", message="Pareto k|R-hat")
    universe = atomistic()
    mapping = bcg.Mapping.center_of_mass(universe, by="residues", names={"SOL": "W"})
    cg = bcg.coarse_grain(universe, mapping, temperature=KELVIN)
    found = bcg.force_match(model(dielectric=GIVEN, learn=True), cg, method="laplace", key=jax.random.key(0))
    inverse = found["posterior"]["coefficients"].values[..., -1]
    print(f"1 / permittivity {inverse.mean():.4f} +- {inverse.std():.4f}; of SPC/E {1 / GIVEN:.4f}", flush=True)
    wanted("z of 1 / permittivity", (inverse.mean() - 1 / GIVEN) / inverse.std(), -3, 3)
    posterior = bcg.force_match(model(dielectric=GIVEN), cg, method="laplace", key=jax.random.key(0))
    print({k: posterior["posterior"].attrs[k] for k in ("held_out_r2", "held_out_r2_se")}, flush=True)
    ensemble = bcg.simulate(posterior, cg.isel(frame=-1), time=100.0, key=jax.random.key(1))
    wanted("temperature [K]", float(ensemble["temperature"].mean()), KELVIN - 10, KELVIN + 10)
    for a, b in (("W", "W"), ("NA", "W"), ("CL", "W"), ("CL", "NA")):
        curves = [
            bcg.observables.rdf(data, a, b, cutoff=1.0, bins=50).mean(
                ("block", *(["draw"] if "draw" in data.dims else []))
            )
            for data in (cg, ensemble)
        ]
        peaks = [(float(c["r"][int(np.argmax(c.values))]), float(c.max())) for c in curves]
        print(f"g(r) of {a}-{b}, first peak atomistic {peaks[0]}, coarse-grained {peaks[1]}", flush=True)
    for error, program in _exported(posterior, cg.isel(frame=[-1])):
        wanted(f"forces of the export for {program}, relative", error, 0, 1e-4)


def _exported(posterior: xr.DataTree, last: xr.Dataset) -> list[tuple[float, str]]:
    """Largest error of the forces that programs find with the exported files, over the force (or the rms force)."""
    import openmm as mm

    from bayescg.exports.lammps.library import load_lammps

    potential = bcg.posterior.potential_of(posterior)
    w = bcg.posterior.mean_coefficients(posterior)
    interactions = Interactions.of(potential, last)
    x, box = last["positions"].values[-1].astype(float), last["box"].values[-1].astype(float)
    with double_precision():
        true = np.asarray(potential.forces(interactions.configuration(x, box), jnp.asarray(w)))
    size = np.linalg.norm(true, axis=1)
    scale = np.maximum(size, np.sqrt(np.mean(size**2)))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        bcg.export(posterior, f"{folder}/openmm", format="openmm", initial=last)
        system = mm.XmlSerializer.deserialize(Path(f"{folder}/openmm/system.xml").read_text())
        context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
        context.setPositions(x)
        found.append((context.getState(getForces=True).getForces(asNumpy=True)._value, "OpenMM"))
        bcg.export(posterior, f"{folder}/lammps", format="lammps", initial=last)
        engine = load_lammps().lammps(cmdargs=["-log", "none", "-screen", "none"])
        engine.command(f'shell cd "{folder}/lammps"')
        lines = Path(f"{folder}/lammps/in.bayescg").read_text().splitlines()
        engine.commands_list([line for line in lines if not line.startswith(("run", "fix thermostat", "dump"))])
        engine.command("run 0")
        forces = np.zeros_like(true)
        forces[engine.numpy.extract_atom("id")[: len(x)] - 1] = engine.numpy.extract_atom("f")[: len(x)] * 41.84
        found.append((forces, "LAMMPS"))
    return [(float(np.max(np.linalg.norm(forces - true, axis=1) / scale)), program) for forces, program in found]


if __name__ == "__main__":
    main()

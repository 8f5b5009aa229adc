"""Alanine dipeptide's collective variables, without a force field, and how its methyl group turns."""

import importlib.resources
from types import SimpleNamespace

import jax
import numpy as np
from openmm import app, unit

from bayescg.atomistic import internal_coordinates
from bayescg.generative.model.latent_model import build_model
from bayescg.generative.model.whitening import Whitening

METHYL = (11, 12, 13)
"""Hydrogens of the side chain of alanine dipeptide; they sit on CB (10), next to CA (8)."""
CB, CA = 10, 8
RNG = np.random.default_rng(0)


def alanine(n_latents):
    """Alanine dipeptide's coordinates, without a force field, and networks with random weights."""
    source = importlib.resources.files("bayescg.data").joinpath("files", "alanine_dipeptide.pdb")
    with importlib.resources.as_file(source) as path:
        pdb = app.PDBFile(str(path))
    elements = [atom.element.symbol for atom in pdb.topology.atoms()]
    bonds = [(bond[0].index, bond[1].index) for bond in pdb.topology.bonds()]
    x = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    coordinates = internal_coordinates(elements, bonds, x)
    periodic = coordinates.periodic
    location = np.where(periodic, 0.0, np.asarray(coordinates.to_internal(jax.numpy.asarray(x))))
    n = coordinates.n_atoms
    widths = np.concatenate([np.full(n - 1, 0.003), np.full(n - 2, 0.06), np.full(n - 3, 0.1)])
    whitening = Whitening.of(location, np.diag(np.where(periodic, 1.0, widths)), periodic)
    model = build_model(whitening, latents=n_latents, key=jax.random.key(3))
    target = SimpleNamespace(
        coordinates=coordinates,
        to_coordinates=coordinates.to_internal,
        to_positions=coordinates.to_cartesian,
        temperature=300.0,
        dimension=3 * n - 6,
    )
    return model, target, np.array(x)


def shaken(x, size=0.003):
    return x + size * RNG.normal(size=x.shape)


def turned(x, angle):
    """The side chain's methyl group turned about its bond."""
    axis = (x[CB] - x[CA]) / np.linalg.norm(x[CB] - x[CA])
    out = x.copy()
    for atom in METHYL:
        v = x[atom] - x[CB]
        out[atom] = (
            x[CB] + v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + axis * np.dot(axis, v) * (1 - np.cos(angle))
        )
    return out


def rotor(target, x):
    """The folded coordinate of that methyl group."""
    y = encoded_coordinates(target, x)
    return y[[name.startswith("rotor 11-") for name in target.coordinates.names].index(True)]


def encoded_coordinates(target, x):
    with jax.enable_x64(True):
        return np.asarray(target.to_coordinates(jax.numpy.asarray(x)))


def differences(function, x, h=1e-6):
    out = []
    for k in range(x.size):
        step = np.zeros(x.size)
        step[k] = h
        step = step.reshape(x.shape)
        out.append((function(x + step) - function(x - step)) / (2 * h))
    return np.stack(out, -1).reshape(-1, *x.shape)

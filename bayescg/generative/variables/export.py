"""Collective variables for biased simulations: OpenMM's PythonForce, PLUMED's Python interface (pycv)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bayescg._runtime import atomic_path
from bayescg._version import __version__
from bayescg.atomistic.target import Target
from bayescg.exports.openmm.system import require_openmm
from bayescg.generative.model.latent_model import LatentModel
from bayescg.generative.variables.collective_variables import COORDINATES, MODEL, CollectiveVariables

_MODULE = '''"""Collective variables for PLUMED's Python interface (pycv), written by bayescg {version}.

Reads {model} and {coordinates} beside it. Needs bayescg in the Python that pycv uses, but neither OpenMM nor the force
field. In plumed.dat: cv: PYCVINTERFACE ATOMS=.. IMPORT=bayescg_cv CALCULATE=cv
"""

from pathlib import Path

import numpy as np

from bayescg.generative.variables.collective_variables import CollectiveVariables

NANOMETER = 1.0
"""1 nm in PLUMED's unit of length: set it to 10.0 if plumed.dat says UNITS LENGTH=A."""

_variables = CollectiveVariables.read(Path(__file__).resolve().parent)

# The molecule is made whole, and box derivatives are returned: with NOPBC PLUMED would count them twice.
plumedInit = {{
    "NOPBC": False,
    "COMPONENTS": {{name: {{"period": None, "derivative": True}} for name in _variables.names}},
}}


def cv(action):
    """Values, derivatives with respect to positions, and with respect to the box."""
    action.makeWhole()
    positions = np.array(action.getPositions(), float)
    values, gradients = _variables(positions / NANOMETER)
    gradients /= NANOMETER
    box = -np.einsum("ai,naj->nij", positions, gradients)
    found = {{
        name: (float(value), gradient, virial)
        for name, value, gradient, virial in zip(_variables.names, values, gradients, box, strict=True)
    }}
    # A single component has no name for PLUMED.
    return found if len(found) > 1 else next(iter(found.values()))
'''

_INPUT = """# Collective variables of bayescg: PLUMED 2.10 or newer with pycv (its source: pip install ./plugins/pycv).
# `python -m pycv` prints the file for LOAD. Run in this folder, or with it in PYTHONPATH.
LOAD GLOBAL FILE=PythonCVInterface.so
cv: PYCVINTERFACE ATOMS={atoms} IMPORT=bayescg_cv CALCULATE=cv
PRINT ARG={arguments} STRIDE=100 FILE=colvar.out
# METAD ARG={arguments} SIGMA={widths} HEIGHT=1.0 PACE=500 BIASFACTOR=8 TEMP={temperature:g} FILE=HILLS
"""


def openmm_cv(model: LatentModel, target: Target, latent: int = 0, *, atoms: Sequence[int] | None = None):
    """One latent variable as an OpenMM force whose "energy" is z, for `CustomCVForce.addCollectiveVariable`.

    The function is compiled by JAX and called by OpenMM under Python's lock, in whatever thread OpenMM uses, once for
    each step; positions go through the CPU on every platform. OpenMM pickles it when the force is made and when a
    System is serialized: the model travels inside, and bayescg must be installed where the System is read.

    Args:
        model: from `discover`.
        target: the molecule that it was made for.
        latent: number of the latent variable, from 0.
        atoms: which particles of the system are the molecule's atoms, in the target's order; None: they are all of
            them.

    Returns:
        An `openmm.PythonForce`. It is continuous, as `CollectiveVariables` explains.

    Raises:
        ImportError: if OpenMM is missing or older than 8.6.
        ValueError: if the latent does not exist, or model, target and atoms do not belong together.
    """
    return _forces(model, target, [latent], atoms)[0]


def openmm_bias(
    model: LatentModel,
    target: Target,
    expression: str,
    *,
    parameters: Mapping[str, float] | None = None,
    atoms: Sequence[int] | None = None,
):
    """A bias on the latent variables, to be added to an OpenMM System.

    All latents are its variables z1, z2, ...; `getCollectiveVariableValues(context)` of what is returned reads them
    during a run. They share one evaluation for each step. See `openmm_cv` about threads and serialization.

    Args:
        model: from `discover`.
        target: the molecule that it was made for.
        expression: energy [kJ/mol] as a function of z1, z2, ... and the parameters, in OpenMM's syntax:
            "0.5*k*(z1-center)^2".
        parameters: name -> default value; OpenMM calls them global parameters, and `context.setParameter` changes
            them.
        atoms: which particles of the system are the molecule's atoms; None: all.

    Returns:
        An `openmm.CustomCVForce`.

    Raises:
        ImportError: if OpenMM is missing or older than 8.6.
        ValueError: if the expression cannot be read, or model, target and atoms do not belong together.
    """
    forces = _forces(model, target, range(model.latents), atoms)
    mm = require_openmm()
    parameters = dict(parameters or {})
    clash = sorted(set(parameters) & {force.getName() for force in forces})
    if clash:
        raise ValueError(f"parameters are called {clash}, which are names of latent variables: choose others")
    _check_expression(mm, expression, [force.getName() for force in forces], parameters)
    bias = mm.CustomCVForce(expression)
    bias.setName("bayescg bias")
    for name, value in parameters.items():
        bias.addGlobalParameter(name, value)
    for force in forces:
        bias.addCollectiveVariable(force.getName(), force)
    return bias


def export_plumed(model: LatentModel, target: Target, folder, *, atoms: Sequence[int] | None = None) -> Path:
    """Write a module for PLUMED's Python interface (pycv), and an input file that uses it.

    The folder gets `model.npz`, `coordinates.json` (the Z-matrix), `bayescg_cv.py` and `plumed.dat`. Components are
    z1, z2, ... (`cv.py-z1` in PLUMED's input), without a period; lengths are in nm, PLUMED's default. They are
    continuous, as `CollectiveVariables` explains.

    Args:
        model: from `discover`.
        target: the molecule that it was made for.
        folder: where to.
        atoms: numbers of the molecule's atoms in the simulated system, from 0; None: it begins with them.

    Returns:
        The folder.

    Raises:
        ValueError: if model, target and atoms do not belong together.
    """
    variables = CollectiveVariables.of(model, target)
    numbers = _checked(atoms, variables)
    folder = variables.write(folder)
    module = _MODULE.format(version=__version__, model=MODEL, coordinates=COORDINATES)
    names = variables.names
    arguments = ",".join(f"cv.py-{name}" for name in names) if len(names) > 1 else "cv"
    consecutive = np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers)))
    listed = f"{numbers[0] + 1}-{numbers[-1] + 1}" if consecutive else ",".join(str(k + 1) for k in numbers)
    widths = ",".join("0.1" for _ in names)
    temperature = getattr(target, "temperature", 300.0)
    content = _INPUT.format(atoms=listed, arguments=arguments, widths=widths, temperature=temperature)
    for name, text in (("bayescg_cv.py", module), ("plumed.dat", content)):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder


def _forces(model: LatentModel, target: Target, latents: Sequence[int], atoms: Sequence[int] | None) -> list:
    mm = require_openmm()
    if not hasattr(mm, "PythonForce"):
        raise ImportError(
            f"collective variables need OpenMM 8.6 or newer, which has PythonForce; this is {mm.__version__}: "
            "pip install -U openmm"
        )
    variables = CollectiveVariables.of(model, target)
    particles = [] if atoms is None else _checked(atoms, variables).tolist()
    forces = []
    for latent in latents:
        if not 0 <= latent < model.latents:
            raise ValueError(f"latent is {latent}; the model has latents 0 to {model.latents - 1}")
        force = mm.PythonForce(partial(_energy_and_forces, variables, latent), {}, particles)
        force.setName(variables.names[latent])
        forces.append(force)
    return forces


def _energy_and_forces(variables: CollectiveVariables, latent: int, state):
    # Without units the State's numbers are in nm, which quantities take longer to say.
    values, gradients = variables(state.getPositions(asNumpy=True)._value)
    return float(values[latent]), -gradients[latent]


def _checked(atoms: Sequence[int] | None, variables: CollectiveVariables) -> np.ndarray:
    count = variables.coordinates.n_atoms
    numbers = np.arange(count) if atoms is None else np.asarray(atoms)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu" or len(set(numbers.tolist())) < count:
        raise ValueError(f"atoms has shape {numbers.shape}; it needs {count} different numbers, the molecule's atoms")
    if numbers.min() < 0:
        raise ValueError(f"atoms holds {numbers.min()}; numbers count from 0")
    return numbers


def _check_expression(mm, expression: str, names: list[str], parameters: Mapping[str, float]) -> None:
    """Let OpenMM read the expression now. CustomCVForce takes unknown variables for zero: a typo would be no bias."""
    # A force that refuses them; its only variable of its own is theta.
    probe, system = mm.CustomTorsionForce(expression), mm.System()
    for name in [*names, *parameters]:
        probe.addGlobalParameter(name, parameters.get(name, 0.0))
    for _ in range(4):
        system.addParticle(1.0)
    probe.addTorsion(0, 1, 2, 3, [])
    system.addForce(probe)
    try:
        mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatform("Reference"))
    except mm.OpenMMException as error:
        known = ", ".join([*names, *parameters])
        raise ValueError(f"the expression {expression!r} cannot be used ({error}); variables are {known}") from None

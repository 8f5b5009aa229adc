"""Systems that the translation refuses: each by its name, with the remedy."""

import importlib.util
import sys

import numpy as np
import pytest

if importlib.util.find_spec("openmm") is None:
    pytest.skip("needs OpenMM", allow_module_level=True)

import openmm as mm
from openmm import app, unit

from bayescg.atomistic.force_field import translate

from .systems import SKEWED, alanine, alanine_pdb, liquid, nonbonded_of

OBC1 = ("amber96.xml", "implicit/obc1.xml")


def with_force(*forces) -> mm.System:
    system = mm.System()
    for _ in range(4):
        system.addParticle(1.0)
    for force in forces:
        system.addForce(force)
    return system


@pytest.mark.parametrize(
    "name",
    [
        *("RBTorsionForce", "CMAPTorsionForce", "CustomNonbondedForce:r", "CustomBondForce:r^2", "DrudeForce"),
        *("MonteCarloBarostat:1,300", "AndersenThermostat:300,1", "RMSDForce:[]"),
    ],
)
def test_other_forces_are_refused_by_name(name):
    name, _, arguments = name.partition(":")
    given = [] if not arguments else [np.zeros((4, 3))] if arguments == "[]" else arguments.split(",")
    force = getattr(mm, name)(*(float(a) if isinstance(a, str) and a.isdigit() else a for a in given))
    with pytest.raises(ValueError, match=f"{name} has no translation: remove it"):
        translate(with_force(force))


@pytest.mark.parametrize("method", ["Ewald", "PME", "LJPME"])
def test_lattice_sums_are_refused(method):
    system, _ = liquid(1, SKEWED, method)
    with pytest.raises(ValueError, match=r"NonbondedForce uses Ewald summation or PME.*CutoffPeriodic"):
        translate(system)


def test_constraints_virtual_sites_and_others_are_refused():
    system, _ = alanine("amber96.xml", constraints=app.HBonds)
    with pytest.raises(ValueError, match=r"12 constraints.*constraints=None, rigidWater=False"):
        translate(system)
    system = with_force()
    system.setVirtualSite(3, mm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(ValueError, match="virtual sites"):
        translate(system)
    with pytest.raises(ValueError, match=r"takes an openmm.System, not Topology"):
        translate(alanine_pdb().topology)
    with pytest.raises(ValueError, match="no particles"):
        translate(mm.System())
    with pytest.raises(ValueError, match="NonbondedForce has 0 particles, the System 4"):
        translate(with_force(mm.NonbondedForce()))
    system, _ = liquid(1, SKEWED, "CutoffPeriodic")
    nonbonded_of(system).setCutoffDistance(1.2)
    with pytest.raises(ValueError, match=r"cutoff of 1.2 nm is more than half the box"):
        translate(system)


@pytest.mark.parametrize("where", ["addParticleParameterOffset", "addExceptionParameterOffset"])
def test_parameter_offsets_are_refused(where):
    system, _ = liquid(1, SKEWED, "NoCutoff")
    force = nonbonded_of(system)
    force.addGlobalParameter("scale", 1.0)
    with pytest.raises(ValueError, match="global parameters or parameter offsets"):
        translate(system)
    getattr(force, where)("scale", 0, 0.1, 0.0, 0.0)
    with pytest.raises(ValueError, match="global parameters or parameter offsets"):
        translate(system)


@pytest.mark.parametrize("model", ["hct", "gbn", "gbn2"])
def test_other_born_models_are_refused(model):
    system, _ = alanine("amber96.xml", f"implicit/{model}.xml")
    with pytest.raises(ValueError, match=r"CustomGBForce is not OpenMM's OBC1 or OBC2.*HCT, GBn"):
        translate(system)


@pytest.mark.parametrize("files", [OBC1, ("amber96.xml", "amber96_obc.xml")])
def test_implicit_solvent_with_a_cutoff_is_refused(files):
    system, _ = alanine(*files, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=0.9 * unit.nanometer)
    with pytest.raises(ValueError, match=r"GB.*Force has a cutoff.*NoCutoff"):
        translate(system)


@pytest.mark.parametrize("change", ["energy", "value", "range", "number", "parameter"])
def test_an_almost_obc_force_is_refused(change):
    system, _ = alanine(*OBC1)
    force = next(force for force in system.getForces() if isinstance(force, mm.CustomGBForce))
    if change == "energy":
        text, kind = force.getEnergyTermParameters(2)
        force.setEnergyTermParameters(2, text.replace("4*B1*B2", "3*B1*B2"), kind)
    elif change == "value":
        name, text, kind = force.getComputedValueParameters(1)
        force.setComputedValueParameters(1, name, text.replace("2.909125", "2.9"), kind)
    elif change == "range":
        name, text, _ = force.getComputedValueParameters(0)
        force.setComputedValueParameters(0, name, text, force.ParticlePair)
    elif change == "number":
        force.addEnergyTerm("charge^2", force.SingleParticle)
    else:
        force.addGlobalParameter("charge1", 1.0)
    with pytest.raises(ValueError, match="not OpenMM's OBC1 or OBC2"):
        translate(system)


def test_without_openmm(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(ImportError, match=r"pip install 'bayescg\[openmm\]'"):
        translate(None)

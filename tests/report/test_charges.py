"""Charges in a configuration: read, run, and a learned permittivity in the report."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import bayescg as bcg
from bayescg import workflow
from bayescg._runtime import double_precision
from bayescg.potentials import Coulomb, Interactions
from bayescg.storage import load, save
from tests.runs import CONFIG, write_inputs

TERMS = """\
    - coulomb: reaction_field
      cutoff: 0.75
      charges: {A: 1}
      dielectric: 4
      learn: true
"""


def add_charges(path):
    """Add what charges of 1 e do at a permittivity of 4."""
    cg = load(path)
    with double_precision():
        potential = bcg.Potential(Coulomb(0.75, "reaction_field", {"A": 1}, dielectric=4))
        found = Interactions.of(potential, cg)
        frames = (found.configuration(x.astype(float), np.eye(3) * 1.6) for x in cg["positions"].values)
        forces = np.stack([potential.forces(frame, jnp.zeros(0)) for frame in frames])
    save(cg.assign(forces=cg["forces"] + forces), path)


def test_a_run_learns_a_permittivity_and_reports_it(tmp_path):
    path = write_inputs(tmp_path)
    add_charges(tmp_path / "cg.nc")
    path.write_text(CONFIG.replace("inference:\n", f"{TERMS}inference:\n", 1))
    config = workflow.load(path)
    term = config.potential.term("coulomb")
    assert term == Coulomb(0.75, "reaction_field", {"A": 1}, dielectric=4, learn=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that are too short
        workflow.run(config)
    text = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert "relative permittivity" in text
    posterior = load(tmp_path / "results" / "posterior.nc")
    inverse = 1 / posterior["posterior"]["dielectric"].values
    assert abs(inverse.mean() - 0.25) < 4 * inverse.std() < 0.5
    assert "lepton/coul" in (tmp_path / "results" / "lammps" / "potential.in").read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("reaction_field", "pme", "coulomb"),
        ("cutoff: 0.75", "cutof: 0.75", "did you mean 'cutoff'"),
        ("charges: {A: 1}", "charges: {A: 0}", "not all zero"),
        ("dielectric: 4", "dielectric: -4", "dielectric must be positive"),
    ],
)
def test_settings_of_charges_are_checked(old, new, words, tmp_path):
    path = write_inputs(tmp_path)
    path.write_text(CONFIG.replace("inference:\n", f"{TERMS.replace(old, new)}inference:\n", 1))
    with pytest.raises(ValueError, match=words):
        workflow.load(path)


def test_charges_of_the_topology_are_taken(tmp_path):
    path = write_inputs(tmp_path)
    charge = np.where(np.arange(64) % 2, -0.1, 0.1)
    cg = bcg.load(tmp_path / "cg.nc").assign_coords(charge=("bead", charge))
    with pytest.raises(ValueError, match=r"beads of type A have charges from -0.1 to \+0.1 e"):
        bcg.fill_ranges(bcg.Potential(Coulomb(0.7)), cg)
    save(cg.assign_coords(bead_type=("bead", np.where(charge > 0, "A", "B"))), tmp_path / "cg.nc")
    filled = bcg.fill_ranges(bcg.Potential(Coulomb(0.7)), bcg.load(tmp_path / "cg.nc"))
    assert filled.term("coulomb") == Coulomb(0.7, charges={"A": 0.1, "B": -0.1})
    assert path.exists()

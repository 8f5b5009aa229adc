"""Names with characters that mean something to LAMMPS."""

import numpy as np
import pytest

from bayescg.data import from_arrays
from bayescg.exports import export
from bayescg.exports.lammps.names import keyword
from bayescg.exports.lammps.tables import write_tables
from bayescg.potentials import Pair, Potential
from tests.exports.conftest import System
from tests.exports.lammps.test_lammps import run

HOSTILE = ("A$x", "A#x", "A&", 'C"', "é ${y}")


@pytest.fixture(scope="module")
def mixture():
    """Beads of all hostile types, each kind of pair with a potential of its own."""
    rng = np.random.default_rng(0)
    side = 2.4
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3) * side / 4
    types = [HOSTILE[k % 5] for k in range(64)]
    cg = from_arrays(
        (grid + rng.uniform(-0.05, 0.05, (64, 3)))[None], [side] * 3, types, temperature=300.0, mass=[40.0] * 64
    )
    pairs = [Pair(a, b, 0.9, start=0.2, knot_spacing=0.05) for k, a in enumerate(HOSTILE) for b in HOSTILE[k:]]
    potential = Potential(*pairs)
    shape = np.exp(-pairs[0].spline.sites[: pairs[0].n_basis] / 0.15)
    heights = rng.uniform(5, 50, len(pairs))
    coefficients = np.concatenate([height * shape for height in heights])
    return System(cg, potential, np.stack([coefficients, coefficients]))


def test_each_pair_has_its_own_potential(mixture, lammps, tmp_path, monkeypatch):
    export(mixture.posterior, tmp_path / "out", format="lammps", initial=mixture.cg)
    energy, forces = run(lammps, tmp_path / "out", monkeypatch, ("unfix thermostat", "run 0"))
    mixture.check(energy, forces, mixture.coefficients[0])


def test_no_line_says_anything_but_what_it_should(mixture, tmp_path):
    export(mixture.posterior, tmp_path / "out", format="lammps", initial=mixture.cg)
    for name in ("potential.in", "pair.table", "system.data"):
        text = (tmp_path / "out" / name).read_text(encoding="ascii")
        assert not any(character in text for character in "$&"), name
        assert all(line.count("#") <= 1 for line in text.splitlines()), name
    assert "# atom type 2: A_24x" in (tmp_path / "out" / "potential.in").read_text()


def test_a_name_with_a_line_break_breaks_no_line(tmp_path):
    potential = Potential(Pair("W\nread_data x", "W", 0.9, start=0.2, knot_spacing=0.05))
    tables = write_tables(potential, np.linspace(1, 0, potential.n_basis), tmp_path)
    assert "\nread_data" not in tables.paths["pair"].read_text()


def test_names_that_differ_stay_two():
    assert len({keyword(name) for name in (*HOSTILE, "A x", "A\nx", "Ax", "A_x")}) == 9
    assert keyword("bond_A-B+1.x") == "bond_A-B+1.x"

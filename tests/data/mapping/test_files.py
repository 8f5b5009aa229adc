import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain
from tests.data.systems import chain, universe_of

MIXED = """
molecules:
  HEX:
    beads:
      A1: {type: A, atoms: C1 C2}
      B1: {type: B, atoms: [C3, 3], weights: [1, 3]}
      A2: {type: A, atoms: [4, 5], weights: geometry}
    bonds: [{beads: [A1, B1], group: left}, [B1, A2]]
  SOL:
    beads:
      W: {atoms: all}
"""


def mixture():
    """Two chains of six atoms and two three-site molecules."""
    rng = np.random.default_rng(0)
    names = ["C1", "C2", "C3", "C4", "C5", "C6"]
    positions = rng.uniform(0, 3, (2, 18, 3))
    residues = [0] * 6 + [1] * 3 + [2] * 6 + [3] * 3
    bonds = [(o + i, o + i + 1) for o in (0, 9) for i in range(5)] + [(o, o + k) for o in (6, 15) for k in (1, 2)]
    return universe_of(
        positions,
        rng.normal(0, 25, positions.shape),
        names=[*names, "O", "X", "Y"] * 2,
        resnames=["HEX", "SOL"] * 2,
        masses=[12.0, 14.0, 12.0, 12.0, 13.0, 13.0, 16.0, 2.0, 3.0] * 2,
        bonds=bonds,
        residues=residues,
    )


def test_yaml_with_several_kinds_of_molecules(tmp_path):
    (tmp_path / "m.yaml").write_text(MIXED)
    universe = mixture()
    mapping = Mapping.from_yaml(tmp_path / "m.yaml", universe)
    assert mapping.bead_type.tolist() == ["A", "B", "A", "W"] * 2
    assert mapping.name.tolist() == ["A1", "B1", "A2", "W"] * 2
    assert mapping.topology.molecule.tolist() == [0, 0, 0, 1, 2, 2, 2, 3]
    assert mapping.topology.bonds.tolist() == [[0, 1], [1, 2], [4, 5], [5, 6]]
    assert mapping.topology.bond_groups.tolist() == ["left", "", "left", ""]
    assert mapping.topology.angles.tolist() == [[0, 1, 2], [4, 5, 6]]
    np.testing.assert_allclose(mapping.mass, [26, 24, 26, 21] * 2)
    np.testing.assert_allclose(mapping.weight[:9], [12 / 26, 14 / 26, 0.25, 0.75, 0.5, 0.5, 16 / 21, 2 / 21, 3 / 21])
    data = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    x = universe.atoms.positions.astype(float) / 10
    np.testing.assert_allclose(data["positions"].values[0, 5], 0.25 * x[11] + 0.75 * x[12], atol=1e-6)
    forces = universe.atoms.forces.astype(float) * 10
    np.testing.assert_allclose(data["forces"].values[0, 5], forces[11] + forces[12], atol=1e-3)


def test_yaml_listed_angles_replace_derived_ones(tmp_path):
    text = "molecules: {POL: {beads: {A: {atoms: [0]}, B: {atoms: [1]}, C: {atoms: [2]}}, bonds: [[A, B], [B, C]]%s}}"
    (tmp_path / "m.yaml").write_text(text % ", angles: []")
    assert len(Mapping.from_yaml(tmp_path / "m.yaml", chain(3)).topology.angles) == 0
    (tmp_path / "m.yaml").write_text(text % ", angles: [{beads: [A, B, C], group: bend}]")
    assert Mapping.from_yaml(tmp_path / "m.yaml", chain(3)).topology.angle_groups.tolist() == ["bend"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HEX:", "OCT:", "no molecule is called OCT; the universe has HEX, SOL"),
        ("atoms: C1 C2", "atoms: C1 C9", "bead A1: atom C9 is not there"),
        ("atoms: C1 C2", "atom: C1 C2", "line 5, molecules.HEX.beads.A1.atom: .*; did you mean 'atoms'"),
        (", atoms: C1 C2", "", "line 5, molecules.HEX.beads.A1: `atoms` is missing"),
        ("atoms: C1 C2", "atoms: C1 C2, wieghts: mass", "unknown key 'wieghts'; did you mean 'weights'"),
        ("atoms: C1 C2", "atoms: {C1: C2}", "names, indices, or `all` were expected, not {'C1': 'C2'}"),
        ("weights: [1, 3]", "weights: [1, x]", "weights must be mass, geometry or a list of numbers"),
        ("weights: [1, 3]", "weights: [1]", "1 weights for 2 atoms"),
        ("weights: [1, 3]", "weights: [1, -1]", "give positive weights"),
        ("weights: geometry", "weights: heavy", "not 'heavy'"),
        ("[B1, A2]", "[B1, A3]", "no bead is called A3"),
        ("[B1, A2]", "[B1]", r"molecules.HEX.bonds: bonds need 2 bead names each, but one is \['B1'\]"),
        ("group: left", "grup: left", r"bonds\[0\].grup: unknown key 'grup'; did you mean 'group'"),
        ("  SOL:", "  HEX:", "line 9: 'HEX' stands here a second time"),
        ("molecules:", "molecule:", "did you mean 'molecules'"),
        (MIXED, "{}", "`molecules` is missing, as in"),
        ("molecules:", "molecules: [", "is not YAML"),
    ],
)
def test_yaml_mistakes(tmp_path, old, new, message):
    (tmp_path / "m.yaml").write_text(MIXED.replace(old, new))
    with pytest.raises(ValueError, match=message):
        Mapping.from_yaml(tmp_path / "m.yaml", mixture())


def test_same_atom_name_in_several_residues(tmp_path):
    universe = universe_of(
        np.random.default_rng(0).uniform(0, 3, (1, 4, 3)),
        np.zeros((1, 4, 3)),
        names=["N", "CA"] * 2,
        resnames=["ALA", "GLY"],
        masses=[14.0, 12.0] * 2,
        bonds=[(0, 1), (1, 2), (2, 3)],
        residues=[0, 0, 1, 1],
    )
    (tmp_path / "m.yaml").write_text("molecules: {ALA: {beads: {A: {atoms: '1:N 1:CA'}, B: {atoms: '2:N 2:CA'}}}}")
    assert Mapping.from_yaml(tmp_path / "m.yaml", universe).owner.tolist() == [0, 0, 1, 1]
    (tmp_path / "m.yaml").write_text("molecules: {ALA: {beads: {A: {atoms: N CA}}}}")
    with pytest.raises(ValueError, match="atom N names several atoms"):
        Mapping.from_yaml(tmp_path / "m.yaml", universe)


VOTCA = """<cg_molecule><name>P</name><ident>POL</ident><topology>
<cg_beads>
  <cg_bead><name>A1</name><type>A</type><mapping>M</mapping><beads> 1:POL:C1 1:POL:C2 </beads></cg_bead>
  <cg_bead><name>B1</name><type>B</type><mapping>M</mapping><beads>1:POL:C3
     1:POL:C4</beads></cg_bead>
  <cg_bead><name>A2</name><type>A</type><mapping>M</mapping><beads>1:POL:C5 1:POL:C6</beads></cg_bead>
</cg_beads>
<cg_bonded><bond><name>b</name><beads>A1 B1
 B1 A2</beads></bond><bond><name>far</name><beads>A2 A1</beads></bond>
<angle><name>bend</name><beads>A1 B1 A2</beads></angle></cg_bonded>
</topology><maps><map><name>M</name><weights>1 3</weights>EXTRA</map></maps></cg_molecule>"""


def test_votca(tmp_path):
    path = tmp_path / "mapping.xml"
    path.write_text(VOTCA.replace("EXTRA", "<d>2 6</d>"))
    mapping = Mapping.from_votca(path, chain(6))
    assert mapping.bead_type.tolist() == ["A", "B", "A"]
    assert mapping.topology.bonds.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert mapping.topology.bond_groups.tolist() == ["b", "b", "far"]
    assert mapping.topology.angle_groups.tolist() == ["bend"]
    np.testing.assert_allclose(mapping.weight, [0.25, 0.75] * 3)
    path.write_text(VOTCA.replace("EXTRA", "<d>1 1</d>"))
    with pytest.warns(UserWarning, match="differs from <weights>"):
        Mapping.from_votca([path], chain(6))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<ident>POL</ident>", "<ident>PEO</ident>", "no molecule is called PEO"),
        ("<mapping>M</mapping>", "<mapping>N</mapping>", "there is no map N"),
        ("1:POL:C1", "C1", "not written as residue number"),
        ("A1 B1 A2</beads></angle>", "A1 B1</beads></angle>", "2 beads do not make angles of 3"),
        ("1 3</weights>", "1 x</weights>", "numbers are expected"),
        ("<cg_molecule>", "<cg_molecule", "not a VOTCA mapping"),
    ],
)
def test_votca_mistakes(tmp_path, old, new, message):
    (tmp_path / "mapping.xml").write_text(VOTCA.replace(old, new))
    with pytest.raises(ValueError, match=message):
        Mapping.from_votca(tmp_path / "mapping.xml", chain(6))

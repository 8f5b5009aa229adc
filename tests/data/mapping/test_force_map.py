import warnings

import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain
from tests.data.systems import chain, universe_of, waters


def yaml_mapping(tmp_path, universe, text, **options):
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return Mapping.from_yaml(path, universe, **options)


CHAIN = "molecules: {POL: {beads: {A: {atoms: C1 C2 C3}, B: {atoms: C4 C5 C6}}, bonds: [[A, B]]}}"


def test_constraint_across_two_beads_is_refused_and_explained(tmp_path):
    universe = chain(6)
    with pytest.raises(ValueError, match=r"beads A and B.*Krämer et al\. 2023"):
        yaml_mapping(tmp_path, universe, CHAIN, constraints="all-bonds")
    with pytest.raises(ValueError, match=r"atoms \[2, 3\]"):
        yaml_mapping(tmp_path, universe, CHAIN, constraints=[(2, 3)])
    mapping = yaml_mapping(tmp_path, universe, CHAIN, constraints=[(0, 1), (1, 2)])
    data = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    np.testing.assert_allclose(data["forces"].values[0, :, 0], [60.0, 150.0])  # 1+2+3 and 4+5+6 kJ/mol/A


def test_hydrogens_that_cross_beads_are_seen(tmp_path):
    universe = chain(6, names=["C1", "C2", "C3", "H4", "C5", "C6"], masses=[12.0, 12.0, 12.0, 1.008, 12.0, 12.0])
    text = CHAIN.replace("C4", "H4")
    with pytest.raises(ValueError, match=r"atoms \[2, 3, 4\]"):
        yaml_mapping(tmp_path, universe, text)
    assert yaml_mapping(tmp_path, universe, text, constraints="none").n_beads == 2


def test_unmapped_atoms_of_a_rigid_cluster_give_their_force():
    universe = waters(n_molecules=4)
    # Rigid water seen through its oxygens: the hydrogens are in no position, but in the force of their oxygen.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapping = Mapping.center_of_mass(universe, select="name OW")
    data = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    universe.trajectory[0]
    np.testing.assert_allclose(data["positions"].values[0], universe.atoms.positions[::3] / 10, rtol=1e-6)
    np.testing.assert_allclose(
        data["forces"].values[0], universe.atoms.forces.reshape(4, 3, 3).sum(axis=1) * 10, atol=1e-3
    )


def test_unmapped_atom_tied_to_two_beads_is_refused(tmp_path):
    universe = chain(3)
    text = "molecules: {POL: {beads: {A: {atoms: C1}, B: {atoms: C3}}}}"
    with pytest.raises(ValueError, match=r"atoms \[0, 1, 2\]"):
        yaml_mapping(tmp_path, universe, text, constraints=[(0, 1), (1, 2)])
    with pytest.warns(UserWarning, match=r"1 atoms are in no bead: POL:C2 \(1\)"):
        yaml_mapping(tmp_path, universe, text, constraints="none")


def test_virtual_sites_are_counted_once():
    # TIP4P: the program has spread the force of the massless site; what is left on it must not count again.
    forces = np.arange(12.0).reshape(1, 4, 3)
    universe = universe_of(
        np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0.1, 0.1, 0]]]),
        forces,
        names=["OW", "HW1", "HW2", "MW"],
        resnames=["SOL"],
        masses=[16.0, 1.0, 1.0, 0.0],
        bonds=[(0, 1), (0, 2)],
    )
    data = coarse_grain(universe, Mapping.center_of_mass(universe), temperature=300.0, forces="unchecked")
    np.testing.assert_allclose(data["forces"].values[0, 0], forces[0, :3].sum(axis=0) * 10)
    np.testing.assert_allclose(data["positions"].values[0, 0], [0.1 / 18, 0.1 / 18, 0.0], atol=1e-7)


def test_atom_in_two_beads(tmp_path):
    with pytest.raises(ValueError, match="atom 2 is in two beads, A and B"):
        yaml_mapping(tmp_path, chain(6), CHAIN.replace("C4 C5", "C3 C5"))


def test_constraints_cannot_be_guessed_without_bonds(tmp_path):
    universe = waters(n_molecules=2, bonds=False)
    with pytest.raises(ValueError, match="constraints cannot be seen"):
        Mapping.center_of_mass(universe, select="name OW")
    assert Mapping.center_of_mass(universe).n_beads == 2
    with pytest.raises(ValueError, match="has no bonds"):
        Mapping.center_of_mass(universe, constraints="all-bonds")

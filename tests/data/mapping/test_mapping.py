import numpy as np
import pytest

from bayescg.data import Mapping, coarse_grain, minimum_image
from tests.data.systems import TRICLINIC, chain, scatter_over_images, universe_of, waters


@pytest.mark.parametrize("box", [(20.0, 20.0, 20.0, 90.0, 90.0, 90.0), TRICLINIC])
@pytest.mark.parametrize("geometry", [False, True])
def test_centers_agree_with_mdanalysis(box, geometry):
    universe = scatter_over_images(waters(box=box), pack=True)  # as simulation programs write it
    mapping = (Mapping.center_of_geometry if geometry else Mapping.center_of_mass)(universe, names={"SOL": "W"})
    data = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    for frame, step in enumerate(universe.trajectory):
        center = universe.atoms.center_of_geometry if geometry else universe.atoms.center_of_mass
        expected = center(unwrap=True, compound="residues") / 10
        difference = minimum_image(data["positions"].values[frame] - expected, data["box"].values[frame])
        assert np.abs(difference).max() < 2e-6
        np.testing.assert_allclose(data["box"].values[frame], step.triclinic_dimensions / 10, atol=1e-6)
    assert set(data["bead_type"].values) == {"W"}
    np.testing.assert_allclose(data["mass"].values, 18.0)


@pytest.mark.parametrize("bonds", [True, False])
@pytest.mark.parametrize("box", [(20.0, 20.0, 20.0, 90.0, 90.0, 90.0), TRICLINIC])
def test_images_of_atoms_do_not_matter(box, bonds):
    universe = waters(box=box, bonds=bonds)
    mapping = Mapping.center_of_mass(universe)
    a = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    b = coarse_grain(scatter_over_images(universe), mapping, temperature=300.0, forces="unchecked")
    weights = np.array([16.0, 1.0, 1.0])[:, None] / 18.0
    for frame, step in enumerate(universe.trajectory):
        whole = (step.positions.reshape(-1, 3, 3).astype(float) * weights).sum(axis=1) / 10
        np.testing.assert_allclose(a["positions"].values[frame], whole, atol=2e-6)
        moved = minimum_image((b["positions"] - a["positions"]).values[frame], a["box"].values[frame])
        assert np.abs(moved).max() < 2e-6
    np.testing.assert_array_equal(a["forces"], b["forces"])


def test_bead_larger_than_half_the_box_is_whole_by_its_bonds():
    universe = chain(n_atoms=24, spacing=1.5)  # 34.5 A long in a box of 20 A
    mapping = Mapping.center_of_mass(universe, constraints="none")
    whole = universe.atoms.positions.mean(axis=0) / 10
    for case in (universe, scatter_over_images(universe, seed=4)):
        data = coarse_grain(case, mapping, temperature=300.0, forces="unchecked")
        difference = data["positions"].values[0, 0] - whole
        # A common shift of the molecule by lattice vectors is all that may remain.
        np.testing.assert_allclose(difference - np.rint(difference / 2.0) * 2.0, 0.0, atol=2e-6)


def test_net_force_is_conserved():
    universe = waters()
    data = coarse_grain(universe, Mapping.center_of_mass(universe), temperature=300.0, forces="unchecked")
    for frame, step in enumerate(universe.trajectory):
        total = step.forces.astype(float).sum(axis=0) * 10
        np.testing.assert_allclose(data["forces"].values[frame].sum(axis=0), total, atol=0.05)


def test_residues_of_a_polymer_are_bonded_beads():
    n = 8
    universe = universe_of(
        np.random.default_rng(0).uniform(0, 5, (1, 2 * n, 3)),
        np.zeros((1, 2 * n, 3)),
        names=["C1", "C2"] * n,
        resnames=["MON"] * n,
        masses=[12.0] * (2 * n),
        bonds=[(i, i + 1) for i in range(2 * n - 1)],
        residues=np.repeat(np.arange(n), 2),
    )
    mapping = Mapping.center_of_mass(universe, by="residues")
    assert mapping.topology.bonds.tolist() == [[i, i + 1] for i in range(n - 1)]
    assert len(mapping.topology.angles) == n - 2
    assert len(mapping.topology.dihedrals) == n - 3
    assert set(mapping.topology.molecule.tolist()) == {0}
    assert Mapping.center_of_mass(universe, by="fragments").n_beads == 1
    assert Mapping.center_of_mass(universe, by="molecules").n_beads == 1
    assert Mapping.center_of_mass(universe, by="atoms", constraints="none").n_beads == 2 * n


def test_json_round_trip_maps_the_same():
    universe = waters()
    mapping = Mapping.center_of_mass(universe, names={"SOL": "W"})
    again = Mapping.from_json(mapping.to_json())
    a = coarse_grain(universe, mapping, temperature=300.0, forces="unchecked")
    b = coarse_grain(universe, again, temperature=300.0, forces="unchecked")
    assert a.identical(b)
    assert Mapping.from_json(a.attrs["mapping"]).to_json() == mapping.to_json()
    with pytest.raises(ValueError, match="not the JSON of a mapping"):
        Mapping.from_json("{}")


def test_selection_is_a_slice_and_is_announced():
    universe = waters(n_molecules=3)
    with pytest.warns(UserWarning, match=r"6 atoms are in no bead: SOL:HW1 \(3\), SOL:HW2 \(3\)"):
        mapping = Mapping.center_of_mass(universe, select="name OW", constraints="none")
    assert mapping.atoms(1).tolist() == [3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": {"WAT": "W"}}, "no residues called WAT; the universe has SOL"),
        ({"by": "chains"}, "choose residues"),
        ({"constraints": "h-angles"}, "constraints='h-angles'"),
        ({"constraints": [(0, 99)]}, "names atom 99"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mapping.center_of_mass(waters(), **arguments)


def test_refusals_of_topologies():
    with pytest.raises(ValueError, match="fragments need bonds"):
        Mapping.center_of_mass(waters(bonds=False), by="fragments")
    massless = waters()
    massless.atoms.masses = 0.0
    with pytest.raises(ValueError, match="add masses"):
        Mapping.center_of_mass(massless)
    massless.del_TopologyAttr("masses")
    with pytest.raises(ValueError, match="no masses"):
        Mapping.center_of_mass(massless)

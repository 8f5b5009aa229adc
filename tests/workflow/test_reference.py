"""Observables of atomistic data: of a streamed trajectory, and from files."""

import numpy as np
import pytest

import bayescg as bcg
from bayescg.workflow import single
from bayescg.workflow.reference import Reference
from bayescg.workflow.schema.observables import BondDistribution, Rdf


def bonded_trajectory(frames):
    rng = np.random.default_rng(1)
    a = rng.uniform(0, 2, size=(frames, 20, 3))
    b = a + rng.normal(scale=0.2, size=a.shape)
    topology = bcg.data.Topology.from_bonds(40, [(k, k + 20) for k in range(20)])
    positions = np.concatenate([a, b], axis=1)
    return bcg.from_arrays(positions, (2.0,) * 3, ["A"] * 20 + ["B"] * 20, temperature=300.0, topology=topology)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sizes", [[7, 7, 9], [23], [1] * 23])
def test_streamed_reference_equals_one_call(sizes, weighted):
    """However the trajectory is cut into chunks, the blocks are those of one call on all of it."""
    cg = bonded_trajectory(23)
    if weighted:
        cg["weight"] = ("frame", np.random.default_rng(2).integers(0, 3, 23).astype(float))
    wanted = (
        Rdf(rdf=("A", "B"), cutoff=0.8, bins=16, blocks=4),
        BondDistribution(bond_distribution=("A", "B"), blocks=4),
    )
    reference = Reference(wanted, 23, exclude_bonds=1)
    for begin, size in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        reference.add(cg.isel(frame=slice(begin, begin + size)))
    g, lengths = reference.results()
    expected = bcg.observables.rdf(cg, "A", "B", cutoff=0.8, bins=16, blocks=4, exclude_bonds=1)
    np.testing.assert_allclose(g, expected, atol=1e-12)
    np.testing.assert_allclose(g["block_weight"], expected["block_weight"])
    expected = bcg.observables.bond_distribution(cg, "A", "B", blocks=4)
    np.testing.assert_allclose(lengths.sel(r=expected["r"]), expected, atol=1e-12)
    assert float(lengths.sum()) == pytest.approx(float(expected.sum()))
    assert lengths["r"].attrs["units"] == "nm"


def test_a_reference_from_a_file_leaves_out_what_the_ensemble_does(tmp_path):
    rng = np.random.default_rng(0)
    ends = rng.uniform(0, 3, (10, 20, 3))
    positions = np.stack([ends, ends + 0.2], axis=2).reshape(10, 40, 3)
    bonds = np.arange(40).reshape(-1, 2)
    cg = bcg.from_arrays(positions, [3, 3, 3], "A", temperature=300.0, topology=bcg.data.Topology.from_bonds(40, bonds))
    bcg.save(cg, tmp_path / "reference.nc")
    bcg.save(cg.assign_attrs(exclude_bonds=1), tmp_path / "ensemble.nc")
    compared = single.observe(
        tmp_path / "ensemble.nc",
        "coordination_number",
        ("A", "A"),
        options={"cutoff": 0.4, "blocks": 5},
        reference=tmp_path / "reference.nc",
        output=tmp_path / "n.nc",
    )
    assert float(compared.atomistic["mean"]) == float(compared.predicted["mean"])
    with_bonds = bcg.observables.coordination_number(cg, "A", "A", cutoff=0.4).mean("block")
    assert float(with_bonds.values) - float(compared.predicted["mean"]) == pytest.approx(1.0)
